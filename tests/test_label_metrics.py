import numpy as np
import pytest
from scipy.spatial.distance import cdist
import SimpleITK as sitk

from dipy_nn_reg.label_metrics import dice_of_labels, hausdorff95_of_labels


@pytest.fixture(params=[2, 3], ids=["2D", "3D"])
def labels(request, rng, smooth_field):
    """Two maps of three labels, one of them moved a little."""
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


def test_the_distance_is_that_of_all_points_to_all_others(labels):
    static, warped = labels
    spacing = np.array([1.5, 2.0, 0.7])[: static.ndim]
    found = hausdorff95_of_labels(static, warped, spacing=spacing)
    assert list(found) == [1, 2, 3]
    for label, value in found.items():
        a, b = (surface(m == label) * spacing for m in labels)
        distances = cdist(a, b)
        both = (np.percentile(distances.min(axis), 95) for axis in (0, 1))
        assert value == pytest.approx(max(both), abs=1e-9)


def surface(mask):
    """Return the voxels of a mask that have a neighbour outside, one by one."""
    padded, found = np.pad(mask, 1), []
    for voxel in np.argwhere(padded):
        for axis in range(mask.ndim):
            for step in (-1, 1):
                neighbour = voxel.copy()
                neighbour[axis] += step
                if not padded[tuple(neighbour)]:
                    found.append(tuple(voxel))
    return np.array(sorted(set(found)))


def test_labels_that_are_missing_are_not_numbers():
    static, warped = np.array([[0, 1], [2, 2]]), np.array([[0, 1], [0, 0]])
    assert np.isnan(dice_of_labels(static, warped, labels=[3])[3])
    assert dice_of_labels(static, warped)[2] == 0
    assert np.isnan(hausdorff95_of_labels(static, warped)[2])
    assert hausdorff95_of_labels(static, warped)[1] == 0


@pytest.mark.parametrize("measure", [dice_of_labels, hausdorff95_of_labels])
def test_what_is_no_pair_of_label_maps_is_refused(measure):
    with pytest.raises(ValueError, match=r"of one shape.*\(2, 2\).*\(3, 3\)"):
        measure(np.zeros((2, 2), int), np.zeros((3, 3), int))
    with pytest.raises(ValueError, match=r"integers.*warped\.dtype=float64"):
        measure(np.zeros((2, 2), int), np.zeros((2, 2)))
