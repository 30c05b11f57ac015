import numpy as np
import pytest

from dipy_nn_reg.metrics import measure_pair


@pytest.fixture(params=[(9, 8), (5, 6, 7)], ids=["2D", "3D"])
def images(request, rng):
    return rng.normal(size=(3, *request.param))


def test_correlation_is_measured_before_and_after(images):
    moving, static, warped = images
    still = np.zeros((*static.shape, static.ndim))
    row = measure_pair(static, warped, still, moving=moving)
    assert list(row) == ["ncc_before", "ncc_after", "folding", "strict_folding"]
    before, after = (
        np.corrcoef(static.ravel(), image.ravel())[0, 1] for image in (moving, warped)
    )
    assert row["ncc_before"] == pytest.approx(before)
    assert row["ncc_after"] == pytest.approx(after)
    assert row["folding"] == row["strict_folding"] == 0
    assert "ncc_before" not in measure_pair(static, warped, still)


def test_folding_is_measured_in_percent(images):
    _, static, warped = images
    displacement = np.zeros((*static.shape, static.ndim))
    displacement[2, ..., 0] = 1.5  # one row jumps over the next
    row = measure_pair(static, warped, displacement)
    assert row["folding"] == 0
    assert row["strict_folding"] == pytest.approx(100 * 2 / len(static))


def test_an_image_of_another_shape_is_refused(images):
    _, static, warped = images
    still = np.zeros((*static.shape, static.ndim))
    with pytest.raises(ValueError, match="Expected arrays of one shape"):
        measure_pair(static, warped[1:], still)
    with pytest.raises(ValueError, match="Expected arrays of one shape"):
        measure_pair(static, warped, still, moving=warped[1:])


def test_the_offset_between_channels_is_no_correlation(images):
    one, other = (np.stack([image, image[::-1]], -1) for image in images[:2])
    still = np.zeros((*images[0].shape, images[0].ndim))
    row = measure_pair(one, other, still)
    expected = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1]
        for a, b in zip(np.moveaxis(one, -1, 0), np.moveaxis(other, -1, 0))
    ]
    assert row["ncc_after"] == pytest.approx(np.mean(expected))
    away = measure_pair(one + [0, 100], other + [0, 100], still)
    assert away["ncc_after"] == pytest.approx(row["ncc_after"])
