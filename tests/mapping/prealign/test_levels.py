import numpy as np
import pytest
from scipy.ndimage import center_of_mass, gaussian_filter

from dipy_nn_reg.mapping.prealign.levels import CoarseImage, Level


def level_of(ndim, rng, *, masked, is_cut, offset=0.0):
    """Return two blurred images of noise at one resolution, in odd sizes."""
    shape, affine = ((23, 19, 21), (41, 37))[3 - ndim], np.eye(ndim + 1)
    affine[:-1] += 0.1 * rng.normal(size=(ndim, ndim + 1))
    affine[:-1, -1] += offset
    noise = gaussian_filter(rng.normal(size=(2, *shape)), (0, *[2] * ndim))
    images = 1 + noise / noise.std()
    if not is_cut:
        window = np.zeros(shape)
        window[(slice(5, -5),) * ndim] = 1
        images = images * gaussian_filter(window, 1)
    mask = np.zeros(shape, bool)
    mask[(slice(6, None if is_cut else -6),) * ndim] = True
    moving = CoarseImage(images[0], affine, mask if masked else None)
    assert moving.is_cut == is_cut
    return Level(moving, CoarseImage(images.sum(0), affine), 4000)


@pytest.mark.parametrize(("masked", "is_cut"), [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("ndim", [2, 3])
def test_the_derivative_is_that_of_the_information(ndim, masked, is_cut, rng):
    """Also where samples leave what a cut image, or a mask, shows."""
    level = level_of(ndim, rng, masked=masked, is_cut=is_cut)
    affine = np.eye(ndim + 1)
    affine[:-1] += 0.02 * rng.normal(size=(ndim, ndim + 1))
    affine[:-1, -1] += rng.normal(size=ndim)
    _, by_affine = level.information(affine, derivative=True)
    expected = np.zeros((ndim, ndim + 1))
    for place in np.ndindex(*expected.shape):
        # A shift, or what moves the samples as far.
        step = np.zeros((ndim + 1, ndim + 1))
        step[place] = 0.003 / (1 if place[1] == ndim else 20)
        ends = [level.information(affine + sign * step) for sign in (1, -1)]
        expected[place] = (ends[0] - ends[1]) / (2 * step[place])
    scale = np.abs(expected).max(axis=0)
    np.testing.assert_allclose(by_affine / scale, expected / scale, atol=0.06)


def test_a_place_far_from_the_origin_changes_nothing(rng):
    """As of a microscope, whose stage counts from its own corner."""
    affine = np.eye(4)
    affine[0, 3] = 0.7
    found = []
    for offset in (0.0, 1e6):
        level = level_of(3, np.random.default_rng(3), masked=0, is_cut=1, offset=offset)
        found.append(level.information(affine, derivative=True))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-4)
    np.testing.assert_allclose(found[1][1][:, 3], found[0][1][:, 3], rtol=0.02)


@pytest.mark.parametrize("shape", [(9, 8), (6, 7, 8)])
def test_the_centre_is_that_of_the_structure(shape, rng):
    values = rng.random(shape)
    affine = np.diag([2.0] * len(shape) + [1])
    image = CoarseImage(values, affine)
    expected = 2 * np.array(center_of_mass(values * image.structure))
    np.testing.assert_allclose(image.center, expected)
    empty = CoarseImage(0 * values, affine)
    np.testing.assert_allclose(empty.center, np.array(shape) - 1)
