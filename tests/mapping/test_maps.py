from nibabel.affines import apply_affine
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from dipy_nn_reg.mapping import maps
from dipy_nn_reg.mapping.inversion import invert_displacement


def warp_by_scipy(moving, world_to_moving, prealign, static_affine, field):
    """Warp an image by SciPy, from the definition."""
    voxels = np.moveaxis(np.indices(field.shape[:-1], dtype=float), 0, -1) + field
    total = world_to_moving @ prealign @ static_affine
    positions = voxels @ total[:-1, :-1].T + total[:-1, -1]
    return map_coordinates(
        moving, np.moveaxis(positions, -1, 0), order=1, mode="grid-constant"
    )


def test_a_map_warps_the_moving_image_as_defined(pair):
    mapping = pair.make_mapping()
    expected = warp_by_scipy(
        pair.moving,
        np.linalg.inv(pair.moving_affine),
        np.eye(len(pair.static_affine)) if pair.prealign is None else pair.prealign,
        pair.static_affine,
        pair.field,
    )
    assert np.ptp(expected) > 0.1
    npt.assert_allclose(mapping.transform(pair.moving), expected, atol=1e-6)


def test_the_displacement_of_a_map_is_recovered(pair):
    inverse = -0.9 * pair.field
    mapping = pair.make_mapping(inverse=inverse)
    displacement, back = maps.mapping_to_displacement(mapping)
    npt.assert_allclose(displacement, pair.field, atol=1e-5)
    npt.assert_allclose(back, inverse, atol=1e-5)


def test_without_affines_the_map_is_in_voxels(scene):
    pair = scene(3, False)
    mapping = maps.displacement_to_mapping(pair.field)
    npt.assert_array_equal(mapping.backward, pair.field)


def test_the_inverse_of_a_map_has_the_same_layout(pair):
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


def test_a_map_of_syn_is_converted_to_a_displacement_and_back(scene):
    from dipy.align.imwarp import SymmetricDiffeomorphicRegistration
    from dipy.align.metrics import SSDMetric

    pair = scene(2, False)
    static = pair.moving[:, ::-1].copy()
    syn = SymmetricDiffeomorphicRegistration(SSDMetric(2), level_iters=[10, 5])
    syn.verbosity = 0
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
def test_invalid_affines_and_inverses_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        maps.displacement_to_mapping(np.zeros((5, 5, 5, 3)), **options)


def test_a_displacement_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"displacement of shape.*\(5, 5, 3\)"):
        maps.displacement_to_mapping(np.zeros((5, 5, 3)))


@pytest.mark.parametrize("kind", ["memmap", "read-only", "Fortran", "big-endian"])
def test_arrays_of_any_memory_layout_are_inverted(kind, smooth_field, tmp_path):
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
def test_infinite_fields_are_refused(name, value, ndim):
    fields = {
        n: np.zeros((6, 7, 5)[:ndim] + (ndim,)) for n in ("displacement", "inverse")
    }
    fields[name][(3,) * ndim] = value
    with pytest.raises(ValueError, match=f"finite values in {name}.*{ndim} of"):
        maps.displacement_to_mapping(**fields)
    with pytest.raises(ValueError, match="finite values"):
        invert_displacement(fields[name])


def test_fields_that_overflow_in_mm_are_refused():
    field = np.full((6, 7, 2), 1e38)
    with pytest.raises(ValueError, match="finite values"):
        maps.displacement_to_mapping(
            field,
            inverse=field,
            static_affine=np.diag([10, 10, 1]),
            moving_affine=np.eye(3),
        )


@pytest.mark.parametrize("shape", [(5,), (5, 5, 5), (5, 0), (5.5, 5), "ab", (5, -1)])
def test_an_invalid_moving_shape_is_refused(shape):
    with pytest.raises(ValueError, match="moving_shape"):
        maps.displacement_to_mapping(np.zeros((6, 7, 2)), moving_shape=shape)


def _with(name, value):
    def change(mapping):
        setattr(mapping, name, value)
        return mapping

    return change


INVALID_MAPS = {
    "None": lambda mapping: None,
    "text": lambda mapping: "text",
    "class": type,
    "array": lambda mapping: mapping.backward,
    "no field": _with("backward", None),
    "no inverse": _with("forward", None),
    "four axes": _with("dim", 4),
    "an affine of NaN": _with("prealign", np.full((3, 3), np.nan)),
}


def slice_map(across, degrees, rng, shear=0.0):
    """Return a map of a slice, turned about the z-axis and then about the x-axis.

    Its affine moves points by a multiple of their height.
    """
    field = np.zeros((6, 5, 1, 3), np.float32)
    field[..., :2] = rng.uniform(-0.3, 0.3, (6, 5, 1, 2))
    field[..., 2] = across
    affine = np.eye(4)
    angles = [30, degrees]
    affine[:3, :3] = Rotation.from_euler("zx", angles, degrees=True).as_matrix() * 2
    affine[:3, 3] = 10, 20, 30
    prealign = np.eye(4)
    prealign[:3, 2] += shear
    affines = {"static_affine": affine, "moving_affine": affine, "prealign": prealign}
    return field, affine, maps.displacement_to_mapping(field, **affines)


@pytest.mark.parametrize("across, shear", [(0, 0), (1.5e-8, 0), (-1e-6, 0), (0, 0.2)])
def test_a_map_of_one_slice_becomes_one_in_its_plane(across, shear, rng):
    """Up to rounding, which the maps of ``register`` have."""
    shear = np.array([shear, -shear, 0])
    field, affine, mapping = slice_map(across, 1e-6, rng, shear)
    flat = maps.flatten_mapping(mapping)
    found, _ = maps.mapping_to_displacement(flat)
    npt.assert_allclose(found, field[:, :, 0, :2], atol=1e-5)
    points = apply_affine(affine, np.argwhere(np.ones((6, 5, 1))))
    expected = np.asarray(mapping.transform_points(points))[:, :2]
    moved = np.asarray(flat.transform_points(points[:, :2]))
    npt.assert_allclose(moved, expected, atol=1e-4)


@pytest.mark.parametrize(
    "across, degrees, message",
    [(0.01, 0, "without displacements across"), (0, 5, "slices in the x-y plane")],
)
def test_maps_across_a_slice_have_none_in_its_plane(across, degrees, message, rng):
    with pytest.raises(ValueError, match=message):
        maps.flatten_mapping(slice_map(across, degrees, rng)[2])


@pytest.mark.parametrize("change", INVALID_MAPS.values(), ids=INVALID_MAPS)
@pytest.mark.parametrize(
    "function", [maps.mapping_to_displacement, maps.invert_mapping, maps.lift_mapping]
)
def test_objects_that_are_no_maps_are_refused(function, change):
    mapping = maps.displacement_to_mapping(np.zeros((6, 5, 2), np.float32))
    with pytest.raises(ValueError, match="Expected .* Received"):
        function(change(mapping))
