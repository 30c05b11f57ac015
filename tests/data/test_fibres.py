from dipy.core.gradients import gradient_table
from dipy.reconst.dti import TensorModel
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.data.fibres import make_fibres, make_series

SHAPE = (24, 28, 20)


def gradients(rng, number=30):
    vectors = rng.normal(size=(number, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    values = np.r_[0, 0, np.full(number, 1000.0)]
    return gradient_table(values, bvecs=np.vstack([np.zeros((2, 3)), vectors]))


def test_dipy_finds_the_tensors_of_a_series(rng):
    b0, tensors, bundles = make_fibres(shape=SHAPE)
    gtab = gradients(rng)
    series = make_series(b0, tensors, gtab, noise=0)
    fit = TensorModel(gtab).fit(series, mask=bundles > 0)
    found = fit.quadratic_form[bundles > 0]
    npt.assert_allclose(found, tensors[bundles > 0], atol=2e-6)


def test_noise_is_that_of_rice(rng):
    gtab = gradients(rng)
    air = np.zeros((20, 20, 20), np.float32)
    tensors = np.zeros((20, 20, 20, 3, 3))
    series = make_series(air, tensors, gtab, noise=0.1, seed=0)
    # The mean of Rayleigh's distribution.
    npt.assert_allclose(series.mean(), 0.1 * np.sqrt(np.pi / 2), rtol=0.01)
    npt.assert_array_equal(series, make_series(air, tensors, gtab, noise=0.1, seed=0))


def test_fibres_follow_the_tissue():
    """A rod along y in a head that is sheared along x goes along with it."""
    shear, voxels = 0.3, np.indices(SHAPE, dtype=float)
    field = np.zeros((*SHAPE, 3))
    # A voxel at x lies at x - shear * (y - middle) in the head.
    field[..., 0] = -shear * (voxels[1] - (SHAPE[1] - 1) / 2)
    _, tensors, bundles = make_fibres(shape=SHAPE, displacement=field)
    _, vectors = np.linalg.eigh(tensors[bundles == 2].astype(float))
    expected = np.array([shear, 1, 0]) / np.hypot(shear, 1)
    npt.assert_allclose(np.abs(vectors[..., 2] @ expected), 1, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (24, 24)},
        {"shape": (24, 24, 8)},
        {"shape": SHAPE, "displacement": np.zeros((24, 28, 20, 2))},
    ],
)
def test_invalid_options_are_refused(options):
    with pytest.raises(ValueError, match="Expected"):
        make_fibres(**options)
