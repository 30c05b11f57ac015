import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates
from sklearn.metrics import mutual_info_score

from dipy_nn_reg.label_metrics import dice_of_labels
from dipy_nn_reg.mapping import displacement_to_mapping
from dipy_nn_reg.metrics import ncc
from dipy_nn_reg.quality import apply_map, measure, misplaced
from dipy_nn_reg.transform import identity_grid


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
    warped = map_coordinates(image, where, order=1, mode="grid-constant")
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
