"""Cases of the seven commands, run as their scripts run them."""

import os
from pathlib import Path
import subprocess
import sys

import numpy as np

from fuzzing import damage, files
from fuzzing.call import Case
from fuzzing.cases_models import _saved

# Patterns of the files that a command may leave in the working folder and below it.
_OUTPUTS = ("*",)
_OPTIONS = {
    "register": {
        "--prealign": ("none", "rigid", "affin", "", "known.txt", "absent.txt"),
        "--voxel_size": ("4", "0", "-1", "nan", "inf", "1e30", "1e-9", "x", "1e300"),
        "--transform": ("displacement", "velocity", "bspline_velocity", "tps", "x"),
        "--loss": ("mse", "ncc", "x", "os.system"),
        "--penalty": ("gradient", "tv", "x"),
        "--smoothness": ("0.1", "-1", "nan", "1e300", "x"),
        "--level_iters": ("1 1", "-1", "x", "1.5", "0"),
        "--field_format": ("dipy", "itk", "afni", "fsl", "ITK", "x"),
        "--mask_file": (
            "labels.nii.gz",
            "absent.nii.gz",
            "points.csv",
            "static.nii.gz",
        ),
        "--all_pairs": ("",),
        "--no_report": ("",),
        "--out_warped": ("w.nii.gz", "w.mgz", "static.nii.gz", "w", "a/b.nii.gz"),
        "--out_metrics": ("m.csv", "warped.nii.gz", "folder"),
        "--out_report": ("r.html", "r.txt"),
        "--out_dir": ("out", "static.nii.gz", "out/a/b", "a b", "."),
        "--force": ("",),
        "--loss_": ("x",),
    },
    "apply": {
        "--inverse": ("",),
        "--interpolation": ("linear", "nearest", "cubic", ""),
        "--bvecs": ("points.csv", "absent.bvec"),
        "--any_grid": ("",),
        "--out_file": ("o.nii.gz", "o.mgz", "moving.nii.gz", "o", "x/o.nii.gz"),
        "--out_dir": ("out", "static.nii.gz", "ü"),
        "--force": ("",),
        "--inverses": ("",),
    },
    "evaluate": {
        "--field_files": (
            "between.nii.gz",
            "static.nii.gz",
            "absent.nii.gz",
            "points.csv",
        ),
        "--static_labels": ("labels.nii.gz", "static.nii.gz"),
        "--moving_labels": ("labels.nii.gz", "moving.nii.gz"),
        "--static_points": ("points.csv", "known.txt"),
        "--moving_points": ("points.csv", "labels.nii.gz"),
        "--out_metrics": ("m.csv", "static.nii.gz", "folder", "points.csv"),
        "--out_dir": ("out", "labels.nii.gz"),
        "--force": ("",),
    },
    "report": {
        "--field_files": ("between.nii.gz", "static.nii.gz", "absent.nii.gz"),
        "--static_labels": ("labels.nii.gz", "static.nii.gz"),
        "--moving_labels": ("labels.nii.gz", "moving.nii.gz"),
        "--out_report": ("r.html", "r.txt", "static.nii.gz"),
        "--out_dir": ("out", "folder/r"),
        "--force": ("",),
    },
    "predict": {
        "--prealign": ("none", "rigid", "x", "known.txt", "points.csv"),
        "--voxel_size": ("3", "0", "nan", "x"),
        "--field_format": ("dipy", "itk", "fsl", "x"),
        "--no_report": ("",),
        "--out_field": ("f.nii", "f.txt", "moving.nii.gz"),
        "--out_dir": ("out", "trained.keras"),
        "--force": ("",),
    },
    "fit": {
        "--static_files": ("static.nii.gz", "points.csv"),
        "--moving_labels": ("labels.nii.gz", "static.nii.gz"),
        "--mask_file": ("labels.nii.gz", "between.nii.gz"),
        "--validation_files": ("static.nii.gz", "absent.nii.gz"),
        "--voxel_size": ("3", "0", "nan", "1e30"),
        "--network": ("voxelmorph1", "x"),
        "--transform": ("velocity", "displacement", "x"),
        "--field_stride": ("1", "3", "-1", "x"),
        "--loss": ("ncc", "mse", "x"),
        "--penalty": ("gradient", "x"),
        "--smoothness": ("0.1", "1e30", "nan", "-1"),
        "--learning_rate": ("0.001", "1e4", "0", "nan"),
        "--precision": ("float32", "float16"),
        "--mirror": ("0", "5", "-1"),
        "--batch_size": ("1", "0", "x"),
        "--seed": ("1", "-1", "x"),
        "--checkpoint": ("trained.keras", "points.csv", "absent.keras"),
        "--out_model": ("m.keras", "m.h5", "static.nii.gz"),
        "--out_dir": ("out", "static.nii.gz"),
        "--force": ("",),
    },
    "mnist": {
        "--digit": ("3", "10", "-1", "x"),
        "--folder": ("digits", "absent", "static.nii.gz"),
        "--seed": ("1", "-1"),
        "--syn_pairs": ("0", "x"),
        "--out_model": ("m.keras", "m.h5"),
        "--out_figure": ("f.png", "f.xyz"),
        "--out_metrics": ("m.csv", "absent/m.csv"),
        "--force": ("",),
    },
}
# Options that are always given, before those that are tried.
_ALWAYS = {
    "register": ["--level_iters", "1", "1"],
    "fit": ["--epochs", "1", "--network", "voxelmorph1"],
    "mnist": ["--epochs", "1", "--syn_pairs", "1", "--folder", "digits"],
}


