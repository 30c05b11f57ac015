from itertools import product

from dipy.tracking.utils import density_map
from nibabel.affines import apply_affine
import numpy as np
import numpy.testing as npt
import pytest
from scipy.spatial.transform import Rotation

from dipy_nn_reg.metrics import (
    bundle_density,
    bundle_dice,
    bundle_distance,
    measure_bundles,
)

SHAPE = (6, 5, 7)


def oblique(sizes=(-1.5, 2, 2.5)):
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", [10, -25, 40], degrees=True).as_matrix()
    affine[:3, :3] = turn * sizes
    affine[:3, 3] = [-20, 7, 90]
    return affine


AFFINES = {"identity": np.eye(4), "oblique and flipped": oblique()}


@pytest.fixture(params=AFFINES)
def affine(request):
    return AFFINES[request.param]


def length_inside(start, end, voxel):
    """Return the fraction of a segment in the box of a voxel, by its six planes."""
    enter, leave = 0.0, 1.0
    for a, b, middle in zip(start, end, voxel):
        times = sorted((middle + side - a) / (b - a) for side in (-0.5, 0.5))
        enter, leave = max(enter, times[0]), min(leave, times[1])
    return max(leave - enter, 0)


def test_voxels_between_points_count_once_for_each_streamline(affine, rng):
    """Streamlines of few points, some of them outside, beside boxes and segments."""
    voxels = [rng.uniform(-2, 8, size=(n, 3)) for n in (2, 4, 3, 2, 6, 9, 9)]
    lines = [apply_affine(affine, points) for points in voxels]
    expected = np.zeros(SHAPE, int)
    for place in product(*map(range, SHAPE)):
        for line in voxels:
            parts = (length_inside(a, b, place) for a, b in zip(line, line[1:]))
            expected[place] += max(parts) > 1e-9
    npt.assert_array_equal(bundle_density(lines, affine, SHAPE), expected)
    assert expected.max() > 1


def test_streamlines_of_many_points_as_dipy_counts_them(affine, rng):
    """More streamlines than are counted at a time, of points 0.05 voxels apart."""
    ends = rng.uniform(0, 4, size=(700, 2, 3)).round()
    lines = []
    for i, (start, end) in enumerate(ends):
        end = np.where(np.arange(3) == i % 3, end, start)  # along an axis
        lines.append(start + np.linspace(0, 1, 81)[:, None] * (end - start))
    lines = [apply_affine(affine, line) for line in lines]
    expected = density_map(lines, affine, SHAPE)
    npt.assert_array_equal(bundle_density(lines, affine, SHAPE), expected)
    ends = [line[[0, -1]] for line in lines]
    npt.assert_array_equal(bundle_density(ends, affine, SHAPE), expected)


def test_points_far_away_and_single_points():
    lines = [[[0, 1, 1], [1e30, 1, 1]], [[2, 1, 1]], [[1e30, 1, 1], [1e30, 1, 2]]]
    density = bundle_density(lines, np.eye(4), (3, 3, 3))
    npt.assert_array_equal(density[:, 1, 1], [1, 1, 2])
    assert density.sum() == 4


def slab(rows, across=0):
    """Return straight streamlines along the third axis, one in each row of voxels."""
    return [np.array([[row, across, 1.0], [row, across, 5]]) for row in rows]


def test_overlap_of_rows_of_voxels(affine):
    """Three and two rows of five voxels, two of which they share: 2 * 10 / 25."""
    rows = [0, 1, 2], [1, 2]
    one, other = ([apply_affine(affine, line) for line in slab(r)] for r in rows)
    grid = affine, SHAPE
    assert bundle_dice(one, one, *grid) == 1
    assert bundle_dice(one, other, *grid) == pytest.approx(0.8)
    # Each voxel weighs 1/3 or 1/2: 10 * (1/3 + 1/2) of 5 + 5.
    weighted = bundle_dice(one, other, *grid, weighted=True)
    assert weighted == pytest.approx(10 * (1 / 3 + 1 / 2) / 10)
    # The number of streamlines does not matter, a stray one hardly does.
    assert bundle_dice(one, other * 9, *grid, weighted=True) == pytest.approx(weighted)
    stray = other * 50 + [apply_affine(affine, line) for line in slab([5], 4)]
    found = bundle_dice(other, stray, *grid, weighted=True)
    assert found == pytest.approx(1 - 0.5 / 101)
    assert bundle_dice(other, stray, *grid) == pytest.approx(2 * 10 / 25)


