"""Entry point of the console scripts, each of which runs the flow of its name."""

from argparse import SUPPRESS, ArgumentParser
import gc
from importlib import import_module
import logging
import os
from pathlib import Path
import signal
import sys

from dipy_nn_reg import __version__
from dipy_nn_reg.io import signals
from dipy_nn_reg.io.temporaries import temporary_files_within
from dipy_nn_reg.progress import be_quiet
from dipy_nn_reg.quiet import leave, light_imports
from dipy_nn_reg.text import describe, printable
from dipy_nn_reg.workflows.streams import open_streams, report_lost_output

FLOWS = {
    "dipy_nn_reg_apply": ("dipy_nn_reg.workflows.apply", "ApplyFlow"),
    "dipy_nn_reg_cohort": ("dipy_nn_reg.workflows.cohort", "CohortFlow"),
    "dipy_nn_reg_dwi": ("dipy_nn_reg.workflows.dwi", "DwiFlow"),
    "dipy_nn_reg_evaluate": ("dipy_nn_reg.workflows.evaluate", "EvaluateFlow"),
    "dipy_nn_reg_fit": ("dipy_nn_reg.workflows.fit", "FitFlow"),
    "dipy_nn_reg_mnist": ("dipy_nn_reg.workflows.mnist", "MnistFlow"),
    "dipy_nn_reg_predict": ("dipy_nn_reg.workflows.predict", "PredictFlow"),
    "dipy_nn_reg_register": ("dipy_nn_reg.workflows.register", "RegisterFlow"),
    "dipy_nn_reg_report": ("dipy_nn_reg.workflows.report", "ReportFlow"),
    "dipy_nn_reg_template": ("dipy_nn_reg.workflows.template", "TemplateFlow"),
    "dipy_nn_reg_undistort": ("dipy_nn_reg.workflows.undistort", "UndistortFlow"),
}
# Options that all commands have besides those of their flow.
DEBUG, QUIET = "--debug", "--quiet"


def run():
    """Run the flow named after the calling script.

    An error or Ctrl-C ends the script with one line and status 1; SIGTERM and SIGHUP
    end it with 128 plus their number. A second signal ends it at once, with the same
    status. Nothing is returned, since the script would exit with it.
    """
    open_streams()
    name = Path(sys.argv[0]).stem
    debug = DEBUG in sys.argv
    try:
        with signals.heard(), temporary_files_within():
            _run_flow(name)
    except KeyboardInterrupt:
        _exit_by_signal(name)
    except Exception as error:
        # A library that is being imported may turn an interruption into another error.
        if signals.first() is not None:
            _exit_by_signal(name)
        if debug:
            raise
        is_explained = isinstance(error, (ValueError, OSError)) and str(error).strip()
        hint = "" if is_explained else f" ({DEBUG} shows where)"
        sys.exit(f"{name}: {describe(error)}{hint}")
    finally:
        report_lost_output(name)
        # Python would look once more through all that the process holds, for a second.
        gc.freeze()


def _run_flow(name):
    # Silences the messages of TensorFlow and JAX about themselves.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("jax").setLevel(logging.WARNING)
    # Importing DIPY takes a while, so it is done when signals are handled.
    module, flow = FLOWS[name]
    with light_imports():
        from dipy.utils.logging import logger
        from dipy.workflows.flow_runner import run_flow

        flow = getattr(import_module(module), flow)()
    logger.addFilter(_make_printable)
    lowest = _lowest_level()
    logger.addFilter(lambda record: record.levelno >= lowest)
    extra_arguments = {
        "version": {"action": "version", "version": f"{name} {__version__}"},
        "debug": {
            "action": "store_true",
            "default": SUPPRESS,  # The option is not passed to the flow.
            "help": "Show where in the code an error arose.",
        },
        "quiet": {
            "action": "store_true",
            "default": SUPPRESS,
            "help": "Show no progress.",
        },
    }
    if QUIET in sys.argv:
        be_quiet()
    sys.argv = [argument for argument in sys.argv if argument not in (DEBUG, QUIET)]
    run_flow(flow, extra_args=extra_arguments)


def _lowest_level():
    """Return the number of --log_level, which DIPY takes and does not heed."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--log_level", default="INFO")
    name = parser.parse_known_args()[0].log_level
    levels = logging.getLevelNamesMapping()
    if name not in levels:
        raise ValueError(
            f"Expected --log_level to be one of {', '.join(levels)}. Received {name!r}."
        )
    return levels[name]


def _make_printable(record):
    """Escape characters in file names that could control a terminal."""
    record.msg, record.args = printable(record.getMessage(), keep="\n"), ()
    return True


def _exit_by_signal(name):
    number = signals.first() or signal.SIGINT
    is_interruption = number == signal.SIGINT
    status = 1 if is_interruption else 128 + number
    signals.end_at_next(status)
    said = "interrupted" if is_interruption else "terminated"
    print(f"{name}: {said}", file=sys.stderr)
    leave(status)
