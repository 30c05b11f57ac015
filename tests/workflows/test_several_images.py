"""Several images of each person, from training by command to prediction."""

import csv

import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import gaussian_filter

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.io.fields import load_mapping
from dipy_nn_reg.losses.choices import ChannelLosses
from dipy_nn_reg.mapping.maps import displacement_of
from dipy_nn_reg.workflows.checkpoints import warn_of_unused
from dipy_nn_reg.workflows.fit import FitFlow
from dipy_nn_reg.workflows.predict import PredictFlow


@pytest.fixture
def people(write, rng):
    """Return a maker of two images of each of three people: arrays, and their files.

    The second ones are stored in another order of axes.
    """

    def make(shape):
        images = rng.normal(size=(3, *shape, 2))
        sigma = [0, *(2 * (n > 1) for n in shape), 0]
        images = gaussian_filter(images, sigma).astype(np.float32)
        paths = []
        for i, (first, second) in enumerate(np.moveaxis(images, -1, 1)):
            path = write(f"first_{i}.nii.gz", first)
            image = nib.Nifti1Image(second, nib.load(path).affine)
            turned = path.with_name(f"second_{i}.nii.gz")
            nib.save(image.as_reoriented([[1, -1], [0, 1], [2, 1]]), turned)
            paths.append([str(path), str(turned)])
        return images, paths

    return make


def fit(paths, out, **options):
    first, second = zip(*paths)
    options = {"epochs": 1, "network": "voxelmorph1", **options}
    FitFlow().run(
        list(first), moving_channels=list(second), out_dir=str(out), **options
    )
    return DeformableRegistration.load(out / "model.keras")


def test_training_is_that_of_arrays_with_channels(people, tmp_path):
    """Of slices."""
    images, paths = people((22, 20, 1))
    model = fit(
        paths,
        tmp_path,
        channel_losses=["ncc", "mse"],
        channel_weights=[1.0, 0.5],
        smoothness=0.2,
        validation_files=paths[0][0],
        static_files=paths[1][0],
        static_channels=[paths[1][1]],
        validation_channels=[paths[0][1]],
    )
    losses = ChannelLosses(("ncc", "mse"), (1.0, 0.5))
    assert (model.num_channels, model.options["loss"]) == (2, losses)
    images = images[:, :, :, 0]
    expected = DeformableRegistration(
        input_shape=images.shape[1:-1],
        num_channels=2,
        network="voxelmorph1",
        loss=["ncc", "mse"],
        channel_weights=[1, 0.5],
        smoothness=0.2,
        seed=0,
    )
    history = expected.fit(
        images,
        images[1],
        epochs=1,
        validation_data=(images[:1], images[1]),
        verbose=0,
    ).history
    with open(tmp_path / "history.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    for name in ("loss", "val_loss"):  # images of a command are of 16 bits
        assert float(row[name]) == pytest.approx(history[name][0], rel=2e-3)


@pytest.mark.slow
def test_prediction_is_that_of_arrays_with_channels(people, tmp_path):
    """For two pairs of volumes at once, each with images of its own."""
    images, paths = people((14, 17, 13))
    model = DeformableRegistration(
        input_shape=images.shape[1:-1], num_channels=2, network="voxelmorph1", seed=0
    )
    # The prediction has to make the images more similar, or it would not be used.
    model.fit(images[1:], images[0], epochs=40, batch_size=2, verbose=0)
    model.save(tmp_path / "model.keras")
    first, second = zip(*paths)
    PredictFlow().run(
        first[0],
        list(first[1:]),
        str(tmp_path / "model.keras"),
        static_channels=[second[0]],
        moving_channels=list(second[1:]),
        no_report=True,
        out_dir=str(tmp_path / "out"),
    )
    for i in (1, 2):
        out = tmp_path / "out" / f"first_0_first_{i}__metrics.csv"
        with open(out, newline="") as file:
            assert next(csv.DictReader(file))["used"] == "model"
        field = load_mapping(out.with_name(f"first_0_first_{i}__field.nii.gz"))
        expected = model.predict_field(images[i][None], images[0])[0]
        assert np.abs(expected).max() > 0.05
        npt.assert_allclose(displacement_of(field), expected, atol=1e-3)
    affine = nib.load(first[0]).affine
    listed = model.predict_mapping(list(paths[1]), list(paths[0]))
    whole = model.predict_mapping(
        images[1], images[0], moving_affine=affine, static_affine=affine
    )
    npt.assert_allclose(listed.backward, whole.backward, atol=1e-3)


def test_other_numbers_of_images_than_the_model_takes_are_refused(people, tmp_path):
    _, paths = people((22, 20, 1))
    first, second = zip(*paths)
    fit(paths, tmp_path)
    model = str(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="^Expected as many images.*, 2. Received 1"):
        FitFlow().run(
            list(first), checkpoint=model, epochs=1, out_dir=str(tmp_path / "again")
        )
    with pytest.raises(ValueError, match="^Expected as many images.*, 2. Received 3"):
        PredictFlow().run(
            first[0],
            first[1],
            model,
            static_channels=[second[0]] * 2,
            moving_channels=[second[1]] * 2,
            out_dir=str(tmp_path / "out"),
        )
    message = r"^Expected moving to be one image, of shape .*2\)\. Received"
    with pytest.raises(ValueError, match=message):
        PredictFlow().run(first[0], first[1], model, out_dir=str(tmp_path / "out"))
    with pytest.raises(ValueError, match="num_channels=2, that of the model.*=3"):
        loaded = DeformableRegistration.load(model)
        loaded.predict_mapping([first[1]] * 3, [first[0]] * 3)
    with pytest.raises(ValueError, match="^Expected as many images.*, 1. Received 2"):
        PredictFlow().run(
            first[0],
            first[1],
            "pretrained",
            static_channels=[second[0]],
            moving_channels=[second[1]],
            out_dir=str(tmp_path / "out"),
        )
    assert not list((tmp_path / "out").glob("*"))


def test_losses_and_weights_beside_a_checkpoint_are_named(dipy_log):
    registration = DeformableRegistration(
        input_shape=(16, 16),
        num_channels=2,
        network="voxelmorph1",
        loss=["ncc", "mse"],
        channel_weights=[1, 0.5],
    )
    same = {"loss": ["ncc", "mse"], "channel_weights": [1.0, 0.5]}
    warn_of_unused(same, registration)
    assert not dipy_log.text
    other = {"loss": ["mse", "mse"], "channel_weights": [1.0, 2.0]}
    warn_of_unused(other, registration)
    for used in ("loss='mse, mse'", "channel_weights=[1.0, 2.0]"):
        assert f"{used} is not used: that of the checkpoint is" in dipy_log.text
