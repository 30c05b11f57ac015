from base64 import b64decode
from io import BytesIO

from nibabel.affines import apply_affine
import numpy as np
import numpy.testing as npt
from PIL import Image
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.metrics.images import to_unit_range
from dipy_nn_reg.quality.applied import apply_map
from dipy_nn_reg.quality.slices import choose_slices
from dipy_nn_reg.quality.views import overlap, views_of
from dipy_nn_reg.viz.planes import Planes, cut

SHAPE = (26, 30, 22)
STATIC = np.diag([-2.0, 2.0, 3.0, 1.0])


def picture(url):
    return np.asarray(Image.open(BytesIO(b64decode(url.split(",")[1]))))


def ball(shape, affine, center, radius):
    """Return a smooth ball around a world coordinate."""
    distances = np.linalg.norm(Grid(shape, affine).points() - center, axis=1)
    return gaussian_filter((distances < radius).reshape(shape).astype(float), 1)


def make_pair(*, moving_affine=STATIC, moving_shape=SHAPE, prealign=None, shift=0):
    """Return a pair of balls, of which the moving one lies in its own centre."""
    images = []
    for shape, affine in ((moving_shape, moving_affine), (SHAPE, STATIC)):
        middle = apply_affine(affine, (np.array(shape) - 1) / 2)
        images.append(ball(shape, affine, middle, 15))
    field = np.zeros((*SHAPE, 3), np.float32)
    field[..., 0] = shift
    mapping = displacement_to_mapping(
        field,
        inverse=-field,
        static_affine=STATIC,
        moving_affine=moving_affine,
        moving_shape=moving_shape,
        prealign=prealign,
    )
    return apply_map(mapping, *images)


def test_the_moving_image_is_where_its_header_has_it():
    moving_affine = np.eye(4)
    turn = Rotation.from_euler("xyz", [15, 40, -20], degrees=True).as_matrix()
    moving_affine[:3, :3] = turn * [1.5, 2, 2.5]
    # The centres of both grids are 6 mm apart.
    middle = apply_affine(STATIC, (np.array(SHAPE) - 1) / 2) + [0, 6, 0]
    moving_affine[:3, 3] = middle - moving_affine[:3, :3] @ [12, 11, 10]
    prealign = np.eye(4)
    prealign[:3, 3] = [0, 25, 0]  # changes nothing here
    pair = make_pair(
        moving_affine=moving_affine, moving_shape=(25, 23, 21), prealign=prealign
    )
    places = apply_affine(np.linalg.inv(moving_affine), Grid(SHAPE, STATIC).points())
    expected = map_coordinates(
        to_unit_range(pair.moving), places.T, order=1, mode="grid-constant"
    )
    planes = Planes(SHAPE, STATIC)
    turned = planes.turn(expected.reshape(SHAPE))
    object_ = planes.turn(to_unit_range(pair.static)) > 0
    views = views_of(pair)
    assert [view["plane"] for view in views] == planes.planes
    for view in views:
        assert view["moving"]["at_header"]
        assert view["moving"]["grid"] == view["grid"]
        indices = choose_slices(object_, view["plane"])
        slices = [cut(turned, view["plane"], index) for index in indices]
        found = picture(view["moving"]["url"])
        npt.assert_allclose(found, 255 * np.concatenate(slices), atol=1)
        # Nothing of the image is hatched, though part of the air is.
        hatched = picture(view["moving"]["outside"])[..., 3] > 0
        assert hatched.any() and not hatched[found > 2].any()
        assert found.max() > 200


def test_a_moving_image_elsewhere_is_shown_on_its_own_grid():
    moving_affine = np.diag([1.0, 1.0, 5.0, 1.0])
    moving_affine[:3, 3] = 400
    pair = make_pair(moving_affine=moving_affine, moving_shape=(40, 44, 9))
    for view in views_of(pair):
        moving = view["moving"]
        assert not moving["at_header"]
        pixels = picture(moving["url"])
        rows, columns = {"axial": (44, 40), "coronal": (9, 40), "sagittal": (9, 44)}[
            view["plane"].name
        ]
        assert pixels.shape == (rows * moving["grid"]["slices"], columns)
        assert pixels.max() == 255
        tall = 5 if rows == 9 else 1
        assert moving["grid"]["aspect"] == pytest.approx(columns / (rows * tall))


def test_a_plane_that_a_slice_lacks_has_no_moving_image():
    moving_affine = np.eye(4)
    moving_affine[:3, 3] = 400
    pair = make_pair(moving_affine=moving_affine, moving_shape=(40, 44, 1))
    shown = {view["plane"].name: view["moving"] for view in views_of(pair)}
    assert shown["axial"] and shown["coronal"] is shown["sagittal"] is None


def test_only_voxels_outside_are_marked():
    assert all(view["outside"] is None for view in views_of(make_pair()))
    pair = make_pair(shift=9)  # points out of the image at the end of the first axis
    planes = Planes(SHAPE, STATIC)
    outside = planes.turn(~pair.covered)
    assert 0.2 < outside.mean() < 0.5
    object_ = planes.turn(to_unit_range(pair.static)) > 0
    for view in views_of(pair):
        marked = picture(view["outside"])[..., 3] > 0
        indices = choose_slices(object_, view["plane"])
        slices = [cut(outside, view["plane"], index) for index in indices]
        slices = np.concatenate(slices)
        assert not marked[~slices].any()
        difference = picture(view["layers"]["difference"])[slices].astype(int)
        assert np.all(difference > 240)  # white: nothing is known there
        if view["plane"].name != "sagittal":
            assert marked.any()


@pytest.mark.parametrize("sign", [1, -1])
def test_the_difference_does_not_see_brightness(sign):
    pair = make_pair()
    pair = pair._replace(warped=(40 + sign * 7 * pair.static**2).astype(np.float32))
    for view in views_of(pair):
        pixels = picture(view["layers"]["difference"]).astype(int)
        assert np.percentile(np.abs(pixels - 247), 99) < 30  # white nearly everywhere
    moved = pair._replace(warped=np.roll(pair.warped, 6, axis=1))
    for view in views_of(moved):
        if view["plane"].name == "axial":
            pixels = picture(view["layers"]["difference"]).astype(int)
            assert np.percentile(np.abs(pixels - 247), 90) > 60


def test_the_overlap_is_a_fraction_of_the_smaller_grid():
    large = Grid((100, 100, 100), np.eye(4))
    inner, half, away = np.eye(4), np.eye(4), np.eye(4)
    inner[:3, 3], half[0, 3], away[0, 3] = 20, 50, 100
    assert overlap(large, Grid((10, 60, 30), inner)) == 1
    assert overlap(large, Grid((100, 100, 100), half)) == pytest.approx(0.5, abs=0.04)
    assert overlap(Grid((100, 100, 100), away), large) == 0
    flat = Grid((50, 60), np.diag([2.0, 2.0, 1.0]))
    assert overlap(flat, flat) == 1
