from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest
from scipy.spatial.transform import Rotation

from dipy_nn_reg.diffusion.reorientation import (
    Quantity,
    principal_rotations,
    reorient,
    warp_quantity,
)
from dipy_nn_reg.io.nifti import Image

TURN = Rotation.from_euler("xyz", [25, -35, 15], degrees=True).as_matrix()
# What the axes of a file are, in world coordinates, for an affine: written out here
# apart from the code.
SIGNS = {"mrtrix": [1, 1, 1], "itk": [-1, -1, 1]}
LISTED = {
    "dipy": ["xx", "xy", "yy", "xz", "yz", "zz"],
    "fsl": ["xx", "xy", "xz", "yy", "yz", "zz"],
    "mrtrix": ["xx", "yy", "zz", "xy", "xz", "yz"],
    "itk": ["xx", "xy", "yy", "xz", "yz", "zz"],
}
GRIDS = {
    "straight": np.eye(3) * [2, 2, 2],
    "flipped": np.eye(3) * [-2, 2, 2],
    "oblique": Rotation.from_rotvec([0.2, 0.4, -0.3]).as_matrix() * [-1.5, 2, 3],
    "other order": np.eye(3)[:, [2, 0, 1]] * [1, 2, 3],
}


def in_file(world, convention, grid):
    """Return the components along the axes of a file of vectors in the world."""
    if convention in SIGNS:
        return world * SIGNS[convention]
    directions = grid / np.linalg.norm(grid, axis=0)
    return (world @ directions) * [-1 if np.linalg.det(grid) > 0 else 1, 1, 1]


def image(values, grid, shape):
    data = np.broadcast_to(values, (*shape, len(values))).astype(np.float32)
    affine = np.eye(4)
    affine[:3, :3] = grid
    affine[:3, 3] = -grid @ (np.array(shape) - 1) / 2  # centred in the world
    header = nib.Nifti1Image(data, affine).header
    return Image(data, affine, header, Path("image.nii.gz"))


def tensor(convention, grid):
    """Return a tensor of known eigenvectors in the world, and these as columns."""
    vectors = Rotation.from_rotvec([0.5, -0.2, 0.8]).as_matrix()
    along = in_file(vectors.T, convention, grid).T
    matrix = along @ np.diag([1.7, 0.5, 0.2]) @ along.T
    names = LISTED[convention]
    return [matrix["xyz".index(a), "xyz".index(b)] for a, b in names], vectors


def as_matrix(values, convention):
    matrix = np.zeros((3, 3))
    for value, (a, b) in zip(values, LISTED[convention]):
        matrix["xyz".index(a), "xyz".index(b)] = value
        matrix["xyz".index(b), "xyz".index(a)] = value
    return matrix


@pytest.mark.parametrize("strategy", ["ppd", "finite_strain"])
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(
    "moving, static",
    [*zip(GRIDS, GRIDS), ("straight", "flipped"), ("oblique", "other order")],
)
@pytest.mark.parametrize("convention", LISTED)
def test_tensors_turn_with_the_head(convention, moving, static, inverse, strategy):
    """In every convention, between grids of any axes; the affine is a rotation."""
    moving, static = GRIDS[moving], GRIDS[static]
    values, vectors = tensor(convention, moving)
    affine = np.eye(4)
    affine[:3, :3] = TURN  # from static to moving
    warped, folded = warp_quantity(
        image(values, moving, (9, 9, 9)),
        image([0], static, (3, 4, 5)),
        [np.linalg.inv(affine) if inverse else affine],
        Quantity("tensors", convention, strategy=strategy),
        inverse=inverse,
        interpolation="linear",
    )
    assert folded == 0 and warped.shape == (3, 4, 5, 6)
    found = as_matrix(warped[1, 2, 2], convention)
    turned = in_file(vectors.T @ TURN, convention, static).T
    expected = turned @ np.diag([1.7, 0.5, 0.2]) @ turned.T
    npt.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("static", GRIDS)
@pytest.mark.parametrize("convention", LISTED)
def test_peaks_and_harmonics_turn_as_tensors(convention, static):
    """A slice too; a peak that is missing stays so."""
    moving, static = GRIDS["oblique"], GRIDS[static]
    world = np.array([0.6, -0.64, 0.48])
    affine = np.eye(4)
    affine[:3, :3] = TURN
    peaks = [*(0.7 * in_file(world, convention, moving)), 0, 0, 0]
    grid = image([0], static, (5, 4, 1))
    options = {"interpolation": "linear"}
    warped, _ = warp_quantity(
        image(peaks, moving, (9, 9, 9)),
        grid,
        [affine],
        Quantity("peaks", convention),
        **options,
    )
    expected = 0.7 * in_file(TURN.T @ world, convention, static)
    npt.assert_allclose(warped[2, 1, 0], [*expected, 0, 0, 0], atol=1e-6)


