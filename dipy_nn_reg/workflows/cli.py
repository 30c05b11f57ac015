"""Console scripts: each runs the flow that bears its name."""

from importlib import import_module
import os
from pathlib import Path
import sys

from dipy.workflows.flow_runner import run_flow

from dipy_nn_reg import __version__

FLOWS = {"dipy_nn_reg_mnist": ("dipy_nn_reg.workflows.flows", "MnistFlow")}


def run():
    """Run the flow named after the calling script.

    A mistake of the user ends it with one line and status 1. Nothing is returned:
    the script exits with what this returns.
    """
    # TensorFlow reports on itself at length, unless told not to.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    name = Path(sys.argv[0]).stem
    module, flow = FLOWS[name]
    version = {"action": "version", "version": f"{name} {__version__}"}
    try:
        run_flow(
            getattr(import_module(module), flow)(), extra_args={"version": version}
        )
    except (ValueError, OSError) as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted")
