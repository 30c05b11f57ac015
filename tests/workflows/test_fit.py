"""Training on images in files, from the command line."""

import csv
import logging
import re

import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.workflows import checkpoints, training_files
from dipy_nn_reg.workflows.fit import FitFlow
from dipy_nn_reg.workflows.predict import PredictFlow
from dipy_nn_reg.workflows.training_files import (
    _read_labels,
    read_all,
    reference_of,
)


def fit(moving, out, *, force=False, **options):
    options = {"epochs": 2, **options}
    FitFlow(force=force).run(
        [str(path) for path in moving], out_dir=str(out), **options
    )
    with open(out / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def labels(brains, write, crops):
    return [
        write(f"labels_{i}.nii.gz", (image > 0.5).astype(np.uint8))
        for i, image in enumerate(crops)
    ]


@pytest.mark.backends
def test_model_and_history_are_written(brains, labels, write, crops, tmp_path):
    mask = write("mask.nii.gz", np.ones(crops[0].shape, np.uint8))
    rows = fit(
        brains[1:],
        tmp_path / "out",
        static_files=[str(brains[0])],
        moving_labels=[str(path) for path in labels[1:]],
        static_labels=[str(labels[0])],
        mask_file=str(mask),
        validation_files=[str(brains[1])],
        network="voxelmorph1",
    )
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for column in ("loss", "ncc", "label_overlap", "val_ncc"):
        assert np.isfinite([float(row[column]) for row in rows]).all()
    registration = DeformableRegistration.load(tmp_path / "out" / "model.keras")
    assert tuple(registration.options["input_shape"]) == crops[0].shape


def test_training_continues_from_a_checkpoint(brains, tmp_path, caplog):
    fit(brains, tmp_path, network="voxelmorph1", loss="mse")
    assert "A new training" not in caplog.text
    model = tmp_path / "model.keras"
    options = {"network": "voxelmorph1", "loss": "mse", "smoothness": "0.7", "seed": 3}
    rows = fit(brains, tmp_path, force=True, checkpoint=str(model), **options)
    assert f"A new training begins, with the weights of {model}." in caplog.text
    warnings = [r.message for r in caplog.records if r.levelname == "WARNING"]
    smoothness = DeformableRegistration.load(model).options["smoothness"]
    assert warnings == [
        f"smoothness=0.7 is not used: that of the checkpoint is {smoothness}.",
        "seed=3 is not used: that of the checkpoint is 0.",
    ]
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    options = DeformableRegistration.load(model).options
    assert (options["network"], options["loss"]) == ("voxelmorph1", "mse")


@pytest.mark.slow
def test_training_goes_on_from_the_pretrained_model(sevens, write, tmp_path):
    images = sevens[:4, ..., None]
    paths = [write(f"{i}.nii.gz", image) for i, image in enumerate(images)]
    # Steps of this size change nothing.
    options = {"checkpoint": "pretrained", "learning_rate": 1e-12, "seed": 3}
    options["symmetric"] = True
    fit(paths, tmp_path / "out", epochs=1, **options)
    trained = DeformableRegistration.load(tmp_path / "out" / "model.keras")
    expected = DeformableRegistration.pretrained(ndim=2).model.get_weights()
    for ours, others in zip(trained.model.get_weights(), expected, strict=True):
        npt.assert_allclose(ours, others, atol=1e-6)
    assert (trained.options["seed"], trained.options["symmetric"]) == (3, True)


@pytest.mark.parametrize(
    "axis",
    [
        pytest.param(0, marks=pytest.mark.slow),
        pytest.param(1, marks=pytest.mark.slow),
        2,
    ],
)
def test_slices_train_a_2d_model(axis, sevens, write, tmp_path):
    images = np.expand_dims(sevens[:4], axis + 1)
    paths = [write(f"{i}.nii.gz", image) for i, image in enumerate(images)]
    fit(paths, tmp_path / "out", network="voxelmorph1")
    registration = DeformableRegistration.load(tmp_path / "out" / "model.keras")
    assert len(registration.options["input_shape"]) == 2


@pytest.mark.slow
def test_images_on_other_grids_are_resampled(brains, write, crops, tmp_path):
    """An image with a margin around it trains as the image itself."""
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = -3 * 2.0
    path = write("wide.nii.gz", np.pad(crops[1], 3), affine)
    options = {"static_files": [str(brains[0])], "network": "voxelmorph1"}
    rows = fit([path], tmp_path / "wide", **options)
    expected = fit([brains[1]], tmp_path / "same", **options)
    for row, other in zip(rows, expected):
        assert float(row["loss"]) == pytest.approx(float(other["loss"]), rel=1e-3)


@pytest.mark.slow
def test_warm_up_adds_steps_on_small_images(brains, tmp_path):
    options = {"batch_size": 2, "network": "voxelmorph1"}
    fit(brains, tmp_path, warm_up=3, epochs=2, **options)
    model = DeformableRegistration.load(tmp_path / "model.keras").model
    assert int(model.optimizer.iterations) == (3 + 2) * len(brains) / 2


@pytest.mark.slow
def test_options_of_speed_reach_the_model(brains, tmp_path):
    fit(brains, tmp_path, field_stride=4, precision="bfloat16", mirror=0, augment=True)
    options = DeformableRegistration.load(tmp_path / "model.keras").options
    assert (options["field_stride"], options["precision"]) == (4, "bfloat16")


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_pyramid")
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_model_of_any_smoothness_predicts_with_the_one_that_is_named(
    ndim, brains, sevens, write, tmp_path
):
    paths = brains
    if ndim == 2:
        paths = [write(f"{n}.nii.gz", i[..., None]) for n, i in enumerate(sevens[:4])]
    # On one pair, which it then registers: a field that does not help is not used.
    options = {"network": "pyramid", "smoothness": "any", "epochs": 60}
    fit(paths[1:2], tmp_path, static_files=[str(paths[0])], **options)
    model = DeformableRegistration.load(tmp_path / "model.keras")
    assert model.options["smoothness"] == "any"
    moving, static = (nib.load(paths[i]).get_fdata(dtype=np.float32) for i in (1, 0))
    warped = {}
    for smoothness in (None, 0.0, 1.0):
        out = tmp_path / str(smoothness)
        PredictFlow().run(
            str(paths[0]),
            [str(paths[1])],
            str(tmp_path / "model.keras"),
            smoothness=smoothness,
            no_report=True,
            out_dir=str(out),
        )
        warped[smoothness] = nib.load(out / "warped.nii.gz").get_fdata()
        images = np.squeeze(moving)[None], np.squeeze(static)
        expected = model.predict(*images, smoothness=smoothness)[0]
        npt.assert_allclose(np.squeeze(warped[smoothness]), expected, atol=1e-3)
    assert np.abs(warped[0.0] - warped[1.0]).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("ndim", [2, 3])
def test_smoothness_reaches_the_training(ndim, brains, sevens, write, tmp_path):
    """A higher weight of the penalty gives smoother fields."""
    paths, images = brains, np.stack([nib.load(path).get_fdata() for path in brains])
    if ndim == 2:
        images = sevens[:4]
        paths = [write(f"{n}.nii.gz", i[..., None]) for n, i in enumerate(images)]
    rough = []
    for smoothness in (0.1, 10.0):
        out = tmp_path / str(smoothness)
        options = {"epochs": 20, "batch_size": 2, "loss": "mse"}
        options["network"] = "voxelmorph1"
        fit(paths, out, smoothness=smoothness, **options)
        model = DeformableRegistration.load(out / "model.keras")
        assert model.options["smoothness"] == smoothness
        field = model.predict_field(images[1:], images[:-1])
        rough.append(np.mean([np.abs(np.diff(u, axis=0)).mean() for u in field]))
    assert rough[0] > 1.5 * rough[1] > 0


@pytest.mark.slow
def test_images_are_trained_on_at_another_resolution(brains, labels, crops, tmp_path):
    fit(
        brains,
        tmp_path,
        moving_labels=[str(path) for path in labels],
        voxel_size=4.0,  # mm, where that of the images is 2
        network="voxelmorph1",
    )
    options = DeformableRegistration.load(tmp_path / "model.keras").options
    assert tuple(options["input_shape"]) == tuple(-(-n // 2) for n in crops[0].shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out_model": "model.h5"}, r"'\.keras'.*model\.h5"),
        ({"batch_size": 0}, "batch_size"),
        ({"voxel_size": 0.0}, "voxel_size"),
        ({"field_stride": 3}, r"field_stride.*\[1, 2, 4\].*3"),
        ({"precision": "float16"}, "precision.*'float16'"),
        ({"mirror": 3}, "mirror.*3"),
        ({"loss": "l2"}, "loss.*'ncc'.*'l2'"),
        ({"checkpoint": "nothing.keras"}, "nothing.keras"),
        ({"moving_files": "far"}, "overlap by their headers"),
        ({"moving_files": "one"}, "two moving images or more"),
    ],
)
def test_invalid_input_is_refused(options, message, brains, write, crops, tmp_path):
    moving = brains[:2]
    if options.get("moving_files") == "far":
        affine = np.eye(4)
        affine[:3, 3] = 1000
        moving = [brains[0], write("far.nii.gz", crops[0], affine)]
    elif options.get("moving_files") == "one":
        moving = brains[:1]
    options = {n: v for n, v in options.items() if n != "moving_files"}
    with pytest.raises((ValueError, OSError), match=message):
        fit(moving, tmp_path / "out", **options)
    assert not list((tmp_path / "out").glob("*"))


def test_labels_and_mask_keep_header_and_values(brains, write, crops, tmp_path):
    """In another order of axes, with labels beyond 32 bits."""
    labels = (crops[0] > 0.5) * np.int64(4_000_000_000)
    image = nib.Nifti1Image(labels, np.diag([2.0, 2, 2, 1]), dtype=np.int64)
    turned = image.as_reoriented([[2, 1], [0, -1], [1, 1]])
    nib.save(turned, tmp_path / "labels.nii.gz")
    mask = nib.Nifti1Image(np.float32(crops[0] > 0.3) / 4, image.affine)
    nib.save(mask.as_reoriented([[1, 1], [2, -1], [0, -1]]), tmp_path / "mask.nii.gz")
    paths = {
        "moving": brains[:1],
        "moving_labels": [tmp_path / "labels.nii.gz"],
        "mask": [tmp_path / "mask.nii.gz"],
    }
    data = read_all(paths, None, *reference_of(paths, None), tmp_path)
    npt.assert_array_equal(data["moving_labels"][0], labels)
    npt.assert_array_equal(data["mask"][0], crops[0] > 0.3)
    elsewhere = np.diag([2.0, 2, 2, 1])
    elsewhere[0, 3] = 1000
    paths["mask"] = [write("far.nii.gz", np.ones(crops[0].shape, np.uint8), elsewhere)]
    with pytest.raises(ValueError, match="far.nii.gz"):
        read_all(paths, None, *reference_of(paths, None), tmp_path)


def weights_of(path):
    return DeformableRegistration.load(path).model.get_weights()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "options"),
    [
        ("history", {"augment": True, "warm_up": 1}),
        ("model", {"augment": True, "warm_up": 1}),
    ],
)
def test_same_command_resumes_an_interrupted_training(
    where, options, brains, tmp_path, monkeypatch, caplog
):
    """Killed after the second epoch, or between its history and its model."""
    options = {"network": "voxelmorph1", "batch_size": 2, **options}
    expected = fit(brains, tmp_path / "whole", epochs=3, **options)
    write, epochs = checkpoints.write_csv, []

    def kill(rows, path):
        epochs.append(len(rows))
        if (len(rows), where) == (3, "model"):
            raise KeyboardInterrupt
        write(rows, path)
        if (len(rows), where) == (3, "history"):
            raise KeyboardInterrupt

    folder = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_csv", kill)
        with pytest.raises(KeyboardInterrupt):
            fit(brains, folder, epochs=3, **options)
    monkeypatch.setattr(logging.getLogger("dipy"), "propagate", True)
    model = folder / "model.keras"
    rows = fit(brains, folder, force=True, checkpoint=model, epochs=3, **options)
    assert "Going on after epoch 2 of 3" in caplog.text
    assert rows == expected
    for found, weights in zip(
        weights_of(model), weights_of(tmp_path / "whole" / model.name)
    ):
        np.testing.assert_array_equal(found, weights)


