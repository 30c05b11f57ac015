"""Files of a training are found from options and from tables."""

import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.workflows.training_files import (
    find_training_files,
    read_all,
    reference_of,
)


@pytest.fixture
def files(tmp_path):
    """Return a folder with four empty files."""
    for name in ("a.nii", "b.nii", "la.nii", "lb.nii"):
        (tmp_path / name).touch()
    return tmp_path


def table(folder, *lines):
    path = folder / "pairs.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_images_are_named_by_their_options(files):
    found, channels, number = find_training_files(
        [files / "a.nii"], {"static": files / "b.nii", "moving_labels": None}, {}
    )
    assert (channels, number) == (None, 1)
    assert found == {"moving": [files / "a.nii"], "static": [files / "b.nii"]}


def test_a_table_names_pairs_and_their_labels(files):
    path = table(
        files,
        "static,moving,static_labels,moving_labels",
        "a.nii,b.nii,la.nii,lb.nii",
        "b.nii,a.nii,lb.nii,la.nii",
    )
    found, *_ = find_training_files(str(path), {"validation": files / "b.nii"}, {})
    assert {n: [p.name for p in paths] for n, paths in found.items()} == {
        "moving": ["b.nii", "a.nii"],
        "static": ["a.nii", "b.nii"],
        "moving_labels": ["lb.nii", "la.nii"],
        "static_labels": ["la.nii", "lb.nii"],
        "validation": ["b.nii"],
    }


def test_masks_of_pairs_are_not_trained_with(files):
    path = table(files, "static,moving,mask", "a.nii,b.nii,la.nii")
    with pytest.raises(ValueError, match=r"but mask_file.*the columns \['mask'\]"):
        find_training_files(path, {}, {})


def test_tables_that_do_not_fit_are_refused(files):
    lines = "static,moving,static_labels", "a.nii,b.nii,la.nii", "b.nii,a.nii,"
    path = table(files, *lines)
    with pytest.raises(ValueError, match="no static_labels in row 3"):
        find_training_files(path, {}, {})
    with pytest.raises(ValueError, match="a table of pairs alone.*and .'static'"):
        find_training_files(path, {"static": files / "a.nii"}, {})
    with pytest.raises(ValueError, match="a table of pairs alone.*and 2 files"):
        find_training_files([path, files / "a.nii"], {}, {})
    with pytest.raises(FileNotFoundError, match="no.nii"):
        find_training_files(table(files, "static,moving", "no.nii,a.nii"), {}, {})


@pytest.mark.parametrize("by_table", [False, True])
def test_further_images_become_channels(by_table, files):
    a, b, fa, fb = (files / name for name in ("a.nii", "b.nii", "la.nii", "lb.nii"))
    images, optional = [a, b], {"static": [b, a], "validation": [a]}
    further = {"moving_channels": [fa, fb], "static_channels": [fb, fa]}
    if by_table:
        header = "moving,static,moving_2,static_2"
        images = table(
            files, header, "a.nii,b.nii,la.nii,lb.nii", "b.nii,a.nii,lb.nii,la.nii"
        )
        optional, further = {"validation": [a]}, {}
    further["validation_channels"] = [fa]
    found, channels, number = find_training_files(images, optional, further)
    assert number == 2
    assert found == {"moving": [a, b], "static": [b, a], "validation": [a]}
    expected = {a: [fa], b: [fb]}
    assert channels == {"moving": expected, "static": expected, "validation": {a: [fa]}}


def test_further_images_of_some_people_alone_are_refused(files):
    header = "moving,static,moving_2,static_2"
    path = table(files, header, "a.nii,b.nii,la.nii,lb.nii", "b.nii,a.nii,,")
    with pytest.raises(ValueError, match="1 further images.* Received 0 in row 3"):
        find_training_files(path, {}, {})
    path = table(files, header, "a.nii,b.nii,la.nii,lb.nii")
    with pytest.raises(ValueError, match="table of pairs alone.*'static_channels'"):
        find_training_files(path, {}, {"static_channels": [files / "la.nii"]})
    with pytest.raises(ValueError, match="validation_channels"):
        find_training_files(path, {"validation": [files / "a.nii"]}, {})


@pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
def test_slices_are_not_trained_on_beside_volumes(axes, rng, write, tmp_path):
    images = rng.random((9, 8, 7)), rng.random((9, 8))
    paths = [write("volume.nii.gz", images[0]), write("slice.nii.gz", images[1])]
    paths = {"moving": [paths[i] for i in axes]}
    image, across = reference_of(paths, None)
    with pytest.raises(ValueError, match="Expected slices alone, or volumes alone"):
        read_all(paths, None, image, across, tmp_path)


def test_slices_across_one_another_are_not_trained_on(rng, write, tmp_path):
    paths = [write("a.nii.gz", rng.random((9, 8, 1)))]
    paths.append(write("b.nii.gz", rng.random((9, 1, 7))))
    image, across = reference_of({"moving": paths}, None)
    with pytest.raises(ValueError, match="90 degrees apart"):
        read_all({"moving": paths}, None, image, across, tmp_path)


@pytest.mark.parametrize("across", [None, 0, 2])
def test_channels_are_read_on_the_grid_of_the_first_image(across, rng, write, tmp_path):
    """The second images are coarser, and stored in another order of axes."""
    shape = (8, 10, 12)
    ramp = np.float32(np.tensordot([1, 2, -1], np.indices(shape) + 0.0, 1))
    coarse = ramp[::2, ::2, ::2]
    spacing = np.diag([4.0, 4, 4, 1])
    if across is not None:  # a slice, whatever lies across it
        ramp, coarse = (np.take(i, [0], axis=across) for i in (ramp, coarse))
    image = nib.Nifti1Image(coarse, spacing).as_reoriented([[2, 1], [1, -1], [0, 1]])
    nib.save(image, tmp_path / "coarse.nii.gz")
    noise = rng.random(ramp.shape, dtype=np.float32)
    first = [write(f"{i}.nii.gz", noise + i) for i in range(2)]
    paths = {"moving": first}
    channels = {"moving": dict.fromkeys(first, [tmp_path / "coarse.nii.gz"])}
    data = read_all(paths, channels, *reference_of(paths, None), tmp_path)["moving"]
    inner = slice(0, -1)  # the coarse grid ends a voxel before the fine one
    expected = ramp if across is None else np.take(ramp, 0, axis=across)
    assert data.shape == (2, *expected.shape, 2)
    inside = (inner,) * expected.ndim
    expected, found = expected[inside], data[0][..., 1][inside].astype(np.float64)
    slope, offset = np.polyfit(expected.ravel(), found.ravel(), 1)
    npt.assert_allclose(found, slope * expected + offset, atol=2e-3)
    assert slope > 0
    noise = (noise - noise.min()) / np.ptp(noise)
    npt.assert_allclose(data[1][..., 0], np.squeeze(noise), atol=1e-3)
