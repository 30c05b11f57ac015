import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.metrics import mutual_info_score

from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.mapping.measures import measure_field
from dipy_nn_reg.metrics.labels import dice_of_labels
from dipy_nn_reg.quality.measures import apply_map, measure, misplaced


def test_matching_images_are_in_place(image):
    assert misplaced(image, image) == 0
    assert misplaced(image, 5 - 3 * image) == 0  # of inverted contrast
    assert misplaced(image, np.roll(image, 2, axis=-1)) > 0.9
    assert misplaced(image, np.zeros_like(image)) == 1


def test_noise_is_not_in_place(image, rng):
    assert misplaced(image, rng.random(image.shape)) > 0.5


def test_large_images_are_thinned_out(rng):
    image = gaussian_filter(rng.random((300, 280)), 5)
    assert misplaced(image, image) == 0
    assert misplaced(image, np.roll(image, 6, axis=0)) > 0.9


def test_what_has_not_been_seen_is_not_misplaced(rng):
    image = gaussian_filter(rng.random((40, 44, 30)), 2)
    for seen in (slice(10, 25), slice(12, 15)):  # thick, and thinner than a window
        where = np.zeros(image.shape, bool)
        where[..., seen] = True
        moved = np.where(where, np.roll(image, 6, axis=0), 0)
        assert misplaced(image, image, where=where) == 0
        assert misplaced(image, moved, where=where) > 0.5
    assert np.isnan(misplaced(image, image, where=np.zeros(image.shape, bool)))


def test_images_are_measured_before_and_after(image, shifted):
    labels = (image > np.median(image)).astype(np.int32)
    label_maps = {"moving_labels": labels, "static_labels": labels}
    pair = apply_map(shifted(2), image, image, **label_maps)
    measures = measure(pair)
    assert measures["ncc_before"] == pytest.approx(1)
    expected = np.corrcoef(image.ravel(), pair.warped.ravel())[0, 1]
    assert measures["ncc_after"] == pytest.approx(expected)
    assert measures["dice_before"] == 1
    expected = dice_of_labels(labels, pair.labels["warped"])[1]
    assert measures["dice_after"] == pytest.approx(expected)
    assert measures["misplaced_before"] == 0 < measures["misplaced_after"]
    assert measures["mean_displacement_mm"] == pytest.approx(2)


def test_known_measures_of_a_field_are_not_computed_again(image, shifted):
    pair = apply_map(shifted(2), image, image)
    known = measure_field(pair.mapping)
    assert measure(pair, of_field=known) == measure(pair)
    assert measure(pair, of_field={**known, "folding": 7.0})["folding"] == 7


def test_mutual_information_is_that_of_scikit_learn(image, rng, shifted):
    other = image + 0.05 * rng.random(image.shape).astype(np.float32)
    measures = measure(apply_map(shifted(0), other, image))
    binned = [
        np.digitize(i, np.linspace(i.min(), i.max(), 33)[1:-1]).ravel()
        for i in (image, other)
    ]
    entropies = [mutual_info_score(b, b) for b in binned]
    shared = mutual_info_score(*binned)
    expected = sum(entropies) / (sum(entropies) - shared)
    assert measures["nmi_after"] == pytest.approx(expected, rel=1e-3)


def test_a_field_with_nan_has_no_mean_displacement(image, shifted):
    mapping = shifted(0)
    mapping.backward = mapping.backward.copy()
    mapping.backward[5] = np.nan
    measures = measure(apply_map(mapping, image, image))
    assert np.isnan(measures["mean_displacement_mm"])


def test_lost_labels_are_counted(image, shifted):
    labels = np.zeros(image.shape, np.uint8)
    labels[:3], labels[20:22] = 7, 2
    mapping = shifted(-4)
    label_maps = {"moving_labels": labels, "static_labels": labels}
    label_maps["moving_labels"] = np.where(labels == 2, 0, labels)
    measures = measure(apply_map(mapping, image, image, **label_maps))
    assert measures["lost_labels_before"] == 1 == measures["lost_labels_after"]
    assert measures["dice_before"] == 0.5
    away = measure(apply_map(shifted(4), image, image, **label_maps))
    assert away["lost_labels_after"] == 2 and away["dice_after"] == 0


