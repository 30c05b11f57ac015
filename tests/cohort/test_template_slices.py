"""Templates of slices: NIfTI files in 2D, slices along any axis, and pictures."""

import nibabel as nib
import numpy as np
from PIL import Image as Picture
import pytest
from scipy.ndimage import affine_transform, map_coordinates
from scipy.spatial.transform import Rotation

from dipy_nn_reg import build_template
from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.io.fields import load_mapping
from dipy_nn_reg.mapping.maps import displacement_of, flatten_mapping
from dipy_nn_reg.transform import compose, integrate
from dipy_nn_reg.workflows.template import TemplateFlow

SHAPE = (44, 40)
QUICK = {"level_iters": [3, 3], "loss": "ncc", "rounds": 1}


@pytest.fixture(scope="module")
def slices():
    """Return the images and the labels of three people."""
    return make_phantoms(3, shape=SHAPE, seed=0)


@pytest.fixture
def files(slices, write):
    """Return the paths of images of two axes."""
    return [write(f"p{i}.nii.gz", one, np.eye(4)) for i, one in enumerate(slices[0])]


@pytest.fixture
def draw(tmp_path):
    """Return a function that writes an array, (columns, rows), as a picture."""

    def write(name, pixels):
        Picture.fromarray(np.swapaxes(pixels, 0, 1)).save(tmp_path / name)
        return tmp_path / name

    return write


def in_2d(path):
    """Return the displacement of a map of one slice: shape (rows, columns, 2)."""
    return displacement_of(flatten_mapping(load_mapping(path)))


def test_equal_slices_give_that_slice(slices, write, tmp_path):
    image = slices[0][0]
    paths = [write(f"equal_{i}.nii.gz", image, np.eye(4)) for i in range(3)]
    built = build_template(paths, tmp_path / "out", **QUICK)
    assert built.image.shape == (*SHAPE, 1)
    np.testing.assert_array_equal(built.image.affine, np.eye(4))
    found = built.image.get_fdata()[..., 0]
    assert np.abs(found - image).max() < 0.02 * np.ptp(image)
    assert [r["name"] for r in built.rounds][1:4] == ["rigid", "similarity", "affine"]
    assert built.rounds[-1]["velocity"] < 0.02 > built.rounds[3]["stretch"]
    page = (tmp_path / "out" / "template.html").read_text()
    assert page.count("data:image/png") == 5


@pytest.mark.slow
def test_the_order_of_slices_does_not_matter(slices, write, tmp_path):
    """Nor if they are of several sizes, and are stored along several axes."""
    paths = []
    for i, image in enumerate(slices[0]):
        affine = np.diag([-1.0, 1.2, 3, 1])
        affine[:3, 3] = 5 * i
        image = image[: 44 - i, :, None]
        if i == 1:
            image, affine = np.moveaxis(image, 2, 0), affine[:, [2, 0, 1, 3]]
        paths.append(write(f"p{i}.nii.gz", image, affine))
    built = [
        build_template(order, tmp_path / name, **QUICK)
        for name, order in (("a", paths), ("b", paths[::-1]))
    ]
    images = [one.image.get_fdata() for one in built]
    assert np.abs(images[0] - images[1]).max() < 1e-4 * np.ptp(images[0])
    # What is returned is in the order of what was passed.
    names = [["p0", "p1", "p2"], ["p2", "p1", "p0"]]
    assert [list(one.fields) for one in built] == names
    assert [[row["id"] for row in one.rows] for one in built] == names


@pytest.mark.slow
def test_known_shapes_of_mean_zero_give_back_the_phantom(write, tmp_path, smooth_field):
    shape = (80, 88)
    images, labels = make_phantoms(1, shape=shape, seed=0)
    velocities = [smooth_field(shape, sigma=8, largest=3.0) for _ in range(3)]
    velocities += [-v for v in velocities]
    paths = []
    for number, velocity in enumerate(velocities):
        # Each shows the phantom at x - u, and the map to it is the inverse.
        moved = np.moveaxis(integrate(-velocity), -1, 0) + np.indices(shape)
        made = map_coordinates(images[0], moved, order=3, mode="nearest")
        paths.append(write(f"made_{number}.nii.gz", made, np.eye(4)))
    built = build_template(paths, tmp_path / "out", prealign=None)
    assert built.rounds[-1]["velocity"] < 0.05
    # From the template to each image, and from there to the phantom.
    shape_error = np.mean(
        [
            compose(integrate(-v), in_2d(built.fields[name]))
            for v, name in zip(velocities, built.fields)
        ],
        axis=0,
    )
    assert np.linalg.norm(shape_error[labels[0] > 0], axis=-1).mean() < 0.1


@pytest.mark.slow
def test_affines_of_known_mean_give_their_mean_shape(slices, write, tmp_path):
    """One person is a fifth larger than the other, and both are turned."""
    factor, middle = np.sqrt(1.2), (np.array((64, 60)) - 1) / 2
    (image,), _ = make_phantoms(1, shape=(64, 60), seed=1)
    paths = []
    for name, size, degrees in (("large", factor, 15), ("small", 1 / factor, -15)):
        turn = Rotation.from_euler("z", degrees, degrees=True).as_matrix()[:2, :2]
        to_image = turn / (0.6 * size)
        offset = middle - to_image @ middle
        made = affine_transform(image, to_image, offset, order=1)
        paths.append(write(f"{name}.nii.gz", made, np.eye(4)))
    built = build_template(paths, tmp_path / "out", **QUICK)
    expected = affine_transform(image, np.eye(2) / 0.6, middle - middle / 0.6, order=1)
    # The template may lie turned and shifted: its area is that of the mean.
    area = [np.sum(a > 0.2 * a.max()) for a in (built.image.get_fdata(), expected)]
    assert area[0] == pytest.approx(area[1], rel=0.03)
    assert built.rounds[3]["stretch"] < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("order", [(2, 0, 1), (0, 2, 1)])
