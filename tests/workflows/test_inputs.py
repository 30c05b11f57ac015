import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.workflows.inputs import (
    read_affine,
    read_points,
    read_streamlines,
    write_points,
)


@pytest.mark.parametrize("header", ["", "x,y,z\n"])
@pytest.mark.parametrize("delimiter", [",", " "])
def test_points_are_three_columns(header, delimiter, rng, tmp_path):
    points = rng.normal(size=(4, 3)).round(4)
    lines = [delimiter.join(map(str, point)) for point in points]
    (tmp_path / "points.csv").write_text(header + "\n".join(lines))
    npt.assert_array_equal(read_points(tmp_path / "points.csv"), points)


def test_points_come_back(rng, tmp_path):
    points = rng.normal(size=(4, 3))
    write_points(tmp_path / "points.csv", points)
    npt.assert_allclose(read_points(tmp_path / "points.csv"), points, atol=1e-6)


@pytest.mark.parametrize("text", ["x,y,z\n", "1,2\n3,4\n", ""])
def test_other_columns_are_refused(text, tmp_path):
    (tmp_path / "points.csv").write_text(text)
    with pytest.raises(ValueError, match="three columns"):
        read_points(tmp_path / "points.csv")


def test_words_are_refused(tmp_path):
    (tmp_path / "points.csv").write_text("x,y,z\n1,2,three\n")
    with pytest.raises(ValueError, match="Expected points, numbers in columns"):
        read_points(tmp_path / "points.csv")


def test_affines_are_checked(tmp_path):
    np.savetxt(tmp_path / "affine.txt", np.eye(4))
    npt.assert_array_equal(read_affine(tmp_path / "affine.txt"), np.eye(4))
    np.savetxt(tmp_path / "affine.txt", np.zeros((4, 4)))
    with pytest.raises(ValueError, match="its last row"):
        read_affine(tmp_path / "affine.txt")
    with pytest.raises(FileNotFoundError, match="nothing.txt"):
        read_affine(tmp_path / "nothing.txt")


def test_a_tractogram_needs_streamlines(tmp_path):
    image = tmp_path / "image.nii"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)), image)
    empty = nib.streamlines.Tractogram([], affine_to_rasmm=np.eye(4))
    nib.streamlines.save(empty, tmp_path / "empty.tck")
    with pytest.raises(ValueError, match="There are none in.*empty.tck"):
        read_streamlines(tmp_path / "empty.tck", image)
    (tmp_path / "broken.trk").write_bytes(b"no tractogram")
    with pytest.raises(ValueError, match="Expected a tractogram.*broken.trk"):
        read_streamlines(tmp_path / "broken.trk", image)
