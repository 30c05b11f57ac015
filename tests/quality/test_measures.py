import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates
from sklearn.metrics import mutual_info_score

from dipy_nn_reg.intensities import estimate_background
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.metrics.images import ncc
from dipy_nn_reg.metrics.labels import dice_of_labels
from dipy_nn_reg.quality.measures import apply_map, measure, misplaced
from dipy_nn_reg.transform.functions import identity_grid


@pytest.fixture(params=[(40, 44), (30, 32, 34)])
def image(request, rng):
    return gaussian_filter(rng.random(request.param), 1.5).astype(np.float32)


def shifted(image, by):
    """Return the map that reads ``by`` voxels further along the first axis."""
    displacement = np.zeros((*image.shape, image.ndim), np.float32)
    displacement[..., 0] = by
    return displacement_to_mapping(displacement, inverse=-displacement)


def test_what_fits_is_in_place(image):
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


def test_images_before_and_after(image, rng):
    labels = (image > np.median(image)).astype(np.int32)
    mapping = shifted(image, 2)
    result = apply_map(
        mapping, image, image, moving_labels=labels, static_labels=labels
    )
    where = np.moveaxis(identity_grid(image.shape), -1, 0).astype(float)
    where[0] += 2
    outside = {"mode": "grid-constant", "cval": estimate_background(image)}
    warped = map_coordinates(image, where, order=1, **outside)
    npt.assert_allclose(result.warped, warped, atol=1e-6)
    npt.assert_array_equal(result.before, image)
    npt.assert_array_equal(result.labels["before"], labels)
    npt.assert_array_equal(result.covered[-2:], False)
    npt.assert_array_equal(result.covered[:-2], True)
    measures = measure(result)
    assert measures["ncc_before"] == pytest.approx(1)
    assert measures["ncc_after"] == pytest.approx(ncc(image, warped))
    assert measures["dice_before"] == 1
    expected = dice_of_labels(labels, result.labels["warped"])[1]
    assert measures["dice_after"] == pytest.approx(expected)
    assert measures["misplaced_before"] == 0 < measures["misplaced_after"]
    assert measures["mean_displacement_mm"] == pytest.approx(2)


def test_mutual_information_is_that_of_scikit_learn(image, rng):
    other = image + 0.05 * rng.random(image.shape).astype(np.float32)
    measures = measure(apply_map(shifted(image, 0), other, image))
    binned = [
        np.digitize(i, np.linspace(i.min(), i.max(), 33)[1:-1]).ravel()
        for i in (image, other)
    ]
    entropies = [mutual_info_score(b, b) for b in binned]
    shared = mutual_info_score(*binned)
    expected = sum(entropies) / (sum(entropies) - shared)
    assert measures["nmi_after"] == pytest.approx(expected, rel=1e-3)


def test_a_field_that_is_not_finite(image):
    mapping = shifted(image, 0)
    mapping.backward = mapping.backward.copy()
    mapping.backward[5] = np.nan
    measures = measure(apply_map(mapping, image, image))
    assert np.isnan(measures["mean_displacement_mm"])


def test_what_does_not_fit_the_map(image):
    mapping = shifted(image, 0)
    with pytest.raises(ValueError, match="on the grid of the map"):
        apply_map(mapping, image[1:], image)
    labels = np.ones(image.shape, int)
    with pytest.raises(ValueError, match="both images or of none"):
        apply_map(mapping, image, image, moving_labels=labels)


@pytest.fixture
def volumes(scene):
    """Two images on grids of their own, a map between them, and labels."""
    truth = scene(3, True)
    mapping = truth.make_mapping()
    static = mapping.transform(truth.moving).astype(np.float32)
    labels = np.digitize(truth.moving, [0.4, 0.6]).astype(np.int16)
    return mapping, truth.moving.astype(np.float32), static, labels


@pytest.mark.parametrize("codes", ["LAS", "PIR", "ILA"])
def test_images_lie_where_their_affines_say(codes, volumes):
    """Stored in another order they are the same images: nibabel is the judge."""
    mapping, moving, static, labels = volumes
    known = {"moving_labels": labels, "static_labels": np.uint8(static > 0.5)}
    expected = apply_map(mapping, moving, static, **known)
    turned, affines = {}, {}
    grids = {"moving": mapping.domain_grid2world, "static": mapping.codomain_grid2world}
    for name, array in {"moving": moving, "static": static, **known}.items():
        affine = grids[name.split("_")[0]]
        image = nib.Nifti1Image(array, affine)
        turned[name] = turn(image, codes)
        affines[f"{name.split('_')[0]}_affine"] = turned[name].affine
    turned = {n: np.asarray(image.dataobj) for n, image in turned.items()}
    found = apply_map(mapping, **turned, **affines)
    for name in ("static", "before", "warped", "covered"):
        image = nib.Nifti1Image(getattr(found, name).astype(np.float32), found.affine)
        back = turn(image, nib.aff2axcodes(grids["static"])).get_fdata()
        npt.assert_allclose(back, getattr(expected, name), atol=1e-5)
    for name, value in measure(expected).items():
        npt.assert_allclose(measure(found)[name], value, rtol=1e-4, atol=1e-5)
    assert expected.covered.any() and not expected.covered.all()


