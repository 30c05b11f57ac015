"""Console scripts: each runs the flow that bears its name."""

from argparse import SUPPRESS
from importlib import import_module
import os
from pathlib import Path
import signal
import sys

from dipy_nn_reg import __version__
from dipy_nn_reg.io import signals
from dipy_nn_reg.io.temporaries import temporary_files_within
from dipy_nn_reg.progress import be_quiet
from dipy_nn_reg.text import describe, printable
from dipy_nn_reg.workflows.streams import open_streams, report_lost_output

FLOWS = {
    "dipy_nn_reg_apply": ("dipy_nn_reg.workflows.apply", "ApplyFlow"),
    "dipy_nn_reg_evaluate": ("dipy_nn_reg.workflows.evaluate", "EvaluateFlow"),
    "dipy_nn_reg_fit": ("dipy_nn_reg.workflows.fit", "FitFlow"),
    "dipy_nn_reg_mnist": ("dipy_nn_reg.workflows.mnist", "MnistFlow"),
    "dipy_nn_reg_predict": ("dipy_nn_reg.workflows.predict", "PredictFlow"),
    "dipy_nn_reg_register": ("dipy_nn_reg.workflows.register", "RegisterFlow"),
    "dipy_nn_reg_report": ("dipy_nn_reg.workflows.report", "ReportFlow"),
}
DEBUG, QUIET = "--debug", "--quiet"


def run():
    """Run the flow named after the calling script.

    What goes wrong ends it with one line and status 1; SIGTERM and SIGHUP with 128 and
    their number. Nothing is returned: the script exits with what this returns.
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
        # An interruption of an import may come out as another exception.
        if signals.first() is not None:
            _exit_by_signal(name)
        if debug:
            raise
        told = isinstance(error, (ValueError, OSError)) and str(error).strip()
        where = "" if told else f" ({DEBUG} shows where)"
        sys.exit(f"{name}: {describe(error)}{where}")
    finally:
        report_lost_output(name)


def _run_flow(name):
    # TensorFlow reports on itself at length, unless told not to.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # DIPY takes a while to import; signals are heard by now.
    from dipy.utils.logging import logger
    from dipy.workflows.flow_runner import run_flow

    logger.addFilter(_make_printable)
    module, flow = FLOWS[name]
    extra_arguments = {
        "version": {"action": "version", "version": f"{name} {__version__}"},
        "debug": {
            "action": "store_true",
            "default": SUPPRESS,  # The flow is not to see it.
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
    run_flow(getattr(import_module(module), flow)(), extra_args=extra_arguments)


def _make_printable(record):
    """Leave nothing in a message that names of files could do to a terminal."""
    record.msg, record.args = printable(record.getMessage(), keep="\n"), ()
    return True


def _exit_by_signal(name):
    number = signals.first() or signal.SIGINT
    if number == signal.SIGINT:
        sys.exit(f"{name}: interrupted")
    print(f"{name}: terminated", file=sys.stderr)
    sys.exit(128 + number)
