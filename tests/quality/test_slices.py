from base64 import b64decode
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import numpy.testing as npt
from PIL import Image
import pytest
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.quality.slices import (
    SLICES,
    as_data_url,
    choose_slices,
    contour_strip,
    difference_strip,
    gray_strip,
    hatch_strip,
)
from dipy_nn_reg.viz.planes import Planes

KINDS = "png", "jpeg"


def picture(url, kind=None):
    prefix, data = url.split(",")
    assert prefix in {f"data:image/{k};base64" for k in ([kind] if kind else KINDS)}
    return np.asarray(Image.open(BytesIO(b64decode(data))))


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


def test_many_pixels_are_a_jpeg_that_looks_the_same(rng):
    image = gaussian_filter(rng.random((20, 200, 210)), 2)
    image = (image - image.min()) / np.ptp(image)
    _, _, sagittal = Planes(image.shape).planes  # its rows and columns are long
    pixels = picture(gray_strip(image, sagittal, [3, 9]), "jpeg")
    expected = 255 * np.concatenate([image[i].T for i in (3, 9)])
    assert np.abs(pixels - expected).mean() < 1.5
    assert picture(gray_strip(image[:, :90, :90], sagittal, [3]), "png").shape == (
        90,
        90,
    )


def test_the_difference_has_the_colours_of_its_sign():
    first, second = np.zeros((2, 6, 8))
    first[1, 2], second[4, 5] = 0.4, -0.4
    pixels = picture(difference_strip([first, second]), "png")
    assert pixels.shape == (12, 8, 3)
    same = pixels[0, 0].astype(int)
    assert np.ptp(same) <= 2 and same.min() > 230  # white
    brighter, darker = pixels[1, 2].astype(int), pixels[10, 5].astype(int)
    assert brighter[2] > brighter[0] > brighter[1]  # violet
    assert darker[0] > darker[1] > darker[2]  # orange
    assert (pixels == pixels[0, 0]).all(-1).sum() == 12 * 8 - 2


def test_only_what_is_outside_is_hatched():
    outside = np.zeros((40, 60), bool)
    outside[:, 40:] = True
    (plane,) = Planes(outside.shape).planes
    pixels = picture(hatch_strip(outside, plane, [0]), "png")
    drawn = pixels[..., 3] > 0
    assert not drawn[~outside].any()
    assert 0.2 < drawn[outside].mean() < 0.3
    assert drawn[:, 40:].any(0).all() and drawn[:, 40:].any(1).all()
