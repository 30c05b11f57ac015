r"""Check that predictions agree on all backends, compiled and not.

    python -m venv others
    others/bin/pip install torch==2.13.0 jax keras dipy psutil
    python tools/check_backends.py --others others/bin/python

A network with random weights, in 2D and 3D, predicts the displacement of the same
images with TensorFlow, with TensorFlow without compiling, with JAX and with PyTorch.
The script prints the largest difference in voxels from the first of them, and ends with
an error if it is above 1e-4.
"""

from argparse import ArgumentParser
import os
from pathlib import Path
import subprocess
import sys
from tempfile import TemporaryDirectory

import numpy as np

from dipy_nn_reg import DeformableRegistration

# Shapes of the images.
SHAPES = {"2D": (61, 50), "3D": (47, 52, 41)}
# Largest difference of displacements, in voxels.
TOLERANCE = 1e-4


def main():
    options = _parse_arguments()
    if options.predict:
        return _predict(*options.predict)
    worst = 0.0
    with TemporaryDirectory() as folder:
        for name, shape in SHAPES.items():
            model = Path(folder, f"{name}.keras")
            _save_deforming(model, shape)
            expected = _run(sys.executable, model, "tensorflow")
            print(f"{name}: displacement of up to {np.abs(expected).max():.1f} voxels")
            others = [(sys.executable, "tensorflow, not compiled")]
            if options.others:
                others += [(options.others, "jax"), (options.others, "torch")]
            for python, how in others:
                difference = np.abs(_run(python, model, how) - expected).max()
                worst = max(worst, difference)
                print(f"    {how}: {difference:.1e} voxels", flush=True)
    if not worst <= TOLERANCE:
        raise SystemExit(f"Expected differences up to {TOLERANCE} voxels.")


def _save_deforming(path, shape):
    """Save a model whose weights are changed at random, so that it deforms."""
    registration = DeformableRegistration(input_shape=shape, seed=0)
    rng = np.random.default_rng(0)
    for weights in registration.model.trainable_weights:
        weights.assign_add(0.02 * rng.normal(size=weights.shape))
    registration.save(path)


def _run(python, model, how):
    """Return the prediction of a process with another backend."""
    backend = how.split(",")[0]
    out = model.with_name(f"{model.stem}_{how}.npy")
    subprocess.run(
        [python, __file__, "--predict", model, out, how],
        check=True,
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": _package()},
    )
    return np.load(out)


def _package():
    """Return the folder of the package, for an environment without it."""
    return str(Path(sys.modules["dipy_nn_reg"].__file__).parents[1])


def _predict(model, out, how):
    if how.endswith("not compiled"):
        import tensorflow as tf

        tf.config.run_functions_eagerly(True)
    registration = DeformableRegistration.load(model)
    shape = registration.options["input_shape"]
    moving, static = np.random.default_rng(1).random((2, 2, *shape), dtype=np.float32)
    np.save(out, registration.predict_field(moving, static))


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--others", help="Python of an environment with JAX and PyTorch"
    )
    parser.add_argument("--predict", nargs=3, metavar=("MODEL", "OUT", "HOW"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
