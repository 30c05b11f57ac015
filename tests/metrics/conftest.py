"""Fixtures of the tests of measures."""

import warnings

import numpy as np
import pytest


@pytest.fixture
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture(
    params=[
        np.zeros((0, 3)),
        np.array([1j, 2]),
        np.array([1, 2], "M8[s]"),
        np.ma.masked_less([1.0, 2], 1.5),
        "3",
        None,
        [[1, 2], [3]],
        5,
    ],
    ids=["empty", "complex", "dates", "masked", "text", "None", "ragged", "scalar"],
)
def junk(request):
    """Return an object that is not an array of real numbers, or an empty one."""
    return request.param
