import re

import numpy as np
import numpy.testing as npt
import pytest
from scipy.spatial.transform import Rotation

from dipy_nn_reg.mapping.affine_summary import describe_affine


def compose(turn, stretch, shift):
    """Return the affine that stretches, then turns, then shifts."""
    affine = np.eye(len(shift) + 1)
    affine[:-1, :-1] = turn @ stretch
    affine[:-1, -1] = shift
    return affine


def turn_in_2d(degrees):
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cos, -sin], [sin, cos]])


@pytest.mark.parametrize("degrees", [0, 1e-3, 30, 90, 179, 180])
def test_a_turn_about_a_centre_moves_nothing_there(degrees):
    for turn, center in (
        (Rotation.from_rotvec([0, 0, degrees], degrees=True).as_matrix(), [9, -70, 4]),
        (Rotation.from_rotvec(np.full(3, degrees / 3**0.5), degrees=True).as_matrix(),
         [0, 200, 4]),
        (turn_in_2d(-degrees), [30, 8]),
    ):  # fmt: skip
        center = np.array(center, float)
        still = compose(turn, np.eye(len(center)), center - turn @ center)
        summary = describe_affine(still, center)
        npt.assert_allclose(summary.angle_degrees, degrees, atol=1e-6)
        npt.assert_allclose(summary.shift_mm, 0, atol=1e-12)
        npt.assert_allclose(summary.scales, 1)
        npt.assert_allclose(summary.shears, 0, atol=1e-12)
        npt.assert_allclose(summary.determinant, 1)


def test_parts_of_a_composition_are_told_apart(rng):
    turn = Rotation.from_euler("xyz", [20, -30, 10], degrees=True)
    affine = compose(turn.as_matrix(), np.diag([1.1, 0.9, 1.3]), [3, 0, 4])
    summary = describe_affine(affine, [0, 0, 0])
    npt.assert_allclose(summary.angle_degrees, np.rad2deg(turn.magnitude()))
    npt.assert_allclose(summary.scales, [1.1, 0.9, 1.3])
    npt.assert_allclose(summary.shears, 0, atol=1e-12)
    npt.assert_allclose(summary.shift_mm, 5)
    npt.assert_allclose(summary.determinant, 1.1 * 0.9 * 1.3)
    center = rng.normal(size=3)
    shift = (affine @ [*center, 1])[:3] - center
    summary = describe_affine(affine, center)
    npt.assert_allclose(summary.shift_mm, np.linalg.norm(shift))


def test_shears_are_in_the_order_of_pairs_of_axes():
    # Columns of unit length, of which two are not at right angles.
    stretch = np.array([[1, 0.2, 0], [0.2, 1, 0], [0, 0, 2.0]])
    summary = describe_affine(compose(np.eye(3), stretch, np.zeros(3)), np.zeros(3))
    npt.assert_allclose(summary.shears, [0.2, 0, 0], atol=1e-12)
    npt.assert_allclose(summary.scales, [1, 1, 2])
    stretch = np.array([[1, 0.3], [0.3, 4]])
    summary = describe_affine(compose(turn_in_2d(40), stretch, [0, 0]), [0, 0])
    npt.assert_allclose(summary.shears, [0.15])  # 0.3 / sqrt(1 * 4)
    npt.assert_allclose(summary.angle_degrees, 40)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_axis_has_a_negative_scale(axis):
    scales = np.array([1.1, 0.9, 1.2])
    scales[axis] *= -1
    turn = Rotation.from_rotvec([5, 10, -15], degrees=True)
    affine = compose(turn.as_matrix(), np.diag(scales), [0, 0, 0])
    summary = describe_affine(affine, [0, 0, 0])
    npt.assert_allclose(summary.scales, scales)
    npt.assert_allclose(summary.angle_degrees, np.rad2deg(turn.magnitude()))
    assert summary.determinant < 0 and f"mirrored along {'xyz'[axis]}" in str(summary)


def test_a_mirrored_slice_has_a_negative_scale():
    affine = compose(turn_in_2d(25), np.diag([1.5, -0.5]), [0, 0])
    summary = describe_affine(affine, [0, 0])
    npt.assert_allclose(summary.scales, [1.5, -0.5])
    npt.assert_allclose(summary.angle_degrees, 25)


def test_one_line_tells_it_all():
    turn = Rotation.from_rotvec([0, 0, 12.34], degrees=True).as_matrix()
    affine = compose(turn, np.diag([1.021, 0.978, 1.05]), [3, 0, 4])
    assert str(describe_affine(affine, [0, 0, 0])) == (
        "turned by 12.3 degrees, centre shifted by 5.0 mm, scaled by 1.02 x 0.98 x 1.05"
    )
    stretch = np.array([[1, -0.04], [-0.04, 1]])
    assert str(describe_affine(compose(np.eye(2), stretch, [0, 0]), [0, 0])) == (
        "turned by 0.0 degrees, centre shifted by 0.0 mm, scaled by 1.00 x 1.00, "
        "sheared by up to 0.04"
    )


@pytest.mark.parametrize(
    ("affine", "center", "message"),
    [
        (np.eye(5), np.zeros(4), r"affine of shape .* Received"),
        (np.zeros((4, 4)), np.zeros(3), "affine with finite values"),
        (np.diag([1, 1, 0, 1]), np.zeros(3), "affine that can be inverted"),
        (np.eye(4), np.zeros(2), "center of 3 finite numbers"),
        (np.eye(3), [np.nan, 0], "center of 2 finite numbers"),
        (np.eye(3), ["a", "b"], "center of 2 finite numbers"),
        (None, [0, 0], "affine"),
        ([[1, 0], [1]], [0, 0], "affine"),
    ],
)
def test_bad_input_is_refused(affine, center, message):
    with pytest.raises(ValueError, match=message) as error:
        describe_affine(affine, center)
    assert re.search("Received", str(error.value))
