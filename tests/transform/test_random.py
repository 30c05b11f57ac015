import numpy as np
import pytest

from dipy_nn_reg import metrics
from dipy_nn_reg.transform.random import random_displacements

pytestmark = pytest.mark.backends

SHAPES = [(3, 28, 31), (2, 24, 20, 22)]


@pytest.mark.parametrize("shape", SHAPES, ids=["2D", "3D"])
def test_random_displacements_differ_and_do_not_fold(shape, rng):
    fields = random_displacements(shape, rng)
    assert fields.shape == (*shape, len(shape) - 1)
    assert fields.dtype == np.float32
    assert not np.allclose(fields[0], fields[1])
    for field in fields:
        assert metrics.folding(field) == 0
        assert 0.1 < np.abs(field).mean() < max(shape) / 10
