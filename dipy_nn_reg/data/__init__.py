"""Example data: MNIST digits and synthetic head images.

The functions that this package exports are public.
"""

from dipy_nn_reg.data.mnist import load_mnist

__all__ = ["load_mnist"]
