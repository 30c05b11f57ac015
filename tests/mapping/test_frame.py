"""Registration of images of any range, type, orientation and contrast.

The expected result is that of the same images without the change, or the deformation
by which the static image was made.
"""

from functools import partial
import logging

import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from dipy_nn_reg import metrics, register
from dipy_nn_reg.losses.images import lncc
from dipy_nn_reg.mapping.frame import Frame
from dipy_nn_reg.mapping.maps import mapping_to_displacement
from dipy_nn_reg.transform.functions import identity_grid

SHAPES = {2: (44, 40), 3: (28, 26, 24)}
# Largest difference of a component of two fields, in voxels, if intensities differ in
# their last digits. The steps of a descent enlarge it, most of all at a border.
ROUNDED = 0.01


def scans(ndim, *, background=0.0, moved=2.0):
    """Return a moving and a static scan of an object, in whole numbers."""
    shape = SHAPES[ndim]
    rng = np.random.default_rng(ndim)
    texture = gaussian_filter(rng.random(shape), 1.5)
    texture = (texture - texture.min()) / np.ptp(texture)
    place = (np.indices(shape).T - (np.array(shape) - 1) / 2) / (0.34 * np.array(shape))
    inside = (np.linalg.norm(place, axis=-1) < 1).T
    moving = np.where(inside, 200 + 700 * texture, background)
    field = [gaussian_filter(rng.normal(size=shape), 5) for _ in shape]
    field = np.stack(field, axis=-1)
    field *= moved / np.abs(field).max()
    positions = np.moveaxis(identity_grid(shape) + field, -1, 0)
    static = map_coordinates(
        moving, positions, order=1, mode="grid-constant", cval=background
    )
    return np.round(moving), np.round(static)


def field_of(moving, static, **options):
    mapping, outcome = register(moving, static, **{"prealign": None, **options})
    assert outcome.used == "optimized"
    return mapping_to_displacement(mapping)[0]


@pytest.fixture(
    scope="module",
    params=[2, pytest.param(3, marks=pytest.mark.slow)],
    ids=["2D", "3D"],
)
def plain(request):
    """Scans, and the field between them."""
    moving, static = scans(request.param)
    return moving, static, field_of(moving, static)


@pytest.mark.parametrize("offset", [-1000, 500, 1e6, 1e9])
def test_an_offset_does_not_change_the_field(plain, offset):
    moving, static, field = plain
    npt.assert_allclose(field_of(moving + offset, static + offset), field, atol=1e-3)


@pytest.mark.parametrize("factor", [1e-30, 1e-6, 3.7, 1e30, 1e-300])
def test_a_factor_does_not_change_the_field(plain, factor):
    moving, static, field = plain
    npt.assert_allclose(field_of(moving * factor, static * factor), field, atol=ROUNDED)


@pytest.mark.parametrize("factor", [1e-30, 1e-6, 3.7, 1e30, 1e-300])
def test_a_factor_does_not_change_a_velocity(plain, factor):
    moving, static, _ = plain
    fields = [
        field_of(scale * moving, scale * static, transform="velocity")
        for scale in (1, factor)
    ]
    npt.assert_allclose(*fields, atol=1e-3)


@pytest.mark.parametrize("dtype", ["u2", "i2", "i4", "i8", "u8", ">f4", "f2", "f8"])
def test_the_type_does_not_change_the_field(plain, dtype):
    moving, static, field = plain
    found = field_of(moving.astype(dtype), static.astype(dtype))
    npt.assert_array_equal(found, field)


def test_large_integers_do_not_change_the_field(plain):
    moving, static, field = plain
    found = field_of(*((i.astype(np.int64) + 2**55) for i in (moving, static)))
    npt.assert_array_equal(found, field)


