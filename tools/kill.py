"""Kill commands that write files, at random moments, and check the files they leave.

    python tools/kill.py --kills 100 --seed 0 --out doc/kills.csv
    python tools/kill.py --first 47 --kills 1 --seed 0

Every command is run on small synthetic images, with earlier results in half of the
cases (--force), and gets SIGKILL, SIGTERM or SIGINT: at any moment, or soon after it
has begun to write. Afterwards no file under a final name may be half written, and old
and new files of one set must not be mixed. After SIGTERM and SIGINT no temporary file
may be left, and the command must have reported the signal in one line. Then the command
is run again: it must succeed, and remove the temporary files of SIGKILL. The table
holds a row for each command and signal. Each fault is printed with the number of the
kill, and makes the status 1.
"""

from argparse import ArgumentParser
import os
from pathlib import Path
import random
import signal
import sys
from tempfile import TemporaryDirectory
from time import sleep
import zipfile

from kill_commands import SIGNALS, TIME_OUT, prepare
from PIL import Image
from tqdm import tqdm

from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.io.tables import format_rows, read_csv, write_csv

LINES = {signal.SIGTERM: "terminated", signal.SIGINT: "interrupted"}
STATUS = {signal.SIGTERM: 143, signal.SIGINT: 1}
TEMPORARY = ".dipy_nn_reg-"
OLD = b"old\n"
# Largest delay of an aimed signal after the first temporary file, in seconds.
MAX_DELAY = 0.5


def main():
    options = _parse_arguments()
    with TemporaryDirectory(prefix="kill_") as folder:
        commands = prepare(Path(folder))
        rows, wrong = {}, []
        numbers = range(options.first, options.first + options.kills)
        for number in tqdm(numbers, desc="Kills", disable=None):
            # The command changes with each kill, so that few kills cover all commands.
            name = list(commands)[number % len(commands)]
            kind = SIGNALS[(number // len(commands)) % len(SIGNALS)]
            rng = random.Random(f"{options.seed} {number}")
            result = _kill(commands[name], Path(folder, f"kill_{number}"), kind, rng)
            row = rows.setdefault(
                (name, kind), {"command": name, "signal": kind.name, "kills": 0}
            )
            row["kills"] += 1
            for key in ("in time", "while writing", "left over", "wrong"):
                row[key] = row.get(key, 0) + int(bool(result[key]))
            for fault in result["wrong"]:
                wrong.append(f"kill {number}, {name}, {kind.name}: {fault}")
                print(wrong[-1], flush=True)
            table = [rows[key] for key in sorted(rows)]
            if options.out:  # written after each kill, since all take long
                write_csv(table, options.out)
    print(format_rows(table, list(table[0])))
    print(f"{len(wrong)} faults.")
    sys.exit(1 if wrong else 0)


def _kill(command, folder, kind, rng):
    """Kill a command, run it again, and return the findings."""
    (folder / "out").mkdir(parents=True)
    force = rng.random() < 0.5
    if force:
        for name in command.files:
            (folder / "out" / name).write_bytes(OLD)
    process = command.start(folder, *(["--force"] if force else []))
    writing = _wait(process, command, folder / "out", rng)
    process.send_signal(kind)
    _, error = process.communicate(timeout=TIME_OUT)
    in_time = process.returncode != 0
    left = _left_over(folder)
    wrong = [*_broken(folder / "out"), *_mixed(command, folder / "out", force)]
    if in_time and kind != signal.SIGKILL:
        wrong += [f"left over: {name}" for name in left]
        wrong += _told(command, process.returncode, error, kind)
    wrong += _run_again(command, folder)
    return {
        "in time": in_time,
        "while writing": in_time and writing,
        "left over": left,
        "wrong": wrong,
    }


def _wait(process, command, out, rng):
    """Wait for a random moment; return whether a file is being written then."""
    if rng.random() < 0.5:
        sleep(rng.uniform(0, command.seconds))
    else:
        while not _being_written(out) and process.poll() is None:
            sleep(0.001)
        sleep(MAX_DELAY * 10 ** -rng.uniform(0, 3))  # Most files are written quickly.
    return _being_written(out)


def _being_written(out):
    return any(
        name.startswith(TEMPORARY) and "." in name[1:] for name in os.listdir(out)
    )


def _names(folder):
    return {path.name for path in folder.iterdir()}


def _left_over(folder):
    """Return the names of all files that are not results."""
    left = [n for n in _names(folder / "out") if n.startswith(TEMPORARY)]
    return left + sorted(_names(folder / "tmp"))


def _broken(out):
    """Return the faults of files under their final names, which must be complete."""
    wrong = []
    for path in out.iterdir():
        if path.name.startswith(TEMPORARY) or path.read_bytes() == OLD:
            continue
        try:
            _load(path)
        except Exception as error:  # any error of a reader of half a file
            wrong.append(f"half written: {path.name}: {error}")
    return wrong


def _load(path):
    """Read a file completely, or raise an error."""
    if path.name.endswith(".nii.gz"):
        read_image(path, vectors=True)
    elif path.suffix == ".csv":
        if not read_csv(path):
            raise ValueError("it has no rows")
    elif path.suffix == ".keras":
        with zipfile.ZipFile(path) as file:
            if file.testzip() or "model.weights.h5" not in file.namelist():
                raise ValueError("its parts are not whole")
    elif path.suffix == ".html":
        if not path.read_text().rstrip().endswith("</html>"):
            raise ValueError("its end is missing")
    elif path.suffix == ".png":
        with Image.open(path) as image:
            image.load()
    else:
        raise ValueError("nobody expects it")


def _mixed(command, out, force):
    """Return the sets of files that are partly from before."""
    wrong = []
    for one in command.sets:
        present = {n for n in one if (out / n).exists()}
        old = {n for n in present if (out / n).read_bytes() == OLD}
        if old not in (set(), one) or (present != one and (present or force)):
            wrong.append(f"mixed: {sorted(old)} are old, of {sorted(present)}")
    return wrong


def _told(command, status, error, kind):
    if status == -kind:
        return []  # The signal came before our handler was installed.
    line = f"{command.name}: {LINES[kind]}\n"
    if (status, error) != (STATUS[kind], line):
        return [f"status {status}, told: {error!r}"]
    return []


def _run_again(command, folder):
    process = command.start(folder, "--force")
    _, error = process.communicate(timeout=TIME_OUT)
    if process.returncode:
        return [f"run again: status {process.returncode}, {error!r}"]
    wrong = [f"run again: {w}" for w in _broken(folder / "out")]
    if _names(folder / "out") != command.files:
        wrong.append(f"run again: {sorted(_names(folder / 'out'))}")
    return wrong + [f"still there: {name}" for name in _left_over(folder)]


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--first", type=int, default=0, help="first number; with --kills 1, one alone"
    )
    parser.add_argument("--out", help="CSV file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
