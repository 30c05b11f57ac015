import keras

from dipy_nn_reg.backend.devices import has_fast_bfloat16, has_gpu


def test_a_gpu_is_reported_if_the_backend_lists_one():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        expected = len(tf.config.list_physical_devices("GPU")) > 0
    elif keras.backend.backend() == "torch":
        import torch

        expected = torch.cuda.device_count() > 0
    else:
        import jax

        expected = jax.devices()[0].platform != "cpu"
    assert has_gpu() is expected


def test_bfloat16_is_fast_on_a_gpu(monkeypatch):
    monkeypatch.setattr("dipy_nn_reg.backend.devices.has_gpu", lambda: True)
    assert has_fast_bfloat16()


def test_bfloat16_is_fast_on_a_processor_with_instructions_for_it(monkeypatch):
    monkeypatch.setattr("dipy_nn_reg.backend.devices.has_gpu", lambda: False)
    for text, expected in (("flags: avx512_bf16", True), ("flags: avx2", False)):
        monkeypatch.setattr("pathlib.Path.read_text", lambda *_, text=text: text)
        assert has_fast_bfloat16() == expected

    def fail(*_):
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", fail)
    assert not has_fast_bfloat16()
