import numpy as np
import numpy.testing as npt
import pytest
from scipy.spatial.transform import Rotation

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.mapping.fibre_support import supported_by_fibres
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.prealign import Alignment

SHAPE, CENTRE = (17, 18, 15), np.array([8.0, 8.5, 7])
TURN = Rotation.from_euler("xyz", [40, 15, -20], degrees=True).as_matrix()
# Rows and columns of the values xx, xy, yy, xz, yz and zz.
UPPER = ([0, 0, 1, 0, 1, 2], [0, 1, 1, 2, 2, 2])


def turned(matrix, shift=(0.0, 0, 0)):
    """Return the affine that turns about the centre of the body, and shifts it."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, CENTRE - matrix @ CENTRE + shift
    return affine


def fibres(affine):
    """Return fibres of a round body in two halves, moved by an affine of the world."""
    points = np.moveaxis(np.indices(SHAPE, float), 0, -1)
    inverse = np.linalg.inv(affine)
    before = points @ inverse[:3, :3].T + inverse[:3, 3] - CENTRE
    along = np.where(before[..., :1] > 0, [1.0, 0, 0], [0, 0.6, 0.8])
    along = along @ affine[:3, :3].T
    inside = np.linalg.norm(before, axis=-1) < 6
    matrices = along[..., :, None] * along[..., None, :]
    return matrices[(..., *UPPER)] * inside[..., None]


def supported(moving, affine):
    alignment = Alignment(affine, "rigid", 9, 0.5, 0.4, CENTRE)
    both = Annotations(
        moving_orientations=moving, static_orientations=fibres(np.eye(4))
    )
    affines = {"static": np.eye(4), "moving": np.eye(4)}
    grid = Grid(SHAPE, np.eye(4))
    return alignment, supported_by_fibres(alignment, both, affines, grid)


@pytest.mark.parametrize(
    "moved", [turned(TURN), turned(np.eye(3), [3, 0, -2]), turned(TURN, [0, 2, 1])]
)
def test_an_alignment_is_kept_if_fibres_lie_so(moved):
    alignment, found = supported(fibres(moved), moved)
    assert found is alignment


@pytest.mark.parametrize("affine", [turned(TURN), turned(TURN.T, [0, 1, 0])])
def test_a_turn_that_fibres_do_not_show_is_not_used(affine, dipy_log):
    _, found = supported(fibres(np.eye(4)), affine)
    npt.assert_array_equal(found.affine, np.eye(4))
    assert (found.kind, found.runner_up) == ("none", 1)
    assert "Fibres do not support" in dipy_log.text


def test_images_without_fibres_are_aligned_as_they_are():
    alignment = Alignment(turned(TURN), "rigid", 9, 0.5, 0.4, CENTRE)
    grid = Grid(SHAPE, np.eye(4))
    assert supported_by_fibres(alignment, Annotations(), {}, grid) is alignment
