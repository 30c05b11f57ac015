"""Forged, damaged and absurd model files."""

import base64
import json
import marshal
import os
from pathlib import Path
import resource
import zipfile

import h5py
import keras
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import AffineRegistration, DeformableRegistration
from dipy_nn_reg.training import model_files
from dipy_nn_reg.training.model_files import CONFIG, METADATA, WEIGHTS


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Return the members of the file of a model, by name."""
    path = tmp_path_factory.mktemp("model") / "model.keras"
    DeformableRegistration(input_shape=(16, 16), network="voxelmorph1").save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def forge(parts, tmp_path):
    """Return a writer of the model's file, with other options or members."""

    def write(options=None, *, compression=zipfile.ZIP_STORED, **members):
        config = json.loads(parts[CONFIG])
        config["config"] |= options or {}
        members = {CONFIG: json.dumps(config), **members}
        path = tmp_path / "forged.keras"
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in (parts | members).items():
                archive.writestr(name, content)
        return path

    return write


def assert_refused(path, message="", error=ValueError):
    with pytest.raises(error, match=f"Expected .*{message}") as raised:
        DeformableRegistration.load(path)
    assert len(str(raised.value)) < 1500


def test_unchanged_file_loads(forge):
    DeformableRegistration.load(forge())
    DeformableRegistration.load(forge(compression=zipfile.ZIP_DEFLATED))


def function(module, name, registered="function"):
    return {
        "module": module,
        "class_name": "function",
        "config": name,
        "registered_name": registered,
    }


def run_shell(*_):
    os.system("touch ran")


def marshalled():
    code = base64.b64encode(marshal.dumps(run_shell.__code__)).decode()
    return {"class_name": "__lambda__", "config": {"value": [code, None, None]}}


def network_of(operation):
    """Return the configuration of a network with an operation in it."""
    images = keras.Input((None, None, 2), name="images")
    field = keras.layers.Conv2D(2, 1, name="last")(images)
    config = keras.saving.serialize_keras_object(keras.Model(images, field))
    last = config["config"]["layers"][-1]
    for key, value in operation.items():
        last[key] = value
    return config


LAMBDA = {
    "module": "keras.layers",
    "class_name": "Lambda",
    "registered_name": None,
    "config": {"name": "last", "function": marshalled(), "trainable": True},
}
HOSTILE = [
    function("os", "system"),
    function("posix", "system"),
    function("subprocess", "run"),
    function("builtins", "eval"),
    function("builtins", "exec"),
    function("keras.utils", "get_file"),
    function("keras.saving", "load_model"),
    function("keras.config", "enable_unsafe_deserialization"),
    function("keras.src.utils.python_utils", "func_load"),
    marshalled(),
]
TOUCH = {"args": ["touch ran"], "kwargs": {}}


