"""Fixtures of the tests of figures, which are drawn without a screen."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def affine():
    """Return the affine of voxels of 2 x 2 x 3 mm, with a first axis to the left."""
    return np.diag([-2.0, 2.0, 3.0, 1.0])


@pytest.fixture(params=[False, True], ids=["no affine", "affine"])
def affine_or_none(request, affine):
    return affine if request.param else None


@pytest.fixture(
    params=[
        (1, 14, 12),
        (14, 1, 12),
        (14, 12, 1),
        (2, 14, 12),
        (14, 2, 12),
        (14, 12, 2),
    ],
    ids=str,
)
def thin_shape(request):
    """Return the shape of one or two slices along any axis."""
    return request.param
