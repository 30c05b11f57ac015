from keras import ops
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.losses.images import mse, ncc
from dipy_nn_reg.losses.objective import Objective, ObjectiveOptions, where_compared
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
    annotations = Annotations(
        static_labels=left,
        moving_labels=right,
        static_landmarks=points,
        moving_landmarks=points + 2,
    )
    annotations = annotations.map(lambda array, place: ops.convert_to_tensor(array))
    terms = Objective(ObjectiveOptions.of(**OPTIONS))(still, annotations)
    field = outputs["field"]
    penalty = 0.5 * gradient(field) + 2 * bending(field)
    npt.assert_allclose(terms["penalty"], penalty, rtol=1e-5)
    # Two of four columns overlap; the landmarks differ by (2, 2).
    npt.assert_allclose(terms["label_overlap"], [0.5, 0.5], rtol=1e-5)
    npt.assert_allclose(terms["landmark_error"], [8, 8], rtol=1e-5)
    expected = mse(outputs["static"], outputs["warped"]) + penalty
    npt.assert_allclose(terms["loss"], expected + 3 * 0.5 + 0.25 * 8, rtol=1e-5)


def test_penalties_weigh_a_tenth_to_ten_times_as_much_by_smoothness(outputs):
    """At the middle they weigh what they do by default: for mse and gradient, 0.1."""
    options = {**OPTIONS, "loss": "mse", "penalty": "gradient", "smoothness": "any"}
    pairs = {name: ops.repeat(o[:1], 3, axis=0) for name, o in outputs.items()}
    pairs["smoothness"] = ops.convert_to_tensor(np.float32([[0], [0.5], [1]]))
    objective = Objective(ObjectiveOptions.of(**options, transform="velocity"))
    terms = objective(pairs, Annotations())
    rough = np.asarray(gradient(pairs["field"]))
    expected = rough * [0.01, 0.1, 1.0]
    npt.assert_allclose(terms["penalty"], expected, rtol=1e-5)
    different = np.asarray(mse(pairs["static"], pairs["warped"]))
    npt.assert_allclose(terms["loss"], different + expected, rtol=1e-5)


def test_inconsistent_directions_weigh_by_smoothness(outputs):
    options = {**OPTIONS, "penalty": "inverse_consistency", "smoothness": "any"}
    pairs = {name: ops.repeat(o[:1], 2, axis=0) for name, o in outputs.items()}
    pairs["smoothness"] = ops.convert_to_tensor(np.float32([[0], [1]]))
    pairs["backward"] = dict(pairs)
    objective = Objective(ObjectiveOptions.of(**options, transform="velocity"))
    weak, strong = np.asarray(objective(pairs, Annotations())["penalty"])
    assert strong == pytest.approx(100 * weak, rel=1e-5) and weak > 0


def test_coarser_levels_count_less(outputs):
    options = {**OPTIONS, "loss": "ncc", "penalty": "gradient", "smoothness": 0.0}
    alone = ncc(outputs["static"], outputs["warped"])
    objective = Objective(ObjectiveOptions.of(**options))
    terms = objective({**outputs, "coarser": [outputs, outputs]}, Annotations())
    npt.assert_allclose(terms["loss"], 1.9 * np.asarray(alone), rtol=1e-5)


def test_options_can_be_hashed():
    both = {"gradient": 0.5, "folding": 3}
    options = ObjectiveOptions.of(**{**OPTIONS, "penalty": both, "spacing": 4})
    assert dict(options.penalties) == both
    assert len({options, ObjectiveOptions.of(**{**OPTIONS, "penalty": both})}) == 1
    single = ObjectiveOptions.of(**{**OPTIONS, "penalty": "tv", "smoothness": 2.0})
    assert single.penalties == (("tv", 2.0),)
    assert not single.needs_both_directions
    symmetric = {"penalty": "inverse_consistency", "smoothness": 1.0}
    assert ObjectiveOptions.of(**OPTIONS | symmetric).needs_both_directions


def columns(*inside):
    """Return a mask of the columns whose numbers are passed."""
    mask = np.zeros((1, 8, 9, 1), np.float32)
    mask[:, :, list(inside)] = 1
    return ops.convert_to_tensor(mask)


def test_images_are_compared_where_both_masks_are(outputs):
    """A displacement of two columns: column j reads column j + 2."""
    shift = np.zeros((2, 8, 9, 2), np.float32)
    shift[..., 1] = 2
    outputs = {**outputs, "displacement": ops.convert_to_tensor(shift)}
    static, warped = (np.asarray(outputs[name]) for name in ("static", "warped"))
    masks = {"mask": columns(0, 1, 2, 3), "moving_mask": columns(4, 5, 6, 8)}
    expected = {"mask": [0, 1, 2, 3], "moving_mask": [2, 3, 4, 6], "both": [2, 3]}
    options = ObjectiveOptions.of(**{**OPTIONS, "penalty": "tv", "smoothness": 0.0})
    for name, inside in expected.items():
        annotations = Annotations(**(masks if name == "both" else {name: masks[name]}))
        loss = Objective(options)(outputs, annotations)["loss"]
        squares = (static - warped)[:, :, inside] ** 2
        npt.assert_allclose(loss, squares.mean(axis=(1, 2, 3)), rtol=1e-5)
    assert where_compared(Annotations(), outputs) is None


def test_masks_change_places_in_the_other_direction(outputs):
    options = {"penalty": {"inverse_consistency": 1.0}, "smoothness": None}
    options = ObjectiveOptions.of(**{**OPTIONS, **options})
    shift = np.zeros((2, 8, 9, 2), np.float32)
    shift[..., 1] = 2
    forward = {**outputs, "displacement": ops.convert_to_tensor(shift)}
    backward = {
        **outputs,
        "static": 1 - outputs["warped"],
        "displacement": ops.convert_to_tensor(-shift),
    }
    annotations = Annotations(mask=columns(0, 1, 2, 3), moving_mask=columns(4, 5, 6, 8))
    terms = Objective(options)({**forward, "backward": backward}, annotations)
    losses = []
    for way, inside in ((forward, [2, 3]), (backward, [4, 5])):
        static, warped = (np.asarray(way[name]) for name in ("static", "warped"))
        losses.append(((static - warped)[:, :, inside] ** 2).mean(axis=(1, 2, 3)))
    # Opposite displacements are consistent but at the borders.
    rest = np.asarray(terms["loss"]) - np.asarray(terms["penalty"])
    npt.assert_allclose(rest, np.mean(losses, axis=0), rtol=1e-4)


def test_a_mask_has_no_gradient(outputs, gradient):
    mask = columns(4, 5, 6)
    options = ObjectiveOptions.of(**{**OPTIONS, "penalty": "tv", "smoothness": 0.0})

    def loss(displacement):
        way = {**outputs, "displacement": displacement}
        terms = Objective(options)(way, Annotations(moving_mask=mask))
        return ops.sum(terms["loss"]) + ops.sum(displacement)

    [slopes] = gradient(loss, np.full((2, 8, 9, 2), 0.3, np.float32))
    npt.assert_array_equal(slopes, 1)
