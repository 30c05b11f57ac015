import re

import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest
from scipy.spatial.transform import Rotation

from dipy_nn_reg.io.fields import save_mapping
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.workflows.apply import ApplyFlow

TURN = Rotation.from_euler("z", 30, degrees=True).as_matrix()
AFFINE = np.diag([-2.0, 2, 2, 1])
AFFINE[:3, 3] = [7, -7, -7]  # centred


@pytest.fixture
def files(write, tmp_path):
    """Paths of a static image and of an affine that turns about the centre."""
    turn = np.eye(4)
    turn[:3, :3] = TURN
    np.savetxt(tmp_path / "turn.txt", turn)
    return write("static.nii.gz", np.zeros((8, 8, 8)), AFFINE), tmp_path / "turn.txt"


def run(files, moving, tmp_path, **options):
    static, transform = files
    flow = ApplyFlow()
    options = {"out_dir": str(tmp_path / "out"), **options}
    flow.run(str(static), str(moving), [str(transform)], **options)
    return nib.load(flow.last_generated_outputs["out_file"])


def constant(write, values, shape=(8, 8, 8), dtype=np.float32):
    return write(
        "moving.nii.gz",
        np.broadcast_to(values, (*shape, len(values))).astype(dtype),
        AFFINE,
    )


def test_tensors_turn(files, write, tmp_path):
    # xx, xy, xz, yy, yz, zz: along x, in a file whose first axis points to the left.
    moving = constant(write, [1.0, 0, 0, 0.2, 0, 0.2])
    out = run(files, moving, tmp_path, reorient="tensors", convention="fsl")
    # From static to moving the head turns by 30 degrees about z, so fibres by -30; in
    # the mirrored axes of the file by 30.
    axis = np.array([np.cos(np.pi / 6), np.sin(np.pi / 6), 0])
    expected = 0.2 * np.eye(3) + 0.8 * np.outer(axis, axis)
    xx, xy, xz, yy, yz, zz = out.get_fdata()[4, 4, 4]
    found = [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]
    npt.assert_allclose(found, expected, atol=1e-6)
    plain = run(files, moving, tmp_path, out_file="plain.nii.gz").get_fdata()[4, 4, 4]
    npt.assert_allclose(plain, [1.0, 0, 0, 0.2, 0, 0.2], atol=1e-6)


def test_tensors_of_nifti_keep_their_form(files, write, tmp_path):
    """Values on the fifth axis, and the intent of a symmetric matrix."""
    data = np.zeros((8, 8, 8, 1, 6), np.float32)
    data[..., [0, 2, 5]] = [1.0, 0.2, 0.2]
    file = nib.Nifti1Image(data, AFFINE)
    file.header.set_intent("symmetric matrix", (3,))
    nib.save(file, tmp_path / "tensors.nii.gz")
    out = run(files, tmp_path / "tensors.nii.gz", tmp_path, reorient="tensors")
    assert out.shape == (8, 8, 8, 1, 6)
    assert out.header.get_intent()[0] == "symmetric matrix"
    npt.assert_allclose(out.get_fdata()[4, 4, 4, 0, 0], 0.2 + 0.8 * 0.75, atol=1e-6)


def test_missing_peaks_of_mrtrix_stay_missing(files, write, tmp_path):
    moving = constant(write, [0.5, 0, 0, np.nan, np.nan, np.nan])
    out = run(files, moving, tmp_path, reorient="peaks", convention="mrtrix")
    expected = [*(0.5 * TURN.T[:, 0]), 0, 0, 0]
    npt.assert_allclose(out.get_fdata()[4, 4, 4], expected, atol=1e-6)


def test_harmonics_turn_in_a_slice(files, write, tmp_path):
    affine = AFFINE.copy()
    affine[2, 3] = 0
    static = write("slice.nii.gz", np.zeros((8, 8, 1)), affine)
    # MRtrix's order 2, m = -2, is x * y; it becomes partly x ** 2 - y ** 2.
    moving = write(
        "sh.nii.gz", np.broadcast_to(np.eye(6, dtype="f4")[1], (8, 8, 1, 6)), affine
    )
    options = {"reorient": "sh", "sh_basis": "tournier07", "convention": "mrtrix"}
    out = run((static, files[1]), moving, tmp_path, **options)
    found = out.get_fdata()[4, 4, 0]
    npt.assert_allclose(np.linalg.norm(found), 1, atol=1e-5)
    npt.assert_allclose(np.abs(found[[1, 5]]), [0.5, np.sqrt(0.75)], atol=1e-5)


def test_folds_are_told(files, write, tmp_path, dipy_log):
    voxels = np.moveaxis(np.indices((8, 8, 8), np.float32), 0, -1) - 3.5
    mapping = displacement_to_mapping(
        voxels * [-2.0, 0, 0], static_affine=AFFINE, moving_affine=AFFINE
    )
    save_mapping(tmp_path / "field.nii.gz", mapping)
    moving = constant(write, [0.5, 0, 0])
    run((files[0], tmp_path / "field.nii.gz"), moving, tmp_path, reorient="peaks")
    assert re.search("fold at 512 voxels", dipy_log.text)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"reorient": "dti"}, "reorient"),
        ({"reorient": "sh"}, "sh_basis"),
        ({"reorient": "sh", "sh_basis": "tournier07"}, "even order"),
        ({"reorient": "peaks"}, "three for each peak"),
        ({"reorient": "tensors"}, "six"),
        ({"reorient": "peaks", "bvecs": "turn.txt"}, "both"),
    ],
)
def test_what_cannot_be_turned_is_refused(options, message, files, write, tmp_path):
    moving = constant(write, [1.0, 0, 0, 0])
    if "bvecs" in options:
        options = {**options, "bvecs": str(files[1])}
    with pytest.raises(ValueError, match=message):
        run(files, moving, tmp_path, **options)
    assert not list((tmp_path / "out").glob("*"))


def test_the_rest_that_bvecs_leave_out_is_told(files, write, tmp_path, dipy_log):
    angle = np.radians(6)
    turn = Rotation.from_rotvec([0, 0, angle]).as_matrix() - np.eye(3)
    voxels = np.moveaxis(np.indices((8, 8, 8), np.float32), 0, -1) - 3.5
    mapping = displacement_to_mapping(
        voxels @ turn.T, static_affine=AFFINE, moving_affine=AFFINE
    )
    save_mapping(tmp_path / "field.nii.gz", mapping)
    series = constant(write, [1.0, 2.0])
    np.savetxt(tmp_path / "bvecs", np.eye(3)[:2].T)
    options = {"bvecs": str(tmp_path / "bvecs")}
    run((files[0], tmp_path / "field.nii.gz"), series, tmp_path, **options)
    found = re.search(r"by (\S+) degrees in the median", dipy_log.text)
    npt.assert_allclose(float(found[1]), 6, atol=0.2)


@pytest.mark.parametrize(
    "options",
    [
        {"convention": "mrtrix"},
        {"sh_basis": "tournier07"},
        {"strategy": "finite_strain"},
        {"modulate": True},
        {"reorient": "peaks", "fill": 5.0},
        {"reorient": "peaks", "out_file": "peaks.png"},
    ],
)
def test_options_that_would_do_nothing_are_refused(options, files, write, tmp_path):
    moving = constant(write, [1.0, 0, 0])
    with pytest.raises(ValueError, match="reorient|nii"):
        run(files, moving, tmp_path, **options)
