"""The affine of two images, against that of ANTs."""

import ants
from nibabel.affines import apply_affine
import numpy as np
import pytest

from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.mapping.affines import grid_points
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.prealign import estimate_prealign
from dipy_nn_reg.mapping.resampling import resample

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def affine_by_ants(moving, static):
    """Return the affine from static to moving coordinates, in mm."""
    images = [ants.from_numpy(i, spacing=(2.0, 2.0, 2.0)) for i in (static, moving)]
    done = ants.registration(*images, type_of_transform="Affine", random_seed=1)
    transform = ants.read_transform(done["fwdtransforms"][0])
    corners = np.concatenate([np.zeros((1, 3)), np.eye(3)])
    moved = np.array([transform.apply_to_point(corner.tolist()) for corner in corners])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = (moved[1:] - moved[0]).T, moved[0]
    return affine


@pytest.mark.slow
@pytest.mark.parametrize("is_other_contrast", [False, True])
def test_the_affine_is_that_of_ants_and_no_less_exact(is_other_contrast, rng):
    """The affine turns by nine degrees, scales, shears and shifts; there is noise."""
    (image,), _ = make_phantoms(1, shape=(52, 44, 48), seed=3)
    truth = np.eye(4)
    truth[:3] = [
        [1.05, 0.15, 0, -7],
        [-0.15, 0.96, 0.04, 8],
        [0.02, 0, 1.03, -1],
    ]
    moving = np.where(image > 0.1, 1.2 - image**2, 0) if is_other_contrast else image
    static = resample(
        image,
        AFFINE,
        lambda points: apply_affine(truth, points),
        Grid(image.shape, AFFINE),
    )
    moving, static = (
        (i + 0.03 * rng.normal(size=i.shape)).astype(np.float32)
        for i in (moving, static)
    )
    ours = estimate_prealign(
        moving, static, moving_affine=AFFINE, static_affine=AFFINE, kind="affine"
    ).affine
    points = grid_points(static.shape, AFFINE)[static.ravel() > 0.2]
    theirs = apply_affine(affine_by_ants(moving, static), points)
    expected, found = apply_affine(truth, points), apply_affine(ours, points)
    of_theirs = np.linalg.norm(theirs - expected, axis=1).mean()
    assert of_theirs < 0.5  # a quarter of a voxel
    assert np.linalg.norm(found - expected, axis=1).mean() < of_theirs + 0.1
    assert np.linalg.norm(found - theirs, axis=1).mean() < 0.6
