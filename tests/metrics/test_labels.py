import numpy as np
import pytest
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist
import SimpleITK as sitk

from dipy_nn_reg.metrics.labels import (
    dice_of_labels,
    hausdorff95_of_labels,
    summarise_labels,
)


@pytest.fixture(params=[2, 3], ids=["2D", "3D"])
def labels(request, rng, smooth_field):
    """Return two maps of three labels, one of them shifted a little."""
    shape = (24, 20, 22)[: request.param]
    values = smooth_field(shape, sigma=3, largest=1)[..., 0]
    static = np.digitize(values, np.quantile(values, [0.4, 0.6, 0.8]))
    return static, np.roll(static, (2, 1, 1)[: request.param], range(request.param))


def test_dice_is_that_of_simpleitk(labels):
    static, warped = labels
    measure = sitk.LabelOverlapMeasuresImageFilter()
    measure.Execute(*(sitk.GetImageFromArray(a.astype(np.uint8)) for a in labels))
    dice = dice_of_labels(static, warped)
    assert list(dice) == [1, 2, 3]
    for label, value in dice.items():
        assert value == pytest.approx(measure.GetDiceCoefficient(label), abs=1e-12)


def test_the_distance_is_that_of_an_exhaustive_search(labels):
    static, warped = labels
    spacing = np.array([1.5, 2.0, 0.7])[: static.ndim]
    hausdorff = hausdorff95_of_labels(static, warped, spacing=spacing)
    assert list(hausdorff) == [1, 2, 3]
    for label, value in hausdorff.items():
        a, b = (surface(m == label) * spacing for m in labels)
        distances = cdist(a, b)
        both = (np.percentile(distances.min(axis), 95) for axis in (0, 1))
        assert value == pytest.approx(max(both), abs=1e-9)


def surface(mask):
    """Return the voxels of a mask with a neighbour outside, by a loop over voxels."""
    padded, voxels = np.pad(mask, 1), []
    for voxel in np.argwhere(padded):
        for axis in range(mask.ndim):
            for step in (-1, 1):
                neighbour = voxel.copy()
                neighbour[axis] += step
                if not padded[tuple(neighbour)]:
                    voxels.append(tuple(voxel))
    return np.array(sorted(set(voxels)))


def test_measures_of_missing_labels_are_nan():
    static, warped = np.array([[0, 1], [2, 2]]), np.array([[0, 1], [0, 0]])
    assert np.isnan(dice_of_labels(static, warped, labels=[3])[3])
    assert dice_of_labels(static, warped)[2] == 0
    assert np.isnan(hausdorff95_of_labels(static, warped)[2])
    assert hausdorff95_of_labels(static, warped)[1] == 0


@pytest.mark.parametrize("measure", [dice_of_labels, hausdorff95_of_labels])
def test_maps_of_two_shapes_or_not_of_integers_are_refused(measure):
    with pytest.raises(ValueError, match=r"of one shape.*\(2, 2\).*\(3, 3\)"):
        measure(np.zeros((2, 2), int), np.zeros((3, 3), int))
    with pytest.raises(ValueError, match=r"integers.*warped\.dtype=float64"):
        measure(np.zeros((2, 2), int), np.zeros((2, 2)))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_distance_of_a_slice_is_that_in_its_plane(axis):
    """The oracle is the border of a disc of radius 15 by SciPy in 2D."""
    x, y = np.indices((48, 44)) - 22
    disc, shifted = (((x - by) ** 2 + y**2 < 15**2).astype(int) for by in (0, 4))
    borders = [np.argwhere(d & ~binary_erosion(d)) for d in (disc, shifted)]
    spacing = np.array([0.7, 1.3])
    distances = cdist(*(border * spacing for border in borders))
    expected = max(np.percentile(distances.min(a), 95) for a in (0, 1))
    sizes = np.insert(spacing, axis, 9.0)
    slices = (np.expand_dims(m, axis) for m in (disc, shifted))
    distance = hausdorff95_of_labels(*slices, spacing=sizes)[1]
    assert distance == pytest.approx(expected, abs=1e-9)
    assert hausdorff95_of_labels(disc, shifted)[1] == 4


def test_the_distance_of_a_line_and_of_a_voxel():
    line, other = np.zeros((2, 1, 12, 1), int)
    line[:, 2:6], other[:, 3:9] = 1, 1
    # The surfaces are the ends: 2 and 5, 3 and 8.
    assert hausdorff95_of_labels(line, other, spacing=[1, 2, 1])[1] == pytest.approx(
        2 * np.percentile([1, 3], 95)
    )
    voxel = np.ones((1, 1, 1), int)
    assert hausdorff95_of_labels(voxel, voxel)[1] == 0


def test_a_lost_label_does_not_improve_the_means():
    dice, distances = {1: 0.9, 2: 0.8}, {1: 1.0, 2: 3.0}
    kept = summarise_labels(dice, distances, longest=50.0)
    assert kept == {"dice": pytest.approx(0.85), "hd95_mm": 2.0, "lost_labels": 0}
    lost = summarise_labels({1: 0.9, 2: 0.0}, {1: 1.0, 2: np.nan}, longest=50.0)
    assert lost == {"dice": 0.45, "hd95_mm": 25.5, "lost_labels": 1}
    with pytest.raises(ValueError, match="one label or more"):
        summarise_labels({}, {}, longest=50.0)


@pytest.mark.parametrize("dtype", [np.uint64, np.int64, np.uint8, ">i4", bool])
def test_labels_of_any_type_and_size_are_measured(dtype):
    largest = 1 if dtype is bool else np.iinfo(dtype).max
    static, warped = np.zeros((2, 4, 5), dtype)
    static[1:3], warped[1:] = largest, largest
    assert dice_of_labels(static, warped) == {int(largest): 2 * 10 / 25}
    assert list(hausdorff95_of_labels(static, warped)) == [int(largest)]
    assert np.isnan(dice_of_labels(static, warped, labels=[10**30])[10**30])


@pytest.mark.parametrize("measure", [dice_of_labels, hausdorff95_of_labels])
@pytest.mark.parametrize("labels", ["3", b"3", 3, [1.5], [True], ["1"], [None], 2.0])
def test_invalid_labels_are_refused(measure, labels):
    maps = np.ones((2, 4, 4), int)
    with pytest.raises(ValueError, match="labels to be a sequence of integers"):
        measure(*maps, labels=labels)


def test_labels_may_be_any_iterable_of_integers():
    maps = np.ones((2, 4, 4), int)
    for labels in (np.array([1]), {1}, (n for n in [1]), range(1, 2)):
        assert dice_of_labels(*maps, labels=labels) == {1: 1.0}


@pytest.mark.parametrize(
    "spacing", [[1], [1, 2, 3], [0, 1], [-1, 1], [np.nan, 1], [np.inf, 1], "12", 2.0]
)
def test_invalid_spacings_are_refused(spacing):
    with pytest.raises(ValueError, match="Expected .*spacing"):
        hausdorff95_of_labels(*np.ones((2, 4, 4), int), spacing=spacing)


@pytest.mark.parametrize("junk", [np.zeros((0, 3), int), "3", None, [[1], [1, 2]], 3])
def test_invalid_label_maps_are_refused(junk):
    with pytest.raises(ValueError, match=r"Expected .*\. Received "):
        dice_of_labels(junk, junk)
