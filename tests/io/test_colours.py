"""Colours against nibabel and Pillow."""

import nibabel as nib
import numpy as np
import numpy.testing as npt
from PIL import Image
import pytest

from dipy_nn_reg.io.colours import RGB, join_colours, split_colours, to_grey
from dipy_nn_reg.io.labels import read_labels_on, read_mask_on
from dipy_nn_reg.io.nifti import read_image, read_labels
from dipy_nn_reg.io.nifti_writing import write_image

SHAPE = (5, 7, 3)


@pytest.fixture
def colours(rng):
    return rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)


def test_rgb_of_nifti_is_read_and_written(colours, rng, tmp_path):
    stored = np.zeros(SHAPE, RGB)
    for i, name in enumerate("RGB"):
        stored[name] = colours[..., i]
    nib.save(nib.Nifti1Image(stored, np.eye(4), dtype=RGB), tmp_path / "rgb.nii.gz")
    image = read_image(tmp_path / "rgb.nii.gz", series=True)
    npt.assert_array_equal(image.data, colours)
    npt.assert_array_equal(image.colours, colours)
    grey = read_image(tmp_path / "rgb.nii.gz")
    assert grey.data.shape == SHAPE
    assert grey.in_colour.data is grey.colours
    write_image(tmp_path / "again.nii", join_colours(image.data), image.affine)
    again = nib.load(tmp_path / "again.nii")
    assert int(again.header["datatype"]) == 128  # RGB24
    npt.assert_array_equal(np.asarray(again.dataobj), stored)


def test_transparent_voxels_are_white_as_pillow_shows_them(colours):
    for opacity in (0, 51, 200, 255):
        alpha = np.full(SHAPE, opacity, np.uint8)
        alpha[0] = 255
        rgba = np.concatenate([colours, alpha[..., None]], axis=-1)
        stored = rgba.view([(name, np.uint8) for name in "RGBA"])[..., 0]
        for z in range(SHAPE[2]):
            picture = Image.fromarray(np.ascontiguousarray(rgba[:, :, z]), "RGBA")
            white = Image.new("RGBA", picture.size, "white")
            expected = np.asarray(Image.alpha_composite(white, picture))[..., :3]
            ours = split_colours(stored)[:, :, z].astype(int)
            assert np.abs(ours - expected).max() <= 1
    stored["A"] = 0  # nobody has set it
    npt.assert_array_equal(split_colours(stored), colours)


def test_grey_is_the_luminance_of_pillow(colours, dipy_log):
    grey = to_grey(colours, "stain.png")
    for z in range(SHAPE[2]):
        picture = Image.fromarray(np.ascontiguousarray(colours[:, :, z]))
        expected = np.asarray(picture.convert("L"), float)
        assert np.abs(grey[:, :, z] - expected).max() <= 0.51
    assert "stain.png has colours" in dipy_log.text


def test_labels_and_masks_are_pictures_of_one_number(tmp_path):
    values = np.zeros((7, 5), np.uint8)
    values[2:4, 1:3] = 3
    image = tmp_path / "image.nii"
    data = np.arange(35, dtype=np.float32).reshape(5, 7, 1)
    nib.save(nib.Nifti1Image(data, np.diag([2.0, 3, 4, 1])), image)
    image = read_image(image)
    Image.fromarray(values).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([values] * 3)).save(tmp_path / "equal.png")
    for name in ("grey.png", "equal.png"):
        # A picture has no place in the world, and takes that of an image of its size.
        labels = read_labels_on(tmp_path / name, image)
        npt.assert_array_equal(labels[:, :, 0], values.T)
        mask = read_mask_on(tmp_path / name, image)
        npt.assert_array_equal(mask[:, :, 0], values.T > 0)
    Image.fromarray(np.dstack([values, values, 2 * values])).save(tmp_path / "c.png")
    with pytest.raises(ValueError, match="one number for each voxel.*c.png"):
        read_labels(tmp_path / "c.png")