def command(rng, folder, *, names=tuple(_OPTIONS), as_process=False):
    """Return a case of a command on small files, one of which may be damaged."""
    name = names[rng.integers(len(names))]
    ndim = int(rng.integers(2, 4))
    positional = _write_inputs(name, rng, folder, ndim)
    said = []
    if rng.random() < 0.55:
        said.append(_spoil_input(positional, rng, folder))
    arguments = [*_ALWAYS.get(name, []), *positional]
    if not said or rng.random() < 0.4:
        times = 1 if rng.random() < 0.6 else 2
        said += [_add_option(name, arguments, rng) for _ in range(times)]
    run = _in_process if not as_process else _as_process
    log = folder.parent / "said.txt"
    return Case(
        area="commands" if not as_process else "commands, as processes",
        function=f"dipy_nn_reg_{name}",
        mutation="; ".join(said),
        run=lambda line: run(name, line, log, folder),
        arguments={"line": arguments},
        is_command=True,
        written=_OUTPUTS,
        is_right=lambda _: _outputs_are_whole(folder, set(positional)),
    )


def process(rng, folder):
    """Return a case of a command in a separate process."""
    return command(
        rng, folder, names=("apply", "evaluate", "report", "register"), as_process=True
    )


def _write_inputs(name, rng, folder, ndim):
    """Write the inputs of a command; return its positional arguments."""
    files.write_pair(folder, ndim)
    files.write_labels(folder / "labels.nii.gz", rng, ndim)
    files.write_field(folder / "between.nii.gz", rng, ndim)
    files.write_table(folder / "points.csv", rng)
    files.write_affine(folder / "known.txt", rng)
    (folder / "folder").mkdir()
    if name == "mnist":
        files.write_mnist(folder / "digits", rng)
        return []
    if name in ("predict", "fit"):
        (folder / "trained.keras").write_bytes(_saved(ndim, "deformable"))
    if name == "fit":
        return ["moving.nii.gz", "static.nii.gz"]
    if name == "predict":
        return ["static.nii.gz", "moving.nii.gz", "trained.keras"]
    if name == "apply":
        moved = ("moving.nii.gz", "labels.nii.gz", "points.csv", "bundle.trk")
        moved = moved[rng.integers(4)]
        if moved == "bundle.trk":
            files.write_tractogram(folder / moved, rng, folder / "static.nii.gz")
        transform = ("between.nii.gz", "known.txt")[rng.integers(2)]
        return ["static.nii.gz", moved, transform]
    return ["static.nii.gz", "moving.nii.gz"]


