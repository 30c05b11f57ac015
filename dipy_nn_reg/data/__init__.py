"""Example data: MNIST digits and synthetic head images.

The functions that this package exports are public.
"""

from dipy_nn_reg.data.mnist import MNIST_VARIABLE, load_mnist

__all__ = ["MNIST_VARIABLE", "load_mnist"]
