import csv

import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.io.field_formats import FORMATS, WRITABLE_FORMATS
from dipy_nn_reg.io.fields import load_mapping
from dipy_nn_reg.workflows.predict import PredictFlow

OUTPUTS = {"warped.nii.gz", "field.nii.gz", "metrics.csv"}


def predict(static, moving, model, out, *, force=False, **options):
    moving, flow = [str(path) for path in moving], PredictFlow(force=force)
    options = {"no_report": True} | options
    flow.run(str(static), moving, str(model), out_dir=str(out), **options)
    return {path.name for path in out.iterdir()}


@pytest.mark.parametrize(
    "format",
    [
        format
        if format in ("dipy", "fsl")
        else pytest.param(format, marks=pytest.mark.slow)
        for format in WRITABLE_FORMATS
    ],
)
def test_outputs_of_a_pair_agree_with_the_model(format, scene, write, models, tmp_path):
    scene = scene(3, True)
    # Noise, to which even the untrained model makes the image more similar.
    static = np.random.default_rng(1).random(scene.field.shape[:-1]).astype(np.float32)
    moving = scene.moving.astype(np.float32)
    paths = (
        write("static.nii.gz", static, scene.static_affine),
        write("moving.nii.gz", moving, scene.moving_affine),
    )
    np.savetxt(tmp_path / "affine.txt", scene.prealign)
    out, ending = tmp_path / "out", FORMATS[format].endings[-1]
    names = {name: f"{name}{ending}" for name in ("field", "inverse")}
    result = predict(
        paths[0],
        paths[1:],
        models[3],
        out,
        prealign=str(tmp_path / "affine.txt"),
        field_format=format,
        **{f"out_{name}": file for name, file in names.items()},
        inverse=True,
        fill=0.0,  # as DIPY's map reads outside of an image
    )
    others = {"warped.nii.gz", "metrics.csv", "prealign.txt"}
    assert result == others | {*names.values()}
    npt.assert_allclose(np.loadtxt(out / "prealign.txt"), scene.prealign)

    mapping = DeformableRegistration.load(models[3]).predict_mapping(
        moving,
        static,
        moving_affine=scene.moving_affine,
        static_affine=scene.static_affine,
        prealign=scene.prealign,
    )
    expected = mapping.transform(moving)
    warped = nib.load(out / "warped.nii.gz")
    npt.assert_allclose(warped.get_fdata(), expected, atol=1e-4)
    npt.assert_allclose(warped.affine, scene.static_affine, atol=1e-5)
    field, inverse = (load_mapping(out / name) for name in names.values())
    npt.assert_allclose(field.transform(moving), expected, atol=1e-4)
    npt.assert_allclose(
        inverse.transform(static), mapping.transform_inverse(static), atol=1e-3
    )
    with open(out / "metrics.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["used"], row["alignment"]) == ("model", "given")
    expected = np.corrcoef(static.ravel(), warped.get_fdata().ravel())[0, 1]
    assert float(row["ncc_after"]) == pytest.approx(expected, abs=1e-4)
    assert float(row["inverse_error_mm"]) < 0.2


@pytest.mark.slow
def test_all_pairs_of_three_by_three_images_are_registered(brains, models, tmp_path):
    pattern = brains[0].parent / "brain_[0-2].nii.gz"
    result = predict(pattern, [pattern], models[3], tmp_path / "all", all_pairs=True)
    for kind in OUTPUTS:
        assert sum(name.endswith(kind) for name in result) == 9
    result = predict(pattern, [pattern], models[3], tmp_path / "each")
    assert {name for name in result if "warped" in name} == {
        f"brain_{i}_brain_{i}__warped.nii.gz" for i in range(3)
    }


@pytest.mark.slow
def test_prealignment_by_dipy_is_written(brains, models, tmp_path):
    result = predict(
        brains[0], [brains[1]], models[3], tmp_path, prealign="rigid", voxel_size=2.5
    )
    assert "prealign.txt" in result
    affine = np.loadtxt(tmp_path / "prealign.txt")
    npt.assert_allclose(affine[:3, :3] @ affine[:3, :3].T, np.eye(3), atol=1e-6)


@pytest.mark.slow
def test_an_earlier_prealignment_is_removed(brains, models, tmp_path):
    predict(brains[0], [brains[1]], models[3], tmp_path, prealign="rigid")
    result = predict(brains[0], [brains[1]], models[3], tmp_path, force=True)
    assert "prealign.txt" not in result


@pytest.mark.backends
def test_volumes_of_few_slices_are_measured(crops, write, models, tmp_path):
    paths = [write(f"{i}.nii.gz", image[..., :4]) for i, image in enumerate(crops[:2])]
    assert predict(*paths[:1], paths[1:], models[3], tmp_path / "out") == OUTPUTS
    with open(tmp_path / "out" / "metrics.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["alignment"] == "none"
    assert np.isnan(float(row["sd_log_jacobian"]))
    assert float(row["ncc_after"]) > 0


@pytest.mark.slow
def test_slices_are_registered_in_2d(sevens, write, models, tmp_path):
    paths = [write(f"{i}.nii.gz", sevens[i][..., None]) for i in range(2)]
    assert predict(*paths[:1], paths[1:], models[2], tmp_path / "out") == OUTPUTS
    warped = nib.load(tmp_path / "out" / "warped.nii.gz").get_fdata()
    expected = DeformableRegistration.load(models[2]).predict(sevens[1:2], sevens[0])
    npt.assert_allclose(warped[..., 0], expected[0], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"field_format": "elastix"}, "field_format.*'elastix'"),
        ({"voxel_size": -1.0}, "voxel_size"),
        ({"prealign": "nothing.txt"}, "nothing.txt"),
        ({"out_warped": "warped.png"}, "warped.png"),
        ({"out_inverse": "back.nii.gz"}, "--inverse.*back.nii.gz"),
        ({"model_file": "nothing.keras"}, "nothing.keras"),
        ({"smoothness": 0.5}, "trained with smoothness='any'.*smoothness=0.5"),
        ({"passes": 2}, "passes with the pretrained model alone.*2"),
        ({"model_file": "pretrained", "smoothness": 1.1}, "smoothness.*<= 1.*1.1"),
        ({"model_file": "pretrained", "passes": 0}, "passes.*0"),
        ({"model_file": 2}, "an image of 2 axes, as the model"),
    ],
)
def test_invalid_input_is_refused_and_nothing_is_written(
    options, message, brains, models, tmp_path
):
    model = options.pop("model_file", 3)
    model = models.get(model, model)
    with pytest.raises((ValueError, OSError), match=message):
        predict(brains[0], brains[1:2], model, tmp_path / "out", **options)
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.slow
def test_the_pretrained_model_aligns_and_registers_images_of_any_grid(write, tmp_path):
    """It needs no file, and aligns the images unless it is told otherwise."""
    (static,), _ = make_phantoms(1, shape=(48, 56, 52), seed=0)
    (moving,), _ = make_phantoms(1, shape=(48, 56, 52), seed=1)
    shifted = np.diag([-2.0, 2, 2, 1])
    shifted[:3, 3] = 120, 10, -15
    paths = (
        write("static.nii.gz", static, np.diag([2.0, 2, 2, 1])),
        write("moving.nii.gz", moving[::-1].copy(), shifted),
    )
    out = tmp_path / "out"
    files = predict(paths[0], paths[1:], "pretrained", out, field_format="itk")
    assert files == OUTPUTS | {"prealign.txt"} or files == OUTPUTS
    with open(out / "metrics.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["used"] == "model" and row["alignment"] != "none"
    assert float(row["loss_after"]) < float(row["loss_before"])
    warped = nib.load(out / "warped.nii.gz").get_fdata()
    expected, before = (
        np.corrcoef(i.ravel(), static.ravel())[0, 1] for i in (warped, moving)
    )
    assert expected > before


@pytest.mark.slow
def test_the_pretrained_model_is_as_smooth_as_it_is_asked_to_be(write, tmp_path):
    images, _ = make_phantoms(2, shape=(40, 37), seed=0)
    paths = [write(f"{i}.nii.gz", image, np.eye(4)) for i, image in enumerate(images)]
    static, moving = (image[None] for image in images)
    for smoothness, passes in [(0.0, 1), (1.0, 3)]:
        dials = {"smoothness": smoothness, "passes": passes}
        out = tmp_path / str(passes)
        predict(paths[0], paths[1:], "pretrained", out, prealign="none", **dials)
        model = DeformableRegistration.pretrained(ndim=2, **dials)
        warped = nib.load(out / "warped.nii.gz").get_fdata()
        expected = model.predict(moving, static)[0]
        npt.assert_allclose(np.squeeze(warped), expected, atol=1e-3)
