from base64 import b64decode
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import numpy.testing as npt
from PIL import Image
import pytest

from dipy_nn_reg.quality.slices import (
    SLICES,
    as_data_url,
    choose_slices,
    contour_strip,
    gray_strip,
)
from dipy_nn_reg.viz.planes import Planes

PREFIX = "data:image/png;base64,"


def picture(url):
    assert url.startswith(PREFIX)
    return np.asarray(Image.open(BytesIO(b64decode(url[len(PREFIX) :]))))


def test_slices_lie_one_below_the_other(rng):
    image = rng.random((6, 7, 8))
    for plane in Planes(image.shape).planes:
        pixels = picture(gray_strip(image, plane, [1, 4]))
        first = np.take(image, 1, plane.normal).T
        npt.assert_allclose(pixels[: len(first)], 255 * first, atol=0.51)
        assert pixels.shape == (2 * first.shape[0], first.shape[1])


def test_slices_are_chosen_within_the_object():
    mask = np.zeros((20, 30, 40), bool)
    mask[5:15, 10:20, 8:32] = True
    axial, _, sagittal = Planes(mask.shape).planes
    indices = choose_slices(mask, axial)
    assert indices == sorted(set(indices)) and 8 < indices[0] and indices[-1] < 31
    assert min(choose_slices(mask, sagittal)) > 5
    assert choose_slices(mask[:, :, 0], Planes((20, 30)).planes[0]) == [0]


@pytest.mark.parametrize("size", [40, 11, 2])
def test_slices_of_an_empty_volume_are_spread_over_all_of_it(size):
    empty = np.zeros((size, size + 1, size + 2), bool)
    for plane in Planes(empty.shape).planes:
        indices = choose_slices(empty, plane)
        last = empty.shape[plane.normal] - 1
        expected = np.arange(1, SLICES + 1) * last / (SLICES + 1)
        assert len(indices) == SLICES
        npt.assert_allclose(indices, expected, atol=0.5)


@pytest.mark.parametrize("shape", [(2, 1024, 1024), (1024, 2, 1024), (1024, 1024, 2)])
def test_strips_of_thin_wide_volumes_keep_their_proportions(shape):
    image = np.zeros(shape)
    image[:, 300:400] = 1
    for plane in Planes(shape).planes:
        indices = choose_slices(image > 0, plane)
        rows, columns = (shape[axis] for axis in (plane.rows, plane.columns))
        shrink = max(rows, columns) / 256
        expected = max(1, round(rows / shrink)), max(1, round(columns / shrink))
        gray = picture(gray_strip(image, plane, indices))
        contours = picture(contour_strip(image, plane, indices, (1, 2, 3)))
        for pixels in (gray, contours):
            assert pixels.shape[:2] == (len(indices) * expected[0], expected[1])


def test_borders_of_labels_are_coloured():
    labels = np.zeros((6, 6), int)
    labels[2:4, 2:4] = 1
    (plane,) = Planes(labels.shape).planes
    pixels = picture(contour_strip(labels, plane, [0], (1, 2, 3)))
    drawn = pixels[..., 3] > 0
    assert (pixels[drawn] == (1, 2, 3, 255)).all()
    # All voxels that differ from their right or lower neighbour.
    expected = np.zeros((6, 6), bool)
    expected[1, 2:4] = expected[3, 2:4] = expected[2:4, 1] = expected[2:4, 3] = True
    npt.assert_array_equal(drawn, expected)


def test_large_slices_are_made_smaller(rng):
    (plane,) = Planes((600, 300)).planes
    assert picture(gray_strip(rng.random((600, 300)), plane, [0])).shape == (256, 128)


def test_a_figure_becomes_a_data_url():
    figure, ax = plt.subplots(figsize=(2, 1))
    ax.plot([0, 1])
    assert picture(as_data_url(figure)).shape[:2] == (90, 180)
    plt.close(figure)
