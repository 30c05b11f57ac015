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
    values, gradient, inside = MovingImage(stored, affine, 0.3).sample(points, moved)
    expected = map_coordinates(image, voxels, order=1, mode="grid-constant", cval=0.3)
    np.testing.assert_allclose(values, expected, atol=1e-4)
    within = np.all((voxels >= -0.5) & (voxels <= size - 0.5), axis=0)
    np.testing.assert_array_equal(inside, within)
    # Away from the borders of cells and from the end of the margin.
    smooth = np.all(
        (np.abs(voxels - np.rint(voxels)) > 0.01) & (voxels > -1) & (voxels < size),
        axis=0,
    )
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
