"""Devices of the backend: GPUs, and processors with instructions for bfloat16."""

from pathlib import Path

import keras


def has_gpu():
    """Return whether the backend computes on a GPU."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.default_backend() != "cpu"
    if backend == "torch":
        import torch

        return torch.cuda.is_available()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def has_fast_bfloat16():
    """Return whether convolutions are faster in bfloat16 than in float32.

    They are on a GPU. On a processor that has instructions for bfloat16 they are with
    TensorFlow and PyTorch, which use oneDNN, but not with JAX: XLA does not use these
    instructions.
    """
    if has_gpu() or keras.backend.backend() == "jax":
        return has_gpu()
    try:
        processor = Path("/proc/cpuinfo").read_text()
    except OSError:  # only Linux has this file
        return False
    return "avx512_bf16" in processor or "amx_bf16" in processor
