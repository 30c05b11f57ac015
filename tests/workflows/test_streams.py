import os
import subprocess
import sys

import pytest


@pytest.fixture
def shell(tmp_path):
    """Return a function that runs Python code with redirected streams."""

    def run(code, redirection):
        code = f"from dipy_nn_reg.workflows import streams as s\n{code}"
        (tmp_path / "code.py").write_text(code)
        return subprocess.run(
            ["bash", "-c", f"{sys.executable} code.py {redirection}"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )

    return run


LINES = """
import logging, sys
s.open_streams()
handler = logging.StreamHandler(sys.stdout)
logging.getLogger().addHandler(handler)
for i in range(2000):
    logging.warning("a line of a log, %d", i)
    print("another one", flush=True)
print("an error", file=sys.stderr)
s.report_lost_output("name")
"""


LOST = "name: the output is incomplete: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(
    ("redirection", "errors"),
    [
        ("", "an error\n"),
        (">&-", "an error\n"),
        ("2>&-", ""),
        (">&- 2>&-", ""),
        ("<&- >&- 2>&-", ""),
        ("| true; exit ${PIPESTATUS[0]}", "an error\n"),
        ("2>/dev/full", ""),
        (">/dev/full", f"an error\n{LOST}"),
    ],
)
def test_unwritable_output_does_not_end_the_process(redirection, errors, shell):
    done = shell(LINES, redirection)
    assert (done.returncode, done.stderr) == (0, errors)


def test_files_do_not_receive_output_of_closed_streams(shell, tmp_path):
    code = """
import os
s.open_streams()
with open("result", "w") as file:
    os.write(1, b"from a library")
    os.write(2, b"from a library")
    file.write("result")
"""
    assert shell(code, ">&- 2>&-").returncode == 0
    assert (tmp_path / "result").read_text() == "result"


def test_names_that_are_not_utf8_can_be_shown(shell):
    code = "import os\ns.open_streams()\nprint(os.fsdecode(b'\\xe9'))"
    assert shell(code, "").stdout == "\\udce9\n"


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&- >&- 2>&-", "> /dev/full"])
def test_commands_work_with_closed_or_full_streams(redirection, brains, tmp_path):
    """Their libraries also write to the streams below Python."""
    command = os.path.join(os.path.dirname(sys.executable), "dipy_nn_reg_evaluate")
    line = f"{command} {brains[0]} {brains[1]} --out_dir out {redirection}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, cwd=tmp_path)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr and b"Logging error" not in done.stderr
    assert (tmp_path / "out" / "metrics.csv").read_text().startswith("static,moving")


def test_keras_is_imported_with_closed_standard_error():
    code = "from dipy_nn_reg.quiet import import_keras; import_keras()"
    done = subprocess.run(["bash", "-c", f"{sys.executable} -c '{code}' 2>&-"])
    assert done.returncode == 0