@pytest.mark.parametrize("offset", [0, pytest.param(1e5, marks=pytest.mark.slow), 1e9])
def test_offset_and_scale_change_no_measure(offset, image, rng, shifted):
    other = gaussian_filter(rng.random(image.shape), 1.5) + 0.5 * image
    image, other = (
        np.pad(i[2:-2, 2:-2], [(2, 2)] * 2 + [(0, 0)] * (i.ndim - 2))
        for i in (image, other)
    )
    mapping = shifted(0)
    expected = measure(apply_map(mapping, other, image))
    for scale in (1e-30, 1, 1e30, 1e290):
        changed = ((i.astype(np.float64) + offset) * scale for i in (other, image))
        with np.errstate(all="raise", under="ignore"):
            found = measure(apply_map(mapping, *changed))
        for name in ("ncc_after", "nmi_after", "misplaced_after"):
            assert found[name] == pytest.approx(expected[name], abs=2e-3), scale


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, ">f8"])
def test_images_of_any_type_are_measured(dtype, image, shifted):
    image = (100 * image > np.median(100 * image)).astype(dtype)
    measures = measure(apply_map(shifted(0), image, image))
    assert measures["ncc_after"] == pytest.approx(1)
    assert measures["misplaced_after"] == 0 and misplaced(image, image) == 0


def test_a_few_missing_values_hardly_change_the_correlation(image, shifted):
    broken = image.copy()
    broken[0, :5] = np.nan
    measures = measure(apply_map(shifted(0), broken, image))
    assert measures["ncc_after"] > 0.9


@pytest.mark.parametrize("shape", [(1, 20, 22), (20, 1, 22), (20, 22, 1), (20, 22, 2)])
def test_slices_are_measured(shape, rng):
    image = gaussian_filter(rng.random(shape), 1.5).astype(np.float32)
    labels = (image > np.median(image)).astype(int)
    label_maps = {"moving_labels": labels, "static_labels": labels}
    field = np.zeros((*shape, 3), np.float32)
    still = displacement_to_mapping(field, inverse=field)
    measures = measure(apply_map(still, image, image, **label_maps))
    del measures["sd_log_jacobian"]
    assert np.isfinite(list(measures.values())).all()
    assert measures["ncc_after"] == measures["dice_after"] == measures["covered"] == 1
    assert measures["misplaced_after"] == measures["folding"] == 0


@pytest.mark.parametrize(
    "junk", [np.zeros((0, 3)), None, "3", [1j, 2], np.zeros((3, 4))]
)
def test_invalid_pairs_of_images_are_refused(junk):
    with pytest.raises(ValueError, match=r"Expected .*\. Received "):
        misplaced(np.ones((4, 4)), junk)


@pytest.mark.parametrize("name", ["mask", "moving_mask"])
def test_what_a_mask_leaves_out_is_not_measured(image, shifted, rng, name):
    mask = np.zeros(image.shape)
    mask[:, :20] = 1
    other = np.where(mask, image, rng.random(image.shape)).astype(np.float32)
    pair = {"moving": other, "static": image}
    masked = measure(apply_map(shifted(0), **pair, **{name: mask}))
    assert masked["ncc_after"] == pytest.approx(1, abs=1e-6)
    assert masked["misplaced_after"] == 0 and masked["covered"] == 1
    assert masked["nmi_after"] == pytest.approx(2)
    whole = measure(apply_map(shifted(0), **pair))
    assert whole["ncc_after"] < 0.8 and whole["misplaced_after"] > 0.2


def test_a_mask_of_the_moving_image_is_mapped(image, shifted):
    mask = np.zeros(image.shape)
    mask[10:20] = 1
    pair = apply_map(shifted(3), image, image, moving_mask=mask)
    np.testing.assert_array_equal(pair.inside[:-3], mask[3:] != 0)


def test_masks_without_overlap_are_refused(image, shifted):
    masks = np.zeros((2, *image.shape))
    masks[0, :10], masks[1, 15:] = 1, 1
    with pytest.raises(ValueError, match="masks that overlap"):
        apply_map(shifted(0), image, image, mask=masks[0], moving_mask=masks[1])
    for wrong in (masks[0, 1:], np.full(image.shape, np.nan), 0 * masks[0]):
        with pytest.raises(ValueError, match="in mask|mask of the shape"):
            apply_map(shifted(0), image, image, mask=wrong)


@pytest.mark.parametrize("where", [np.ones((3, 3), bool), np.ones((4, 4))])
def test_where_is_of_bool_and_of_the_shape_of_the_images(where):
    with pytest.raises(ValueError, match="Expected where"):
        misplaced(np.eye(4), np.eye(4), where=where)


