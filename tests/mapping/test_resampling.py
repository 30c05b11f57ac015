from nibabel.affines import apply_affine
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg.io.nifti import Image
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.points import to_moving
from dipy_nn_reg.mapping.resampling import ORDERS, resample, warp_image


def test_two_maps_interpolate_once(scene):
    """Repeated linear interpolation keeps a ramp, but not a checkerboard."""
    scenes = scene(3, False)
    shift = np.eye(4)
    shift[:3, 3] = scenes.static_affine[:3, 0] / 2  # half a voxel
    back = np.linalg.inv(shift)
    image = np.indices(scenes.field.shape[:-1]).sum(0) % 2.0
    same = Image(image, scenes.static_affine, None, None)
    npt.assert_allclose(warp_image(same, same, [shift, back]), image, atol=1e-5)


@pytest.mark.parametrize("volumes", [None, 4])
def test_resampling_agrees_with_the_map_of_dipy(volumes, pair):
    mapping = pair.make_mapping()
    expected = mapping.transform(pair.moving)
    moving = pair.moving
    if volumes:
        factors = np.arange(1, volumes + 1)
        moving, expected = moving[..., None] * factors, expected[..., None] * factors
    found = resample(
        moving,
        pair.moving_affine,
        lambda points: to_moving(points, [mapping]),
        Grid(pair.field.shape[:-1], pair.static_affine),
    )
    assert found.dtype == np.float32
    npt.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("interpolation", ORDERS)
@pytest.mark.parametrize("volumes", [None, 3])
@pytest.mark.parametrize("shape", [(9, 8), (7, 8, 5)])
def test_affines_alone_are_those_of_scipy(shape, volumes, interpolation, rng):
    ndim = len(shape)
    image = np.asfortranarray(rng.random((*shape, *[volumes][: volumes is not None])))
    affines = np.eye(ndim + 1) + np.zeros((4, 1, 1))
    affines[:, :-1] += 0.2 * rng.normal(size=(4, ndim, ndim + 1))
    to_world, *maps, grid_affine = affines
    grid = Grid((6, 9, 7)[:ndim], grid_affine)
    options = {"interpolation": interpolation, "fill": 0.3}
    found = resample(image, to_world, maps, grid, **options)
    expected = resample(image, to_world, lambda p: to_moving(p, maps), grid, **options)
    npt.assert_allclose(found, expected, atol=1e-6)
    to_voxels = np.linalg.inv(to_world) @ maps[1] @ maps[0] @ grid_affine
    voxels = apply_affine(to_voxels, np.indices(grid.shape).reshape(ndim, -1).T).T
    first = image if volumes is None else image[..., 0]
    by_scipy = map_coordinates(
        np.pad(first, 30, constant_values=0.3),
        voxels + 30,
        order=ORDERS[interpolation],
    )
    first = found if volumes is None else found[..., 0]
    npt.assert_allclose(first.ravel(), by_scipy, atol=1e-5)


def test_labels_keep_values_and_type(scene):
    pair = scene(3, True)
    labels = np.random.default_rng(0).choice([0, 7, 40000], size=pair.moving.shape)
    labels = labels.astype(np.uint16)
    found = resample(
        labels,
        pair.moving_affine,
        lambda points: to_moving(points, [pair.make_mapping()]),
        Grid(pair.field.shape[:-1], pair.static_affine),
        interpolation="nearest",
    )
    assert found.dtype == np.uint16
    assert set(np.unique(found)) == {0, 7, 40000}


def test_unknown_interpolation_is_refused():
    with pytest.raises(ValueError, match=r"interpolation.*'linear'.*'sinc'"):
        resample(
            np.zeros((3, 3)),
            np.eye(3),
            lambda points: points,
            Grid((3, 3), np.eye(3)),
            interpolation="sinc",
        )


@pytest.mark.parametrize("fill", [0.0, -1000.0])
def test_an_image_fades_to_the_fill_value_outside(fill, rng):
    image = rng.random((6, 7, 5)) + 5
    far = np.eye(4)
    far[0, 3] = 5.5
    grid = Grid((6, 7, 5), far)
    found = resample(image, np.eye(4), lambda points: points, grid, fill=fill)
    npt.assert_allclose(found[0], (image[5] + fill) / 2, rtol=1e-6)
    npt.assert_array_equal(found[1:], fill)


