"""Console scripts: each runs the flow that bears its name."""

from argparse import SUPPRESS
from importlib import import_module
import os
from pathlib import Path
import sys

from dipy.workflows.flow_runner import run_flow

from dipy_nn_reg import __version__
from dipy_nn_reg.progress import be_quiet

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

    What goes wrong ends it with one line and status 1. Nothing is returned: the script
    exits with what this returns.
    """
    # TensorFlow reports on itself at length, unless told not to.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    name = Path(sys.argv[0]).stem
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
    debug = DEBUG in sys.argv
    if QUIET in sys.argv:
        be_quiet()
    sys.argv = [argument for argument in sys.argv if argument not in (DEBUG, QUIET)]
    try:
        run_flow(getattr(import_module(module), flow)(), extra_args=extra_arguments)
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted")
    except Exception as error:
        if debug:
            raise
        sys.exit(f"{name}: {_in_one_line(error)}")


def _in_one_line(error):
    """Return what an error says; of one that is not meant for users, its name too."""
    text = " ".join(str(error).split())
    if isinstance(error, (ValueError, OSError)) and text:
        return text
    return f"{type(error).__name__}: {text} ({DEBUG} shows where)"
