import json

import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import affine_transform

from dipy_nn_reg.data.distortions import distort, make_distortion
from dipy_nn_reg.data.fibres import make_fibres
from dipy_nn_reg.diffusion.correction import correct_distortion
from dipy_nn_reg.diffusion.distortion import estimate_distortion
from dipy_nn_reg.workflows.undistort import UndistortFlow

SHAPE = 26, 30, 9
AFFINE = np.diag([-2.0, 2, 3, 1])


@pytest.fixture
def images(rng):
    """A stack of blobs, its field along the second axis, and both distorted images."""
    place = np.moveaxis(np.indices(SHAPE), 0, -1) - (np.array(SHAPE) - 1) / 2
    radius = np.linalg.norm(place / (10, 11, 6), axis=-1)
    image = np.float32((1.5 + np.sin(place[..., 1])) / (1 + np.exp(20 * (radius - 1))))
    field = make_distortion(SHAPE, largest=2, seed=0)
    return field, *(distort(image, field, axis=1, sign=s) for s in (1, -1))


@pytest.fixture
def pair(images, write):
    _, up, down = images
    # Volumes whose mean is the image.
    series = up[..., None] * np.float32([0.5, 1.5])
    return write("up.nii.gz", series, AFFINE), write("down.nii.gz", down, AFFINE)


@pytest.fixture
def describe():
    """Return a writer of the sidecar of an image."""

    def write(path, direction="j", **content):
        if direction is not None:
            content["PhaseEncodingDirection"] = direction
        sidecar = path.with_name(path.name.replace(".nii.gz", ".json"))
        sidecar.write_text(json.dumps(content))
        return sidecar

    return write


def undistort(pair, tmp_path, series=None, **options):
    flow = UndistortFlow()
    series = series and [str(path) for path in series]
    flow.run(*map(str, pair), series, out_dir=str(tmp_path / "out"), **options)
    return tmp_path / "out"


def read(path):
    return nib.load(path).get_fdata(dtype=np.float32)


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_direction_of_series_needs_series(pair, tmp_path):
    with pytest.raises(ValueError, match="series_files with series_dir.*'i' alone"):
        undistort(pair, tmp_path, direction="j", series_direction="i")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("direction", ["j", "j-"])
def test_the_field_is_that_of_the_direction_without_a_minus(
    direction, images, pair, tmp_path
):
    field, up, down = images
    pair = pair if direction == "j" else pair[::-1]
    out = undistort(pair, tmp_path, direction=direction)
    assert names(out) == {"fieldmap.nii.gz", "undistorted.nii.gz"}
    found = read(out / "fieldmap.nii.gz")
    npt.assert_allclose(found, estimate_distortion(up, down, axis=1), atol=2e-3)
    weights = up + down
    assert np.average(np.abs(found - field), weights=weights) < 0.1
    assert np.average(np.abs(field), weights=weights) > 0.4
    ours = [
        correct_distortion(image, found, axis=1, sign=sign)
        for image, sign in ((up, 1), (down, -1))
    ]
    npt.assert_allclose(read(out / "undistorted.nii.gz"), sum(ours) / 2, atol=1e-5)
    npt.assert_allclose(nib.load(out / "fieldmap.nii.gz").affine, AFFINE)


def test_sidecars_say_direction_and_readout(pair, describe, tmp_path):
    describe(pair[0], "j-", TotalReadoutTime=0.04)
    describe(pair[1], "j", TotalReadoutTime=0.04)
    out = undistort(pair, tmp_path)
    hertz, field = read(out / "fieldmap_hz.nii.gz"), read(out / "fieldmap.nii.gz")
    npt.assert_allclose(hertz, field / 0.04, rtol=1e-5)
    # As exchanged images have it, whatever their sidecars say.
    options = {"direction": "j", "out_dir": str(tmp_path / "other")}
    UndistortFlow().run(*map(str, pair), None, **options)
    other = read(tmp_path / "other" / "fieldmap.nii.gz")
    npt.assert_allclose(field, -other, atol=2e-3)
    assert np.abs(field).max() > 1


def test_sidecars_may_have_other_names(pair, describe, tmp_path):
    paths = [describe(path, d) for path, d in zip(pair, ("j", "j-"))]
    moved = [p.rename(tmp_path / f"{i}.json") for i, p in enumerate(paths)]
    out = undistort(pair, tmp_path, up_json=str(moved[0]), down_json=str(moved[1]))
    assert "fieldmap_hz.nii.gz" not in names(out)


