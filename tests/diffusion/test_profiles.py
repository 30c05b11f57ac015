import numpy as np
import numpy.testing as npt
import pytest
from scipy.integrate import quad
from scipy.ndimage import map_coordinates

from dipy_nn_reg.diffusion.profiles import Profiles, locate, pad, place, read


@pytest.mark.parametrize("shape", [(9, 4), (8, 3, 5)], ids=["2D", "3D"])
def test_values_are_those_of_scipy(shape, rng):
    """Also beyond the ends, where profiles fade to 0 over one voxel."""
    image = rng.random(shape, np.float32)
    positions = place(shape) + rng.uniform(-4, 4, shape).astype(np.float32)
    points = np.indices(shape, float)
    points[0] = positions
    expected = map_coordinates(image, points, order=1, mode="grid-constant")
    npt.assert_allclose(read(pad(image), *locate(positions)), expected, atol=1e-5)
    npt.assert_allclose(Profiles(image).read(positions)[1], expected, atol=1e-5)


def test_integrals_are_those_of_the_values(rng):
    line = rng.random(6)
    positions = np.linspace(-2.5, 7.5, 23, dtype=np.float32)
    image = np.repeat(np.float32(line)[:, None], len(positions), axis=1)
    where = np.repeat(positions[None], len(line), axis=0)
    integrals, _ = Profiles(image).read(where)

    def value(x):
        return np.interp(x, np.arange(-1, 7), np.pad(line, 1))

    breaks = np.arange(-1, 7)
    for position, found in zip(positions, integrals[0]):
        ends = np.unique(np.clip(breaks, -1, np.clip(position, -1, 6)))
        ends = np.append(ends, np.clip(position, -1, 6))
        expected = sum(quad(value, a, b)[0] for a, b in zip(ends, ends[1:]))
        npt.assert_allclose(found, expected, atol=1e-5)


def test_voxels_are_read_bit_for_bit(rng):
    image = rng.normal(size=(7, 5)).astype(np.float32)
    positions = np.broadcast_to(place(image.shape), image.shape)
    npt.assert_array_equal(read(pad(image), *locate(positions)), image)