@pytest.mark.parametrize("option", ["loss", "penalty", "network", "affine"])
def test_no_function_that_a_file_names_is_run(option, forge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for choice in HOSTILE:
        partial = {"partial": choice, "options": {"command": "touch ran"}}
        for config in (choice, partial):
            assert_refused(forge({option: config}), "written by")
    assert not Path("ran").exists()


def test_no_layer_runs_a_function_that_it_names(forge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    operations = [
        {**choice, "inbound_nodes": [TOUCH], "name": "last"} for choice in HOSTILE
    ]
    for operation in [LAMBDA, *operations]:
        assert_refused(forge({"network": network_of(operation)}), "written by")
    assert not Path("ran").exists()
    assert not keras.config.is_nnx_enabled()


def test_compilation_of_a_file_runs_nothing(parts, forge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("loss", "metrics", "optimizer"):
        for choice in (*HOSTILE, None):
            config = json.loads(parts[CONFIG])
            if (name, choice) in (("loss", None), ("metrics", None)):
                continue
            config["compile_config"][name] = choice
            assert_refused(forge(**{CONFIG: json.dumps(config)}), "written by")
    assert not Path("ran").exists()


@pytest.mark.parametrize("registered", ["Warp", "RescaleIntensity"])
def test_registered_layer_is_no_loss(registered, forge):
    layer = {
        "module": "dipy_nn_reg.transform.layers",
        "class_name": registered,
        "config": {},
        "registered_name": f"dipy_nn_reg>{registered}",
    }
    for option in ("loss", "penalty"):
        assert_refused(forge({option: layer}), "written by")
    assert_refused(forge({"loss": function("keras.ops", "map")}), "registered")


@pytest.mark.parametrize(
    "options",
    [
        {"loss": -1},
        {"loss": None},
        {"loss": "ssim"},
        {"loss": ["ncc"]},
        {"penalty": "x"},
        {"penalty": {"gradient": -1}},
        {"smoothness": "x"},
        {"smoothness": None},
        {"smoothness": 1e400},
        {"field_stride": -1},
        {"field_stride": None},
        {"field_stride": 3},
        {"label_weight": None},
        {"landmark_weight": "1"},
        {"num_channels": 0},
        {"num_channels": 2.5},
        {"num_channels": 3_000_000},
        {"num_channels": 4000},
        {"input_shape": [10**6] * 3},
        {"input_shape": [16]},
        {"input_shape": 16},
        {"input_shape": ["16", 16]},
        {"network": "resnet"},
        {"network": None},
        {"transform": "rigid"},
        {"transform": "affine"},
        {"transform": "tps"},
        {"spacing": 0},
        {"spacing": 2},
        {"passes": 10**9},
        {"passes": 0},
        {"learning_rate": -1},
        {"learning_rate": "fast"},
        {"precision": "float8"},
        {"seed": -1},
        {"seed": "0"},
        {"affine": "model"},
        {"affine": {}},
        {"name": ["a"]},
        {"state": {"random": 3}},
        {"state": []},
        {"unknown": 1},
    ],
    ids=str,
)
def test_options_of_the_wrong_kind_or_size_are_refused(options, forge):
    assert_refused(forge(options), "written by")


def test_seeds_of_another_network_are_refused(parts, forge):
    config = json.loads(parts[CONFIG])["config"]
    for seeds in ([[1, 2]], 3, {}):
        assert_refused(forge({"state": config["state"] | {"seeds": seeds}}), "seeds")


def test_missing_option_is_refused(parts, forge):
    config = json.loads(parts[CONFIG])
    del config["config"]["transform"]
    assert_refused(forge(**{CONFIG: json.dumps(config)}), "transform")


def test_network_larger_than_its_weights_is_not_built(forge):
    images = keras.Input((None, None, 2))
    wide = keras.layers.Conv2D(5, 1, name="wide")(images)
    model = keras.Model(images, keras.layers.Conv2D(2, 1, name="last")(wide))
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    _, wide, last = config["config"]["layers"]
    wide["config"]["filters"] = 500_000_000  # 4 GB
    del last["build_config"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert_refused(forge({"network": config}), "asks for a network of .* weights")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300 * 1024  # KiB
    # It is not built later, either.
    AffineRegistration(input_shape=(16, 16), network="voxelmorph1")


def test_endless_configuration_is_not_read(forge):
    deflated = {"compression": zipfile.ZIP_DEFLATED}
    assert_refused(forge(**deflated, **{METADATA: b" " * 2**25}), "larger than")
    assert_refused(forge(**deflated, **{CONFIG: b" " * 2**25}), "larger than")
    assert_refused(forge(**{CONFIG: b"[" * 10**5}), "cannot be read|no model")
    assert_refused(forge(**{CONFIG: b"\xff{"}), "cannot be read")
    assert_refused(forge(**{CONFIG: b"[]"}), "no model")


def test_highly_compressed_weights_are_not_unpacked(forge):
    air = {WEIGHTS: bytes(200 * 2**20)}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert_refused(forge(compression=zipfile.ZIP_DEFLATED, **air), "GiB of memory")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300 * 1024  # KiB, of which the test itself takes 200 MiB


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "assets/../../out", "run.py"])
def test_other_members_are_refused(name, forge, tmp_path):
    assert_refused(forge(**{name: b"x"}), "expected config.json")
    assert not (tmp_path.parent / "out").exists()


def test_linked_and_empty_arrays_are_refused(parts, forge, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(64))

    def external(file):
        where = [(str(tmp_path / "secret"), 0, 64)]
        file.create_dataset("layers/a", (16,), "f4", external=where)

    def linked(file):
        file["layers/a"] = h5py.ExternalLink(tmp_path / "secret", "/")

    def soft(file):
        file["layers/a"] = h5py.SoftLink("/layers")

    def empty(file):
        file.create_dataset("layers/a", (10**6, 10**6), "f4", chunks=(1000, 1000))

    def text(file):
        file["optimizer/a"] = "text"

    def cyclic(file):
        file["layers/a"] = file["layers"]
        file["layers/conv2d/a"] = file["layers"]
        text(file)

    for forgery in (external, linked, soft, empty, text, cyclic):
        (tmp_path / "a.h5").write_bytes(parts[WEIGHTS])
        with h5py.File(tmp_path / "a.h5", "a") as file:
            forgery(file)
        content = (tmp_path / "a.h5").read_bytes()
        assert_refused(forge(**{WEIGHTS: content}), "a' in its weights")


def test_damaged_files_are_refused(parts, forge, tmp_path):
    path = tmp_path / "damaged.keras"
    path.write_text("no zip")
    assert_refused(path, "no zip archive")
    whole = forge().read_bytes()
    path.write_bytes(whole[:-100])
    assert_refused(path, "no zip archive")
    middle = bytearray(whole)
    middle[len(whole) // 2] ^= 255
    path.write_bytes(middle)
    assert_refused(path, "damaged")
    assert_refused(forge(**{WEIGHTS: parts[WEIGHTS][:-5000]}), "weights")
    assert_refused(forge(**{WEIGHTS: b"text"}), "weights cannot be read")


def test_weights_that_are_not_finite_are_refused(parts, forge, tmp_path):
    (tmp_path / "a.h5").write_bytes(parts[WEIGHTS])
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["layers/conv2d_1/vars/0"][0] = np.nan
    content = (tmp_path / "a.h5").read_bytes()
    assert_refused(forge(**{WEIGHTS: content}), "finite weights.*diverged")


def test_old_keras_is_refused(forge, monkeypatch):
    monkeypatch.setattr(model_files.keras, "__version__", "3.13.2")
    with pytest.raises(RuntimeError, match=r"Keras 3\.14 or later.*keras 3\.13\.2"):
        DeformableRegistration.load(forge())


def test_invalid_weights_leave_the_model_unchanged(parts, forge, tmp_path):
    registration = DeformableRegistration(input_shape=(16, 16), network="voxelmorph1")
    before = registration.model.get_weights()
    path = tmp_path / "a.weights.h5"
    # Another model with the same first layers.
    other = DeformableRegistration(
        input_shape=(16, 16), network="voxelmorph1", transform="affine"
    )
    other.save_weights(tmp_path / "other.weights.h5")
    contents = [b"", b"text", parts[CONFIG], parts[WEIGHTS][:-5000]]
    contents.append((tmp_path / "other.weights.h5").read_bytes())
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file["layers"] = h5py.ExternalLink(path, "/")
    contents.append((tmp_path / "external.h5").read_bytes())
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"Expected weights.*a\.weights\.h5"):
            registration.load_weights(path)
    with pytest.raises(ValueError, match="name does not end with '.weights.h5'"):
        registration.load_weights(tmp_path / "external.h5")
    with pytest.raises(FileNotFoundError, match="Expected a file"):
        registration.load_weights(tmp_path / "nothing.weights.h5")
    for weights, found in zip(before, registration.model.get_weights(), strict=True):
        npt.assert_array_equal(weights, found)
    # The file of a whole model holds weights as well.
    registration.load_weights(forge())
