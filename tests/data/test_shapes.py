import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg.data.shape_draws import draw_pairs
from dipy_nn_reg.data.shapes import make_pairs, make_shapes

SHAPES = [(28, 33), (24, 21, 26)]


@pytest.mark.parametrize("shape", SHAPES)
def test_pairs_have_the_known_displacement(shape):
    """Read by SciPy at that displacement, one object is the other but for rounding."""
    draws = draw_pairs(6, shape, np.random.default_rng(3))
    draws["difference amounts"] *= 0
    draws["bands per unit"] *= 0  # bands may be as thin as a voxel
    pairs = {n: np.asarray(v) for n, v in make_pairs(draws).items()}
    errors, before = [], []
    for moving, static, displacement in zip(
        pairs["clean_moving"], pairs["clean_static"], pairs["displacement"]
    ):
        positions = np.indices(shape) + np.moveaxis(displacement, -1, 0)
        warped = map_coordinates(moving[..., 0], positions, order=1, mode="nearest")
        inside = tuple(slice(3, -3) for _ in shape)
        errors.append(np.abs(warped - static[..., 0])[inside].mean())
        before.append(np.abs(moving - static)[inside].mean())
    assert np.mean(errors) < 0.5 * np.mean(before)
    assert np.mean(errors) < 0.06


@pytest.mark.parametrize("shape", SHAPES)
def test_displacements_are_invertible_and_of_many_sizes(shape):
    pairs = make_shapes(60, shape=shape, seed=1)
    longest = []
    for displacement in pairs["displacement"]:
        moved = np.moveaxis(displacement, -1, 0) + np.indices(shape)
        jacobian = np.array([np.gradient(component) for component in moved])
        determinant = np.linalg.det(np.moveaxis(jacobian, (0, 1), (-2, -1)))
        assert (determinant > 0).mean() > 0.99
        longest.append(np.abs(displacement).max())
    assert min(longest) < 2 < max(longest)


def test_the_seed_determines_the_pairs():
    one, same, other = (make_shapes(2, shape=(16, 20), seed=s) for s in (1, 1, 2))
    for name, values in one.items():
        assert values.dtype == np.float32 and np.isfinite(values).all()
        npt.assert_array_equal(values, same[name])
        assert np.any(values != other[name])
    assert np.any(one["moving"][0] != one["moving"][1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n to be an integer >= 1.*0"),
        ({"shape": (20,)}, r"input_shape of two or three axes.*\(20,\)"),
        ({"shape": (20, 7)}, "axis of shape to be an integer >= 8.*7"),
        ({"seed": -1}, "seed.*-1"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        make_shapes(**({"n": 1} | options))
