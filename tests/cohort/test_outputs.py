import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.cohort.outputs import _warped
from dipy_nn_reg.cohort.pages import apply_to_images
from dipy_nn_reg.io.nifti import Image
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.mapping.resampling import warp_image

SHAPE = (9, 8, 7)


@pytest.fixture
def mapping(rng):
    field = rng.uniform(-2, 2, (*SHAPE, 3)).astype(np.float32)
    return displacement_to_mapping(field)


def images_with(moving, rng):
    static = rng.random(SHAPE, np.float32)
    return {
        "static": Image(static, np.eye(4), None, None),
        "moving": Image(moving, np.eye(4), None, None),
    }


KINDS = {
    "integers": lambda values: (200 * values).astype(np.uint8),
    "float32": lambda values: values.astype(np.float32),
    "a contrast too small for float32": lambda values: 1e9 + values,
    "values between those of float32": lambda values: values,
    "NaN": lambda values: np.where(values < 0.1, np.nan, values),
    "channels": lambda values: np.stack([values, 1 - values], axis=-1),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fill", [None, 0.25])
def test_a_page_does_not_change_the_warped_image(kind, fill, mapping, rng):
    images = images_with(KINDS[kind](rng.random(SHAPE)), rng)
    pair = apply_to_images(mapping, images)
    shown = _warped(mapping, images, fill, pair)
    expected = warp_image(images["moving"], images["static"], [mapping], fill=fill)
    npt.assert_array_equal(shown, expected)
    assert shown.dtype == expected.dtype
    is_same = kind in ("integers", "float32") and fill is None
    assert (shown is pair.warped) == is_same
