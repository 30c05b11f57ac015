from functools import partial

from keras import ops
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.losses.self_similarity import descriptors, mind


def value_of(static, warped, **options):
    return ops.convert_to_numpy(mind(static, warped, **options))


def expected_of(reference, static, warped, mask=None):
    """Evaluate the reference for one image after the other, in float64."""
    mask = np.ones((*static.shape[:-1], 1)) if mask is None else mask
    images = (np.asarray(array, np.float64) for array in (static, warped, mask[..., 0]))
    return [reference(*items) for items in zip(*images)]


@pytest.mark.parametrize(("radius", "dilation"), [(2, 1), (1, 3)])
@pytest.mark.parametrize("shape", [(2, 7, 8, 1), (1, 6, 5, 4, 2)])
def test_neighbourhoods_agree_with_a_loop_in_numpy(
    shape, radius, dilation, make_images, mind_reference
):
    images = make_images(shape)
    options = {"radius": radius, "dilation": dilation}
    expected = expected_of(partial(mind_reference, **options), *images)
    npt.assert_allclose(value_of(*images, **options), expected, rtol=1e-4)


def test_weak_or_rare_texture_agrees_with_a_loop_in_numpy(make_images, mind_reference):
    # The variance is then less than 1e-3, or more than 1e3, times the usual one.
    static, warped = make_images((2, 250, 260, 1))
    static[0, :100] *= 0.003
    rare = static[1]
    rare[:-5] = rare[:, :-5] = 0
    mask = np.zeros((2, 250, 260, 1))
    mask[0, 50:120] = mask[1, -8:, -8:] = 1
    expected = expected_of(mind_reference, static, warped, mask)
    npt.assert_allclose(value_of(static, warped, mask=mask), expected, rtol=1e-4)


def test_difference_to_an_image_of_inverted_contrast_is_zero(rng):
    image = rng.random((1, 9, 8, 1), dtype=np.float32)
    npt.assert_allclose(value_of(image, image), 0)
    npt.assert_allclose(value_of(image, 1 - image), 0, atol=1e-8)


@pytest.mark.parametrize(("shape", "pairs"), [((7, 8), 4), ((6, 5, 4), 12)])
def test_descriptors_have_a_value_from_0_to_1_for_each_pair(shape, pairs, rng):
    image = ops.convert_to_tensor(rng.random((2, *shape, 3), dtype=np.float32))
    actual = ops.convert_to_numpy(descriptors(image, 1, 2))
    assert actual.shape == (2, *shape, 3 * pairs)
    assert actual.min() >= 0
    # The most similar pair of neighbours of each voxel and channel has the value 1.
    largest = actual.reshape(2, *shape, pairs, 3).max(axis=-2)
    npt.assert_array_equal(largest, 1)


@pytest.mark.parametrize("option", ["radius", "dilation"])
def test_invalid_options_are_refused(option):
    image = ops.ones((1, 8, 6, 1))
    message = f"Expected {option} to be an integer >= 1.*Received 0"
    with pytest.raises(ValueError, match=message):
        mind(image, image, **{option: 0})
