import keras
import pytest

from dipy_nn_reg.backend.precision import layers_in

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


@pytest.mark.parametrize("fast", [False, True])
def test_precision_applies_to_layers_in_its_context_alone(fast, monkeypatch):
    monkeypatch.setattr("dipy_nn_reg.backend.precision.has_fast_bfloat16", lambda: fast)
    for precision in ("float32", "bfloat16", "auto"):
        with layers_in(precision):
            layer = keras.layers.Dense(1)
        chosen = POLICIES["bfloat16" if fast else "float32"]
        assert layer.dtype_policy.name == POLICIES.get(precision, chosen)
    assert keras.layers.Dense(1).dtype_policy.name == "float32"


def test_policy_is_restored_after_an_error():
    with pytest.raises(ZeroDivisionError), layers_in("bfloat16"):
        raise ZeroDivisionError
    assert keras.config.dtype_policy().name == "float32"
