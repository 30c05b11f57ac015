import numpy as np
import numpy.testing as npt
import pytest
from scipy.spatial.transform import Rotation

from dipy_nn_reg.mapping.bvecs import rotate_bvecs

RNG = np.random.default_rng(0)
TURN = Rotation.from_euler("xyz", [20, -30, 10], degrees=True).as_matrix()


def grid(directions, sizes):
    affine = np.eye(4)
    affine[:3, :3] = directions * sizes
    affine[:3, 3] = RNG.normal(size=3)
    return affine


def world_directions(bvecs, affine):
    """Return the world directions of b-vectors, as FSL defines them."""
    signs = [-1 if np.linalg.det(affine[:3, :3]) > 0 else 1, 1, 1]
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return (bvecs * signs) @ axes.T


@pytest.mark.parametrize("moving_sizes", [[1, 1, 1], [-2, 2, 2.5]])
@pytest.mark.parametrize("static_sizes", [[1.2, 1, 2], [-1, 1, 1]])
def test_directions_turn_with_the_head(moving_sizes, static_sizes):
    moving = grid(Rotation.from_euler("z", 0.3).as_matrix(), moving_sizes)
    static = grid(Rotation.from_euler("x", -0.2).as_matrix(), static_sizes)
    prealign = grid(TURN, [1, 1, 1])  # static to moving
    bvecs = RNG.normal(size=(7, 3))
    bvecs /= np.linalg.norm(bvecs, axis=1, keepdims=True)
    bvecs[0] = 0
    rotated = rotate_bvecs(
        bvecs, moving_affine=moving, static_affine=static, prealign=prealign
    )
    found = world_directions(rotated, static)
    npt.assert_allclose(found @ TURN.T, world_directions(bvecs, moving), atol=1e-12)
    npt.assert_allclose(np.linalg.norm(rotated[1:], axis=1), 1)


def test_only_the_rotation_of_an_affine_counts():
    stretch = np.diag([1.3, 0.8, 1.1])
    pure, stretched = grid(TURN, [1, 1, 1]), grid(TURN @ stretch, [1, 1, 1])
    bvecs, grids = np.eye(3), {"moving_affine": np.eye(4), "static_affine": np.eye(4)}
    npt.assert_allclose(
        rotate_bvecs(bvecs, prealign=stretched, **grids),
        rotate_bvecs(bvecs, prealign=pure, **grids),
        atol=1e-12,
    )


def test_bvecs_do_not_change_on_one_grid_without_an_affine():
    affine = grid(TURN, [-1, 2, 3])
    bvecs = RNG.normal(size=(5, 3))
    rotated = rotate_bvecs(bvecs, moving_affine=affine, static_affine=affine)
    npt.assert_allclose(rotated, bvecs, atol=1e-12)


def test_bvecs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(n, 3\).*\(3, 7\)"):
        rotate_bvecs(np.zeros((3, 7)), moving_affine=np.eye(4), static_affine=np.eye(4))
