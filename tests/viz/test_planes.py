import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.viz.planes import Planes, cut, middle

SHAPE = (5, 6, 7)
ORIENTATIONS = ["RAS", "LPI", "LAS", "ASR", "PIL"]


def affine_of(codes, sizes=(1, 2, 3)):
    """Return the affine of an image whose axes lead to ``codes``."""
    turn = nib.orientations.axcodes2ornt(codes)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (world, sign) in enumerate(turn):
        affine[int(world), axis] = sign * sizes[axis]
    return affine


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_a_volume_is_turned_as_nibabel_turns_it(codes, rng):
    image, affine = rng.random(SHAPE), affine_of(codes)
    planes = Planes(SHAPE, affine)
    expected = nib.Nifti1Image(image, affine).as_reoriented(
        nib.orientations.ornt_transform(
            nib.io_orientation(affine), nib.orientations.axcodes2ornt("LPI")
        )
    )
    npt.assert_array_equal(planes.turn(image), expected.get_fdata())
    assert nib.aff2axcodes(expected.affine) == ("L", "P", "I")
    npt.assert_allclose(planes.turn_affine(affine, SHAPE), expected.affine)
    sizes = expected.header.get_zooms()
    for plane in planes.planes:
        assert plane.aspect == pytest.approx(sizes[plane.rows] / sizes[plane.columns])


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_the_right_of_a_person_is_at_the_left_and_the_front_above(codes):
    """The image has one bright voxel, farthest to the right, to the front and up."""
    affine = affine_of(codes)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in SHAPE])).reshape(3, -1).T
    world = nib.affines.apply_affine(affine, corners)
    image = np.zeros(SHAPE)
    image[tuple(corners[world.sum(1).argmax()])] = 1
    planes = Planes(SHAPE, affine)
    turned = planes.turn(image)
    for plane in planes.planes:
        drawn = cut(turned, plane, 0)
        row, column = np.argwhere(drawn)[0]
        edges = dict(zip(("left", "right", "top", "bottom"), plane.edges))
        assert column == 0 and edges["left"] in "RA"
        assert row == 0 and edges["top"] in "AS"


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_a_field_turns_with_its_components(codes, rng):
    """The displacement of a voxel points to the same voxel before and after."""
    field, affine = rng.normal(size=(*SHAPE, 3)), affine_of(codes)
    planes = Planes(SHAPE, affine)
    turned = planes.turn_field(field)
    positions = np.moveaxis(np.indices(SHAPE), 0, -1)
    # A displacement by one voxel is one voxel long in the turned grid as well.
    before = planes.turn((positions + field) - positions)
    npt.assert_allclose(
        np.linalg.norm(turned, axis=-1), np.linalg.norm(before, axis=-1)
    )
    ramp = planes.turn(positions.astype(float))
    for axis in range(3):
        step = np.gradient(ramp, axis=axis)  # change of the old positions along it
        npt.assert_allclose((step * before).sum(-1), turned[..., axis], atol=1e-12)


def test_two_axes_are_rows_and_columns(rng):
    image = rng.random((4, 5))
    planes = Planes(image.shape)
    (plane,) = planes.planes
    assert plane.edges == () and plane.aspect == 1
    npt.assert_array_equal(cut(planes.turn(image), plane, 0), image)
    npt.assert_array_equal(planes.turn_field(rng.random((4, 5, 2))).shape, (4, 5, 2))


def test_a_single_slice_has_one_plane():
    (plane,) = Planes((5, 6, 1), np.eye(4)).planes
    assert plane.name == "axial"


def test_planes_without_an_affine_have_no_letters():
    assert all(plane.edges == () for plane in Planes(SHAPE).planes)


def test_the_middle_is_the_centre_of_the_bounding_box():
    mask = np.zeros((9, 9), bool)
    mask[2:5, 6] = True
    assert middle(mask) == [3, 6]
    assert middle(np.zeros((4, 6), bool)) == [2, 3]