def test_a_fieldmap_in_hertz_of_an_earlier_run_is_removed(pair, describe, tmp_path):
    for path, direction in zip(pair, ("j", "j-")):
        describe(path, direction, TotalReadoutTime=0.04)
    assert "fieldmap_hz.nii.gz" in names(undistort(pair, tmp_path))
    for path in pair:
        path.with_name(path.name.replace(".nii.gz", ".json")).unlink()
    flow = UndistortFlow(force=True)
    options = {"direction": "j", "out_dir": str(tmp_path / "out")}
    flow.run(*map(str, pair), None, **options)
    assert names(tmp_path / "out") == {"fieldmap.nii.gz", "undistorted.nii.gz"}


def test_each_series_is_corrected_by_its_own_sign(
    images, pair, write, describe, tmp_path
):
    _, up, down = images
    signs = {"same": up, "other": down, "told": down}
    volumes = {name: np.stack([image, 2 * image], -1) for name, image in signs.items()}
    paths = {name: write(f"{name}.nii.gz", v, AFFINE) for name, v in volumes.items()}
    describe(paths["other"], "j-")
    series = [paths["same"], paths["other"]]
    out = undistort(pair, tmp_path, series, direction="j")
    field = read(out / "fieldmap.nii.gz")
    for name, sign in (("same", 1), ("other", -1)):
        expected = correct_distortion(volumes[name], field, axis=1, sign=sign)
        found = nib.load(out / f"{name}__undistorted.nii.gz")
        npt.assert_allclose(found.get_fdata(), expected, atol=1e-5)
        assert found.get_data_dtype() == np.float32
    flow = UndistortFlow(force=True)
    options = {"direction": "j", "series_direction": "j-", "out_dir": str(out)}
    flow.run(*map(str, pair), [str(paths["told"])], **options)
    expected = correct_distortion(volumes["told"], field, axis=1, sign=-1)
    npt.assert_allclose(read(out / "told__undistorted.nii.gz"), expected, atol=1e-5)


@pytest.mark.parametrize("direction", ["j", "j-"])
def test_the_motion_of_the_second_image_is_undone(
    direction, images, write, dipy_log, tmp_path
):
    """The second image and its series are two voxels off, across the axis."""
    _, up, down = images
    pair = [up, down] if direction == "j" else [down, up]
    pair[1] = np.roll(pair[1], 2, 0)
    paths = [write(f"{i}.nii.gz", image, AFFINE) for i, image in enumerate(pair)]
    opposite = "j-" if direction == "j" else "j"
    options = {"direction": direction, "series_direction": opposite}
    out = undistort(paths, tmp_path, [paths[1]], motion=True, **options)
    flow, still = UndistortFlow(), tmp_path / "still"
    options = {"direction": "j", "out_dir": str(still)}
    paths = [write(f"s{i}.nii.gz", image, AFFINE) for i, image in enumerate((up, down))]
    flow.run(*map(str, paths), None, **options)
    weights = up + down
    for name in ("fieldmap.nii.gz", "undistorted.nii.gz"):
        one, other = read(out / name), read(still / name)
        assert np.average(np.abs(one - other), weights=weights) < 0.1
    series = read(out / "1__undistorted.nii.gz")
    difference = np.abs(series - read(out / "undistorted.nii.gz")).mean()
    assert difference < 0.1 * np.abs(pair[0] - pair[1]).mean()
    text = dipy_log.text
    shift = float(text.split("moved by ")[1].split(" mm")[0])
    assert abs(shift - 4) < 0.3


