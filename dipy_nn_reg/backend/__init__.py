"""Backends of Keras: compilation, operations and devices, which differ by backend.

No other package of dipy_nn_reg has code for a single backend, except
:mod:`dipy_nn_reg.tracing`.
"""

from dipy_nn_reg.backend import keras_import  # noqa: F401

# isort: split
from importlib import import_module

import keras

from dipy_nn_reg.backend import compile_cache
from dipy_nn_reg.backend.compilation import (
    JIT_COMPILE,
    as_one_graph,
    compiled,
    output_shape,
    recomputed,
    self_adjoint,
    value_and_gradient,
)
from dipy_nn_reg.backend.devices import has_fast_bfloat16, has_gpu
from dipy_nn_reg.backend.distribution import (
    check_not_shared,
    devices_of_a_batch,
    own_part,
)
from dipy_nn_reg.backend.operations import (
    for_backend,
    from_sizes,
    grid_sample,
    take_rows,
)
from dipy_nn_reg.backend.precision import PRECISIONS, layers_in

__all__ = [
    "JIT_COMPILE",
    "PRECISIONS",
    "as_one_graph",
    "check_not_shared",
    "compiled",
    "devices_of_a_batch",
    "for_backend",
    "from_sizes",
    "grid_sample",
    "has_fast_bfloat16",
    "has_gpu",
    "layers_in",
    "output_shape",
    "own_part",
    "recomputed",
    "self_adjoint",
    "take_rows",
    "value_and_gradient",
]

_name = keras.backend.backend()
compile_cache.start(_name, import_module(_name).__version__)
