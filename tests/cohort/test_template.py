"""Templates are the mean of their group, and go on where they were stopped."""

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg import build_template
from dipy_nn_reg.cohort import rounds
from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.io.fields import load_mapping
from dipy_nn_reg.mapping.maps import displacement_of
from dipy_nn_reg.transform import compose, integrate
from dipy_nn_reg.workflows.template import TemplateFlow

QUICK = {"prealign": None, "level_iters": [2, 2], "loss": "ncc", "rounds": 1}


@pytest.mark.slow
def test_equal_images_give_that_image(brains, write, tmp_path):
    image = nib.load(brains[0]).get_fdata()
    paths = [write(f"equal_{i}.nii.gz", image) for i in range(3)]
    template = build_template(paths, tmp_path / "out", rounds=1, level_iters=[3, 3])
    found = template.image.get_fdata()
    assert np.abs(found - image).max() < 0.02 * np.ptp(image)
    assert [r["name"] for r in template.rounds] == [
        "start",
        "rigid",
        "similarity",
        "affine",
        "registration_1",
        "left",
    ]
    assert template.rounds[-1]["velocity"] < 0.02 > template.rounds[3]["stretch"]
    page = (tmp_path / "out" / "template.html").read_text()
    assert page.count("data:image/png") == 5
    assert "04_registration_1/people/cohort.html" in page


@pytest.mark.slow
def test_the_order_of_people_does_not_matter(brains, tmp_path):
    images = []
    for name, paths in (("a", brains[:3]), ("b", brains[2::-1])):
        template = build_template(paths, tmp_path / name, **QUICK)
        images.append(template.image.get_fdata())
    assert np.abs(images[0] - images[1]).max() < 1e-4 * np.ptp(images[0])


@pytest.mark.slow
def test_a_template_goes_on_after_the_last_round(brains, tmp_path, monkeypatch):
    register, calls = rounds.Rounds._register, []

    def stop(self, folder):
        calls.append(folder.parent.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return register(self, folder)

    monkeypatch.setattr(rounds.Rounds, "_register", stop)
    options = {**QUICK, "rounds": 2}
    with pytest.raises(KeyboardInterrupt):
        build_template(brains[:2], tmp_path / "out", **options)
    template = build_template(brains[:2], tmp_path / "out", **options)
    first, second = "01_registration_1", "02_registration_2"
    assert calls == [first, second, second]
    whole = build_template(brains[:2], tmp_path / "whole", **options)
    np.testing.assert_array_equal(template.image.get_fdata(), whole.image.get_fdata())


@pytest.mark.slow
def test_who_cannot_be_registered_is_left_out(brains, write, tmp_path, dipy_log):
    image = nib.load(brains[0])
    constant = write("constant.nii.gz", np.ones(image.shape), image.affine)
    template = build_template([*brains[:2], constant], tmp_path / "out", **QUICK)
    assert set(template.fields) == {"brain_0", "brain_1"}
    assert "Left out: constant" in dipy_log.text


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


@pytest.mark.slow
def test_an_initial_image_gives_its_grid(brains, write, tmp_path):
    affine = np.diag([3.0, 3, 3, 1])
    initial = write("initial.nii.gz", nib.load(brains[0]).get_fdata()[2:], affine)
    template = build_template(brains[:2], tmp_path / "o", initial=initial, **QUICK)
    assert template.image.shape == nib.load(initial).shape
    np.testing.assert_array_equal(template.image.affine, affine)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0}, "rounds"),
        ({"average": "mode"}, "average to be one of"),
        ({"sharpen": -1.0}, "sharpen"),
        ({"prealign": "auto"}, "prealign to be one of"),
        ({"weights": [1.0]}, "weights for each of 2 images. Received 1"),
        ({"weights": [1.0, -1.0]}, "each weight"),
        ({"masks": ["a"]}, "masks for each of 2 images"),
    ],
)
def test_invalid_options_are_refused(options, message, brains, tmp_path):
    with pytest.raises(ValueError, match=message):
        build_template(brains[:2], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


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
    template = build_template(paths, tmp_path / "out", prealign=None)
    assert template.rounds[-1]["velocity"] < 0.05
    # From the template to each image, and from there to the phantom.
    shape_error = np.mean(
        [
            compose(integrate(-v), displacement_of(load_mapping(template.fields[name])))
            for v, name in zip(velocities, template.fields)
        ],
        axis=0,
    )
    assert np.linalg.norm(shape_error[labels[0] > 0], axis=-1).mean() < 0.1
