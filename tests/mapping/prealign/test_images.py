"""Images to be aligned: slices, which are compared in their plane."""

from nibabel.affines import apply_affine
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.mapping.prealign import estimate_prealign
from dipy_nn_reg.mapping.slices import in_one_plane


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (0, 2, 1)])
@pytest.mark.parametrize("degrees", [0, 25])
def test_slices_of_tilted_planes_and_along_any_axis(order, degrees):
    """A slice and itself, elsewhere and tilted about one of its axes."""
    (image,), _ = make_phantoms(1, shape=(56, 48), seed=0)
    affines = [np.diag([1.5, 1.5, 4, 1]) for _ in range(2)]
    affines[0][:3, :3] = (
        Rotation.from_euler("x", degrees, degrees=True).as_matrix() @ affines[0][:3, :3]
    )
    affines[0][:3, 3] = 3, -4, 20
    stored = [image[..., None].transpose(order)] * 2
    columns = [*order, 3]
    alignment = estimate_prealign(
        *stored,
        moving_affine=affines[0][:, columns],
        static_affine=affines[1][:, columns],
        kind="affine",
    )
    in_plane = in_one_plane(alignment.affine, *affines)
    to_moving = np.linalg.inv(affines[0]) @ in_plane @ affines[1]
    corners = np.array([[0, 0, 0], [55, 0, 0], [0, 47, 0], [55, 47, 0]])
    assert np.abs(apply_affine(to_moving, corners) - corners).max() < 0.2