def test_the_range_of_signed_integers_may_overflow(plain):
    """The range from -30000 to 30000 overflows in 16 bits."""
    moving, static, field = plain
    wide = [np.round(60 * i - 27000).astype(np.int16) for i in (moving, static)]
    npt.assert_allclose(field_of(*wide), field, atol=ROUNDED)
    far = np.eye(moving.ndim + 1)
    far[0, -1] = 500
    grids = {"moving_affine": far, "static_affine": np.eye(moving.ndim + 1)}
    with pytest.raises(ValueError, match="overlap"):
        register(*wide, prealign=None, **grids)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "in the object"])
def test_images_of_mean_zero_are_registered(plain, whole):
    moving, static, field = plain
    scored = []
    for image in (moving, static):
        values = image if whole else image[image > 0]
        score = (image - values.mean()) / values.std()
        scored.append(score if whole else np.where(image > 0, score, 0))
    found = field_of(*scored)
    if whole:
        npt.assert_allclose(found, field, atol=ROUNDED)
    # If only the object has a mean of zero, its border is hardly visible.
    loss = partial(lncc, window=5)
    _, outcome = register(*scored, loss=loss)  # aligned before
    assert outcome.ncc_after > (0.99 if whole else outcome.ncc_before + 0.1)


@pytest.mark.parametrize(
    ("ndim", "background"),
    [
        (2, -1024.0),
        pytest.param(3, -1024.0, marks=pytest.mark.slow),
        pytest.param(3, 1200.0, marks=pytest.mark.slow),
        pytest.param(2, 255.0, marks=pytest.mark.slow),
    ],
)
def test_images_of_any_background_are_registered(ndim, background):
    moving, static = scans(ndim, background=background)
    _, outcome = register(moving, static, prealign=None)
    assert outcome.ncc_after > 0.985
    assert outcome.ncc_after > outcome.ncc_before


def test_a_cropped_image_continues_with_its_background():
    """A smaller field of view that ends in the background gives the same field."""
    moving, static = scans(3)
    whole = field_of(moving, static)
    cut = 3
    assert not moving[:cut].any() and not moving[-cut:].any()
    cropped = moving[(slice(cut, -cut),) * 3]
    affine = np.eye(4)
    affine[:3, 3] = cut
    for offset in (0, -1000, 500):
        found = field_of(
            cropped + offset,
            static + offset,
            moving_affine=affine,
            static_affine=np.eye(4),
        )
        inside = static > 0
        npt.assert_allclose(found[inside], whole[inside], atol=0.05)


def test_nan_counts_as_background(plain, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("dipy"), "propagate", True)
    moving, static, field = plain
    missing = [np.where(i > 0, i, np.nan) for i in (moving, static)]
    found = field_of(*missing)
    # The background is then estimated from the border of the object.
    assert "values of moving are NaN" in caplog.text
    assert np.isfinite(found).all()
    some = moving.copy()
    some[0] = np.nan
    npt.assert_array_equal(field_of(some, static), field)


def test_boolean_images_are_registered_as_float():
    moving, static = scans(2)
    moving, static = moving > 0, static > 0
    mapping, outcome = register(moving, static, prealign=None)
    expected, _ = register(moving.astype(float), static.astype(float), prealign=None)
    npt.assert_array_equal(mapping.backward, expected.backward)
    assert outcome.ncc_after >= outcome.ncc_before


def test_a_single_bright_voxel_does_not_prevent_registration(plain):
    moving, static, field = plain
    spoilt = moving.copy()
    spoilt[(1,) * moving.ndim] = 1e9
    _, outcome = register(spoilt, static, prealign=None)
    assert outcome.used == "optimized"
    assert outcome.ncc_after > 0.9


def test_an_axis_for_one_channel_does_not_change_the_field(plain):
    moving, static, field = plain
    npt.assert_array_equal(field_of(moving[..., None], static[..., None]), field)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("apart", [0.0, 2.0, -60.0])
