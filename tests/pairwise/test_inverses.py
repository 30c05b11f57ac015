from keras import ops
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg.pairwise.inverses import inverted, nearly_inverted


def off_by(field, inverse):
    """Return how far points end from where they were, after both displacements."""
    there = np.indices(field.shape[:-1]) + np.moveaxis(inverse, -1, 0)
    back = [
        map_coordinates(component, there, order=1, mode="nearest")
        for component in np.moveaxis(field, -1, 0)
    ]
    return np.linalg.norm(inverse + np.stack(back, axis=-1), axis=-1)


@pytest.fixture(params=[(23, 26), (14, 17, 15)], ids=["2D", "3D"])
def field(request, smooth_field):
    return smooth_field(request.param, sigma=4, largest=3.0)


@pytest.mark.backends
@pytest.mark.parametrize("start", [-1, 0])
def test_points_come_back(field, start):
    tensors = [
        ops.convert_to_tensor(a[None], "float32") for a in (field, start * field)
    ]
    assert off_by(field, inverted(*tensors)).max() < 1e-3
    nearly = ops.convert_to_numpy(nearly_inverted(*tensors))[0]
    assert off_by(field, nearly).mean() < 0.02


def test_a_map_that_stretches_five_times_is_inverted():
    """Whole steps towards the inverse would not converge."""
    x = np.arange(30.0)
    profile = np.interp(x, [0, 12, 17, 30], [0, -10, 10, 0])
    field = np.zeros((30, 5, 2), np.float32)
    field[..., 0] = profile[:, None]
    tensors = [ops.convert_to_tensor(a[None]) for a in (field, -field)]
    assert off_by(field, inverted(*tensors)).max() < 2e-3


@pytest.mark.parametrize("shape", [(16, 14), (12, 11, 10)])
def test_where_a_map_is_singular_the_rest_is_inverted(shape):
    """All of a slab goes to one plane, so there the map has no inverse."""
    field = np.zeros((*shape, len(shape)), np.float32)
    x = np.arange(shape[0])
    field[..., 0] = np.interp(x, [0, 4, 8, 12], [0, 2, -2, 0]).reshape(
        [-1] + [1] * (len(shape) - 1)
    )
    tensors = [ops.convert_to_tensor(a[None]) for a in (field, -field)]
    inverse = inverted(*tensors)
    assert np.isfinite(inverse).all()
    assert off_by(field, inverse)[:4].max() < 1e-3
