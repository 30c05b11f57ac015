from keras import ops
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.transform.smoothing import smooth

pytestmark = pytest.mark.backends


@pytest.mark.parametrize("shape", [(12, 15), (9, 11, 10), (3, 14)])
def test_smoothing_agrees_with_scipy(shape, rng):
    fields = rng.normal(size=(2, *shape, len(shape))).astype(np.float32)
    actual = ops.convert_to_numpy(smooth(ops.convert_to_tensor(fields)))
    # A Gaussian for offsets from -4 to 4 voxels along each axis.
    for field, smoothed in zip(fields, actual):
        for component in range(len(shape)):
            expected = gaussian_filter(
                field[..., component].astype(np.float64), 1.3, mode="nearest", radius=4
            )
            npt.assert_allclose(smoothed[..., component], expected, atol=1e-5)
