from pathlib import Path
import shutil
import subprocess

from dipy.core.geometry import cart2sphere
from dipy.reconst import shm
import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest
from scipy.spatial.transform import Rotation

from dipy_nn_reg.diffusion.spherical_harmonics import BASES, order_of, reorient_sh

# Made by tools/compare_mrtrix.py: coefficients before and after mrtransform of MRtrix
# 3.0.3, by several linear maps, with and without its modulation.
REFERENCE = Path(__file__).with_name("mrtransform.npz")


def values(coefficients, directions, basis):
    """Return the values of functions by DIPY, shape (n, d)."""
    order = {6: 2, 15: 4, 28: 6, 45: 8}[coefficients.shape[-1]]
    name, legacy = BASES[basis]
    _, theta, phi = cart2sphere(*directions.T)
    matrix = shm.sph_harm_lookup[name](order, theta, phi, legacy=legacy)[0]
    return coefficients @ matrix.T


def unit(rng, number):
    vectors = rng.normal(size=(number, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.filterwarnings("default::PendingDeprecationWarning")  # DIPY's, of values
@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("number", [6, 15, 28, 45])
def test_a_rotation_turns_the_whole_function(number, basis, rng):
    turns = Rotation.random(300, random_state=0).as_matrix()
    before = rng.normal(size=(300, number))
    after = reorient_sh(before, turns, basis=basis)
    directions = unit(rng, 50)
    for i in (0, 7, 255, 256, 299):  # in both of the parts that are treated at once
        expected = values(before[i], directions @ turns[i], basis)
        found = values(after[i].astype(float), directions, basis)
        npt.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max() * 5)


def test_a_reflection_counts_as_a_rotation(rng):
    turn = Rotation.from_rotvec([0.3, 1, 0.2]).as_matrix()[None]
    before = rng.normal(size=(1, 28))
    options = {"basis": "tournier07", "modulate": True}
    npt.assert_allclose(
        reorient_sh(before, -turn, **options),
        reorient_sh(before, turn, **options),
        atol=1e-5,
    )


def fibre(direction, order=8):
    """Return a narrow lobe along a direction."""
    _, theta, phi = cart2sphere(*direction)
    row, _, orders = shm.real_sh_tournier(order, theta, phi, legacy=False)
    return row[0] * np.exp(-0.02 * orders * (orders + 1))


def test_fibres_move_as_the_tissue(rng):
    """A lobe of finite width lags behind a little, by MRtrix as well."""
    sheared = np.array([[1, 0.4, 0], [0, 0.9, 0.1], [0, 0, 1.1]])
    dense = unit(rng, 20000)
    for direction in unit(rng, 5):
        after = reorient_sh(fibre(direction)[None], sheared[None], basis="tournier07")
        amplitudes = values(after.astype(float), dense, "tournier07")[0]
        peak = dense[amplitudes.argmax()]
        moved = sheared @ direction / np.linalg.norm(sheared @ direction)
        lag, way = (np.degrees(np.arccos(abs(moved @ d))) for d in (peak, direction))
        assert lag < 0.35 * way, (lag, way)


def test_modulation_keeps_the_density_across_a_bundle():
    """A wider bundle has fewer fibres in a voxel; a longer one, as many."""
    along = fibre(np.array([0.0, 0, 1]))[None]
    options = {"basis": "tournier07", "modulate": True}
    wider = reorient_sh(along, np.diag([1.25, 1, 1])[None], **options)
    npt.assert_allclose(wider[0, 0], along[0, 0] / 1.25, rtol=0.03)
    longer = reorient_sh(along, np.diag([1.0, 1, 1.25])[None], **options)
    npt.assert_allclose(longer[0, 0], along[0, 0], rtol=0.03)


def agree(found, expected, rng):
    """Assert amplitudes to 1e-2 of the largest, as issue 23 asks for."""
    directions = unit(rng, 500)
    found, expected = (
        values(np.asarray(c, float), directions, "tournier07")
        for c in (found, expected)
    )
    npt.assert_allclose(found, expected, atol=1e-2 * np.abs(expected).max())


@pytest.mark.parametrize("modulate", [False, True])
def test_as_mrtransform(modulate, rng):
    with np.load(REFERENCE) as file:
        before, linear = file["before"], file["linear"]
        after = file["modulated" if modulate else "after"]
    found = reorient_sh(before, linear, basis="tournier07", modulate=modulate)
    assert np.abs(after - before).max() > 0.1 * np.abs(before).max()
    for i in range(len(before)):
        agree(found[i], after[i], rng)


@pytest.mark.skipif(not shutil.which("mrtransform"), reason="MRtrix is not installed")
def test_as_mrtransform_on_an_oblique_grid(rng, tmp_path):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec([0.2, -0.3, 0.1]).as_matrix() * [-2, 2, 3]
    before = fibre(unit(rng, 1)[0]) + 0.6 * fibre(unit(rng, 1)[0])
    image = np.broadcast_to(before, (7, 8, 6, 45)).astype(np.float32)
    nib.save(nib.Nifti1Image(image, affine), tmp_path / "fod.nii")
    linear = np.array([[1.1, 0.2, 0], [-0.1, 0.9, 0.1], [0.1, 0, 1.0]])
    voxels = np.moveaxis(np.indices(image.shape[:3]), 0, -1)
    points = nib.affines.apply_affine(affine, voxels)
    centre = points[3, 4, 3]
    positions = (points - centre) @ np.linalg.inv(linear).T + centre
    nib.save(
        nib.Nifti1Image(positions.astype(np.float32), affine), tmp_path / "warp.nii"
    )
    command = "mrtransform fod.nii out.nii -warp warp.nii -reorient_fod yes -quiet"
    subprocess.run(command.split(), cwd=tmp_path, check=True)
    expected = nib.load(tmp_path / "out.nii").get_fdata()[3, 4, 3]
    agree(reorient_sh(before[None], linear[None], basis="tournier07")[0], expected, rng)


@pytest.mark.parametrize("number", [0, 1, 4, 9, 16, 25, 46])
def test_coefficients_of_odd_orders_are_refused(number):
    with pytest.raises(ValueError, match=f"even order.*Received {number}"):
        order_of(number)
    with pytest.raises(ValueError, match="even order"):
        reorient_sh(np.zeros((2, number)), np.eye(3)[None], basis="tournier07")


def test_a_basis_has_to_be_known():
    with pytest.raises(ValueError, match="basis"):
        reorient_sh(np.zeros((1, 6)), np.eye(3)[None], basis="tournier")