def test_a_moving_bundle_elsewhere_has_no_overlap():
    elsewhere = [line + 100 for line in slab([1])]
    row = measure_bundles(slab([1]), elsewhere, np.eye(4), SHAPE)
    assert row["bundle_dice"] == row["bundle_weighted_dice"] == 0
    assert row["bundle_distance_mm"] == pytest.approx(100 * np.sqrt(3))


@pytest.mark.parametrize("turned", [False, True])
def test_distance_of_parallel_streamlines(turned):
    """Lines 40 mm long, of other numbers of points, and 3 mm apart."""
    ends = np.array([[0, 0, 0], [0, 0, 40.0]])
    one = [ends[0] + np.linspace(0, 1, n)[:, None] * ends[1] for n in (2, 7, 90)]
    other = [line[::-1] if turned else line for line in reversed(one)]
    other = [line + [3, 0, 0] for line in other]
    assert bundle_distance(one, other) == pytest.approx(3, rel=1e-6)


def test_distance_of_curves(rng):
    """The distance written out: equal steps by length, both directions, closest."""
    bundles = [
        [rng.normal(size=(rng.integers(3, 30), 3)).cumsum(0) for _ in range(n)]
        for n in (5, 8)
    ]

    def resample(line):
        lengths = np.linalg.norm(np.diff(line, axis=0), axis=1)
        along = np.append(0, lengths.cumsum())
        at = np.linspace(0, along[-1], 20)
        return np.stack([np.interp(at, along, x) for x in line.T], axis=1)

    def mdf(a, b):
        ways = (np.linalg.norm(a - c, axis=1).mean() for c in (b, b[::-1]))
        return min(ways)

    one, other = ([resample(line) for line in bundle] for bundle in bundles)
    table = np.array([[mdf(a, b) for b in other] for a in one])
    expected = (table.min(0).mean() + table.min(1).mean()) / 2
    assert bundle_distance(*bundles) == pytest.approx(expected, rel=1e-5)
    assert bundle_distance(*bundles[::-1]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("n", [1, 2, 30])
def test_a_streamline_without_length_has_a_distance(n):
    assert bundle_distance([[[0, 0, 0]] * n], [[[0, 3, 4]] * n]) == pytest.approx(5)


@pytest.mark.parametrize(
    ("bundle", "message"),
    [
        ([], r"Expected streamlines in bundle\. Received none"),
        ([np.zeros((0, 3))], "finite points in bundle. Received none"),
        ([np.zeros((4, 2))], r"of shape \(n, 3\). Received one of shape \(4, 2\)"),
        ([[[0, 0, np.nan]]], "finite points in bundle. Received some"),
        ([[["a", "b", "c"]]], r"of shape \(n, 3\)"),
    ],
)
def test_invalid_bundles_are_refused(bundle, message):
    with pytest.raises(ValueError, match=message):
        bundle_density(bundle, np.eye(4), SHAPE)


def test_invalid_grids_are_refused():
    for affine, shape in ((np.eye(3), SHAPE), (np.zeros((4, 4)), SHAPE)):
        with pytest.raises(ValueError, match="Expected a grid of three axes"):
            bundle_density(slab([1]), affine, shape)
    with pytest.raises(ValueError, match="Expected a grid of three axes"):
        bundle_density(slab([1]), np.eye(4), (5, 5))
    with pytest.raises(ValueError, match="static bundle within the grid"):
        bundle_dice([line + 100 for line in slab([1])], slab([1]), np.eye(4), SHAPE)


def test_streamlines_without_points_do_not_count():
    lines = [np.array([[0.0, 0, 0], [2, 0, 0]]), np.array([[1.0, 0, 0], [3, 0, 0]])]
    other, grid = lines[:1], (np.eye(4), (4, 1, 1))
    empty = [*other, *[np.zeros((0, 3))] * 5]
    expected = bundle_dice(lines, other, *grid, weighted=True)
    assert bundle_dice(lines, empty, *grid, weighted=True) == expected
