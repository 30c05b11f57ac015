from functools import partial

import keras
from keras import ops
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.losses import penalties
from dipy_nn_reg.losses.choices import (
    LOSSES,
    PENALTIES,
    ChannelLosses,
    evaluate_loss,
    get_loss,
    get_penalty,
    loss_name,
    takes_mask,
)
from dipy_nn_reg.losses.images import lncc, mi


def absolute(static, warped):
    return ops.mean(ops.abs(static - warped), axis=(1, 2, 3))


def test_a_loss_with_a_value_for_each_voxel_is_averaged(rng):
    static, warped = rng.random((2, 3, 5, 6, 1), dtype="float32")
    actual = evaluate_loss(keras.losses.mean_absolute_error, static, warped)
    actual = ops.convert_to_numpy(actual)
    assert actual.shape == (3,)
    assert actual == pytest.approx(abs(static - warped).mean(axis=(1, 2, 3)), abs=1e-6)


def test_which_losses_take_a_mask():
    assert all(takes_mask(loss) for loss in LOSSES)
    assert takes_mask(partial(lncc, window=5))
    assert not takes_mask(absolute)
    assert not takes_mask(keras.losses.MeanSquaredError())


def test_a_loss_with_options_has_the_weights_of_its_name():
    window = partial(partial(mi, bins=8), mask=None)
    assert get_loss(window) == LOSSES["mi"]._replace(function=window)
    assert get_loss(absolute).values_per_voxel < LOSSES["mi"].values_per_voxel


@pytest.mark.parametrize("name", PENALTIES)
def test_a_function_of_the_package_has_the_weight_of_its_name(name):
    assert get_penalty(getattr(penalties, name)) == PENALTIES[name]


def test_a_function_of_a_user_penalises_the_field():
    function = lambda field: ops.mean(field)  # noqa: E731
    assert get_penalty(function) == (function, 1.0, "field")


def test_each_channel_has_its_own_loss_and_weight(rng):
    static, warped = rng.random((2, 3, 9, 8, 2)).astype(np.float32)
    mask = rng.random((3, 9, 8, 1)).astype(np.float32)
    loss = ChannelLosses(("mse", "ncc"), (1.0, 3.0))
    found = ops.convert_to_numpy(evaluate_loss(loss, static, warped, mask))
    expected = []
    for a, b, m in zip(static, warped, mask[..., 0]):
        mse = (m * (a[..., 0] - b[..., 0]) ** 2).sum() / m.sum()
        a, b = (i[..., 1] - (m * i[..., 1]).sum() / m.sum() for i in (a, b))
        ncc = 1 - (m * a * b).sum() / np.sqrt((m * a**2).sum() * (m * b**2).sum())
        expected.append((mse + 3 * ncc) / 4)
    npt.assert_allclose(found, expected, rtol=1e-4)


def test_losses_of_channels_need_what_any_of_them_needs():
    loss = ChannelLosses(("lncc", "mi"), (1.0, 1.0))
    row = get_loss(loss)
    assert row.values_per_voxel == LOSSES["mi"].values_per_voxel
    assert row.displacement_smoothness == LOSSES["mi"].displacement_smoothness
    assert loss_name(loss) == "lncc, mi"
    assert takes_mask(loss)
    assert not takes_mask(ChannelLosses(("lncc", absolute), (1.0, 1.0)))
