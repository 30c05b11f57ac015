import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg.mapping.affines import grid_points
from dipy_nn_reg.mapping.grid import static_grid
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.mapping.points import inverse_error, to_moving, to_static


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
    npt.assert_allclose(to_static(expected, [mapping, affine]), points, atol=2e-3)


def test_the_inverse_error_is_a_distance_in_mm(scene):
    pair = scene(3, False)
    mapping = pair.make_mapping(inverse=np.zeros_like(pair.field))
    # With an inverse of zero, points stay where the field moves them.
    expected = np.linalg.norm(pair.field @ pair.static_affine[:3, :3].T, axis=-1).mean()
    found = inverse_error([mapping], static_grid(mapping))
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_inverse_error_of_many_voxels_is_that_of_every_second(scene, monkeypatch):
    monkeypatch.setattr("dipy_nn_reg.mapping.points._MANY_VOXELS", 100)
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


@pytest.mark.parametrize("ndim, other", [(2, 3), (3, 2)])
def test_maps_of_another_number_of_axes_are_refused(ndim, other):
    mapping = displacement_to_mapping(np.zeros((*(5, 6, 7)[:other], other), np.float32))
    for move in (to_moving, to_static):
        with pytest.raises(ValueError, match=f"map in {ndim}D .*one in {other}D"):
            move(np.ones((4, ndim)), [np.eye(ndim + 1), mapping])


@pytest.mark.parametrize("move", [to_moving, to_static])
@pytest.mark.parametrize("maps", [[], [np.eye(4)]])
def test_points_are_not_returned_themselves(move, maps):
    points = np.ones((4, 3))
    move(points, maps)[:] = 7
    npt.assert_array_equal(points, 1)


@pytest.mark.parametrize("change", [lambda w: w.astype(int), lambda w: w[0]])
def test_the_voxels_of_an_inverse_error_are_chosen_by_bool(change):
    mapping = displacement_to_mapping(np.zeros((5, 6, 7, 3), np.float32))
    where = change(np.ones((5, 6, 7), bool))
    with pytest.raises(ValueError, match=r"where to be of bool, of shape \(5, 6, 7\)"):
        inverse_error([mapping], static_grid(mapping), where=where)


def saw(voxels):
    """Return what is read from 0.3 at even voxels, and 0 at odd ones."""
    return 0.3 * np.abs(1 - voxels % 2)


@pytest.mark.parametrize("prealigned", [False, True])
@pytest.mark.parametrize("ndim", [2, 3])
def test_points_between_voxels_come_back_exactly(ndim, prealigned, scene, rng):
    pair = scene(ndim, prealigned)
    pair.field = np.zeros_like(pair.field)
    pair.field[::2, ..., 0] = 0.3
    voxels = rng.uniform(2, 16, (500, ndim))
    moved = voxels.copy()
    moved[:, 0] += saw(voxels[:, 0])  # linear between two voxels
    there = apply(pair.static_affine, moved)
    if prealigned:
        there = apply(pair.prealign, there)
    expected = apply(pair.static_affine, voxels)
    npt.assert_allclose(to_static(there, [pair.make_mapping()]), expected, atol=2e-3)


@pytest.mark.parametrize("is_inverse", [True, False])
def test_points_come_back_through_a_rough_map_in_either_layout(
    is_inverse, scene, smooth_field, rng
):
    pair = scene(3, True)
    rough = smooth_field(pair.field.shape[:-1], sigma=1, largest=0.8)
    pair.field = pair.field / 2 + rough
    maps = [pair.make_mapping()]
    maps[0].is_inverse = is_inverse
    if not is_inverse:
        maps[0].forward, maps[0].backward = maps[0].backward, maps[0].forward
    inside = np.array(pair.field.shape[:-1]) - 5.0
    points = apply(pair.static_affine, rng.uniform(4, inside, (2000, 3)))
    if not is_inverse:  # the field comes after the affine
        points = apply(np.linalg.inv(maps[0].prealign), points)
    back = to_static(to_moving(points, maps), maps)
    npt.assert_allclose(back, points, atol=5e-3)
    assert inverse_error(maps, static_grid(maps[0])) > 0.02  # what the map stores


@pytest.mark.parametrize("ndim", [2, 3])
def test_where_a_map_folds_points_come_back_no_worse_than_stored(
    ndim, smooth_field, rng
):
    field = smooth_field((15,) * ndim, sigma=1, largest=4)
    maps = [displacement_to_mapping(field)]
    points = rng.uniform(-3, 18, (3000, ndim))  # also beyond the grid

    def distance(back):
        return np.linalg.norm(to_moving(back, maps) - points, axis=1)

    stored = distance(np.asarray(maps[0].transform_points_inverse(points)))
    found = distance(to_static(points, maps))
    assert np.all(found <= np.maximum(stored, 1e-3))
    assert np.mean(found > 1e-3) < np.mean(stored > 1e-3)
