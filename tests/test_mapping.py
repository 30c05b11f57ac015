import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg import mapping as maps


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
    inverse = maps.invert_displacement(field)
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
    assert maps.check_affine(affine, name="affine", ndim=3) is not None
