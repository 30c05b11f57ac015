import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg.io.nifti import Image
from dipy_nn_reg.mapping.affines import grid_points
from dipy_nn_reg.mapping.grid import Grid, static_grid
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.mapping.resampling import (
    inverse_error,
    resample,
    to_moving,
    to_static,
    warp_image,
)


def test_points_move_to_the_positions_at_which_the_image_is_read(pair):
    mapping = pair.make_mapping()
    points = grid_points(pair.field.shape[:-1], pair.static_affine)
    there = to_moving(points, [mapping])
    read = map_coordinates(
        pair.moving,
        apply(np.linalg.inv(pair.moving_affine), there).T,
        order=1,
        mode="grid-constant",
    )
    npt.assert_allclose(read, mapping.transform(pair.moving).ravel(), atol=1e-5)


def apply(affine, points):
    return points @ affine[:-1, :-1].T + affine[:-1, -1]


def test_maps_and_affines_are_applied_in_order(scene):
    mapping, affine = scene(3, True).make_mapping(), scene(3, True).prealign
    points = np.random.default_rng(0).normal(size=(10, 3))
    expected = apply(affine, np.asarray(mapping.transform_points(points)))
    npt.assert_allclose(to_moving(points, [mapping, affine]), expected, atol=1e-9)
    expected = np.asarray(
        mapping.transform_points_inverse(apply(np.linalg.inv(affine), points))
    )
    npt.assert_allclose(to_static(points, [mapping, affine]), expected, atol=1e-9)


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
    with pytest.raises(ValueError, match=r"interpolation.*'linear'.*'cubic'"):
        resample(
            np.zeros((3, 3)),
            np.eye(3),
            lambda points: points,
            Grid((3, 3), np.eye(3)),
            interpolation="cubic",
        )


def test_the_inverse_error_is_a_distance_in_mm(scene):
    pair = scene(3, False)
    mapping = pair.make_mapping(inverse=np.zeros_like(pair.field))
    # With an inverse of zero, points stay where the field moves them.
    expected = np.linalg.norm(pair.field @ pair.static_affine[:3, :3].T, axis=-1).mean()
    found = inverse_error([mapping], static_grid(mapping))
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_inverse_error_of_many_voxels_is_that_of_every_second(scene, monkeypatch):
    monkeypatch.setattr("dipy_nn_reg.mapping.resampling._MANY_VOXELS", 100)
    pair = scene(3, False)
    mapping = pair.make_mapping(inverse=np.zeros_like(pair.field))
    lengths = np.linalg.norm(pair.field @ pair.static_affine[:3, :3].T, axis=-1)
    found = inverse_error([mapping], static_grid(mapping))
    assert found == pytest.approx(lengths[::2, ::2, ::2].mean(), rel=1e-4)
    assert found != pytest.approx(lengths.mean(), rel=1e-4)


@pytest.mark.parametrize("ndim", [2, 3])
def test_points_that_are_not_finite_become_nan(ndim):
    """DIPY would end the process."""
    still = np.zeros((*[6] * ndim, ndim), np.float32)
    maps = [displacement_to_mapping(still, inverse=still)]
    points = np.full((3, ndim), 2.0)
    points[1, 0], points[2, 0] = np.nan, np.inf
    for move in (to_moving, to_static):
        moved = move(points, maps)
        npt.assert_allclose(moved[0], points[0])
        assert np.isnan(moved[1:]).all()


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


@pytest.mark.parametrize(
    ("points", "affine"),
    [
        (np.zeros((3, 3)), np.zeros((4, 4))),
        (np.zeros((3, 3)), np.full((4, 4), np.nan)),
        (np.zeros((3, 2)), np.eye(4)),
        (np.zeros(3), np.eye(4)),
        (np.zeros((3, 4)), np.eye(4)),
        (np.full((3, 3), "a"), np.eye(4)),
    ],
)
def test_invalid_points_and_affines_are_refused(points, affine):
    for move in (to_moving, to_static):
        with pytest.raises(ValueError, match="Expected"):
            move(points, [affine])
