from functools import partial
from types import SimpleNamespace

import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import register
from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.losses.choice_checks import default_smoothness
from dipy_nn_reg.losses.choices import LOSSES, get_loss
from dipy_nn_reg.losses.images import lncc
from dipy_nn_reg.losses.objective import ObjectiveOptions
from dipy_nn_reg.pairwise.channels import check_num_channels
from dipy_nn_reg.pairwise.options import (
    check_annotations,
    check_model,
    check_options,
    check_size,
    choose_voxel_size,
    find_layout,
    spatial_shape,
)

SHAPE = (36, 41)
OPTIONS = ObjectiveOptions("ncc")
FIELD = {"transform": "velocity", "spacing": None, "field_stride": None}
OBJECTIVE = {"loss": None, "penalty": None, "smoothness": None}


def check(shape=SHAPE, trained=None, label_weight=1.0, **changes):
    field = {**FIELD, **{k: v for k, v in changes.items() if k in FIELD}}
    objective = {**OBJECTIVE, **{k: v for k, v in changes.items() if k in OBJECTIVE}}
    return check_options(
        shape, trained or {}, field, label_weight=label_weight, **objective
    )


@pytest.mark.parametrize(
    ("shape", "has_world", "num_channels", "expected"),
    [
        ((36, 41), False, None, (2, 1)),
        ((36, 41, 1), False, None, (2, 1)),
        ((36, 41, 5), False, None, (3, 1)),
        ((36, 41, 5), False, 5, (2, 5)),
        ((36, 41, 5, 1), False, None, (3, 1)),
        ((36, 41, 5, 2), False, 2, (3, 2)),
        # Slices have affines of 4 x 4, and one axis of size 1 anywhere.
        ((36, 41, 1), True, None, (2, 1)),
        ((1, 36, 41), True, None, (2, 1)),
        ((36, 1, 41, 1), True, None, (2, 1)),
        ((36, 41, 1, 3), True, 3, (2, 3)),
        ((36, 41, 5), True, None, (3, 1)),
        ((36, 41), False, np.uint8(1), (2, 1)),
    ],
    ids=str,
)
def test_the_layout_follows_from_shape_and_affine(
    shape, has_world, num_channels, expected
):
    affine = np.eye(4) if has_world else None
    num_channels = check_num_channels(num_channels, None, 0, 0)
    layout = find_layout(np.zeros(shape), affine, num_channels, None)
    assert (layout["ndim"], layout["num_channels"]) == expected
    assert type(layout["num_channels"]) is int


def test_the_layout_of_a_model_is_used():
    model = SimpleNamespace(ndim=2, num_channels=3)
    image = np.zeros((5, 6, 3))
    for num_channels in (None, 3):
        num_channels = check_num_channels(num_channels, model, 0, 0)
        layout = find_layout(image, None, num_channels, model)
        assert layout == {"ndim": 2, "num_channels": 3}
    with pytest.raises(ValueError, match="Expected num_channels=3.*Received.*=1"):
        check_num_channels(1, model, 0, 0)


@pytest.mark.parametrize("shape", [(5,), (4, 5, 6, 7)])
def test_images_of_other_numbers_of_axes_are_refused(shape):
    with pytest.raises(ValueError, match="images of two or three axes"):
        find_layout(np.zeros(shape), None, 1, None)


@pytest.mark.parametrize(
    ("shape", "ndim", "expected"),
    [
        ((36, 41), 2, (36, 41)),
        ((36, 41, 3), 2, (36, 41)),
        ((36, 1, 41), 2, (36, 41)),
        ((1, 36, 41, 1), 2, (36, 41)),
        ((36, 41, 5), 3, (36, 41, 5)),
        ((36, 41, 5, 2), 3, (36, 41, 5)),
    ],
    ids=str,
)
def test_the_axis_across_a_slice_is_left_out(shape, ndim, expected):
    assert spatial_shape(np.zeros(shape), ndim) == expected


def test_default_options():
    options = check()
    assert (options.transform, options.spacing, options.field_stride) == (
        "velocity",
        1,
        1,
    )
    loss = options.objective.loss
    assert loss.func is lncc and loss.keywords == {"window": 5, "floor": 0.05}
    ((penalty, weight),) = options.objective.penalties
    expected = default_smoothness(loss, "gradient", "velocity")
    expected *= get_loss(loss).pair_smoothness
    assert (penalty, weight) == ("gradient", expected)
    assert check(transform="bspline_velocity").spacing == 4


@pytest.mark.parametrize("loss", [None, *sorted(LOSSES), partial(lncc, window=7)])
def test_the_loss_and_penalty_of_a_model_are_defaults(loss):
    trained = {"loss": "mi", "penalty": "bending"}
    options = check(trained=trained, loss=loss)
    assert options.objective.loss == ("mi" if loss is None else loss)
    assert [name for name, _ in options.objective.penalties] == ["bending"]
    options = check(trained=trained, penalty="tv", smoothness=0.25)
    assert list(options.objective.penalties) == [("tv", 0.25)]


