import numpy as np
import pytest

from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.mapping import displacement_to_mapping
from dipy_nn_reg.mapping.prealign import estimate_prealign
from dipy_nn_reg.quality.applied import apply_map
from dipy_nn_reg.quality.starts import measure_start


def mapped(prealign):
    (image,), _ = make_phantoms(1, shape=(40, 44), seed=3)
    affine = np.eye(3)
    mapping = displacement_to_mapping(
        np.zeros((*image.shape, 2)),
        static_affine=affine,
        moving_affine=affine,
        moving_shape=image.shape,
        prealign=prealign,
    )
    return apply_map(mapping, image, image)


def turn(degrees):
    """Return a rotation about the middle of the image."""
    radians, middle = np.radians(degrees), np.array([19.5, 21.5])
    affine = np.eye(3)
    affine[0, :2] = np.cos(radians), -np.sin(radians)
    affine[1, :2] = np.sin(radians), np.cos(radians)
    affine[:2, 2] = middle - affine[:2, :2] @ middle
    return affine


def test_a_wrong_start_has_a_better_rival_and_a_right_one_has_none():
    right, wrong = (measure_start(mapped(turn(angle))) for angle in (0, 90))
    assert right["rival"] < 0.9 < 1.05 < wrong["rival"]
    assert right["information"] > 2 * wrong["information"]
    assert wrong["turned_degrees"] == pytest.approx(90)
    assert wrong["scale_smallest"] == pytest.approx(1)


def test_a_known_alignment_is_not_searched_again():
    pair = mapped(np.diag([1.1, 0.9, 1]))
    alignment = estimate_prealign(
        pair.moving, pair.static, moving_affine=np.eye(3), static_affine=np.eye(3)
    )
    measures = measure_start(pair, alignment)
    assert measures["rival"] == pytest.approx(alignment.runner_up)
    assert measures["information"] == pytest.approx(alignment.information)
    scales = measures["scale_smallest"], measures["scale_largest"]
    assert scales == pytest.approx((0.9, 1.1))