def test_by_default_images_are_filled_with_background_and_labels_with_zero(rng):
    def at(place, data):
        affine = np.eye(4)
        affine[0, 3] = place
        return Image(data, affine, None, None)

    series = np.full((8, 8, 8, 2), [-1000.0, 7.0])
    series[3:5, 3:5, 3:5] = 40
    static = at(100, np.zeros((4, 4, 4)))
    npt.assert_array_equal(warp_image(at(0, series), static, [])[0, 0, 0], [-1000, 7])
    labels = at(0, np.ones((5, 5, 5), np.uint8))
    assert not warp_image(labels, static, [], interpolation="nearest").any()
    npt.assert_array_equal(warp_image(at(0, series), static, [], fill=3.0), 3)


def test_large_values_keep_their_contrast(rng):
    image = 1e9 + rng.random((6, 6, 6))
    found = resample(image, np.eye(4), lambda x: x, Grid((6, 6, 6), np.eye(4)))
    npt.assert_allclose(found, image, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "dtype", [bool, np.float16, np.uint8, ">i4", np.float64, np.longdouble]
)
def test_images_of_any_type_are_resampled(dtype, rng):
    image = (10 * rng.random((5, 6, 4))).astype(dtype)
    grid = Grid(image.shape, np.eye(4))
    for interpolation in ("linear", "nearest"):
        found = resample(
            image, np.eye(4), lambda x: x, grid, interpolation=interpolation
        )
        npt.assert_allclose(found, image, rtol=1e-6)
    npt.assert_array_equal(found, image)
    assert found.dtype == image.dtype


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("fill", [0.0, -1000.0])
def test_cubic_interpolation_is_that_of_scipy(fill, ndim, rng):
    image = rng.random((13, 2, 7)[:ndim]) + 5
    points = rng.uniform(-3, 14, (15 * 4 * 8, 3))[:, :ndim]
    grid = Grid((15, 32) if ndim == 2 else (15, 4, 8), np.eye(ndim + 1))
    sent = iter(np.split(points, 15))
    found = resample(
        image,
        np.eye(ndim + 1),
        lambda _: next(sent),
        grid,
        interpolation="cubic",
        fill=fill,
    )
    expected = map_coordinates(
        image, points.T, order=3, mode="grid-constant", cval=fill
    )
    npt.assert_allclose(found.ravel(), expected, atol=1e-6 * (1 + abs(fill)))


@pytest.mark.parametrize("fill", [(1.0, 2.0), np.zeros((3, 1))])
def test_fills_of_another_number_of_volumes_are_refused(fill):
    with pytest.raises(ValueError, match="one for each of 3 volumes. Received fill.sh"):
        resample(
            np.ones((4, 4, 3)),
            np.eye(3),
            lambda x: x,
            Grid((4, 4), np.eye(3)),
            fill=fill,
        )
    with pytest.raises(ValueError, match=r"grid to be a Grid. Received \(4, 4\)"):
        resample(np.ones((4, 4)), np.eye(3), lambda x: x, (4, 4))


def test_large_integers_are_filled_exactly():
    value = 2**53 + 1
    found = resample(
        np.zeros((2, 2), np.int64),
        np.eye(3),
        lambda x: x + 9,
        Grid((2, 2), np.eye(3)),
        interpolation="nearest",
        fill=value,
    )
    assert found.dtype == np.int64 and np.all(found == value)


def test_a_fill_that_labels_cannot_hold_is_refused():
    labels, grid = np.ones((3, 3), np.uint8), Grid((3, 3), np.eye(3))
    for fill in (150.7, 300.0, -1.0):
        with pytest.raises(ValueError, match=f"fill.*uint8. Received {fill}"):
            resample(
                labels,
                np.eye(3),
                lambda x: x + 9,
                grid,
                interpolation="nearest",
                fill=fill,
            )
