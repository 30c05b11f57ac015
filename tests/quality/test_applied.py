import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg.intensities import estimate_background
from dipy_nn_reg.quality.applied import apply_map
from dipy_nn_reg.quality.measures import measure
from dipy_nn_reg.transform.functions import identity_grid


def test_images_are_warped_as_by_scipy(image, shifted):
    labels = (image > np.median(image)).astype(np.int32)
    pair = apply_map(
        shifted(2), image, image, moving_labels=labels, static_labels=labels
    )
    positions = np.moveaxis(identity_grid(image.shape), -1, 0).astype(float)
    positions[0] += 2
    outside = {"mode": "grid-constant", "cval": estimate_background(image)}
    warped = map_coordinates(image, positions, order=1, **outside)
    npt.assert_allclose(pair.warped, warped, atol=1e-6)
    npt.assert_array_equal(pair.static, image)
    npt.assert_array_equal(pair.before, image)
    npt.assert_array_equal(pair.labels["static"], labels)
    npt.assert_array_equal(pair.labels["before"], labels)
    npt.assert_array_equal(pair.labels["warped"][:-2], labels[2:])
    npt.assert_array_equal(pair.labels["warped"][-2:], 0)
    npt.assert_array_equal(pair.covered[-2:], False)
    npt.assert_array_equal(pair.covered[:-2], True)
    npt.assert_array_equal(pair.affine, np.eye(image.ndim + 1))


def test_a_pair_without_labels_has_none(image, shifted):
    assert apply_map(shifted(0), image, image).labels == {}


@pytest.fixture
def volumes(scene):
    """Two images on grids of their own, a map between them, and labels."""
    truth = scene(3, True)
    mapping = truth.make_mapping()
    static = mapping.transform(truth.moving).astype(np.float32)
    labels = np.digitize(truth.moving, [0.4, 0.6]).astype(np.int16)
    return mapping, truth.moving.astype(np.float32), static, labels


@pytest.mark.parametrize("codes", ["LAS", "PIR", "ILA"])
def test_the_order_in_which_images_are_stored_changes_nothing(codes, volumes):
    """The oracle is nibabel, which reorders the axes of each image and its affine."""
    mapping, moving, static, labels = volumes
    labels_of_both = {"moving_labels": labels, "static_labels": np.uint8(static > 0.5)}
    expected = apply_map(mapping, moving, static, **labels_of_both)
    turned, affines = {}, {}
    grids = {"moving": mapping.domain_grid2world, "static": mapping.codomain_grid2world}
    for name, array in {"moving": moving, "static": static, **labels_of_both}.items():
        affine = grids[name.split("_")[0]]
        image = nib.Nifti1Image(array, affine)
        turned[name] = turn(image, codes)
        affines[f"{name.split('_')[0]}_affine"] = turned[name].affine
    turned = {n: np.asarray(image.dataobj) for n, image in turned.items()}
    stored = apply_map(mapping, **turned, **affines)
    for name in ("static", "before", "warped", "covered"):
        image = nib.Nifti1Image(getattr(stored, name).astype(np.float32), stored.affine)
        back = turn(image, nib.aff2axcodes(grids["static"])).get_fdata()
        npt.assert_allclose(back, getattr(expected, name), atol=1e-5)
    found = measure(stored)
    for name, value in measure(expected).items():
        # Samples of the search for other starts are drawn in the order of storage.
        if name not in ("information", "rival"):
            npt.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)
    assert expected.covered.any() and not expected.covered.all()


def turn(image, codes):
    turned = nib.orientations.ornt_transform(
        nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes)
    )
    return image.as_reoriented(turned)


def test_nan_counts_as_background(image, shifted, dipy_log):
    broken = image.copy()
    broken[0, :5] = np.nan
    pair = apply_map(shifted(0), broken, image)
    filled = np.where(np.isnan(broken), estimate_background(broken), broken)
    npt.assert_array_equal(pair.before, filled)
    assert "values of the moving image are NaN" in dipy_log.text


@pytest.mark.parametrize(("offset", "scale"), [(1e9, 1), (0, 1e-40), (0, 1e290)])
def test_contrast_is_kept_in_float32(offset, scale, image, shifted):
    changed = (image.astype(np.float64) + offset) * scale
    pair = apply_map(shifted(0), changed, changed)
    assert pair.static.dtype == np.float32
    correlation = np.corrcoef(pair.static.ravel(), image.ravel())[0, 1]
    assert correlation == pytest.approx(1, abs=1e-4)


def test_images_and_labels_that_do_not_match_the_map_are_refused(image, shifted):
    mapping = shifted(0)
    with pytest.raises(ValueError, match="on the grid of the map"):
        apply_map(mapping, image[1:], image)
    labels = np.ones(image.shape, int)
    with pytest.raises(ValueError, match="both images or of none"):
        apply_map(mapping, image, image, moving_labels=labels)
    axes = np.eye(image.ndim + 1)
    with pytest.raises(ValueError, match=f"of {image.ndim} axes, like the map"):
        apply_map(mapping, image[0], image, moving_affine=axes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"moving": np.inf}, "finite values in the moving image"),
        ({"static": np.nan}, "finite values in the static image"),
        ({"static": 1j}, "real numbers in static"),
        ({"moving_labels": 0.5}, "moving_labels to be integers on the grid of moving"),
        ({"static_labels": 0}, "labels other than 0 in static_labels"),
        ({"moving_affine": np.zeros((9, 9))}, "Expected moving_affine of shape"),
        ({"moving_landmarks": 0}, "each annotation to be one of .*moving_landmarks"),
        ({"label_values": [1]}, "each annotation to be one of .*label_values"),
    ],
)
def test_invalid_values_are_refused(changes, message, image, shifted):
    arguments = {"moving": image, "static": image}
    arguments |= {f"{name}_labels": np.ones(image.shape, int) for name in arguments}
    for name, value in changes.items():
        is_array = name in arguments
        arguments[name] = np.full(image.shape, value) if is_array else value
    with pytest.raises(ValueError, match=message):
        apply_map(shifted(0), **arguments)
