from nibabel.affines import apply_affine
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import report
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.quality.applied import apply_map
from dipy_nn_reg.quality.bundles import outlines, with_bundles
from dipy_nn_reg.quality.measures import measure

SHAPE = (20, 22, 18)
AFFINE = np.diag([-2.0, 2.0, 3.0, 1.0])


@pytest.fixture
def pair(rng):
    """Return a pair whose affine shifts by 2 voxels, and the field by another one."""
    image = rng.random(SHAPE).astype(np.float32)
    field = np.zeros((*SHAPE, 3), np.float32)
    field[..., 0] = 1
    prealign = np.eye(4)
    prealign[0, 3] = -4
    grids = {"static_affine": AFFINE, "moving_affine": AFFINE, "prealign": prealign}
    mapping = displacement_to_mapping(field, inverse=-field, **grids)
    return apply_map(mapping, image, image)


@pytest.fixture
def lines():
    """Return a row of voxels of the static image, and the same three voxels further."""
    row = np.array([[8, 5, 9], [8, 15, 9]])
    return [apply_affine(AFFINE, row)], [apply_affine(AFFINE, row + [3, 0, 0])]


def test_bundles_before_and_after_a_map(pair, lines):
    measures = measure(with_bundles(pair, *lines))
    before, after = (
        [measures[f"bundle_{name}_{when}"] for name in ("dice", "distance_mm")]
        for when in ("before", "after")
    )
    npt.assert_allclose(before, [0, 2], atol=1e-5)
    npt.assert_allclose(after, [1, 0], atol=1e-5)


def test_voxels_of_bundles_are_outlined_unless_there_are_labels(pair, lines):
    assert outlines(pair) == {}
    pair = with_bundles(pair, *lines)
    expected = {name: np.zeros(SHAPE, int) for name in ("static", "before", "warped")}
    for row, voxels in zip((8, 9, 8), expected.values()):
        voxels[row, 5:16, 9] = 1
    npt.assert_equal(outlines(pair), expected)
    labels = {"static": np.ones(SHAPE, int)}
    assert outlines(pair._replace(labels=labels)) is labels


def test_report_takes_bundles(pair, lines, tmp_path):
    images = pair.moving, pair.static
    bundles = {"static_bundle": lines[0], "moving_bundle": lines[1]}
    measures = report(tmp_path / "page.html", pair.mapping, *images, **bundles)
    assert measures["bundle_distance_mm_after"] == pytest.approx(0, abs=1e-5)
    assert "contours of bundles" in (tmp_path / "page.html").read_text()


def test_invalid_bundles_are_refused(pair, lines):
    with pytest.raises(ValueError, match="bundles of both images.*_bundle alone"):
        with_bundles(pair, lines[0], None)
    with pytest.raises(ValueError, match="one streamline or more. Received none"):
        with_bundles(pair, lines[0], [])
    flat = displacement_to_mapping(np.zeros((9, 9, 2), np.float32))
    with pytest.raises(ValueError, match="a map of volumes. Received one of 2 axes"):
        with_bundles(pair._replace(mapping=flat), *lines)
