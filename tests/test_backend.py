import keras
from keras import ops
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.backend import (
    as_one_graph,
    compiled,
    from_sizes,
    has_fast_bfloat16,
    output_shape,
    recomputed,
    self_adjoint,
    value_and_gradient,
)


def waves(x, y):
    return ops.sin(x) * y


def test_compiled_functions_take_tensors_and_arrays(rng):
    x, y = rng.random((2, 3, 4), dtype=np.float32)
    function = compiled(waves)
    expected = np.sin(x) * y
    for convert in (np.asarray, ops.convert_to_tensor):
        found = ops.convert_to_numpy(function(convert(x), convert(y)))
        npt.assert_allclose(found, expected, rtol=1e-5)


def test_a_recomputed_gradient(rng, gradient):
    x, y, weight = rng.random((3, 3, 4), dtype=np.float32)
    function = recomputed(waves)
    npt.assert_allclose(ops.convert_to_numpy(function(x, y)), np.sin(x) * y, rtol=1e-5)
    found = gradient(lambda x, y: ops.sum(weight * function(x, y)), x, y)
    npt.assert_allclose(found[0], weight * np.cos(x) * y, rtol=1e-4)
    npt.assert_allclose(found[1], weight * np.sin(x), rtol=1e-4)


def test_a_value_and_its_gradient(rng):
    x, y = rng.random((2, 3, 4), dtype=np.float32)
    x, y = ops.convert_to_tensor(x), ops.convert_to_tensor(y)
    value, slope = value_and_gradient(lambda x, y: ops.sum(waves(x, y)))(x, y)
    x, y, value, slope = map(ops.convert_to_numpy, (x, y, value, slope))
    npt.assert_allclose(value, np.sum(np.sin(x) * y), rtol=1e-5)
    npt.assert_allclose(slope, np.cos(x) * y, rtol=1e-5)


def test_the_gradient_takes_structures_of_constants(rng):
    x, y = (ops.convert_to_tensor(a) for a in rng.random((2, 3, 4), dtype=np.float32))
    evaluate = value_and_gradient(lambda x, known: ops.sum(waves(x, known["y"])))
    for rows in (3, 2):  # of each shape anew
        value, slope = evaluate(x[:rows], {"y": y[:rows]})
        found = map(ops.convert_to_numpy, (x[:rows], y[:rows], value, slope))
        known_x, known_y, value, slope = found
        npt.assert_allclose(value, np.sum(np.sin(known_x) * known_y), rtol=1e-5)
        npt.assert_allclose(slope, np.cos(known_x) * known_y, rtol=1e-5)


def test_one_graph_returns_what_its_operations_do(rng):
    x, y = rng.random((2, 3, 4), dtype=np.float32)
    function = as_one_graph(lambda x, known: (waves(x, known["y"]), ops.sum(x)))
    for rows in (3, 2):  # of each shape anew
        known = {"y": ops.convert_to_tensor(y[:rows])}
        product, total = function(ops.convert_to_tensor(x[:rows]), known)
        expected = np.sin(x[:rows]) * y[:rows]
        npt.assert_allclose(ops.convert_to_numpy(product), expected, rtol=1e-5)
        npt.assert_allclose(ops.convert_to_numpy(total), x[:rows].sum(), rtol=1e-5)


def test_a_self_adjoint_function_is_its_own_gradient(rng, gradient):
    matrix = rng.random((5, 5), dtype=np.float32)
    matrix = matrix + matrix.T
    x, weight = rng.random((2, 5, 1), dtype=np.float32)
    function = self_adjoint(lambda x, times: times * ops.matmul(matrix, x))
    (found,) = gradient(lambda x: ops.sum(weight * function(x, 3)), x)
    npt.assert_allclose(found, 3 * matrix @ weight, rtol=1e-5)


def test_arrays_from_sizes_known_and_unknown():
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


def test_shapes_are_followed_and_errors_come_through():
    assert output_shape(waves, (2, 3), (2, 1)) == (2, 3)
    assert output_shape(lambda x: ops.sum(x), (2, 3)) == ()

    def fail(x):
        raise ValueError("as it was written")

    with pytest.raises(ValueError, match="^as it was written$"):
        output_shape(fail, (2, 3))


def test_constants_are_given_no_gradient(rng):
    tf = pytest.importorskip("tensorflow")
    x, y = (tf.constant(a) for a in rng.random((2, 3, 4), dtype=np.float32))
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        value = tf.reduce_sum(recomputed(waves, constants=1)(x, y))
    found = tape.gradient(value, [x, y])
    npt.assert_allclose(found[0], np.cos(x) * y, rtol=1e-4)
    assert found[1] is None


def test_only_linux_tells_of_a_processor(monkeypatch):
    monkeypatch.setattr("dipy_nn_reg.backend.has_gpu", lambda: False)
    for text, expected in (("flags: avx512_bf16", True), ("flags: avx2", False)):
        monkeypatch.setattr("pathlib.Path.read_text", lambda *_, text=text: text)
        assert has_fast_bfloat16() == expected

    def fail(*_):
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", fail)
    assert not has_fast_bfloat16()