@pytest.mark.slow
def test_another_command_starts_a_new_training_and_warns(
    brains, tmp_path, monkeypatch, caplog
):
    options = {"network": "voxelmorph1", "batch_size": 2}
    write = checkpoints.write_csv

    def kill(rows, path):
        write(rows, path)
        if len(rows) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_csv", kill)
        with pytest.raises(KeyboardInterrupt):
            fit(brains, tmp_path, epochs=3, **options)
    monkeypatch.setattr(logging.getLogger("dipy"), "propagate", True)
    model = tmp_path / "model.keras"
    rows = fit(brains, tmp_path, force=True, checkpoint=model, epochs=1, **options)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    message = "epochs=3. Received epochs=1. A new training begins.*epoch 1 of 3"
    assert [r for r in caplog.records if re.search(message, r.message)]


@pytest.mark.slow
def test_diverging_training_keeps_the_last_finite_model(
    brains, write, tmp_path, run_command
):
    out = tmp_path / "out"
    fit(brains, out, network="voxelmorph1", epochs=1)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    arguments = [*brains, "--out_dir", out, "--force", "--network", "voxelmorph1"]
    done = run_command("dipy_nn_reg_fit", *arguments, "--learning_rate", 1e30)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "Expected a training that converges" in last and "learning_rate" in last
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float16"}, "precision"),
        ({"field_stride": 3}, "field_stride"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"seed": -1}, "seed"),
        ({"mirror": 3}, "mirror"),
        ({"network": "dirnet", "transform": "velocity"}, "transform"),
    ],
)
def test_a_wrong_option_is_refused_before_images_are_read(
    options, message, brains, tmp_path, monkeypatch
):
    def never(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr(training_files, "cache_images", never)
    with pytest.raises(ValueError, match=f"Expected {message}"):
        fit(brains, tmp_path / "out", **options)


@pytest.mark.parametrize(
    "content",
    [b"epoch,loss\n1,0.5,7\n", b"epoch,loss\n1\n", b"\xff\xfe\x00", b"a,b\n1,2\n"],
)
def test_invalid_history_is_refused_and_kept(content, brains, tmp_path):
    (tmp_path / "history.csv").write_bytes(content)
    model = tmp_path / "in.keras"
    DeformableRegistration(input_shape=(16, 16, 16), network="voxelmorph1").save(model)
    with pytest.raises(
        ValueError, match="Expected (a history of a training|a table|rows of 2 cells)"
    ):
        fit(brains, tmp_path, force=True, checkpoint=model)
    assert (tmp_path / "history.csv").read_bytes() == content
    assert not (tmp_path / "model.keras").exists()


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0, 4_000_000_000], np.uint32),
        ([0, -7, 2**40], np.int64),
        ([0, 2**63 + 1], np.uint64),
        ([0, 3], np.uint8),
    ],
)
def test_labels_keep_their_values(values, dtype, write, tmp_path):
    labels = np.resize(np.array(values, dtype), (4, 4, 4))
    path = tmp_path / "labels.nii.gz"
    nib.save(nib.Nifti1Image(labels, np.eye(4), dtype=dtype), path)
    found = _read_labels(path, read_image(path))
    assert found.dtype.itemsize == (4 if max(values) < 2**31 else 8)
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_mirrored_axis_is_one_of_the_voxels(
    axis, write, rng, tmp_path, monkeypatch
):
    """Of slices stored along any axis."""
    shape = np.insert([12, 11], axis, 1)
    images = [write(f"{i}.nii.gz", rng.random(shape)) for i in range(2)]
    received = []
    monkeypatch.setattr(
        "dipy_nn_reg.workflows.checkpoints.fit_or_resume",
        lambda *_, mirror, **__: received.append(mirror),
    )
    for mirror in range(3):
        if mirror == axis:
            with pytest.raises(ValueError, match=f"within the slices.*{axis}"):
                fit(images, tmp_path / "no", mirror=mirror)
        else:
            with pytest.raises(FileNotFoundError):  # nothing was trained
                fit(images, tmp_path / f"out{mirror}", mirror=mirror)
    assert received == [0, 1]
