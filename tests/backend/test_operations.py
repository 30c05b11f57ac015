import keras
from keras import ops
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg.backend.operations import (
    for_backend,
    from_sizes,
    grid_sample,
    take_rows,
)

pytestmark = pytest.mark.backends


def test_an_implementation_for_pytorch_replaces_the_one_for_all():
    function = for_backend(lambda: "all", torch=lambda: "torch")
    expected = "torch" if keras.backend.backend() == "torch" else "all"
    assert function() == expected


def test_matrices_from_known_and_unknown_sizes():
    def count(n, m):
        return np.arange(n * m, dtype=np.float32).reshape(n, m)

    npt.assert_array_equal(from_sizes(count, 2, 3), count(2, 3))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function(input_signature=[tf.TensorSpec((None, None))])
        def like(x):
            shape = tf.shape(x)
            return from_sizes(count, shape[0], shape[1])

        npt.assert_array_equal(like(np.zeros((2, 3), np.float32)), count(2, 3))


def test_take_rows(rng):
    values = rng.random((6, 3), dtype=np.float32)
    index = rng.integers(0, 6, (2, 4)).astype(np.int32)
    actual = take_rows(ops.convert_to_tensor(values), ops.convert_to_tensor(index))
    npt.assert_array_equal(ops.convert_to_numpy(actual), values[index])


@pytest.mark.parametrize("shape", [(5, 6), (4, 5, 3), (1, 6)])
def test_grid_sample_of_pytorch_agrees_with_scipy(shape, rng):
    torch = pytest.importorskip("torch")
    ndim = len(shape)
    field = rng.normal(size=(1, *shape, ndim)).astype(np.float32)
    positions = rng.uniform(-2, np.array(shape) + 1, (2, 9, 8, 7, ndim)[-ndim - 2 :])
    positions = positions.astype(np.float32)
    axes = [torch.from_numpy(positions[..., axis]) for axis in range(ndim)]
    actual = grid_sample(torch.from_numpy(field), axes).numpy()
    for item, where in zip(actual, positions):
        for component in range(ndim):
            expected = map_coordinates(
                field[0, ..., component],
                np.moveaxis(where, -1, 0),
                order=1,
                mode="nearest",
            )
            npt.assert_allclose(item[..., component], expected, atol=1e-5)
