"""Training and use of a network that registers many pairs."""

from dipy_nn_reg.backend import keras_import  # noqa: F401