def turn(image, codes):
    turned = nib.orientations.ornt_transform(
        nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes)
    )
    return image.as_reoriented(turned)


def test_labels_that_are_lost_are_counted(image):
    labels = np.zeros(image.shape, np.uint8)
    labels[:3], labels[20:22] = 7, 2
    mapping = shifted(image, -4)
    known = {"moving_labels": labels, "static_labels": labels}
    known["moving_labels"] = np.where(labels == 2, 0, labels)
    measures = measure(apply_map(mapping, image, image, **known))
    assert measures["lost_labels_before"] == 1 == measures["lost_labels_after"]
    assert measures["dice_before"] == 0.5
    away = measure(apply_map(shifted(image, 4), image, image, **known))
    assert away["lost_labels_after"] == 2 and away["dice_after"] == 0


@pytest.mark.parametrize("offset", [0, 1e5, 1e9])
@pytest.mark.parametrize("scale", [1e-30, 1, 1e30, 1e290])
def test_offset_and_scale_change_no_measure(offset, scale, image, rng):
    other = gaussian_filter(rng.random(image.shape), 1.5) + 0.5 * image
    image, other = (
        np.pad(i[2:-2, 2:-2], [(2, 2)] * 2 + [(0, 0)] * (i.ndim - 2))
        for i in (image, other)
    )
    mapping = shifted(image, 0)
    expected = measure(apply_map(mapping, other, image))
    changed = ((i.astype(np.float64) + offset) * scale for i in (other, image))
    with np.errstate(all="raise", under="ignore"):
        found = measure(apply_map(mapping, *changed))
    for name in ("ncc_after", "nmi_after", "misplaced_after"):
        assert found[name] == pytest.approx(expected[name], abs=2e-3)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, ">f8"])
def test_images_of_any_type(dtype, image):
    image = (100 * image > np.median(100 * image)).astype(dtype)
    measures = measure(apply_map(shifted(image, 0), image, image))
    assert measures["ncc_after"] == pytest.approx(1)
    assert measures["misplaced_after"] == 0 and misplaced(image, image) == 0


def test_missing_values_count_as_background(image, dipy_log):
    broken = image.copy()
    broken[0, :5] = np.nan
    measures = measure(apply_map(shifted(image, 0), broken, image))
    assert measures["ncc_after"] > 0.9
    assert "values of the moving image are NaN" in dipy_log.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"moving": np.inf}, "finite values in the moving image"),
        ({"static": np.nan}, "finite values in the static image"),
        ({"static": 1j}, "real numbers in static"),
        ({"moving_labels": 0.5}, "moving_labels to be integers on the grid of moving"),
        ({"static_labels": 0}, "labels other than 0 in static_labels"),
        ({"moving_affine": np.zeros((9, 9))}, "Expected moving_affine of shape"),
    ],
)
def test_what_cannot_be_applied(changes, message, image):
    given = {"moving": image, "static": image}
    given |= {f"{name}_labels": np.ones(image.shape, int) for name in given}
    for name, value in changes.items():
        is_array = name in given
        given[name] = np.full(image.shape, value) if is_array else value
    with pytest.raises(ValueError, match=message):
        apply_map(shifted(image, 0), **given)


@pytest.mark.parametrize("shape", [(1, 20, 22), (20, 1, 22), (20, 22, 1), (20, 22, 2)])
def test_slices_are_measured(shape, rng):
    image = gaussian_filter(rng.random(shape), 1.5).astype(np.float32)
    labels = (image > np.median(image)).astype(int)
    known = {"moving_labels": labels, "static_labels": labels}
    field = np.zeros((*shape, 3), np.float32)
    still = displacement_to_mapping(field, inverse=field)
    measures = measure(apply_map(still, image, image, **known))
    del measures["sd_log_jacobian"]
    assert np.isfinite(list(measures.values())).all()
    assert measures["ncc_after"] == measures["dice_after"] == measures["covered"] == 1
    assert measures["misplaced_after"] == measures["folding"] == 0


@pytest.mark.parametrize(
    "junk", [np.zeros((0, 3)), None, "3", [1j, 2], np.zeros((3, 4))]
)
def test_what_is_no_pair_of_images(junk):
    with pytest.raises(ValueError, match=r"Expected .*\. Received "):
        misplaced(np.ones((4, 4)), junk)