def test_slices_along_any_axis_give_the_same_template(
    order, slices, files, write, tmp_path
):
    turned = []
    for i, image in enumerate(slices[0]):
        affine = np.eye(4)[:, [*order, 3]]
        turned.append(
            write(f"turned_{i}.nii.gz", image[..., None].transpose(order), affine)
        )
    plain = build_template(files[:2], tmp_path / "plain", **QUICK)
    built = build_template(turned[:2], tmp_path / "turned", **QUICK)
    expected = plain.image.get_fdata().transpose(order)
    np.testing.assert_allclose(built.image.get_fdata(), expected, atol=2e-3)


@pytest.mark.slow
def test_slices_of_other_planes_are_brought_into_one(slices, write, tmp_path):
    """Equal slices at several heights, tilted to either side of the axes."""
    image, paths = slices[0][0][..., None], []
    for i, degrees in enumerate((10, -10)):
        affine = np.eye(4)
        affine[:3, :3] = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
        affine[:3, 3] = 0, 0, 40 * i
        paths.append(write(f"tilted_{i}.nii.gz", image, affine))
    built = build_template(paths, tmp_path / "out", **QUICK)
    # One grid along the axes of the world, with one slice.
    np.testing.assert_allclose(built.image.affine[:3, :3], np.eye(3), atol=1e-6)
    assert built.image.shape[2] == 1
    found = built.image.get_fdata()
    assert found.sum() == pytest.approx(image.sum(), rel=0.05)
    assert built.rounds[-1]["velocity"] < 0.05


def test_pictures_with_masks_and_labels(slices, draw, tmp_path, dipy_log):
    """The template is grey, which is said once, and warped images keep colours."""
    images, labels = slices
    colours = [np.uint8(200 * image.clip(0, 1)) for image in images]
    colours = [np.stack([c, c // 2, 255 - c], axis=-1) for c in colours]
    paths = [draw(f"p{i}.png", c) for i, c in enumerate(colours)]
    masks = [
        draw(f"m{i}.png", np.uint8(255 * (one > 0))) for i, one in enumerate(labels)
    ]
    votes = [draw(f"l{i}.png", np.uint8(one)) for i, one in enumerate(labels)]
    flow = TemplateFlow()
    flow.run(
        [str(path) for path in paths],
        masks=[str(path) for path in masks],
        labels=[str(path) for path in votes],
        prealign="none",
        rounds=1,
        level_iters=[8, 8],
        loss="ncc",
        out_dir=str(tmp_path / "out"),
    )
    template = nib.load(tmp_path / "out" / "template.nii.gz")
    assert template.shape == (*SHAPE, 1)
    warped = nib.load(tmp_path / "out" / "maps" / "p1" / "warped.nii.gz")
    assert warped.get_data_dtype().names == ("R", "G", "B")
    voted = np.asarray(nib.load(tmp_path / "out" / "labels.nii.gz").dataobj)[..., 0]
    assert set(np.unique(voted)) == set(np.unique(labels))
    assert dipy_log.text.count("p1.png has colours") <= 2
    # The people overlap more with what they voted for than with each other.
    agreed = np.mean([np.mean(voted == one) for one in labels])
    assert agreed > np.mean(labels[0] == labels[1])


@pytest.mark.slow
def test_further_images_in_2d(slices, files, write, tmp_path):
    others = [
        write(f"other_{i}.nii.gz", 3 * one + 5, np.eye(4))
        for i, one in enumerate(slices[0])
    ]
    built = build_template(files, tmp_path / "out", further=[others], **QUICK)
    found, second = built.image.get_fdata(), nib.load(built.further[0]).get_fdata()
    np.testing.assert_allclose(second, 3 * found + 5, atol=0.02 * np.ptp(second))


@pytest.mark.slow
def test_a_template_of_slices_goes_on(files, tmp_path, rounds_begun):
    options = {**QUICK, "rounds": 2, "prealign": "rigid"}
    with pytest.raises(KeyboardInterrupt):
        build_template(files, tmp_path / "out", **options)
    built = build_template(files, tmp_path / "out", **options)
    assert rounds_begun == [
        "02_registration_1",
        "03_registration_2",
        "03_registration_2",
    ]
    whole = build_template(files, tmp_path / "whole", **options)
    np.testing.assert_array_equal(built.image.get_fdata(), whole.image.get_fdata())


@pytest.mark.parametrize("where", ["images", "further", "initial"])
def test_slices_and_volumes_are_not_mixed(where, files, write, tmp_path, rng):
    volume = write("volume.nii.gz", rng.random((16, 18, 14)))
    images, options = files[:2], {}
    if where == "images":
        images = [files[0], volume]
    else:
        mixed = {"further": [[files[0], volume]], "initial": volume}
        options = {where: mixed[where]}
    message = r"in 2D alone, or in 3D alone\. Received .*\(44, 40, 1\) and .*volume"
    with pytest.raises(ValueError, match=message):
        build_template(images, tmp_path / "out", **options, **QUICK)
    assert not (tmp_path / "out").exists()


def test_arrays_are_refused(slices, tmp_path):
    with pytest.raises(ValueError, match="path"):
        build_template(list(slices[0]), tmp_path / "out")
    assert not (tmp_path / "out").exists()
