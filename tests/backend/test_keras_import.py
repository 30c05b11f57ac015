import subprocess
import sys

import pytest

from dipy_nn_reg.backend.keras_import import explain

# Imports that a user may begin with.
ENTRIES = [
    "from dipy_nn_reg import DeformableRegistration",
    "from dipy_nn_reg import register",
    "from dipy_nn_reg.losses import ncc",
    "from dipy_nn_reg.networks.unet import unet",
    "from dipy_nn_reg.training.memory import memory_to_train",
    "from dipy_nn_reg.transform import warp",
]


@pytest.fixture
def import_without(environment_without, tmp_path):
    """Return a function that imports names in a process without a backend."""

    def run(backend, *installed):
        for name in installed:
            (tmp_path / f"{name}.py").touch()
        hidden = {"tensorflow", "jax", "torch"} - set(installed)
        lines = [f"import sys; sys.path.insert(1, {str(tmp_path)!r})"]
        for entry in ENTRIES:
            lines += [f"try: {entry}", "except ImportError as error: print(error)"]
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(lines)],
            capture_output=True,
            text=True,
            env=environment_without(hidden, KERAS_BACKEND=backend),
        )
        return done.stdout.splitlines()

    return run


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_missing_backend_is_named_wherever_one_begins(backend, import_without):
    said = import_without(backend)
    assert len(said) == len(ENTRIES) and len(set(said)) == 1
    assert f"Received {backend!r}, which is not. Run pip install {backend}," in said[0]
    assert said[0].endswith(" and install that one.")


def test_backends_that_are_installed_are_named(import_without):
    (said,) = set(import_without("tensorflow", "jax"))
    assert said.endswith(", or set the environment variable KERAS_BACKEND=jax.")


@pytest.mark.parametrize("name", ["h5py", None])
def test_other_missing_packages_are_reported_as_they_are(name):
    error = ModuleNotFoundError("none", name=name)
    assert explain(error) is error
