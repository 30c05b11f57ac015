import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg.mapping.prealign.sampling import MovingImage


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(9, 7), (8, 5, 6)])
def test_values_are_those_of_scipy_and_derivatives_of_differences(shape, order, rng):
    """In either order of memory: that of NumPy, or that of files."""
    ndim = len(shape)
    image, affine = rng.random(shape), np.eye(ndim + 1)
    affine[:-1] += 0.2 * rng.normal(size=(ndim, ndim + 1))
    moved = np.eye(ndim + 1)
    moved[:-1] += 0.1 * rng.normal(size=(ndim, ndim + 1))
    size = np.array(shape)[:, None]
    voxels = rng.uniform(-2, size + 1, (ndim, 300))
    points = affine[:-1, :-1] @ voxels + affine[:-1, -1:]
    points = np.linalg.solve(moved[:-1, :-1], points - moved[:-1, -1:])
    stored = np.asarray(image, order=order)
    values, gradient = MovingImage(stored, affine, 0.3).sample(points, moved)
    expected = map_coordinates(image, voxels, order=1, mode="grid-constant", cval=0.3)
    np.testing.assert_allclose(values, expected, atol=1e-4)
    # Away from the borders of cells, and also where there is the fill alone.
    smooth = np.all(np.abs(voxels - np.rint(voxels)) > 0.01, axis=0)
    assert np.any(smooth & np.any((voxels < -1) | (voxels > size), axis=0))
    for axis in range(ndim):
        step = np.zeros((ndim, 1))
        step[axis] = 1e-3
        at = [
            map_coordinates(
                image,
                voxels + np.linalg.solve(affine[:-1, :-1], sign * step),
                order=1,
                mode="grid-constant",
                cval=0.3,
            )
            for sign in (1, -1)
        ]
        difference = (at[0] - at[1]) / 2e-3
        np.testing.assert_allclose(
            gradient[axis][smooth], difference[smooth], atol=1e-3
        )


def test_samples_in_float32_stay_so(rng):
    image, points = rng.random((5, 6, 7)), np.float32(rng.uniform(0, 4, (3, 20)))
    sampled = MovingImage(image, np.eye(4), 0).sample(points, np.eye(4))
    assert [array.dtype for array in sampled] == [np.float32, np.float32]
