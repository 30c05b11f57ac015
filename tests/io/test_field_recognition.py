from itertools import product
from types import SimpleNamespace

import nibabel as nib
from nibabel.affines import apply_affine
import numpy as np
import numpy.testing as npt
import pytest
from scipy.spatial.transform import Rotation

from dipy_nn_reg.io.field_recognition import _holds_positions
from dipy_nn_reg.io.fields import load_mapping
from dipy_nn_reg.mapping.affines import grid_points

AFFINE = nib.affines.from_matvec(np.diag([-2.0, 2, 3]), [30, -20, 10])
SHAPES = [(12, 10, 9), (9, 1, 8), (10, 9, 1)]
ANGLES = [0, 30, 60]


def turned(points, axis, angle):
    """Return points turned about an axis and shifted."""
    turn = Rotation.from_rotvec(np.radians(angle) * np.eye(3)[axis])
    return turn.apply(points) + [5, -3, 8]


@pytest.mark.parametrize(
    ("shape", "angle"),
    [*product(SHAPES, ANGLES), (SHAPES[0], 90), (SHAPES[0], 175)],
)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_positions_are_told_from_displacements_of_turned_images(
    shape, axis, angle, rng
):
    points = grid_points(shape, AFFINE)
    there = turned(points, axis, angle) + rng.normal(size=points.shape)
    for values, expected in ((there, True), (there - points, False)):
        data = values.reshape(*shape, 3)
        image = SimpleNamespace(data=data, affine=AFFINE)
        assert _holds_positions(image) is expected


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_deformation_of_mrtrix_between_turned_images_is_read(axis, tmp_path):
    points = grid_points(SHAPES[0], AFFINE)
    there = turned(points, axis, 60)
    values = there.reshape(*SHAPES[0], 3).astype(np.float32)
    nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "warp.nii.gz")
    mapping = load_mapping(
        tmp_path / "warp.nii.gz", moving_shape=SHAPES[0], moving_affine=AFFINE
    )
    inside = apply_affine(AFFINE, [[4, 5, 4], [6, 3, 5.5]])
    found = mapping.transform_points(inside)
    npt.assert_allclose(found, turned(inside, axis, 60), atol=1e-3)