def test_slices_along_any_axis_and_at_any_distance(axis, apart):
    moving, static = scans(2)
    field = field_of(moving, static)
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 5.0
    static_affine, moving_affine = np.diag([*spacing, 1]), np.diag([*spacing, 1])
    moving_affine[axis, 3] = apart
    moving, static = (np.expand_dims(i, axis) for i in (moving, static))
    grids = {"moving_affine": moving_affine, "static_affine": static_affine}
    mapping, outcome = register(moving, static, prealign=None, **grids)
    displacement, _ = mapping_to_displacement(mapping)
    in_plane = [a for a in range(3) if a != axis]
    npt.assert_allclose(
        np.take(displacement, 0, axis=axis)[..., in_plane], field, atol=1e-3
    )
    assert not displacement[..., axis].any()
    warped = np.take(mapping.transform(moving), 0, axis=axis)
    assert metrics.ncc(np.take(static, 0, axis=axis), warped) > 0.985
    back = mapping.transform_inverse(static)
    assert back.shape == moving.shape
    assert metrics.ncc(moving, back) > 0.97


def test_slices_stored_along_any_axis_are_aligned():
    static, _ = scans(2)
    moving = np.roll(static, (4, -3), (0, 1))
    for axis in range(3):
        grids = {"moving_affine": np.eye(4), "static_affine": np.eye(4)}
        grids["moving_affine"][axis, 3] = 7
        mapping, _ = register(
            np.expand_dims(moving, axis), np.expand_dims(static, axis), **grids
        )
        warped = np.take(mapping.transform(np.expand_dims(moving, axis)), 0, axis=axis)
        assert metrics.ncc(static, warped) > 0.99


def turned(ndim, degrees, sizes):
    """Return an affine that turns about the last axis, with voxels of some sizes."""
    affine, angle = np.eye(ndim + 1), np.deg2rad(degrees)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:ndim, -1] = 1.3
    return affine @ np.diag([*sizes, 1])


@pytest.mark.parametrize(
    ("shape", "world"),
    [((30, 28), 2), ((16, 17, 15), 3), ((30, 28, 1), 3), ((1, 30, 28), 3)],
)
@pytest.mark.parametrize("sizes", [(1, 1, 1), (0.4, 1, 1)])
def test_the_image_before_its_interpolation_is_known(shape, world, sizes, rng):
    """Read at its places by SciPy, it is the moving image on the grid."""
    ndim = sum(n > 1 for n in shape)
    moving = gaussian_filter(rng.random(shape), [float(n > 1) for n in shape])
    static_affine = np.diag([2.0, 2, 2][:world] + [1])
    moving_affine = static_affine @ turned(world, 10, sizes[:world])
    if shape[0] == 1:  # stored along another axis
        to_first = np.roll(np.eye(3), 1, axis=1)
        moving_affine[:3, :3] = moving_affine[:3, :3] @ to_first
        static_affine[:3, :3] = static_affine[:3, :3] @ to_first
    frame = Frame(
        moving,
        rng.random(shape),
        ndim=ndim,
        num_channels=1,
        moving_affine=moving_affine,
        static_affine=static_affine,
    )
    pair = frame.read()
    places = np.moveaxis(identity_grid(pair.static.shape[:-1]), -1, 0).reshape(ndim, -1)
    places = pair.source.affine[:-1, :-1] @ places + pair.source.affine[:-1, -1:]
    found = map_coordinates(
        pair.source.image[..., 0], places, order=1, mode="grid-constant"
    )
    npt.assert_allclose(found, pair.moving.ravel(), atol=1e-5)


@pytest.mark.parametrize("first_axis", [(1, 0, 0), (-1, 0, 11), (1, 0, 3)])
def test_an_image_that_is_not_interpolated_has_no_source(first_axis, rng):
    """It lies on the grid, is flipped, or is shifted by whole voxels."""
    image, affine = rng.random((12, 13)), np.eye(3)
    affine[0] = first_axis
    affines = {"moving_affine": affine, "static_affine": np.eye(3)}
    frame = Frame(image, image, ndim=2, num_channels=1, **affines)
    assert frame.read().source is None


@pytest.mark.parametrize("prealign", [None, "auto", "rigid", "affine"])
def test_slices_of_different_planes_are_refused(prealign):
    moving, static = scans(2)
    grids = {"moving_affine": np.eye(4), "static_affine": np.eye(4)}
    with pytest.raises(ValueError, match="90 degrees apart"):
        register(moving[None], static[:, :, None], prealign=prealign, **grids)


