"""Templates are the mean of their group, and go on where they were stopped."""

import re

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg import build_template
from dipy_nn_reg.cohort import rounds, template
from dipy_nn_reg.cohort.engines import open_engine
from dipy_nn_reg.cohort.rounds import Rounds
from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.io.fields import load_mapping
from dipy_nn_reg.mapping.maps import displacement_of
from dipy_nn_reg.transform import compose, integrate
from dipy_nn_reg.workflows.template import TemplateFlow

QUICK = {"prealign": None, "level_iters": [2, 2], "loss": "ncc", "rounds": 1}


@pytest.mark.slow
def test_equal_images_give_that_image(write, tmp_path):
    (image,), _ = make_phantoms(1, shape=(26, 30, 24), seed=0)
    paths = [write(f"equal_{i}.nii.gz", image) for i in range(3)]
    built = build_template(paths, tmp_path / "out", rounds=1, level_iters=[3, 3])
    found = built.image.get_fdata()
    assert np.abs(found - image).max() < 0.02 * np.ptp(image)
    assert [r["name"] for r in built.rounds] == [
        "start",
        "rigid",
        "similarity",
        "affine",
        "registration_1",
        "left",
    ]
    assert built.rounds[-1]["velocity"] < 0.02 > built.rounds[3]["stretch"]
    page = (tmp_path / "out" / "template.html").read_text()
    assert page.count("data:image/png") == 5
    assert "04_registration_1/people/cohort.html" in page


@pytest.mark.slow
def test_the_order_of_people_does_not_matter(brains, write, tmp_path):
    """Bit for bit, as the files are sorted; and hardly if they have other names."""
    other = [
        write(f"other_{2 - i}.nii.gz", nib.load(path).get_fdata())
        for i, path in enumerate(brains[:3])
    ]
    images = [
        build_template(paths, tmp_path / name, **QUICK).image.get_fdata()
        for name, paths in (("a", brains[:3]), ("b", brains[2::-1]), ("c", other))
    ]
    np.testing.assert_array_equal(images[0], images[1])
    assert np.abs(images[0] - images[2]).max() < 1e-4 * np.ptp(images[0])


@pytest.mark.slow
def test_a_template_goes_on_after_the_last_round(brains, tmp_path, rounds_begun):
    options = {**QUICK, "rounds": 2}
    with pytest.raises(KeyboardInterrupt):
        build_template(brains[:2], tmp_path / "out", **options)
    built = build_template(brains[:2], tmp_path / "out", **options)
    first, second = "01_registration_1", "02_registration_2"
    assert rounds_begun == [first, second, second]
    whole = build_template(brains[:2], tmp_path / "whole", **options)
    np.testing.assert_array_equal(built.image.get_fdata(), whole.image.get_fdata())


@pytest.mark.slow
def test_a_template_of_other_inputs_is_refused(brains, write, tmp_path):
    image, out = nib.load(brains[0]), tmp_path / "out"
    half = np.indices(image.shape)[0] < image.shape[0] // 2
    halves = [
        write(f"half_{n}.nii.gz", np.uint8(mask), image.affine)
        for n, mask in enumerate((half, ~half))
    ]
    # Numbers as a header or NumPy has them.
    numbers = {"voxel_size": image.header.get_zooms()[0], "sharpen": np.float32(0.5)}
    options = {**QUICK, **numbers, "rounds": np.int64(1)}
    built = build_template(brains[:2], out, masks=halves, weights=[1, 3], **options)
    # The same study in another order, and with plain numbers.
    again = build_template(
        brains[1::-1], out, masks=halves[::-1], weights=[3, 1], **options
    )
    np.testing.assert_array_equal(built.image.get_fdata(), again.image.get_fdata())
    for masks, weights in (
        (halves[::-1], [1, 3]),
        (None, [1, 3]),
        (halves, [3, 1]),
        (halves, None),
    ):
        with pytest.raises(ValueError, match="Expected the options of the earlier run"):
            build_template(brains[:2], out, masks=masks, weights=weights, **options)


@pytest.mark.slow
def test_someone_who_could_not_be_read_does_not_join_later(brains, write, tmp_path):
    path = brains[0].parent / "joins.nii.gz"
    path.write_bytes(b"no image")
    build_template([*brains[:2], path], tmp_path / "out", **QUICK)
    nib.save(nib.load(brains[2]), path)
    with pytest.raises(ValueError, match="earlier run.*readable=.*joins"):
        build_template([*brains[:2], path], tmp_path / "out", **QUICK)


@pytest.mark.slow
def test_who_cannot_be_registered_is_left_out(brains, write, tmp_path, dipy_log):
    image = nib.load(brains[0])
    constant = write("constant.nii.gz", np.ones(image.shape), image.affine)
    built = build_template([*brains[:2], constant], tmp_path / "out", **QUICK)
    assert set(built.fields) == {"brain_0", "brain_1"}
    assert "Left out: constant" in dipy_log.text


