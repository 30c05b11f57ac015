import matplotlib.pyplot as plt
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.viz import plot_dice, plot_histograms


def test_overlaps_are_sorted_and_named():
    before, after = {1: 0.5, 2: 0.6, 3: np.nan}, {1: 0.9, 2: 0.7, 3: np.nan}
    (ax,) = plot_dice(before, after, names={1: "putamen"}).axes
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels == ["putamen", "2", "3"]  # from the bottom
    old, new = (points.get_offsets() for points in ax.collections[1:])
    npt.assert_array_equal(np.asarray(old)[:2, 0], [0.5, 0.6])
    npt.assert_array_equal(np.asarray(new)[:2, 0], [0.9, 0.7])
    (ax,) = plot_dice(before, after, most=1).axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["3"]


@pytest.mark.parametrize(
    "name", ["$x$ $\\frac", "M\udcfcller", "a\nb", "<b>", "", 7, None]
)
def test_any_name_of_a_label_is_drawn(name, tmp_path):
    plot_dice({1: 0.5}, {1: 0.7}, names={1: name}).savefig(tmp_path / "figure.png")


def test_histograms_count_all_voxels(rng):
    static, warped = rng.random((2, 9, 10))
    figure = plot_histograms(static, warped, np.zeros((9, 10, 2)))
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["intensities", "changes of volume", "displacements"]
    (patch,) = figure.axes[1].patches
    counts = patch.get_data().values
    assert max(counts) == sum(counts) == 90  # one bin: no change of volume


def test_lengths_are_in_mm_with_an_affine(rng, affine):
    field = np.zeros((8, 9, 7, 3))
    field[..., 2] = 2  # voxels of 3 mm
    images = rng.random((2, 8, 9, 7))
    for options, unit, length in (({}, "voxels", 2), ({"affine": affine}, "mm", 6)):
        ax = plot_histograms(*images, field, **options).axes[2]
        assert ax.get_xlabel() == f"length, {unit}"
        (patch,) = ax.patches
        counts, edges, _ = patch.get_data()
        (bar,) = np.flatnonzero(counts)
        assert edges[bar] <= length <= edges[bar + 1]
        assert counts[bar] == 8 * 9 * 7


def test_histograms_of_slices_along_any_axis(thin_shape, affine_or_none, rng, tmp_path):
    images, field = rng.random((2, *thin_shape)), 0.1 * rng.random((*thin_shape, 3))
    figure = plot_histograms(*images, field, affine=affine_or_none)
    figure.savefig(tmp_path / "figure.png")


def test_histograms_of_images_without_contrast(tmp_path):
    zeros = np.zeros((8, 9, 7))
    figure = plot_histograms(zeros, zeros, np.zeros((8, 9, 7, 3)))
    figure.savefig(tmp_path / "figure.png")


def test_histograms_of_infinite_fields_are_refused():
    zeros = np.zeros((8, 9, 7))
    with pytest.raises(ValueError, match="Expected finite values"):
        plot_histograms(zeros, zeros, np.full((8, 9, 7, 3), np.inf))
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (({}, {}), {}, "the same labels before and after"),
        (({1: 0.5}, {2: 0.5}), {}, r".*Received \[1\] and \[2\]"),
        (([0.5], {1: 0.5}), {}, "before to be a dict"),
        (({1: 0.5}, {1: 0.5}), {"names": ["one"]}, "names to be a dict"),
        (({1: 0.5}, {1: 0.5}), {"most": 0}, "most to be an integer >= 1"),
    ],
)
def test_invalid_overlaps_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=f"Expected {message}"):
        plot_dice(*arguments, **options)
    assert not plt.get_fignums()
