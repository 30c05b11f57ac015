"""Further images of each person are found for people in order, and checked."""

from pathlib import Path

import pytest

from dipy_nn_reg.workflows.channel_files import (
    check_channel_options,
    check_channels_of_model,
    find_channels,
    find_further,
    paths_of,
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Go to a folder with a T1, an FA and an MD of three people, without content."""
    monkeypatch.chdir(tmp_path)
    for person in "abc":
        for kind in ("t1", "fa", "md"):
            Path(f"{person}_{kind}.nii").touch()


def names(paths):
    return [path.name for path in paths]


@pytest.mark.parametrize(
    "paths",
    [
        ["*_fa.nii", "*_md.nii"],
        [f"{person}_{kind}.nii" for kind in ("fa", "md") for person in "abc"],
    ],
)
def test_second_images_of_all_come_before_the_third_ones(paths, folder):
    found = find_further("moving_channels", paths, 3)
    expected = [[f"{person}_fa.nii", f"{person}_md.nii"] for person in "abc"]
    assert list(map(names, found)) == expected


def test_channels_are_found_by_role_and_image(folder):
    images = {
        "static": [Path("a_t1.nii")],
        "moving": [Path("b_t1.nii"), Path("c_t1.nii")],
    }
    further = {"static_channels": ["a_fa.nii"], "moving_channels": ["[bc]_fa.nii"]}
    channels, number = find_channels(images, further)
    assert number == 2
    assert names(channels["static"][Path("a_t1.nii")]) == ["a_fa.nii"]
    assert names(channels["moving"][Path("c_t1.nii")]) == ["c_fa.nii"]
    assert set(names(paths_of(channels))) == {f"{person}_fa.nii" for person in "abc"}
    assert find_channels(images, dict.fromkeys(further)) == (None, 1)
    assert paths_of(None) == []


@pytest.mark.parametrize(
    ("further", "message"),
    [
        ({"static_channels": ["a_fa.nii"]}, "of none. Received static_channels alone"),
        (
            {"static_channels": ["a_fa.nii"], "moving_channels": ["a_fa.nii"]},
            "as many moving_channels as images.*1 and 2",
        ),
        (
            {"static_channels": ["a_fa.nii"], "moving_channels": ["[bc]_[fm]?.nii"]},
            "as many further images of each person.*'static': 1, 'moving': 2",
        ),
        (
            {"static_channels": ["a_fa.nii"], "validation_channels": ["a_fa.nii"]},
            r"all images, \['moving_channels', 'static_channels'\]",
        ),
    ],
)
def test_other_numbers_are_refused(further, message, folder):
    images = {
        "static": [Path("a_t1.nii")],
        "moving": [Path("b_t1.nii"), Path("c_t1.nii")],
    }
    with pytest.raises(ValueError, match=f"^Expected .*{message}"):
        find_channels(images, further)


def test_an_image_has_the_same_further_images_wherever_it_is_named(folder):
    images = {"moving": [Path("a_t1.nii"), Path("a_t1.nii")]}
    with pytest.raises(ValueError, match=r"the same moving_channels .*a_t1.*a_md"):
        find_channels(images, {"moving_channels": ["a_fa.nii", "a_md.nii"]})


def test_missing_files_are_named(folder):
    with pytest.raises(FileNotFoundError, match="d_fa"):
        find_further("moving_channels", ["a_fa.nii", "d_fa.nii"], 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((2, None, ["ncc"], None), "channel_losses for each of 2 images.*'ncc'"),
        ((2, None, None, [1.0]), "channel_weights for each of 2 images"),
        ((2, None, ["ncc", "dice"], None), "loss to be one of.*'dice'"),
        ((2, None, None, [1.0, 0.0]), "each of channel_weights.*0.0"),
        ((2, "mi", ["ncc", "mi"], None), "loss or channel_losses.*'mi' and"),
    ],
)
def test_losses_and_weights_are_checked(options, message):
    check_channel_options(2, "mi", None, [1.0, 2.0])
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        check_channel_options(*options)


def test_a_model_takes_its_number_of_images():
    check_channels_of_model(2, 2)
    check_channels_of_model(1, 2, in_one=True)
    for number, in_one in [(1, False), (3, True)]:
        with pytest.raises(ValueError, match=f"channels, 2. Received {number}"):
            check_channels_of_model(number, 2, in_one=in_one)