def _spoil_input(positional, rng, folder):
    """Damage one of the inputs, or name another file."""
    if not positional:
        chosen = sorted((folder / "digits").iterdir())[rng.integers(4)]
        return f"{chosen.name}: {damage.damage_bytes(chosen, rng)}"
    place = int(rng.integers(len(positional)))
    path = folder / positional[place]
    how = rng.random()
    if how < 0.2:
        said, path = damage.damage_name(path, rng)
        positional[place] = path.name
    elif how < 0.4:
        others = ("folder", "absent.nii.gz", "points.csv", "", "*.xyz", "known.txt")
        positional[place] = others[rng.integers(len(others))]
        said = f"{positional[place]!r} in its place"
    elif path.suffix == ".gz" and how < 0.6:
        said = damage.damage_header(path, rng)
    elif path.suffix in (".csv", ".txt"):
        said = damage.damage_text(path, rng)
    elif path.suffix == ".gz" and how < 0.8:
        said = _spoil_values(path, rng)
    else:
        said = damage.damage_bytes(path, rng)
    return f"input {place}: {said}"


def _spoil_values(path, rng):
    """Write an image again, with unusual values."""
    import nibabel as nib

    file = nib.load(path)
    values = np.array(file.dataobj, np.float64)
    changes = {
        "one NaN": lambda v: np.where(v == v.flat[0], np.nan, v),
        "inf": lambda v: np.where(v == v.flat[0], np.inf, v),
        "constant": lambda v: 0 * v + 3,
        "times 1e30": lambda v: v * 1e30,
        "plus 1e6": lambda v: v + 1e6,
        "empty axis": lambda v: v[:0],
        "one voxel": lambda v: v[:1, :1, :1],
        "4D": lambda v: np.stack([v, v], -1),
        "complex": lambda v: v.astype(complex),
        "elsewhere": lambda v: v,
    }
    name = list(changes)[rng.integers(len(changes))]
    affine = file.affine.copy()
    if name == "elsewhere":
        affine[:3, 3] += 1000
    nib.save(nib.Nifti1Image(changes[name](values), affine), path)
    return f"values: {name}"


def _add_option(name, arguments, rng):
    options = _OPTIONS[name]
    option = list(options)[rng.integers(len(options))]
    value = options[option][rng.integers(len(options[option]))]
    words = value.split(" ") if option == "--level_iters" else [value]
    if rng.random() < 0.03:
        option, words = "--no_such_option", ["1"]
    arguments += [option, *([] if words == [""] and value == "" else words)]
    return f"{option} {value}".strip()


def _in_process(name, line, log, folder):
    """Run a command as its script does, within this process."""
    from dipy_nn_reg.workflows import cli

    kept = sys.argv
    sys.argv = [f"dipy_nn_reg_{name}", *map(str, line)]
    try:
        cli.run()
    finally:
        sys.argv = kept
        for stream in (sys.stdout, sys.stderr):
            stream.flush()


def _as_process(name, line, log, folder):
    script = f"import sys; sys.argv[0] = 'dipy_nn_reg_{name}'\n"
    script += "from dipy_nn_reg.workflows.cli import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, line)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    os.write(2, done.stderr.encode(errors="replace"))
    if done.returncode < 0:
        os.abort()
    last = done.stderr.strip().splitlines()[-1:]
    if done.returncode == 1 and last:
        raise SystemExit(last[0])
    if done.returncode:
        raise SystemExit(done.returncode)


def _outputs_are_whole(folder, inputs):
    """Return whether each file that was written can be read and is finite."""
    from dipy_nn_reg.io.nifti import read_image

    for path in Path(folder).rglob("*"):
        if path.suffix == ".gz" and path.is_file() and "idx" not in path.name:
            if path.name in _INPUTS or path.name in inputs:
                continue
            image = read_image(path, vectors=True)
            if not np.all(np.isfinite(image.data)):
                return f"{path.name} is not finite"
    return True


# Images that are in the folder before a command runs.
_INPUTS = ("static.nii.gz", "moving.nii.gz", "labels.nii.gz", "between.nii.gz")
