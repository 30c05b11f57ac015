"""Fixtures of models in files, and of commands."""

from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

from dipy_nn_reg import DeformableRegistration

SHAPE = (17, 20, 15)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Return paths of models for 2D and 3D with random weights."""
    folder = tmp_path_factory.mktemp("models")
    for ndim in (2, 3):
        registration = DeformableRegistration(input_shape=(16,) * ndim, seed=0)
        rng = np.random.default_rng(0)
        for weights in registration.model.trainable_weights:
            weights.assign_add(0.014 * rng.normal(size=weights.shape))
        registration.save(folder / f"model_{ndim}d.keras")
    return {ndim: folder / f"model_{ndim}d.keras" for ndim in (2, 3)}


@pytest.fixture(scope="session")
def run_command():
    """Return a function that runs a command in a process of its own."""

    def run(name, *arguments, **options):
        return subprocess.run(
            [Path(sys.executable).with_name(name), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            **options,
        )

    return run