class Counted:
    """Engine of this process that counts how often it is opened, used and closed."""

    def __init__(self, **chosen):
        self.engine, self.calls = open_engine(**chosen), ["open"]

    def run(self, function, jobs):
        self.calls.append("run")
        return self.engine.run(function, jobs)

    def close(self):
        self.calls.append("close")


@pytest.fixture
def engines(monkeypatch):
    """Return the engines that templates open."""
    opened = []

    def count(**chosen):
        opened.append(Counted(**chosen))
        return opened[-1]

    monkeypatch.setattr(template, "open_engine", count)
    return opened


@pytest.mark.slow
def test_one_engine_serves_all_rounds(brains, tmp_path, engines):
    build_template(brains[:2], tmp_path / "out", **{**QUICK, "prealign": "rigid"})
    assert [engine.calls for engine in engines] == [["open", *["run"] * 3, "close"]]
    # Nothing is left to be done.
    build_template(brains[:2], tmp_path / "out", **{**QUICK, "prealign": "rigid"})
    assert engines[1].calls == ["open", "close"]


def test_the_engine_is_closed_if_a_round_fails(brains, tmp_path, engines, monkeypatch):
    def fail(*_, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(rounds, "mean_image", fail)
    with pytest.raises(KeyboardInterrupt):
        build_template(brains[:2], tmp_path / "out", **QUICK)
    assert engines[0].calls == ["open", "close"]


@pytest.mark.slow
def test_templates_are_the_same_bit_for_bit_whichever_engine(brains, tmp_path):
    images = [
        build_template(brains[:3], tmp_path / str(n), n_jobs=n, **QUICK).image
        for n in (1, 2)
    ]
    np.testing.assert_array_equal(*(image.get_fdata() for image in images))
    maps = [sorted((tmp_path / str(n)).glob("maps/*/*")) for n in (1, 2)]
    assert len(maps[0]) == 6
    assert [p.read_bytes() for p in maps[0]] == [p.read_bytes() for p in maps[1]]
    assert not list(tmp_path.rglob("velocity.npy"))


def test_labels_are_voted_and_the_command_takes_them(brains, write, tmp_path):
    labels = []
    for number, path in enumerate(brains[:2]):
        image = nib.load(path)
        inside = image.get_fdata() > 0.3 * image.get_fdata().max()
        array = 7 * inside.astype(np.uint8)
        labels.append(write(f"labels_{number}.nii.gz", array, image.affine))
    TemplateFlow().run(
        [str(path) for path in brains[:2]],
        labels=[str(path) for path in labels],
        rounds=1,
        prealign="none",
        level_iters=[2, 2],
        loss="ncc",
        out_dir=str(tmp_path / "out"),
    )
    voted = np.asarray(nib.load(tmp_path / "out" / "labels.nii.gz").dataobj)
    assert set(np.unique(voted)) == {0, 7}
    assert (tmp_path / "out" / "maps" / "brain_1" / "field.nii.gz").exists()


@pytest.mark.parametrize("kind", ["labels", "masks"])
@pytest.mark.parametrize("fault", ["is 0", "which has none in that box", "image"])
def test_masks_and_labels_are_read_before_the_rounds(
    kind, fault, brains, write, tmp_path, dipy_log, monkeypatch
):
    def stop(self, *arguments):
        raise KeyboardInterrupt(*(one["id"] for one in self.people))

    monkeypatch.setattr(Rounds, "begin", stop)
    image = nib.load(brains[0])
    ones, affine = np.ones(image.shape, np.uint8), image.affine.copy()
    files = [write("good.nii.gz", ones, affine)]
    affine[:3, 3] += 1000 * ("box" in fault)
    files.append(write("bad.nii.gz", ones * ("is 0" not in fault), affine))
    if fault == "image":
        files[1].write_bytes(b"no image")
    with pytest.raises(KeyboardInterrupt, match="brain_0"):
        build_template(brains[:2], tmp_path / "out", **{kind: files}, **QUICK)
    assert re.search(f"Left out: brain_1: .*{fault}", dipy_log.text)
    files[1].unlink()
    with pytest.raises(FileNotFoundError, match="bad.nii.gz"):
        build_template(brains[:2], tmp_path / "new", **{kind: files}, **QUICK)


@pytest.mark.slow
def test_further_images_guide_the_shape_and_have_means(brains, write, tmp_path):
    """The second images are the first ones with another brightness."""
    others = []
    for i, path in enumerate(brains[:2]):
        image = nib.load(path)
        others.append(
            write(f"other_{i}.nii.gz", 3 * image.get_fdata() + 5, image.affine)
        )
    alone = build_template(brains[:2], tmp_path / "alone", **QUICK)
    built = build_template(brains[:2], tmp_path / "out", further=[others], **QUICK)
    (second,) = built.further
    assert second.name == "template_2.nii.gz" and alone.further == []
    found = built.image.get_fdata()
    # Equal channels of equal weight give the same registration.
    np.testing.assert_allclose(
        found, alone.image.get_fdata(), atol=0.01 * np.ptp(found)
    )
    expected = 3 * found + 5
    np.testing.assert_allclose(
        nib.load(second).get_fdata(), expected, atol=0.02 * np.ptp(expected)
    )
    # Second images that lie elsewhere pull the shape.
    for path in others:
        image = nib.load(path)
        rolled = np.roll(image.get_fdata(), 3 * (path == others[0]), axis=0)
        nib.save(nib.Nifti1Image(rolled, image.affine), path)
    pulled = build_template(brains[:2], tmp_path / "pulled", further=[others], **QUICK)
    assert np.abs(pulled.image.get_fdata() - found).max() > 0.05 * np.ptp(found)


@pytest.mark.slow
def test_the_command_takes_further_images(brains, tmp_path):
    flow = TemplateFlow()
    flow.run(
        [str(path) for path in brains[:2]],
        further=[str(path) for path in brains[2:4]],
        rounds=1,
        level_iters=[1, 1],
        prealign="none",
        loss="ncc",
        out_dir=str(tmp_path / "out"),
    )
    assert (tmp_path / "out" / "template_2.nii.gz").is_file()


def test_the_command_counts_further_images(brains, tmp_path):
    images = [str(path) for path in brains[:2]]
    with pytest.raises(ValueError, match="as many further images.*1 and 2"):
        TemplateFlow().run(images, further=images[:1], out_dir=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_initial_image_gives_its_grid(brains, write, tmp_path):
    affine = np.diag([3.0, 3, 3, 1])
    initial = write("initial.nii.gz", nib.load(brains[0]).get_fdata()[2:], affine)
    built = build_template(brains[:2], tmp_path / "o", initial=initial, **QUICK)
    assert built.image.shape == nib.load(initial).shape
    np.testing.assert_array_equal(built.image.affine, affine)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0}, "rounds"),
        ({"average": "mode"}, "average to be one of"),
        ({"sharpen": -1.0}, "sharpen"),
        ({"prealign": "auto"}, "prealign to be one of"),
        ({"los": "mi"}, "an option to be one of .*Received 'los'"),
        ({"loss": ["lncc", "mi"]}, "loss for each of 1 channels"),
        ({"further": [0], "channel_weights": [1, 2, 3]}, "for each of 2 channels"),
        ({"further": [0], "model": "pretrained"}, "images of one channel"),
        ({"n_jobs": 0}, "n_jobs"),
        ({"weights": [1.0]}, "weights for each of 2 images. Received 1"),
        ({"weights": [1.0, -1.0]}, "each weight"),
        ({"masks": ["a"]}, "masks for each of 2 images"),
    ],
)
def test_invalid_options_are_refused(options, message, brains, tmp_path):
    if "further" in options:
        options = {**options, "further": [brains[:2]]}
    with pytest.raises(ValueError, match=message):
        build_template(brains[:2], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["file", "file/within"])
