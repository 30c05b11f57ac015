"""Registration of fibres whose images are alike."""

import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg import register
from dipy_nn_reg.data.fibres import make_sheets
from dipy_nn_reg.diffusion.orientations import orientation_tensors
from dipy_nn_reg.diffusion.reorientation import Quantity
from dipy_nn_reg.diffusion.series import anisotropy_of
from dipy_nn_reg.mapping.maps import displacement_of

# Voxel and world axes differ in the sign of the first one.
AFFINE = np.diag([-2.0, 2, 2, 1])
QUANTITY = Quantity("tensors", "dipy")
ENTRIES = ([0, 0, 1, 0, 1, 2], [0, 1, 1, 2, 2, 2])


class Body:
    """A body of sheets: its image, its tensors and where they are."""

    def __init__(self, shape, displacement=None):
        _, tensors, self.sheets = make_sheets(shape=shape, displacement=displacement)
        self.matrices = tensors * (self.sheets > 0)[..., None, None]
        self.values = self.matrices[(..., *ENTRIES)]
        self.image = anisotropy_of(self.values)
        self.orientations = orientation_tensors(self.values, AFFINE, QUANTITY)


def pair(smooth_field, shape, largest):
    field = smooth_field(shape, sigma=min(shape) / 5, largest=largest)
    return Body(shape, field), Body(shape)


def found(moving, static, *, with_fibres=True, **options):
    """Return the displacement by which two bodies are registered."""
    fibres = {}
    if with_fibres:
        fibres = {
            "moving_orientations": moving.orientations,
            "static_orientations": static.orientations,
        }
    options = {"moving_affine": AFFINE, "static_affine": AFFINE, **options}
    mapping, outcome = register(
        moving.image, static.image, prealign=None, **fibres, **options
    )
    assert "optimized" in outcome.used
    return displacement_of(mapping)


def left_over(displacement, moving, static):
    """Return the mean angle in degrees between fibres after registration."""
    shape = static.sheets.shape
    read = np.moveaxis(displacement, -1, 0) + np.indices(shape)
    inside = map_coordinates((moving.sheets > 0) * 1.0, read, order=1) == 1
    inside &= static.sheets > 0
    channels = np.moveaxis(moving.matrices.reshape(*shape, 9), -1, 0)
    tensors = [map_coordinates(channel, read, order=1)[inside] for channel in channels]
    along = np.linalg.eigh(np.stack(tensors, -1).reshape(-1, 3, 3))[1][..., 2]
    jacobian = np.stack(np.gradient(displacement, axis=(0, 1, 2)), -1) + np.eye(3)
    along = np.linalg.solve(jacobian[inside], along[..., None])[..., 0]
    along /= np.linalg.norm(along, axis=-1, keepdims=True)
    true = np.linalg.eigh(static.matrices[inside])[1][..., 2]
    cosine = np.abs((along * true).sum(axis=-1)).clip(0, 1)
    return np.degrees(np.arccos(cosine)).mean()


def test_fibres_are_registered_where_images_show_nothing(smooth_field):
    moving, static = pair(smooth_field, (20, 22, 16), 3)
    still = np.zeros_like(moving.matrices[..., 0])
    assert left_over(still, moving, static) > 10
    assert left_over(found(moving, static), moving, static) < 5


@pytest.mark.slow
@pytest.mark.parametrize("transform", ["displacement", "velocity"])
def test_fibres_agree_to_five_degrees_where_anisotropy_leaves_fifteen(
    transform, smooth_field
):
    moving, static = pair(smooth_field, (40, 44, 24), 8)
    options = {"transform": transform}
    alone = found(moving, static, with_fibres=False, **options)
    assert left_over(alone, moving, static) > 15
    assert left_over(found(moving, static, **options), moving, static) < 5


@pytest.mark.slow
def test_the_order_in_which_voxels_are_stored_does_not_matter(smooth_field):
    moving, static = pair(smooth_field, (20, 22, 16), 3)
    as_stored = found(moving, static)
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = moving.image.shape[0] - 1
    moving.image, moving.orientations = moving.image[::-1], moving.orientations[::-1]
    flipped = found(moving, static, moving_affine=AFFINE @ flip)
    npt.assert_allclose(flipped, as_stored, atol=1e-3)


@pytest.mark.slow
def test_a_turned_image_is_registered_by_its_affine(smooth_field):
    moving, static = pair(smooth_field, (20, 22, 16), 3)
    as_stored = found(moving, static)
    # The world of the moving image is turned by a right angle about the first axis.
    turn = np.eye(4)
    turn[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    matrices = moving.orientations[..., np.array([[0, 1, 3], [1, 2, 4], [3, 4, 5]])]
    matrices = turn[:3, :3] @ matrices @ turn[:3, :3].T
    moving.orientations = matrices[(..., *ENTRIES)]
    mapping, _ = register(
        moving.image,
        static.image,
        prealign=turn,
        moving_affine=turn @ AFFINE,
        static_affine=AFFINE,
        moving_orientations=moving.orientations,
        static_orientations=static.orientations,
    )
    npt.assert_allclose(displacement_of(mapping), as_stored, atol=1e-3)


@pytest.mark.slow
def test_images_that_are_equal_may_have_other_fibres(smooth_field):
    moving, static = pair(smooth_field, (20, 22, 16), 3)
    moving.image = static.image
    assert left_over(found(moving, static), moving, static) < 6


@pytest.mark.parametrize(
    "change, message",
    [
        ({"static_orientations": None}, "of both images or of none.*moving_orien"),
        ({"moving_orientations": np.zeros((8, 9, 10, 6))}, "not 0 everywhere"),
        ({"moving_orientations": np.ones((8, 9, 10, 5))}, r"of shape \(8, 9, 10, 6\)"),
        ({"moving_orientations": np.full((8, 9, 10, 6), np.nan)}, "finite numbers"),
        ({"orientation_weight": -1}, "orientation_weight"),
    ],
)
def test_other_orientations_are_refused(change, message, rng):
    image = rng.random((8, 9, 10))
    fibres = np.ones((*image.shape, 6))
    options = {"moving_orientations": fibres, "static_orientations": fibres, **change}
    with pytest.raises(ValueError, match=message):
        register(image, image[::-1], prealign=None, **options)


def test_images_of_two_axes_have_no_orientations(rng):
    image, fibres = rng.random((8, 9)), np.ones((8, 9, 6))
    with pytest.raises(ValueError, match="three axes with orientations"):
        register(image, image, moving_orientations=fibres, static_orientations=fibres)
