from dipy.core.sphere import Sphere
from dipy.reconst.shm import sf_to_sh
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.diffusion.conventions import CONVENTIONS
from dipy_nn_reg.diffusion.orientations import (
    orientation_tensors,
    read_orientations_on,
)
from dipy_nn_reg.diffusion.reorientation import Quantity
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.regridding import orientations_on_grid

AFFINE = np.diag([-2.0, 2, 2, 1])
LISTED = {
    "dipy": ["xx", "xy", "yy", "xz", "yz", "zz"],
    "fsl": ["xx", "xy", "xz", "yy", "yz", "zz"],
    "mrtrix": ["xx", "yy", "zz", "xy", "xz", "yz"],
    "itk": ["xx", "xy", "yy", "xz", "yz", "zz"],
}


def dyads(directions):
    x, y, z = np.moveaxis(directions, -1, 0)
    return np.stack([x * x, x * y, y * y, x * z, y * z, z * z], axis=-1)


@pytest.fixture
def along(rng):
    """Directions of fibres in world coordinates, shape (3, 4, 5, 3)."""
    along = rng.normal(size=(3, 4, 5, 3))
    return along / np.linalg.norm(along, axis=-1, keepdims=True)


def stored(directions, convention, affine):
    """Return directions along the axes of a convention, by its definition."""
    if convention == "mrtrix":
        return directions
    if convention == "itk":
        return directions * [-1, -1, 1]
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    vectors = directions @ axes
    return vectors * [-1, 1, 1] if np.linalg.det(axes) > 0 else vectors


def oblique(flip):
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    turn *= flip * np.sign(np.linalg.det(turn))
    affine = np.eye(4)
    affine[:3, :3] = turn * [2, 2.5, 1.5]
    return affine


@pytest.mark.parametrize("flip", [1, -1])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_tensors_show_their_fibres_in_the_world(convention, flip, along):
    affine = oblique(flip)
    vectors = stored(along, convention, affine)
    matrix = 1.2e-3 * vectors[..., :, None] * vectors[..., None, :] + 4e-4 * np.eye(3)
    values = [
        matrix[..., "xyz".index(a), "xyz".index(b)] for a, b in LISTED[convention]
    ]
    quantity = Quantity("tensors", convention)
    found = orientation_tensors(np.stack(values, axis=-1), affine, quantity)
    npt.assert_allclose(found, dyads(along), atol=1e-5)


def test_peaks_count_by_their_lengths(along):
    peaks = np.concatenate([0.8 * along, 0.4 * along[::-1], 0 * along], axis=-1)
    found = orientation_tensors(peaks, np.eye(4), Quantity("peaks", "mrtrix"))
    expected = (2 * dyads(along) + dyads(along[::-1])) / 3
    npt.assert_allclose(found, expected, atol=1e-6)


def test_spherical_harmonics_show_the_direction_of_their_lobe(along):
    directions = along.reshape(-1, 3)
    xyz = np.random.default_rng(0).normal(size=(400, 3))
    xyz /= np.linalg.norm(xyz, axis=1, keepdims=True)
    sphere = Sphere(xyz=xyz)
    values = np.exp(4 * ((directions @ xyz.T) ** 2 - 1))
    sh = sf_to_sh(values, sphere, sh_order_max=8, basis_type="tournier07", legacy=False)
    quantity = Quantity("sh", "mrtrix", "tournier07")
    found = orientation_tensors(
        sh.reshape(*along.shape[:3], -1), np.eye(4), quantity
    ).reshape(-1, 6)
    matrices = found[:, np.array([[0, 1, 3], [1, 2, 4], [3, 4, 5]])]
    strength, axes = np.linalg.eigh(matrices)
    cosine = np.abs((axes[..., 2] * directions).sum(axis=-1)).clip(0, 1)
    assert np.degrees(np.arccos(cosine)).max() < 1
    # The second moment of the lobe above its lowest value, by numerical integration.
    t = (np.arange(20000) + 0.5) / 20000
    weights = np.exp(4 * (t**2 - 1)) - np.exp(-4)
    share = (weights * t**2).sum() / weights.sum()
    npt.assert_allclose(strength[:, 2] / strength.sum(axis=1), share, atol=0.005)


def test_the_same_everywhere_is_no_fibre():
    with pytest.raises(ValueError, match="show a direction.*none"):
        isotropic = np.zeros((2, 2, 2, 6))
        isotropic[..., [0, 2, 5]] = 1e-3
        orientation_tensors(isotropic, np.eye(4), Quantity("tensors"))


@pytest.mark.parametrize(
    "shape, quantity, message",
    [
        ((4, 4, 4), Quantity("tensors"), "of shape .x, y, z, volumes."),
        ((4, 4, 4, 5), Quantity("tensors"), "six"),
        ((4, 4, 4, 4), Quantity("peaks"), "three for each peak"),
        ((4, 4, 4, 7), Quantity("sh", basis="tournier07"), "even order"),
        ((4, 4, 4, 6), Quantity("sh"), "sh_basis"),
        ((4, 4, 4, 6), Quantity("odf"), "reorient"),
    ],
)
def test_other_volumes_are_refused(shape, quantity, message):
    with pytest.raises(ValueError, match=message):
        orientation_tensors(np.ones(shape), np.eye(4), quantity)


def test_values_that_are_not_finite_are_refused():
    tensors = np.full((2, 2, 2, 6), np.inf)
    with pytest.raises(ValueError, match="finite tensors"):
        orientation_tensors(tensors, np.eye(4), Quantity("tensors"))


@pytest.mark.parametrize("flip", [1, -1])
def test_fibres_are_brought_to_a_grid_with_their_tissue(flip, along):
    grid = Grid((3, 4, 5), oblique(flip))
    prealign = np.eye(4)
    prealign[:3, :3] += 0.1 * np.random.default_rng(1).normal(size=(3, 3))
    affine = prealign @ grid.affine  # so that voxels lie on voxels
    found = orientations_on_grid(
        dyads(along).astype(np.float32), affine, [prealign], grid
    )
    moved = along @ np.linalg.inv(prealign[:3, :3]).T
    axes = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    moved = moved @ axes
    moved /= np.linalg.norm(moved, axis=-1, keepdims=True)
    npt.assert_allclose(found, dyads(moved), atol=1e-5)


def test_a_file_is_read_on_the_grid_of_an_image(write, along):
    tensors = 1e-3 * dyads(along)[..., [0, 2, 5, 1, 3, 4]]
    image = read_image(write("image.nii.gz", np.ones((3, 4, 5)), AFFINE))
    path = write("tensors.nii.gz", tensors.astype(np.float32), AFFINE)
    found = read_orientations_on(path, image, Quantity("tensors", "mrtrix"))
    npt.assert_allclose(found, dyads(along), atol=1e-5)
    far = AFFINE.copy()
    far[0, 3] = 500
    moved = image._replace(affine=far)
    with pytest.raises(ValueError, match="lies elsewhere"):
        read_orientations_on(path, moved, Quantity("tensors", "mrtrix"))
