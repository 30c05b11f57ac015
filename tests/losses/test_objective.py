from keras import ops
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.losses.images import mse, ncc
from dipy_nn_reg.losses.objective import Objective
from dipy_nn_reg.losses.penalties import bending, gradient

OPTIONS = {
    "loss": "mse",
    "penalty": {"gradient": 0.5, "bending": 2.0},
    "smoothness": None,
    "label_weight": 3.0,
    "landmark_weight": 0.25,
}


@pytest.fixture
def outputs(rng):
    images = rng.random((2, 2, 8, 9, 1), dtype=np.float32)
    static, warped = map(ops.convert_to_tensor, images)
    field = ops.convert_to_tensor(rng.random((2, 8, 9, 2), dtype=np.float32))
    return {"static": static, "warped": warped, "field": field, "displacement": field}


def test_it_is_the_weighted_sum_of_its_terms(outputs):
    still = {**outputs, "displacement": 0 * outputs["displacement"]}
    left = np.zeros((2, 8, 9, 1), np.float32)
    left[:, :, :4] = 1
    right = np.zeros_like(left)
    right[:, :, 2:6] = 1
    points = np.zeros((2, 3, 2), np.float32)
    y = {
        "static_labels": left,
        "moving_labels": right,
        "static_landmarks": points,
        "moving_landmarks": points + 2,
    }
    y = {name: ops.convert_to_tensor(array) for name, array in y.items()}
    terms = Objective(OPTIONS)(still, y)
    field = outputs["field"]
    penalty = 0.5 * gradient(field) + 2 * bending(field)
    npt.assert_allclose(terms["penalty"], penalty, rtol=1e-5)
    # Two of four columns are common; landmarks are (2, 2) apart.
    npt.assert_allclose(terms["label_overlap"], [0.5, 0.5], rtol=1e-5)
    npt.assert_allclose(terms["landmark_error"], [8, 8], rtol=1e-5)
    expected = mse(outputs["static"], outputs["warped"]) + penalty
    npt.assert_allclose(terms["loss"], expected + 3 * 0.5 + 0.25 * 8, rtol=1e-5)


def test_coarser_levels_count_less(outputs):
    options = {**OPTIONS, "loss": "ncc", "penalty": "gradient", "smoothness": 0.0}
    alone = ncc(outputs["static"], outputs["warped"])
    terms = Objective(options)({**outputs, "coarser": [outputs, outputs]}, {})
    npt.assert_allclose(terms["loss"], 1.9 * np.asarray(alone), rtol=1e-5)
