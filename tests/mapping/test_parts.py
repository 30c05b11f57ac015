import warnings

import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.mapping.parts import Parts


def make(shape, rng, *, matrix=None):
    displacement = rng.normal(size=(*shape, len(shape))).astype(np.float32)
    return Parts(displacement, lambda: -displacement, matrix)


@pytest.mark.parametrize("shape", [(6, 7), (4, 5, 6)])
def test_the_affine_follows_the_displacement(shape, rng):
    ndim = len(shape)
    matrix = np.eye(ndim + 1)
    matrix[:-1] += rng.uniform(-0.2, 0.2, (ndim, ndim + 1))
    parts = make(shape, rng, matrix=matrix)
    whole = parts.whole_displacement()
    assert whole.dtype == np.float32
    for voxel in (np.zeros(ndim, int), np.array(shape) - 1, np.array(shape) // 2):
        position = voxel + parts.displacement[tuple(voxel)]
        expected = matrix[:-1, :-1] @ position + matrix[:-1, -1] - voxel
        npt.assert_allclose(whole[tuple(voxel)], expected, atol=1e-5)


def test_without_an_affine_the_displacement_is_whole(rng):
    parts = make((5, 6), rng)
    assert parts.whole_displacement() is parts.displacement
    identity = parts._replace(matrix=np.eye(3))
    npt.assert_allclose(
        identity.whole_displacement(), parts.displacement, rtol=0, atol=1e-6
    )


def test_a_displacement_that_is_not_finite_stays_so_without_a_warning(rng):
    parts = make((5, 6), rng, matrix=np.eye(3))
    parts.displacement[2, 3] = np.inf
    with warnings.catch_warnings(action="error"):
        whole = parts.whole_displacement()
    assert not np.isfinite(whole[2, 3]).any()
    assert np.isfinite(np.delete(whole.reshape(30, 2), 2 * 6 + 3, axis=0)).all()
