"""Commands that ``kill.py`` kills, with their inputs and outputs."""

import os
from pathlib import Path
import signal
import subprocess
import sys
from time import perf_counter

import numpy as np

from dipy_nn_reg.data.mnist import bundled_digits
from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.io.nifti_writing import write_image
from dipy_nn_reg.quiet import import_keras

TIME_OUT = 600  # in seconds
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


class Command:
    """A command line and the files that it writes if it is not killed.

    Parameters
    ----------
    name : str
        Without ``dipy_nn_reg_``.
    arguments : list
    folder : Path
        Folder in which it is run to its end.

    Attributes
    ----------
    sets : list of set of str
        Names of the files that appear together.
    seconds : float
        Time that it takes.
    """

    def __init__(self, name, arguments, folder, sets):
        self.name, self.arguments, self.sets = f"dipy_nn_reg_{name}", arguments, sets
        folder.mkdir()
        start = perf_counter()
        process = self.start(folder)
        _, error = process.communicate(timeout=TIME_OUT)
        self.seconds = perf_counter() - start
        if process.returncode:
            raise RuntimeError(f"{self.name} does not even work: {error}")
        self.files = {path.name for path in (folder / "out").iterdir()}
        together = set().union(*sets)
        if together != self.files:
            raise RuntimeError(f"{self.name} writes {self.files}, not {together}")

    def start(self, folder, *options):
        temporary = folder / "tmp"
        temporary.mkdir(exist_ok=True)
        line = [Path(sys.executable).with_name(self.name), *self.arguments]
        return subprocess.Popen(
            list(map(str, [*line, "--out_dir", folder / "out", *options])),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": str(temporary)},
            # Processes in the background may ignore SIGINT.
            preexec_fn=lambda: [signal.signal(s, signal.SIG_DFL) for s in SIGNALS[1:]],
        )


def prepare(folder):
    """Write inputs, and return the commands by their names."""
    images = _write_inputs(folder)
    return {
        name: Command(name, arguments, folder / name, sets)
        for name, arguments, sets in _table_of_commands(folder, images)
    }


def _write_inputs(folder):
    """Write images, an affine, points and digits; return the paths of the images."""
    import_keras()  # makes the phantoms; imported here without its messages
    images = []
    for i, image in enumerate(make_phantoms(3, shape=(24, 24, 24), seed=0)[0]):
        images.append(folder / f"{i}.nii.gz")
        write_image(images[-1], image, np.diag([2.0, 2, 2, 1]))
    np.savetxt(folder / "shift.txt", np.eye(4) + np.eye(4, k=3))
    (folder / "points.csv").write_text("x,y,z\n10,20,30\n20,10,30\n")
    _write_digits(folder / "digits")
    return images


def _table_of_commands(folder, images):
    """Return the name, the arguments and the sets of files of each command."""
    moving, static = images[0], images[1:]
    pairs = [f"{i}_0__" for i in (1, 2)]
    results = {"warped.nii.gz", "field.nii.gz", "metrics.csv"}
    results |= {"report.html"}
    registered = [{p + name for name in results} for p in pairs] + [{"cohort.html"}]
    quick = ["--prealign", "none"]
    model = folder / "fit" / "out" / "model.keras"
    moved = [images[0], folder / "points.csv", images[1]]
    return [
        ("fit", [*images, "--epochs", 3], [{"model.keras", "history.csv"}]),
        ("predict", [static[0], moving, model, *quick], [results]),
        (
            "register",
            [f"{folder}/[12].nii.gz", moving, "--level_iters", 2, 2, *quick],
            registered,
        ),
        (
            "apply",
            [static[0], f"{folder}/[01p]*[zv]", folder / "shift.txt"],
            [
                {f"{p.name.split('.')[0]}__transformed" + "".join(p.suffixes)}
                for p in moved
            ],
        ),
        ("evaluate", [static[0], moving], [{"metrics.csv"}]),
        (
            "report",
            [static[0], *images[:2]],
            [{f"1_{i}__report.html"} for i in (0, 1)] + [{"cohort.html"}],
        ),
        (
            "mnist",
            ["--epochs", 1, "--syn_pairs", 1, "--folder", folder / "digits"],
            [{"model.keras", "metrics.csv", "registration.png", "history.png"}],
        ),
    ]


def _write_digits(folder):
    """Write the bundled digits in the files of MNIST, large enough for SyN."""
    folder.mkdir()
    images, labels = bundled_digits()
    images = np.kron(images * 15.0, np.ones((1, 3, 3))).astype(np.uint8)
    for part, chosen in (("train", slice(0, 1400)), ("t10k", slice(1400, None))):
        for what, array in (("images", images[chosen]), ("labels", labels[chosen])):
            header = bytes([0, 0, 8, array.ndim])
            header += np.array(array.shape, ">u4").tobytes()
            name = f"{part}-{what}-idx{array.ndim}-ubyte"
            (folder / name).write_bytes(header + array.tobytes())
