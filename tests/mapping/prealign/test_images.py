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


@pytest.mark.parametrize("name", ["moving", "static"])
@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 7), (9, 8, 1)])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda shape: np.full(shape, np.nan), "finite values in {}.*nan"),
        (lambda shape: np.full(shape, -np.inf), "finite values in {}.*infinite"),
        (lambda shape: np.ones((1,) * len(shape)), "two voxels or more .* {}.*shape="),
        (lambda shape: np.ones((0,) * len(shape)), "{} to be an array of one value"),
    ],
)
def test_images_with_nothing_to_align_are_refused(make, message, shape, name, rng):
    images = {"moving": rng.random(shape), "static": rng.random(shape)}
    images[name] = make(shape)
    affine = np.eye(len(shape) + 1)
    with pytest.raises(ValueError, match=message.format(name)):
        estimate_prealign(**images, moving_affine=affine, static_affine=affine)


def test_nan_counts_as_background(scene, dipy_log):
    pair = scene(3, True)
    affines = {
        "moving_affine": pair.moving_affine,
        "static_affine": pair.static_affine,
        "kind": "rigid",
    }
    static = pair.make_mapping().transform(pair.moving)
    expected = estimate_prealign(pair.moving, static, **affines)
    moving = np.where(pair.moving == pair.moving[0, 0, 0], np.nan, pair.moving)
    assert np.isnan(moving).any()
    found = estimate_prealign(moving, static, **affines)
    assert "count as its background" in dipy_log.text
    assert np.linalg.norm(found.affine - expected.affine) < 0.5