def test_results_need_a_folder(place, brains, tmp_path):
    (tmp_path / "file").touch()
    place = tmp_path / place
    with pytest.raises(ValueError, match="out_dir to be a folder. .*file' is none"):
        build_template(brains[:2], place)


def test_missing_images_are_named(brains, tmp_path):
    with pytest.raises(FileNotFoundError, match="no.nii"):
        build_template([brains[0], "no.nii"], tmp_path / "out")


def test_results_of_other_people_are_not_mixed(brains, tmp_path):
    build_template(brains[:2], tmp_path / "out", **QUICK)
    with pytest.raises(ValueError, match="the options of the earlier run"):
        build_template(brains[1:3], tmp_path / "out", **QUICK)


@pytest.mark.slow
def test_known_shapes_of_mean_zero_give_back_the_phantom(write, tmp_path, smooth_field):
    shape = (48, 56, 48)
    images, labels = make_phantoms(1, shape=shape, seed=0)
    grid = np.indices(shape)
    velocities = [smooth_field(shape, sigma=6, largest=3.0) for _ in range(3)]
    velocities += [-v for v in velocities]
    paths = []
    for number, velocity in enumerate(velocities):
        # Each shows the phantom at x - u, and the map to it is the inverse.
        moved = np.moveaxis(integrate(-velocity), -1, 0) + grid
        made = map_coordinates(images[0], moved, order=3, mode="nearest")
        paths.append(write(f"made_{number}.nii.gz", made, np.eye(4)))
    built = build_template(paths, tmp_path / "out", prealign=None)
    assert built.rounds[-1]["velocity"] < 0.05
    # From the template to each image, and from there to the phantom.
    shape_error = np.mean(
        [
            compose(integrate(-v), displacement_of(load_mapping(built.fields[name])))
            for v, name in zip(velocities, built.fields)
        ],
        axis=0,
    )
    assert np.linalg.norm(shape_error[labels[0] > 0], axis=-1).mean() < 0.1
