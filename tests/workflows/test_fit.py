import csv

import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.workflows.fit import FitFlow, _read_all


def fit(moving, out, *, force=False, **options):
    FitFlow(force=force).run(
        [str(path) for path in moving], epochs=2, out_dir=str(out), **options
    )
    with open(out / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def labels(brains, write, crops):
    return [
        write(f"labels_{i}.nii.gz", (image > 0.5).astype(np.uint8))
        for i, image in enumerate(crops)
    ]


def test_a_model_and_its_history_are_written(brains, labels, write, crops, tmp_path):
    mask = write("mask.nii.gz", np.ones(crops[0].shape, np.uint8))
    rows = fit(
        brains[1:],
        tmp_path / "out",
        static_files=[str(brains[0])],
        moving_labels=[str(path) for path in labels[1:]],
        static_labels=[str(labels[0])],
        mask_file=str(mask),
        validation_files=[str(brains[1])],
    )
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for column in ("loss", "similarity", "label_overlap", "val_similarity"):
        assert np.isfinite([float(row[column]) for row in rows]).all()
    registration = DeformableRegistration.load(tmp_path / "out" / "model.keras")
    assert tuple(registration.model.options["input_shape"]) == crops[0].shape


def test_training_goes_on_from_a_checkpoint(brains, tmp_path):
    fit(brains, tmp_path, network="voxelmorph1", loss="mse")
    model = tmp_path / "model.keras"
    rows = fit(brains, tmp_path, force=True, checkpoint=str(model))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    options = DeformableRegistration.load(model).model.options
    assert (options["network"], options["loss"]) == ("voxelmorph1", "mse")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_train_a_2d_model(axis, sevens, write, tmp_path):
    images = np.expand_dims(sevens[:4], axis + 1)
    paths = [write(f"{i}.nii.gz", image) for i, image in enumerate(images)]
    fit(paths, tmp_path / "out")
    registration = DeformableRegistration.load(tmp_path / "out" / "model.keras")
    assert len(registration.model.options["input_shape"]) == 2


def test_images_on_other_grids_are_brought_to_the_first(brains, write, crops, tmp_path):
    """The same image with a margin around it is trained on as the same."""
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = -3 * 2.0
    path = write("wide.nii.gz", np.pad(crops[1], 3), affine)
    options = {"static_files": [str(brains[0])], "batch_size": 1}
    rows = fit([path], tmp_path / "wide", **options)
    expected = fit([brains[1]], tmp_path / "same", **options)
    for row, other in zip(rows, expected):
        assert float(row["loss"]) == pytest.approx(float(other["loss"]), rel=1e-3)


def test_small_images_come_first(brains, tmp_path):
    steps = []
    for warm_up in (0, 2):
        folder = tmp_path / str(warm_up)
        fit(brains, folder, warm_up=warm_up)
        model = DeformableRegistration.load(folder / "model.keras").model
        steps.append(int(model.optimizer.iterations))
    assert steps[1] == 2 * steps[0]


def test_options_of_speed_reach_the_model(brains, tmp_path):
    fit(brains, tmp_path, field_stride=4, precision="bfloat16", mirror=0, augment=True)
    options = DeformableRegistration.load(tmp_path / "model.keras").model.options
    assert (options["field_stride"], options["precision"]) == (4, "bfloat16")


def test_images_may_be_trained_on_at_another_resolution(
    brains, labels, crops, tmp_path
):
    fit(
        brains,
        tmp_path,
        moving_labels=[str(path) for path in labels],
        voxel_size=4.0,  # of 2 mm
    )
    options = DeformableRegistration.load(tmp_path / "model.keras").model.options
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
        ({"moving_files": "far"}, "nothing on the grid"),
        ({"moving_files": "one"}, "two moving images or more"),
    ],
)
def test_bad_input_is_refused(options, message, brains, write, crops, tmp_path):
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


def test_what_goes_with_images_keeps_header_and_values(brains, write, crops, tmp_path):
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
    data = _read_all(paths, None, tmp_path)
    npt.assert_array_equal(data["moving_labels"][0], labels)
    npt.assert_array_equal(data["mask"][0], crops[0] > 0.3)
    elsewhere = np.diag([2.0, 2, 2, 1])
    elsewhere[0, 3] = 1000
    paths["mask"] = [write("far.nii.gz", np.ones(crops[0].shape, np.uint8), elsewhere)]
    with pytest.raises(ValueError, match="far.nii.gz"):
        _read_all(paths, None, tmp_path)
