import json

import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.diffusion.phase_encoding import (
    parse_direction,
    read_phase_encoding,
    sidecar_of,
    to_hertz,
)

DIRECTION = "PhaseEncodingDirection"


@pytest.fixture
def sidecar(tmp_path):
    """Return a writer of a sidecar with these items."""

    def write(content):
        path = tmp_path / "dwi.json"
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("direction", "axis", "sign"),
    [
        ("i", 0, 1),
        ("i-", 0, -1),
        ("j", 1, 1),
        ("j-", 1, -1),
        ("k", 2, 1),
        ("k-", 2, -1),
    ],
)
def test_directions_are_those_of_bids(direction, axis, sign, sidecar):
    assert parse_direction(direction) == (axis, sign)
    encoding = read_phase_encoding(sidecar({DIRECTION: direction}))
    assert encoding == (axis, sign, None)


@pytest.mark.parametrize(
    ("content", "readout"),
    [
        ({"TotalReadoutTime": 0.05}, 0.05),
        ({"EffectiveEchoSpacing": 0.0005, "ReconMatrixPE": 101}, 0.05),
        (
            {
                "TotalReadoutTime": 0.04,
                "EffectiveEchoSpacing": 0.0005,
                "ReconMatrixPE": 101,
            },
            0.04,
        ),
        ({"EffectiveEchoSpacing": 0.0005}, None),
        ({}, None),
    ],
)
def test_the_readout_time_is_read_or_computed(content, readout, sidecar):
    found = read_phase_encoding(sidecar({DIRECTION: "j", **content})).readout
    assert found == (readout if readout is None else pytest.approx(readout))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "Expected PhaseEncodingDirection in .*dwi.json"),
        ({DIRECTION: "y"}, r"Expected a phase encoding of 'i'.*dwi.json.*Received 'y'"),
        ({DIRECTION: "j+"}, "Received 'j\\+'"),
        ({DIRECTION: 1}, "Received 1"),
        ({DIRECTION: "j", "TotalReadoutTime": 0}, "readout time above 0.*Received 0"),
        ({DIRECTION: "j", "TotalReadoutTime": -0.1}, "readout time above 0"),
        ({DIRECTION: "j", "TotalReadoutTime": 50}, "below 10 s"),
        ({DIRECTION: "j", "TotalReadoutTime": "0.05"}, "TotalReadoutTime to be a num"),
        (
            {DIRECTION: "j", "EffectiveEchoSpacing": 0.1, "ReconMatrixPE": 1},
            "readout time above 0",
        ),
        ("[1]", "Expected an object of JSON"),
        ("{", "Expected JSON in .*dwi.json"),
    ],
)
def test_invalid_sidecars_are_refused_in_one_line(content, message, sidecar):
    with pytest.raises(ValueError, match=message) as caught:
        read_phase_encoding(sidecar(content))
    assert "\n" not in str(caught.value) and "Received" in str(caught.value)


def test_a_missing_sidecar_is_named(tmp_path):
    with pytest.raises(ValueError, match="Expected a sidecar.*no file .*dwi.json"):
        read_phase_encoding(tmp_path / "dwi.json")


@pytest.mark.parametrize("name", ["a.b.nii.gz", "a.b.nii", "a.b.mgz"])
def test_a_sidecar_has_the_name_of_its_image(name, tmp_path):
    assert sidecar_of(tmp_path / name) == tmp_path / "a.b.json"


def test_hertz_are_voxels_in_the_readout_time():
    npt.assert_allclose(to_hertz(np.array([1.0, -2]), 0.05), [20, -40])