@pytest.mark.parametrize("shape", [(40, 44), (30, 34, 28)])
def test_the_part_of_the_moving_image_that_the_static_one_shows(shape, rng):
    """Noise has structure everywhere; the static image is a box of it."""
    image = rng.random(shape).astype(np.float32)
    ndim, affine = len(shape), np.eye(len(shape) + 1)
    affine[0, -1] = shape[0] // 4
    box = image[shape[0] // 4 : -(shape[0] // 4)]
    still = displacement_to_mapping(
        np.zeros((*box.shape, ndim)), static_affine=affine, moving_shape=shape
    )
    measures = measure(apply_map(still, image, box, static_affine=affine))
    assert measures["shown"] == pytest.approx(len(box) / shape[0], abs=0.03)
    assert measures["covered"] == 1
    # What masks leave out does not count: the second half of the moving image, or the
    # last quarter of the box.
    moving_mask, mask = np.zeros(shape, bool), np.ones(box.shape, bool)
    moving_mask[: shape[0] // 2], mask[-(len(box) // 4) :] = True, False
    parts = {}
    for name, masks in (
        ("moving", {"moving_mask": moving_mask}),
        ("static", {"mask": mask}),
    ):
        pair = apply_map(still, image, box, static_affine=affine, **masks)
        parts[name] = measure(pair)["shown"]
    kept = len(box) - len(box) // 4
    expected = {"moving": 0.5, "static": kept / (shape[0] - len(box) // 4)}
    assert parts == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("shape", [(98, 96), (48, 48, 48)])
def test_a_small_object_beside_itself_is_in_place(shape):
    """Of fewer voxels than the percentile up to which intensities range."""
    distance = np.indices(shape) - np.reshape(shape, (-1, *[1] * len(shape))) / 2
    radius = np.linalg.norm(distance, axis=0)
    image = np.where(radius < 1.6, 1 - radius / 9, 0)
    assert 0 < np.mean(image > 0) < 0.002
    assert misplaced(image, image) == 0
    assert misplaced(image, np.roll(image, 8, 0)) > 0.5


def test_what_is_not_compared_does_not_set_the_range(rng):
    """A bright bladder outside of the mask."""
    image = 50 * gaussian_filter(rng.normal(size=(80, 80)), 2)
    where = np.ones(image.shape, bool)
    where[:14] = False
    expected = misplaced(image, np.roll(image, 2, 1), where=where)
    image[2:9, 20:60] = 1e5
    assert misplaced(image, image, where=where) == 0
    shifted = misplaced(image, np.roll(image, 2, 1), where=where)
    assert shifted == pytest.approx(expected, abs=0.05) and expected > 0.3


@pytest.mark.parametrize("away", [0, 1e-9])
def test_points_beside_a_slice_are_within_its_mask(away, rng):
    """A rounding error takes them off the plane."""
    shape = (20, 40, 1)
    image = rng.random((40, 40, 1)).astype(np.float32)
    affine, there = np.eye(4), np.eye(4)
    there[2, 3] = away
    still = displacement_to_mapping(
        np.zeros((*shape, 3)),
        static_affine=affine,
        moving_affine=there,
        moving_shape=image.shape,
    )
    mask = np.zeros(shape, bool)
    mask[10:] = True
    shown = measure(apply_map(still, image, image[:20], mask=mask))["shown"]
    # The mask leaves out 10 of the 40 moving rows; 10 others lie in the static image.
    assert shown == pytest.approx(1 / 3, abs=0.03)


@pytest.mark.parametrize("shape", [(40, 44), (24, 26, 22)])
def test_the_way_back_is_told_for_the_object(shape, rng):
    """The field leads out of the image in air; in the object it moves by one voxel."""
    ndim = len(shape)
    image = np.zeros(shape)
    inner = tuple(slice(8, n - 8) for n in shape)
    image[inner] = gaussian_filter(rng.random(shape), 1)[inner]
    field = np.zeros((*shape, ndim), np.float32)
    field[..., 0] = 1
    field[:4, ..., 0] = -30
    mapping = displacement_to_mapping(field, inverse=np.zeros_like(field))
    measures = measure(apply_map(mapping, image, np.roll(image, -1, 0)))
    assert measures["inverse_error_object_mm"] == pytest.approx(1, abs=1e-3)
    assert measures["inverse_error_mm"] > 2


def test_what_no_structure_tells_is_no_measure(image):
    """The map leads out of the moving image, and the mask leaves out what it shows."""
    away = np.full((*image.shape, image.ndim), 1000, np.float32)
    mapping = displacement_to_mapping(away, inverse=-away)
    measures = measure(apply_map(mapping, image, image))
    assert measures["covered"] == 0 and "inverse_error_object_mm" not in measures
    assert np.isfinite(measures["inverse_error_mm"])
