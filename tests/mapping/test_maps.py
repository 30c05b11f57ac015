import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg.mapping import maps
from dipy_nn_reg.mapping.affines import check_affine
from dipy_nn_reg.mapping.inversion import invert_displacement


def read_where_it_should_be(moving, world_to_moving, prealign, static_affine, field):
    """Warp an image by SciPy, from the definition."""
    voxels = np.moveaxis(np.indices(field.shape[:-1], dtype=float), 0, -1) + field
    total = world_to_moving @ prealign @ static_affine
    positions = voxels @ total[:-1, :-1].T + total[:-1, -1]
    return map_coordinates(
        moving, np.moveaxis(positions, -1, 0), order=1, mode="grid-constant"
    )


def test_the_map_reads_the_moving_image_where_it_should(pair):
    mapping = pair.make_mapping()
    expected = read_where_it_should_be(
        pair.moving,
        np.linalg.inv(pair.moving_affine),
        np.eye(len(pair.static_affine)) if pair.prealign is None else pair.prealign,
        pair.static_affine,
        pair.field,
    )
    assert np.ptp(expected) > 0.1
    npt.assert_allclose(mapping.transform(pair.moving), expected, atol=1e-6)


def test_a_map_and_its_displacement_are_one(pair):
    inverse = -0.9 * pair.field
    mapping = pair.make_mapping(inverse=inverse)
    displacement, back = maps.mapping_to_displacement(mapping)
    npt.assert_allclose(displacement, pair.field, atol=1e-5)
    npt.assert_allclose(back, inverse, atol=1e-5)


def test_without_affines_the_map_is_in_voxels(scene):
    pair = scene(3, False)
    mapping = maps.displacement_to_mapping(pair.field)
    npt.assert_array_equal(mapping.backward, pair.field)


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_inverse_of_a_displacement_brings_points_back(ndim, smooth_field):
    field = smooth_field((28,) * ndim, sigma=4, largest=2)
    field *= window((28,) * ndim)[..., None]  # nothing leaves the grid
    inverse = invert_displacement(field)
    grid = np.moveaxis(np.indices(field.shape[:-1], dtype=float), 0, -1)
    there = grid + inverse
    back = there + np.stack(
        [
            map_coordinates(field[..., d], np.moveaxis(there, -1, 0), order=1)
            for d in range(ndim)
        ],
        axis=-1,
    )
    assert np.linalg.norm(back - grid, axis=-1).mean() < 0.02


def window(shape):
    """Return a factor that falls to 0 towards the border."""
    axes = [np.hanning(n + 2)[1:-1] for n in shape]
    return np.prod(np.meshgrid(*axes, indexing="ij"), axis=0)


def test_the_inverse_of_a_map_is_laid_out_as_a_map(pair):
    mapping = pair.make_mapping()
    inverse = maps.invert_mapping(mapping)
    assert tuple(inverse.codomain_shape) == pair.moving.shape
    static = np.random.default_rng(3).random(pair.field.shape[:-1])
    npt.assert_allclose(
        inverse.transform(static), mapping.transform_inverse(static), atol=1e-4
    )


def test_a_field_of_two_axes_makes_a_map_of_one_slice(scene):
    flat, solid = scene(2, False), scene(3, False)
    mapping = maps.displacement_to_mapping(
        flat.field,
        static_affine=solid.static_affine,
        moving_shape=flat.moving.shape,
        moving_affine=solid.static_affine,
    )
    expected = maps.displacement_to_mapping(flat.field, moving_shape=flat.moving.shape)
    npt.assert_allclose(
        mapping.transform(flat.moving[..., None])[..., 0],
        expected.transform(flat.moving),
        atol=1e-5,
    )
    lifted = maps.lift_mapping(expected)
    npt.assert_allclose(
        lifted.transform(flat.moving[..., None])[..., 0],
        expected.transform(flat.moving),
        atol=1e-6,
    )