def test_options_are_keys_of_a_cache():
    """Compiled functions are kept by their options."""
    weights = {"tv": 0.5, "folding": 1.0}
    first, second = (check(penalty=dict(weights)) for _ in range(2))
    assert first == second and hash(first) == hash(second)
    assert dict(first.objective.penalties) == weights


def image(rng):
    return rng.random(SHAPE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transform": "tps"}, "Expected transform to be one of"),
        ({"loss": "dice"}, "Expected loss to be one of"),
        ({"penalty": "dice"}, "Expected penalty"),
        ({"smoothness": -1}, "Expected smoothness"),
        ({"level_iters": 5}, "Expected level_iters to be a list"),
        ({"level_iters": []}, "Expected level_iters to be a list"),
        ({"level_iters": [5, -1]}, "each of level_iters"),
        ({"spacing": 4}, "Expected spacing=None"),
        ({"field_stride": 3}, "Expected field_stride"),
        ({"label_weight": -1}, "Expected label_weight"),
        ({"moving_labels": np.ones(SHAPE, int)}, "moving_labels alone"),
        ({"static_labels": np.ones(SHAPE, int)}, "static_labels alone"),
        ({"num_channels": 0}, "Expected num_channels"),
        ({"symmetric": "no"}, "Expected symmetric to be True or False"),
        ({"optimize": "False"}, "Expected optimize to be True or False"),
        ({"smoothness": 1e6}, "Expected smoothness .*<= 100"),
        ({"model": 5}, "Expected model"),
    ],
)
def test_invalid_options_are_refused(options, message, rng):
    with pytest.raises(ValueError, match=message):
        register(image(rng), image(rng), prealign=None, **options)


def test_a_registration_is_accepted_as_a_model():
    for model in (None, SimpleNamespace(predict_mapping=None)):
        check_model(model)


def test_label_maps_are_brought_to_one_type():
    moving = np.array([[0, 3], [7, 7]], np.uint64)
    static = np.array([[0, 3], [-2, 0]], np.int8)
    annotations = check_annotations(
        Annotations(moving_labels=moving, static_labels=static), OPTIONS, 2
    )
    assert annotations.moving_labels.dtype == annotations.static_labels.dtype
    npt.assert_array_equal(annotations.moving_labels, moving)
    npt.assert_array_equal(annotations.static_labels, static)
    assert annotations.label_values.tolist() == [-2, 3, 7]


@pytest.mark.parametrize(
    ("moving", "static", "message"),
    [
        ([0.0, 1.0], [0, 1], "Expected integers in moving_labels"),
        ([0, 1], [0, 0], "Expected integers in static_labels, and labels other than 0"),
        ([0, 1], [0, 2], r"labels that both maps have.*\[1\].*\[2\]"),
    ],
)
def test_label_maps_without_a_common_label_are_refused(moving, static, message):
    annotations = Annotations(
        moving_labels=np.array(moving), static_labels=np.array(static)
    )
    with pytest.raises(ValueError, match=message):
        check_annotations(annotations, OPTIONS, 2)


def test_a_mask_needs_a_loss_that_takes_it():
    def plain(static, warped):
        return 0.0

    annotations = Annotations(mask=np.ones((3, 3)))
    assert check_annotations(annotations, OPTIONS, 2) is annotations
    with pytest.raises(ValueError, match="loss that takes a mask"):
        check_annotations(annotations, ObjectiveOptions(plain), 2)


def test_the_size_of_the_images_is_checked(monkeypatch):
    check_size((*SHAPE, 1), check(), Annotations())
    with pytest.raises(ValueError, match="Expected"):
        check_size((*SHAPE, 1), check(loss=partial(lncc, window=99)), Annotations())
    monkeypatch.setattr("dipy_nn_reg.memory.memory_there", lambda: 2**16)
    monkeypatch.setattr("dipy_nn_reg.backend.has_gpu", lambda: False)
    with pytest.raises(MemoryError, match=r"Registering images of \(36, 41\) needs"):
        check_size((*SHAPE, 1), check(), Annotations())


@pytest.mark.parametrize(
    ("voxel_size", "zooms", "expected"),
    [
        (None, (2, 2, 3), 12 ** (1 / 3)),
        (None, (1, 1, 5), 5 ** (1 / 3)),
        (None, (2, 2, 2.01), "cubic"),
        (2.5, (2, 2, 3), 2.5),
    ],
)
def test_orientations_are_compared_on_cubic_voxels(voxel_size, zooms, expected):
    annotations = Annotations(static_orientations=np.ones((2, 2, 2, 6)))
    affine = np.diag([*zooms, 1.0])
    found = choose_voxel_size(voxel_size, None, annotations, affine)
    assert found == (expected if isinstance(expected, str) else pytest.approx(expected))


def test_without_orientations_only_thick_slices_change_the_voxels():
    affine = np.diag([2.0, 2, 3, 1])
    assert choose_voxel_size(None, None, Annotations(), affine) == "cubic"
    assert choose_voxel_size(None, object(), Annotations(), affine) is None