def sheared_tensor(direction, second):
    third = np.cross(direction, second)
    vectors = np.stack([direction, second, third], axis=-1)
    matrix = vectors @ np.diag([1.7, 0.5, 0.2]) @ vectors.T
    return np.array([matrix["xyz".index(a), "xyz".index(b)] for a, b in LISTED["dipy"]])


def test_a_shear_by_both_strategies():
    """Closed forms: the fibre goes along with the tissue, or turns by atan(g / 2)."""
    g = 0.8
    shear = np.eye(3)
    shear[0, 1] = g
    values = sheared_tensor(np.array([0, 1.0, 0]), np.array([1.0, 0, 0]))[None]
    for strategy, angle in (("ppd", np.arctan(g)), ("finite_strain", np.arctan(g / 2))):
        quantity = Quantity("tensors", strategy=strategy)
        turned = as_matrix(reorient(values, shear[None], quantity)[0], "dipy")
        lengths, vectors = np.linalg.eigh(turned)
        npt.assert_allclose(lengths, [0.2, 0.5, 1.7], atol=1e-6)
        expected = [np.sin(angle), np.cos(angle), 0]
        npt.assert_allclose(abs(vectors[:, 2] @ expected), 1, atol=1e-6)


def test_the_plane_of_two_eigenvectors_is_kept(rng):
    linear = np.eye(3) + 0.3 * rng.normal(size=(20, 3, 3))
    vectors = Rotation.random(20, random_state=1).as_matrix()
    matrices = vectors @ np.diag([1.7, 0.5, 0.2]) @ np.swapaxes(vectors, 1, 2)
    values = np.stack(
        [matrices[:, "xyz".index(a), "xyz".index(b)] for a, b in LISTED["dipy"]], -1
    )
    rotations = principal_rotations(values, linear, Quantity("tensors"))
    npt.assert_allclose(np.linalg.det(rotations), 1)
    for rotation, matrix, vector in zip(rotations, linear, vectors):
        first, second = matrix @ vector[:, 0], matrix @ vector[:, 1]
        turned = rotation @ vector
        npt.assert_allclose(np.cross(turned[:, 0], first), 0, atol=1e-9)
        normal = np.cross(first, second) / np.linalg.norm(np.cross(first, second))
        npt.assert_allclose(normal @ turned[:, :2], 0, atol=1e-9)


def test_peaks_are_modulated_as_bundles():
    """Twice as wide, half as many; the direction of a shear counts as its length."""
    peak = np.array([[0, 0, 0.5]])
    quantity = Quantity("peaks", modulate=True)
    wider = reorient(peak, np.diag([2.0, 1, 1])[None], quantity)
    npt.assert_allclose(wider, [[0, 0, 0.25]])
    longer = reorient(peak, np.diag([1, 1, 2.0])[None], quantity)
    npt.assert_allclose(longer, [[0, 0, 0.5]])


@pytest.mark.parametrize(
    "quantity, message",
    [
        (Quantity("dti"), "reorient"),
        (Quantity("tensors", "ants"), "convention"),
        (Quantity("tensors", strategy="fs"), "strategy"),
        (Quantity("sh"), "sh_basis"),
        (Quantity("sh", basis="legendre"), "sh_basis"),
        (Quantity("peaks", basis="tournier07"), "alone"),
        (Quantity("tensors", modulate=True), "modulate"),
        (
            Quantity("peaks", modulate=True, strategy="finite_strain"),
            "modulate.*'ppd'",
        ),
    ],
)
def test_impossible_options_are_refused(quantity, message):
    with pytest.raises(ValueError, match=message):
        quantity.check()
    with pytest.raises(ValueError, match=message):
        reorient(np.ones((2, 6)), np.tile(np.eye(3), (2, 1, 1)), quantity)


@pytest.mark.parametrize(
    "quantity, volumes, message",
    [
        (Quantity("tensors"), 5, "six"),
        (Quantity("peaks"), 7, "three for each peak"),
        (Quantity("sh", basis="tournier07"), 16, "even order"),
    ],
)
def test_other_numbers_of_volumes_are_refused(quantity, volumes, message):
    with pytest.raises(ValueError, match=message):
        quantity.check_image(image(np.zeros(volumes), np.eye(3), (2, 2, 2)))
    with pytest.raises(ValueError, match=message):
        reorient(np.ones((2, volumes)), np.tile(np.eye(3), (2, 1, 1)), quantity)


@pytest.mark.parametrize(
    "values, linear, quantity",
    [
        (np.ones(6), np.eye(3)[None], Quantity("tensors")),
        (np.ones((2, 6)), np.eye(3)[None], Quantity("tensors")),
        (np.ones((1, 6)), np.eye(4)[None], Quantity("tensors")),
        (np.full((1, 6), "a"), np.eye(3)[None], Quantity("tensors")),
        (np.ones((1, 6)), np.eye(3)[None], "tensors"),
    ],
)
def test_what_cannot_be_turned_is_refused(values, linear, quantity):
    with pytest.raises(ValueError, match="Expected .* Received"):
        reorient(values, linear, quantity)