def test_a_map_of_syn_is_understood(scene):
    from dipy.align import VerbosityLevels
    from dipy.align.imwarp import SymmetricDiffeomorphicRegistration
    from dipy.align.metrics import SSDMetric

    pair = scene(2, False)
    static = pair.moving[:, ::-1].copy()
    syn = SymmetricDiffeomorphicRegistration(SSDMetric(2), level_iters=[10, 5])
    syn.verbosity = VerbosityLevels.NONE
    mapping = syn.optimize(static, pair.moving)
    displacement, inverse = maps.mapping_to_displacement(mapping)
    again = maps.displacement_to_mapping(displacement, inverse=inverse)
    npt.assert_allclose(
        again.transform(pair.moving), mapping.transform(pair.moving), atol=1e-6
    )
    npt.assert_allclose(
        again.transform_inverse(static), mapping.transform_inverse(static), atol=1e-6
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"static_affine": np.eye(3)}, r"static_affine of shape \(4, 4\).*\(3, 3\)"),
        ({"moving_affine": np.diag([1, 1, 0, 1])}, "moving_affine that can be inv"),
        ({"prealign": np.full((4, 4), np.nan)}, "prealign with finite values"),
        ({"prealign": np.ones((4, 4))}, "its last row"),
        ({"inverse": np.zeros((2, 2, 2, 3))}, r"inverse of shape \(5, 5, 5, 3\)"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        maps.displacement_to_mapping(np.zeros((5, 5, 5, 3)), **options)


def test_what_is_no_field_is_refused():
    with pytest.raises(ValueError, match=r"displacement of shape.*\(5, 5, 3\)"):
        maps.displacement_to_mapping(np.zeros((5, 5, 3)))


def test_small_voxels_can_be_inverted():
    affine = np.diag([1e-4, 1e-4, 1e-4, 1])
    assert check_affine(affine, name="affine", ndim=3) is not None


def invert_by_scipy(field):
    """Return the inverse by a damped fixed-point iteration, the border repeated."""
    ndim = field.shape[-1]
    grid = np.moveaxis(np.indices(field.shape[:-1], float), 0, -1)
    inverse = -field.astype(float)
    for _ in range(300):
        at = np.moveaxis(grid + inverse, -1, 0)
        there = [
            map_coordinates(field[..., d].astype(float), at, order=1, mode="nearest")
            for d in range(ndim)
        ]
        inverse = 0.3 * inverse - 0.7 * np.stack(there, axis=-1)
    return inverse


@pytest.mark.parametrize(
    "shape",
    [
        *[(20, 21), (20, 21, 19), (20, 21, 2), (20, 1), (1, 20)],
        *[(1, 20, 21), (20, 1, 21), (20, 21, 1), (2, 20, 21), (20, 2, 21), (1, 1, 20)],
    ],
    ids=str,
)
def test_the_inverse_is_right_up_to_the_last_plane(shape, smooth_field):
    field = smooth_field(shape, sigma=3, largest=2)
    inverse = invert_displacement(field)
    expected = invert_by_scipy(field)
    assert inverse.dtype == np.float32
    npt.assert_allclose(inverse, expected, atol=0.03)
    assert np.abs(inverse - expected).mean() < 1e-3
    for axis in range(len(shape)):
        for end in (0, -1):
            plane = np.take(inverse - expected, end, axis=axis)
            assert np.abs(plane).mean() < 3e-3


@pytest.mark.parametrize("shape", [(9, 10), (9, 10, 1), (1, 9, 10), (9, 1, 10)])
def test_the_inverse_of_an_affine_displacement_is_known(shape):
    ndim = len(shape)
    rng = np.random.default_rng(0)
    matrix = rng.uniform(-0.15, 0.15, (ndim, ndim)) * (np.array(shape) > 1)
    grid = np.moveaxis(np.indices(shape, float), 0, -1) - 4
    inverse = invert_displacement(grid @ matrix.T)
    known = grid @ (np.linalg.inv(np.eye(ndim) + matrix) - np.eye(ndim)).T
    # Where the way back begins inside of the grid.
    start = grid + known + 4
    inside = np.all(
        (start >= 0) & (start <= np.array(shape) - 1) | (np.array(shape) == 1), -1
    )
    assert inside.mean() > 0.5
    npt.assert_allclose(inverse[inside], known[inside], atol=0.02)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_constant_displacement_has_its_negative_everywhere(ndim):
    field = np.full((8,) * ndim + (ndim,), 5.0)
    npt.assert_allclose(invert_displacement(field), -field, atol=2e-3)


@pytest.mark.parametrize("kind", ["memmap", "read-only", "Fortran", "big-endian"])
def test_any_array_is_inverted(kind, smooth_field, tmp_path):
    field = smooth_field((8, 9), sigma=2, largest=1)
    expected = maps.displacement_to_mapping(field).forward
    np.save(tmp_path / "field.npy", field)
    if kind == "memmap":
        field = np.load(tmp_path / "field.npy", mmap_mode="r")
    elif kind == "read-only":
        field.setflags(write=False)
    elif kind == "Fortran":
        field = np.asfortranarray(field)
    else:
        field = field.astype(">f4")
    before = np.array(field)
    npt.assert_array_equal(maps.displacement_to_mapping(field).forward, expected)
    npt.assert_array_equal(field, before)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["displacement", "inverse"])
def test_what_is_not_finite_makes_no_map(name, value, ndim):
    fields = {
        n: np.zeros((6, 7, 5)[:ndim] + (ndim,)) for n in ("displacement", "inverse")
    }
    fields[name][(3,) * ndim] = value
    with pytest.raises(ValueError, match=f"finite values in {name}.*{ndim} of"):
        maps.displacement_to_mapping(**fields)
    with pytest.raises(ValueError, match="finite values"):
        invert_displacement(fields[name])


def test_what_overflows_in_mm_makes_no_map():
    field = np.full((6, 7, 2), 1e38)
    with pytest.raises(ValueError, match="finite values"):
        maps.displacement_to_mapping(
            field,
            inverse=field,
            static_affine=np.diag([10, 10, 1]),
            moving_affine=np.eye(3),
        )


@pytest.mark.parametrize("shape", [(5,), (5, 5, 5), (5, 0), (5.5, 5), "ab", (5, -1)])
def test_the_size_of_the_moving_image_is_checked(shape):
    with pytest.raises(ValueError, match="moving_shape"):
        maps.displacement_to_mapping(np.zeros((6, 7, 2)), moving_shape=shape)


def _spoilt(name, value):
    def change(mapping):
        setattr(mapping, name, value)
        return mapping

    return change


NO_MAPS = {
    "None": lambda mapping: None,
    "text": lambda mapping: "text",
    "class": type,
    "array": lambda mapping: mapping.backward,
    "no field": _spoilt("backward", None),
    "no inverse": _spoilt("forward", None),
    "four axes": _spoilt("dim", 4),
    "an affine of NaN": _spoilt("prealign", np.full((3, 3), np.nan)),
}


@pytest.mark.parametrize("change", NO_MAPS.values(), ids=NO_MAPS)
@pytest.mark.parametrize(
    "function", [maps.mapping_to_displacement, maps.invert_mapping, maps.lift_mapping]
)
def test_what_is_no_map(function, change):
    made = maps.displacement_to_mapping(np.zeros((6, 5, 2), np.float32))
    with pytest.raises(ValueError, match="Expected .* Received"):
        function(change(made))