@pytest.mark.slow
@pytest.mark.parametrize("slices", [2, 3, 5])
def test_stacks_of_a_few_thick_slices(slices):
    """The result is as good as that of single slices."""
    pairs = [scans(2) for _ in range(slices)]
    moving, static = (np.stack(images, axis=-1) for images in zip(*pairs))
    affine = np.diag([1.0, 1, 6, 1])
    mapping, outcome = register(
        moving, static, prealign=None, moving_affine=affine, static_affine=affine
    )
    assert outcome.used == "optimized"
    assert outcome.ncc_after > 0.985 > outcome.ncc_before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": 0}, "voxels other than 0 in mask"),
        ({"moving_labels": 0, "static_labels": 1}, "labels other than 0"),
        ({"moving_labels": 2, "static_labels": 1}, "labels that both maps have"),
        ({"model": np.nan}, "Expected model"),
    ],
)
def test_empty_masks_and_unrelated_labels_are_refused(options, message):
    moving, static = scans(2)
    options = {
        name: value if name == "model" else np.full(moving.shape, value)
        for name, value in options.items()
    }
    with pytest.raises(ValueError, match=message):
        register(moving, static, prealign=None, **options)


@pytest.mark.parametrize(
    "moving",
    [
        np.full((44, 40), "a"),
        None,
        np.zeros((44, 40), [("a", float)]),
        np.zeros((44, 40), object),
        np.ones((44, 40), complex),
        np.broadcast_to(np.float32(1), (2**16, 2**16, 2**16)),
    ],
    ids=["text", "none", "structured", "objects", "complex", "absurd"],
)
def test_arrays_that_are_no_images_are_refused(moving):
    _, static = scans(2)
    static = static if np.ndim(moving) < 3 else np.stack([static] * 9, axis=-1)
    with pytest.raises(ValueError, match="Expected.*moving"):
        register(moving, static, prealign=None)


@pytest.mark.slow
def test_images_larger_than_memory_are_refused_at_once():
    line = np.random.default_rng(0).random(2**11)
    huge = np.broadcast_to(line, (2**11, 2**11, 2**11))
    with pytest.raises(MemoryError, match="needs about"):
        register(huge, huge, prealign=None)


@pytest.mark.slow
def test_nearly_equal_images_do_not_become_less_similar():
    """A blob, and the same blob after a rigid alignment."""
    blob = np.exp(-((np.indices((36, 36)) - 17.5) ** 2).sum(0) / 60)
    shifted = np.exp(-((np.indices((36, 36)) - 18.2) ** 2).sum(0) / 60)
    _, outcome = register(shifted, blob, prealign="rigid")
    assert outcome.ncc_after > outcome.ncc_before - 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("ndim", [2, 3])
def test_labels_of_any_integer_type(ndim):
    moving, static = scans(ndim)
    labels = [1 + (image > 500) for image in (moving, static)]
    names = "moving_labels", "static_labels"
    expected = field_of(moving, static, **dict(zip(names, labels)))
    large = np.array([0, 2**53, 2**53 + 1], np.int64)
    for types in (("i8", "i8"), ("u8", "i8"), ("u8", "u8")):
        found = [large[one].astype(dtype) for one, dtype in zip(labels, types)]
        found = field_of(moving, static, **dict(zip(names, found)))
        npt.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float32])
def test_a_mask_of_any_type(dtype, plain):
    moving, static, _ = plain
    mask = np.indices(moving.shape)[0] < moving.shape[0] // 2
    expected = field_of(moving, static, mask=mask)
    sign = -1 if np.dtype(dtype).kind in "if" else 1
    found = field_of(moving, static, mask=(sign * mask.astype(int)).astype(dtype))
    npt.assert_array_equal(found, expected)
    assert np.abs(found - field_of(moving, static)).max() > 0.05
