import csv
import re

import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest

import dipy_nn_reg
from dipy_nn_reg import DeformableRegistration, metrics
from dipy_nn_reg.io.fields import load_mapping
from dipy_nn_reg.pairwise import register as one_pair
from dipy_nn_reg.workflows.register import RegisterFlow

OUTPUTS = {"warped.nii.gz", "field.nii.gz", "metrics.csv"}
FEW = [3, 5, 3]


def register(static, moving, out, *, force=False, **options):
    flow = RegisterFlow(force=force)
    moving, options = [str(path) for path in moving], {"no_report": True} | options
    flow.run(str(static), moving, out_dir=str(out), **options)
    return {path.name for path in out.iterdir()}


def read_rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.backends
def test_two_file_names_suffice(brains, run_command, tmp_path):
    done = run_command("dipy_nn_reg_register", *brains[:2], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = {path.name for path in tmp_path.glob("*.*")}
    assert done.stderr.count("%|") == 0  # no bars without a terminal
    # Nor messages of TensorFlow and JAX about themselves.
    assert "InitializeLog" not in done.stderr
    assert "initialize backend" not in done.stderr
    (row,) = read_rows(tmp_path / "metrics.csv")
    # An affine is a file of its own, unless the headers are right.
    aligned = set() if row["alignment"] == "none" else {"prealign.txt"}
    assert result == OUTPUTS | {"report.html"} | aligned
    page = (tmp_path / "report.html").read_text()
    assert re.search(r"b-vectors do not follow.*\n*.*degrees \(median\)", page)
    assert row["used"] == "optimized"
    assert float(row["ncc_after"]) > float(row["ncc_headers"])
    static, moving = (nib.load(path).get_fdata() for path in brains[:2])
    warped = nib.load(tmp_path / "warped.nii.gz").get_fdata()
    assert float(row["ncc_after"]) == pytest.approx(
        metrics.ncc(static, warped), abs=1e-4
    )
    mapping = load_mapping(tmp_path / "field.nii.gz")
    npt.assert_allclose(mapping.transform(moving), warped, atol=1e-3)


@pytest.mark.slow
def test_options_reach_the_registration(brains, models, write, tmp_path, monkeypatch):
    received = {}

    def spy(moving, static, **options):
        received.update(options, moving=moving, static=static)
        return one_pair.register(moving, static, **options)

    monkeypatch.setattr(dipy_nn_reg, "register", spy, raising=False)
    half = np.zeros(nib.load(brains[0]).shape, np.uint8)
    half[:9] = 1
    mask = write("mask.nii.gz", half)
    rest = 1 - half
    rest[4:] = 1
    moving_mask = write("moving_mask.nii.gz", rest)
    labels = [
        write(f"labels_{i}.nii.gz", (nib.load(path).get_fdata() > 0.4).astype(np.uint8))
        for i, path in enumerate(brains[:2])
    ]
    result = register(
        brains[0],
        brains[1:2],
        tmp_path / "out",
        model_file=str(models[3]),
        prealign="none",
        loss="lncc",
        penalty="bending",
        smoothness=0.2,
        level_iters=FEW,
        symmetric=True,
        transform="bspline_velocity",
        voxel_size=2.5,
        mask_file=str(mask),
        moving_mask_file=str(moving_mask),
        moving_labels=str(labels[1]),
        static_labels=str(labels[0]),
        no_report=False,
    )
    assert result == OUTPUTS | {"report.html"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "inside of the masks alone" in page
    for name, value in {
        "prealign": None,
        "loss": "lncc",
        "penalty": "bending",
        "smoothness": 0.2,
        "level_iters": FEW,
        "symmetric": True,
        "transform": "bspline_velocity",
        "voxel_size": 2.5,
        "orientation_weight": 3.0,
        "channel_weights": None,
    }.items():
        assert received.pop(name) == value, name
    model = received.pop("model")
    expected = DeformableRegistration.load(models[3])
    for ours, theirs in zip(model.model.get_weights(), expected.model.get_weights()):
        npt.assert_array_equal(ours, theirs)
    npt.assert_array_equal(received.pop("mask"), half)
    npt.assert_array_equal(received.pop("moving_mask"), rest)
    for i, name in enumerate(("static", "moving")):
        image = nib.load(brains[i])
        npt.assert_array_equal(received.pop(name), image.get_fdata())
        npt.assert_array_equal(received.pop(f"{name}_affine"), image.affine)
        label_map = nib.load(labels[i]).get_fdata()
        npt.assert_array_equal(received.pop(f"{name}_labels"), label_map)
    assert not received


@pytest.mark.slow
def test_several_images_of_each_person_are_registered(brains, write, tmp_path):
    """Where the first images show nothing, the others find the motion."""
    images = [nib.load(path).get_fdata(dtype=np.float32) for path in brains[:2]]
    flat = [
        np.where(np.arange(len(i))[:, None, None] < 9, i, i[:9].min()) for i in images
    ]
    first = [write(f"first_{i}.nii.gz", image) for i, image in enumerate(flat)]
    outcomes = []
    for further in ({}, {"static": brains[0], "moving": brains[1]}):
        out = tmp_path / f"out_{len(further)}"
        options = {f"{name}_channels": [str(path)] for name, path in further.items()}
        if further:
            options |= {
                "channel_losses": ["lncc", "ncc"],
                "channel_weights": [1.0, 4.0],
            }
        register(first[0], first[1:], out, prealign="none", **options)
        mapping = load_mapping(out / "field.nii.gz")
        (row,) = read_rows(out / "metrics.csv")
        outcomes.append((metrics.ncc(images[0], mapping.transform(images[1])), row))
    assert outcomes[1][0] > outcomes[0][0] + 0.02
    assert outcomes[1][1]["loss"] == "lncc, ncc"


@pytest.mark.slow
def test_files_of_fibres_reach_the_registration(
    brains, write, tmp_path, monkeypatch, rng
):
    received = {}

    def spy(moving, static, **options):
        received.update(options)
        return one_pair.register(moving, static, **options)

    monkeypatch.setattr(dipy_nn_reg, "register", spy, raising=False)
    shape = nib.load(brains[0]).shape
    along = rng.normal(size=(2, *shape, 3))
    along /= np.linalg.norm(along, axis=-1, keepdims=True)
    # One peak in each voxel, along the axes of the world.
    files = [
        write(f"peaks_{i}.nii.gz", one.astype(np.float32))
        for i, one in enumerate(along)
    ]
    register(
        brains[0],
        brains[1:2],
        tmp_path / "out",
        prealign="none",
        level_iters=FEW,
        static_orientations=str(files[0]),
        moving_orientations=str(files[1]),
        orientation_kind="peaks",
        convention="mrtrix",
        orientation_weight=2.0,
    )
    assert received["orientation_weight"] == 2
    for name, directions in zip(("static", "moving"), along):
        x, y, z = np.moveaxis(directions, -1, 0)
        expected = np.stack([x * x, x * y, y * y, x * z, y * z, z * z], axis=-1)
        npt.assert_allclose(received[f"{name}_orientations"], expected, atol=1e-5)


@pytest.mark.parametrize(
    "axis",
    [
        pytest.param(0, marks=pytest.mark.slow),
        pytest.param(1, marks=pytest.mark.slow),
        2,
    ],
)
def test_slices_are_registered(axis, sevens, write, tmp_path):
    """Sagittal, coronal and axial ones."""
    paths = [
        write(f"{i}.nii.gz", np.expand_dims(sevens[i], axis), np.diag([2.0, 2, 2, 1]))
        for i in range(2)
    ]
    assert register(paths[0], paths[1:], tmp_path / "out", prealign="none") == OUTPUTS
    (row,) = read_rows(tmp_path / "out" / "metrics.csv")
    assert float(row["ncc_after"]) > float(row["ncc_headers"])


def test_the_inverse_is_written_on_demand_and_no_earlier_one_stays(
    sevens, write, tmp_path
):
    paths = [write(f"{i}.nii.gz", sevens[i][..., None]) for i in range(2)]
    options = {"prealign": "none", "level_iters": [2], "force": True}
    pair = paths[0], paths[1:], tmp_path / "out"
    assert register(*pair, inverse=True, **options) == OUTPUTS | {"inverse.nii.gz"}
    assert register(*pair, **options) == OUTPUTS


def test_an_inverse_of_something_else_stays(sevens, write, tmp_path):
    paths = [write(f"{i}.nii.gz", sevens[i][..., None]) for i in range(2)]
    out = tmp_path / "out"
    out.mkdir()
    (out / "inverse.nii.gz").write_bytes(b"of another program")
    options = {"prealign": "none", "level_iters": [2], "force": True}
    register(paths[0], paths[1:], out, **options)
    assert (out / "inverse.nii.gz").read_bytes() == b"of another program"


@pytest.mark.parametrize("several", [False, True])
def test_no_page_of_earlier_results_stays(several, sevens, write, tmp_path):
    paths = [write(f"{i}.nii.gz", sevens[i][..., None]) for i in range(3)]
    pairs = paths[0], paths[1 : 3 if several else 2], tmp_path / "out"
    options = {"prealign": "none", "level_iters": [2], "force": True}
    (tmp_path / "out").mkdir()
    pages = ["0_1__report.html", "0_2__report.html", "cohort.html"]
    pages = pages if several else ["report.html"]
    for name in pages:
        (tmp_path / "out" / name).write_text("of another program")
    assert set(pages) < register(*pairs, **options)
    assert set(pages) < register(*pairs, no_report=False, **options)
    results = register(*pairs, **options)
    assert not [name for name in results if name.endswith(".html")]


def test_files_are_not_compressed_where_their_names_say_so(sevens, write, tmp_path):
    paths = [write(f"{i}.nii.gz", sevens[i][..., None]) for i in range(2)]
    names = {f"out_{name}": f"{name}.nii" for name in ("warped", "field", "inverse")}
    options = {"prealign": "none", "level_iters": [2], "inverse": True}
    result = register(paths[0], paths[1:], tmp_path / "out", **options, **names)
    assert result == {*names.values(), "metrics.csv"}
    for name in names.values():  # a NIfTI header begins with its length
        assert (tmp_path / "out" / name).read_bytes()[:4] == (348).to_bytes(4, "little")
    warped = nib.load(tmp_path / "out" / "warped.nii").get_fdata()
    mapping = load_mapping(tmp_path / "out" / "field.nii")
    npt.assert_allclose(mapping.transform(sevens[1][..., None]), warped, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("slices", [2, 3])
def test_stacks_of_few_thick_slices_do_not_get_worse(slices, crops, write, tmp_path):
    middle = slice(5, 5 + 2 * slices, 2)
    affine = np.diag([2.0, 2, 6, 1])
    paths = [write(f"{i}.nii.gz", crops[i][:, :, middle], affine) for i in range(2)]
    register(paths[0], paths[1:], tmp_path / "out", level_iters=FEW)
    (row,) = read_rows(tmp_path / "out" / "metrics.csv")
    assert nib.load(tmp_path / "out" / "warped.nii.gz").shape[2] == slices
    assert float(row["ncc_after"]) >= float(row["ncc_headers"])


def test_an_interruption_leaves_no_outputs(brains, tmp_path, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(one_pair, "best_sound_parts", interrupt)
    with pytest.raises(KeyboardInterrupt):
        register(brains[0], brains[1:2], tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"field_format": "elastix"}, "field_format.*'elastix'"),
        ({"voxel_size": -1.0}, "voxel_size"),
        ({"prealign": "nothing.txt"}, "nothing.txt"),
        ({"model_file": "nothing.keras"}, "nothing.keras"),
        ({"out_warped": "warped.png"}, "warped.png"),
        ({"out_inverse": "back.nii.gz"}, "--inverse.*back.nii.gz"),
        ({"loss": "dice"}, "loss"),
        ({"moving_labels": "moving"}, "moving_labels alone"),
        ({"static_orientations": "moving"}, "static_orientations alone"),
        (
            {"orientation_weight": 1.0},
            "moving_orientations and static_orientations.*=1.0 alone",
        ),
        (
            {"sh_basis": "tournier07"},
            "moving_orientations and static_orientations.*sh_basis='tournier07' alone",
        ),
        ({"moving_channels": ["moving"]}, "moving_channels alone"),
        ({"channel_losses": ["ncc", "mi"]}, "channel_losses for each of 1 images"),
        ({"channel_weights": [0.0]}, "each of channel_weights"),
        ({"loss": "ncc", "channel_losses": ["mi"]}, "loss or channel_losses"),
        (
            {"moving_channels": ["nothing.nii"], "static_channels": ["nothing.nii"]},
            "nothing.nii",
        ),
        (
            {
                "moving_orientations": "moving",
                "static_orientations": "moving",
                "orientation_kind": "sh",
            },
            "sh_basis",
        ),
        ({"mask_file": "moving", "several": True}, "one pair of images with .*mask"),
    ],
)
def test_invalid_input_is_refused_and_nothing_is_written(
    options, message, brains, write, tmp_path
):
    several = options.pop("several", False)
    labels = write("labels.nii.gz", np.ones(nib.load(brains[1]).shape, np.uint8))

    def named(value):
        if isinstance(value, list):
            return [named(one) for one in value]
        return str(labels) if value == "moving" else value

    options = {name: named(value) for name, value in options.items()}
    moving = brains[1:3] if several else brains[1:2]
    with pytest.raises((ValueError, OSError), match=message):
        register(brains[0], moving, tmp_path / "out", **options)
    assert not list((tmp_path / "out").glob("*"))


def test_a_series_and_an_empty_image_are_refused(brains, write, tmp_path):
    series = write("series.nii.gz", np.random.default_rng(0).random((9, 9, 9, 4)))
    empty = write("empty.nii.gz", np.zeros((9, 9, 9)))
    for path, message in ((series, "2 or 3 axes"), (empty, "with contrast")):
        with pytest.raises(ValueError, match=message):
            register(brains[0], [path], tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["mm", pytest.param("micron", marks=pytest.mark.slow)])
def test_masks_and_labels_are_placed_by_their_own_headers(
    unit, brains, write, tmp_path
):
    """Stored in another order or unit, masks and labels give the same field."""
    images = [nib.load(path) for path in brains[:2]]
    annotations = {
        "mask_file": np.arange(images[0].shape[0])[:, None, None] < 7,
        "static_labels": images[0].get_fdata() > 0.4,
        "moving_labels": images[1].get_fdata() > 0.4,
    }
    annotations["mask_file"] = np.broadcast_to(
        annotations["mask_file"], images[0].shape
    )
    fields = []
    for turned in (False, True):
        paths = {}
        for name, values in annotations.items():
            image = nib.Nifti1Image(values.astype(np.uint8), images[0].affine)
            if turned:
                image = image.as_reoriented([[1, -1], [2, 1], [0, -1]])
                size = 1000 if unit == "micron" else 1
                affine = np.diag([size, size, size, 1]) @ image.affine
                image = nib.Nifti1Image(np.asarray(image.dataobj), affine)
                image.header.set_xyzt_units(unit)
            paths[name] = str(tmp_path / f"{turned}_{name}.nii.gz")
            nib.save(image, paths[name])
        register(
            brains[0],
            brains[1:2],
            tmp_path / f"out_{turned}",
            prealign="none",
            level_iters=FEW,
            **paths,
        )
        fields.append(nib.load(tmp_path / f"out_{turned}" / "field.nii.gz").get_fdata())
    assert np.abs(fields[0]).max() > 0.1
    npt.assert_array_equal(*fields)


@pytest.mark.parametrize("shift", [0, 1000])
@pytest.mark.parametrize("name", ["mask_file", "moving_labels"])
def test_masks_and_labels_without_values_on_the_image_are_refused(
    name, shift, brains, write, tmp_path
):
    values = np.full(nib.load(brains[0]).shape, shift > 0, np.uint8)
    affine = np.diag([2.0, 2, 2, 1])
    affine[0, 3] = shift
    path = str(write("annotation.nii.gz", values, affine))
    options = {name: path}
    if name == "moving_labels":
        options["static_labels"] = path
    with pytest.raises(ValueError, match="annotation.nii.gz"):
        register(brains[0], brains[1:2], tmp_path / "out", **options)
    assert not list((tmp_path / "out").glob("*"))