def turn_of(degrees, axis):
    """Return the rotation about an axis of the array, in closed form."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    planes = [
        [[1, 0, 0], [0, c, -s], [0, s, c]],
        [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    ]
    return np.array(planes[axis])


def write_bvecs(path, rng, volumes=4):
    """Write b-vectors beside a series, the first one of 0, and return them."""
    vectors = rng.normal(size=(volumes, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[0] = 0
    np.savetxt(
        str(path).removesuffix(".nii.gz").removesuffix(".bvec") + ".bvec", vectors.T
    )
    return vectors


@pytest.mark.parametrize("first_to_right", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_bvecs_turn_with_the_series_that_the_motion_moves(
    axis, first_to_right, images, write, rng, monkeypatch, tmp_path
):
    """A motion that is known takes the place of the one that is estimated.

    The head turned by R before the second image, so that a gradient g of its series
    lies along inv(R) g in the first one. Voxels have three sizes.
    """
    field, up, down = images
    sizes = np.array([2.0, 2.5, 3])
    affine = np.diag([*sizes, 1]) if first_to_right else np.diag([-2, 2.5, 3, 1])
    turn, motion = turn_of(5, axis), np.eye(4)
    motion[:3, :3] = turn * sizes / sizes[:, None]
    monkeypatch.setattr(
        "dipy_nn_reg.workflows.undistort.estimate_distortion_and_motion",
        lambda *_, **__: (field, motion),
    )
    pair = [write(f"{i}.nii.gz", image, affine) for i, image in enumerate((up, down))]
    series = [
        write(f"{n}.nii.gz", np.stack([i] * 4, -1), affine)
        for n, i in (("same", up), ("other", down))
    ]
    vectors = [write_bvecs(path, rng) for path in series]
    directions = {"direction": "j", "series_direction": "j-"}
    out = undistort(pair, tmp_path, series[1:], motion=True, **directions)
    # FSL counts the first axis from the other side if the determinant is positive.
    flip = np.array([-1 if first_to_right else 1, 1, 1])
    expected = (turn.T @ (vectors[1] * flip).T).T * flip
    npt.assert_allclose(
        np.loadtxt(out / "other__undistorted.bvec").T, expected, atol=1e-6
    )
    out = undistort(pair, tmp_path / "same", series[:1], motion=True, direction="j")
    found = np.loadtxt(out / "same__undistorted.bvec").T
    npt.assert_allclose(found, vectors[0], atol=1e-6)


def test_bvecs_turn_by_the_motion_that_is_found(write, rng, dipy_log, tmp_path):
    """The head turns by 5 degrees about the axis of the phase encoding."""
    shape = 32, 36, 24
    field, (b0, *_) = (
        make_distortion(shape, largest=2, seed=0),
        make_fibres(shape=shape),
    )
    up, down = (distort(b0, field, axis=1, sign=sign) for sign in (1, -1))
    sizes, turn = np.abs(np.diag(AFFINE))[:3], turn_of(5, 1)
    # The moved image at x shows what was at inv(R) x, about the middle.
    back = turn.T * sizes / sizes[:, None]
    middle = (np.array(shape) - 1) / 2
    turned = affine_transform(down, back, middle - back @ middle, order=1)
    pair = [write("up.nii.gz", up, AFFINE), write("down.nii.gz", turned, AFFINE)]
    path = write("dwi.nii.gz", np.stack([turned] * 4, -1), AFFINE)
    vectors = write_bvecs(path, rng)
    options = {"direction": "j", "series_direction": "j-", "motion": True}
    out = undistort(pair, tmp_path, [path], **options)
    found = np.loadtxt(out / "dwi__undistorted.bvec").T
    error = np.linalg.norm(found - vectors @ turn, axis=1).max()
    assert error < 0.25 * np.linalg.norm(vectors - vectors @ turn, axis=1).max()
    assert "was turned" not in dipy_log.text


def test_a_series_without_bvecs_is_turned_with_a_warning(
    images, pair, write, dipy_log, tmp_path
):
    path = write("dwi.nii.gz", np.stack([images[2]] * 2, -1), AFFINE)
    options = {"direction": "j", "series_direction": "j-", "motion": True}
    out = undistort(pair, tmp_path, [path], **options)
    assert not list(out.glob("*.bvec"))
    assert "dwi.nii.gz was turned" in dipy_log.text


def test_bvecs_of_elsewhere_go_to_their_series(pair, write, rng, tmp_path):
    """One is 3D, with a single vector; without motion, none turns."""
    data = np.ones((*SHAPE, 4), np.float32)
    series = [write(f"{i}.nii.gz", data[..., :n], AFFINE) for i, n in enumerate((4, 2))]
    series.append(write("2.nii.gz", data[..., 0], AFFINE))
    paths = [tmp_path / f"of_{i}.bvec" for i in range(3)]
    vectors = [write_bvecs(path, rng, n) for path, n in zip(paths, (4, 2, 1))]
    options = {"direction": "j", "bvecs": [str(path) for path in paths]}
    out = undistort(pair, tmp_path, series, out_bvecs="of.bvec", **options)
    for i, expected in enumerate(vectors):
        found = np.loadtxt(out / f"{i}__of.bvec", ndmin=2).T
        npt.assert_allclose(found.reshape(expected.shape), expected, atol=1e-7)


def test_bvecs_of_an_earlier_run_are_removed(pair, rng, tmp_path):
    write_bvecs(pair[0], rng, 2)
    out = undistort(pair, tmp_path, [pair[0]], direction="j")
    assert (out / "up__undistorted.bvec").exists()
    (pair[0].parent / "up.bvec").unlink()
    flow = UndistortFlow(force=True)
    options = {"direction": "j", "out_dir": str(out)}
    flow.run(*map(str, pair), [str(pair[0])], **options)
    assert not (out / "up__undistorted.bvec").exists()


@pytest.mark.parametrize(
    ("series", "bvecs", "message"),
    [
        (1, "1 2\n1 2\n", "three rows or columns.*a.bvec"),
        (1, "1 2 3\n1 2 3\n1 2 3\n", "each volume of .*up.nii.gz.*3 in .*a.bvec"),
        (1, "1 nan\n1 2\n1 2\n", "finite b-vectors.*a.bvec"),
        (1, "0 1.3\n0 0\n0 0\n", "length 1 .*in .*a.bvec.*1.3 for volume 1"),
        (0, "1 2\n1 2\n1 2\n", "for each of series_files. Received 1 for 0"),
        (2, "1 2\n1 2\n1 2\n", "for each of series_files. Received 1 for 2"),
    ],
)
def test_bvecs_that_do_not_fit_are_refused(series, bvecs, message, pair, tmp_path):
    (tmp_path / "a.bvec").write_text(bvecs)
    options = {"direction": "j", "bvecs": str(tmp_path / "a.bvec")}
    with pytest.raises(ValueError, match=message) as caught:
        undistort(pair, tmp_path, [pair[0], pair[1]][:series], **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("direction", ["j", "j-"])
def test_an_undistorted_image_serves_in_place_of_a_pair(
    direction, images, write, tmp_path
):
    field, up, down = images
    distorted = up if direction == "j" else down
    true = (
        correct_distortion(up, field, axis=1)
        + correct_distortion(down, field, axis=1, sign=-1)
    ) / 2
    inside = true > 0.5
    reference = np.float32(np.where(inside, 4 - true, 0))
    pair = [
        write("up.nii.gz", distorted, AFFINE),
        write("t1.nii.gz", reference, AFFINE),
    ]
    out = undistort(pair, tmp_path, direction=direction, structural=True)
    errors = np.abs(read(out / "fieldmap.nii.gz") - field)[inside]
    assert errors.mean() < 0.6 * np.abs(field)[inside].mean()
    found = read(out / "undistorted.nii.gz")
    left = np.abs(found - true)[inside].mean()
    assert left < 0.6 * np.abs(distorted - true)[inside].mean()


@pytest.mark.parametrize("options", [{"motion": True}, {"down_json": "x.json"}])
def test_options_of_pairs_are_refused_without_a_pair(options, pair, tmp_path):
    with pytest.raises(ValueError, match="neither motion nor down_json"):
        undistort(pair, tmp_path, direction="j", structural=True, **options)


def test_one_file_given_twice_is_refused(pair, tmp_path):
    with pytest.raises(ValueError, match="two images. Received .*up.nii.gz twice"):
        undistort([pair[0]] * 2, tmp_path, direction="j")


def test_series_keep_their_time_step(pair, tmp_path):
    series = nib.load(pair[0])
    image = nib.Nifti1Image(series.get_fdata(dtype=np.float32), AFFINE)
    image.header.set_zooms((2, 2, 3, 1.7))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "dwi.nii.gz")
    out = undistort(pair, tmp_path, [tmp_path / "dwi.nii.gz"], direction="j")
    header = nib.load(out / "dwi__undistorted.nii.gz").header
    npt.assert_allclose(header.get_zooms(), (2, 2, 3, 1.7), rtol=1e-6)
    assert nib.load(out / "fieldmap.nii.gz").shape == SHAPE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": "y"}, r"'i', 'i-'.*Received 'y'"),
        ({"direction": "j", "series_direction": "i"}, "along axis 1.*axis 0 of"),
        ({"direction": "j", "up_json": "up.json"}, "direction or sidecars.*'up.json'"),
        ({"direction": "j", "down_json": "d.json"}, "direction or sidecars.*'d.json'"),
        ({"direction": "j", "smoothness": 0.0}, "smoothness"),
        ({"direction": "j", "out_hz": "hz.png"}, "ends with.*hz.png"),
        ({}, r"sidecar.*no file .*up.json"),
        ({"up_json": "none.json"}, r"sidecar.*no file 'none.json'"),
    ],
)
def test_invalid_options_are_refused_before_anything_is_written(
    options, message, pair, tmp_path
):
    with pytest.raises(ValueError, match=message) as caught:
        undistort(pair, tmp_path, [pair[0]], **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("up", "down", "message"),
    [
        ({}, {}, r"opposite phase encodings.*sign 1 of .*up.nii.gz.*sign 1 of"),
        ({}, {"direction": "i-"}, "opposite phase encodings along one axis"),
        ({}, {"direction": None}, "PhaseEncodingDirection in .*down.json"),
        (
            {"TotalReadoutTime": 0.04},
            {"direction": "j-", "TotalReadoutTime": 0.05},
            r"readout time of 0.04 s.*0.05 s of .*down.nii.gz",
        ),
    ],
)
def test_sidecars_that_do_not_fit_are_refused(
    up, down, message, pair, describe, tmp_path
):
    describe(pair[0], **up)
    describe(pair[1], **down)
    with pytest.raises(ValueError, match=message):
        undistort(pair, tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("which", ["down", "series"])
def test_readout_times_are_compared_beside_a_direction(
    which, pair, images, write, describe, tmp_path
):
    """A displacement grows with the readout time, whoever names the direction."""
    describe(pair[0], None, TotalReadoutTime=0.05)
    series = write("series.nii.gz", images[1], AFFINE)
    describe(pair[1] if which == "down" else series, None, TotalReadoutTime=0.1)
    with pytest.raises(ValueError, match=r"readout time of 0.05 s.*0.1 s of"):
        undistort(pair, tmp_path, [series], direction="j", series_direction="j")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["shape", "place"])
@pytest.mark.parametrize("which", ["down", "series"])
def test_images_of_another_grid_are_refused(which, what, pair, write, tmp_path):
    affine = AFFINE.copy()
    affine[0, 3] = 5 if what == "place" else 0
    shape = SHAPE if what == "place" else (26, 31, 9)
    other = write("other.nii.gz", np.ones(shape, np.float32), affine)
    series = [other] if which == "series" else None
    pair = (pair[0], other) if which == "down" else pair
    message = "other.nii.gz' of shape .*" + ("elsewhere" if what == "place" else "31")
    with pytest.raises(ValueError, match=message):
        undistort(pair, tmp_path, series, direction="j")
    assert not (tmp_path / "out").exists()


def test_a_failure_leaves_no_file(pair, write, tmp_path):
    """The second series is damaged, which is seen when all else is done."""
    series = write("dwi.nii.gz", np.ones((*SHAPE, 2), np.float32), AFFINE)
    damaged = tmp_path / "in" / "damaged.nii.gz"
    content = bytearray(series.read_bytes())
    content[-6] ^= 1  # in the checksum
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        undistort(pair, tmp_path, [series, damaged], direction="j")
    assert names(tmp_path / "out") == set()


def test_the_command_runs(pair, run_command, tmp_path):
    options = ["--direction", "j", "--out_dir", tmp_path / "out"]
    done = run_command("dipy_nn_reg_undistort", *pair, *options)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "out") == {"fieldmap.nii.gz", "undistorted.nii.gz"}
    done = run_command("dipy_nn_reg_undistort", *pair, "--direction", "q")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_series_in_place_of_a_pair_is_refused(pair, tmp_path):
    pair[0].with_name("up.bval").write_text("0 1000 1000")
    with pytest.raises(ValueError, match="without weighting.*up.nii.gz.*up.bval"):
        UndistortFlow().run(*map(str, pair), direction="j", out_dir=str(tmp_path / "o"))
    pair[0].with_name("up.bval").write_text("0 5")
    UndistortFlow().run(*map(str, pair), direction="j", out_dir=str(tmp_path / "o"))
