"""Learning-based deformable image registration for DIPY users.

Public are the names on the page of the API, ``doc/api.rst``, at the paths that it
states. All else may move.

Importing the package loads no framework: Keras is imported with the first name that
needs it.
"""

from importlib import import_module
from os import environ
import sys

# TensorFlow reads this when it is loaded. By default it does not use oneDNN on
# processors without AVX512, where oneDNN makes training and prediction in 3D several
# times faster.
environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Silences the messages of TensorFlow's libraries, which are read as errors by users and
# are none; errors are raised as exceptions. Without it no compiled programs are kept,
# see dipy_nn_reg.backend.compile_cache.
if "tensorflow" not in sys.modules:
    environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.1.0"

# Module of each public name.
_MODULES = {
    "AffineRegistration": "dipy_nn_reg.model",
    "DeformableRegistration": "dipy_nn_reg.model",
    "build_template": "dipy_nn_reg.cohort.template",
    "cohort_report": "dipy_nn_reg.quality.cohort_reports",
    "register": "dipy_nn_reg.pairwise.register",
    "register_cohort": "dipy_nn_reg.cohort.register_cohort",
    "report": "dipy_nn_reg.quality.reports",
}

__all__ = ["__version__", *_MODULES]


def __getattr__(name):
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(_MODULES))
