"""Pairs are read from tables and lists, and get distinct names."""

from pathlib import Path

import pytest

from dipy_nn_reg.cohort.inputs import (
    further_images,
    list_pairs,
    named,
    read_pairs,
)


@pytest.mark.parametrize(("ending", "comma"), [("csv", ","), ("tsv", "\t")])
def test_tables_are_read_relative_to_their_folder(ending, comma, tmp_path, dipy_log):
    lines = [
        "id,static,moving,moving_mask,age,static_label",
        "one,s.nii,sub/m.nii,,33,l.nii",
        ",,n.nii,k.nii,,",
    ]
    path = tmp_path / f"pairs.{ending}"
    path.write_text("\n".join(lines).replace(",", comma) + "\n")
    pairs = read_pairs(path, static=Path("/t.nii"))
    assert pairs == [
        {"id": "one", "static": tmp_path / "s.nii", "moving": tmp_path / "sub/m.nii"},
        {
            "static": Path("/t.nii"),
            "moving": tmp_path / "n.nii",
            "moving_mask": tmp_path / "k.nii",
        },
    ]
    assert dipy_log.text.count("that are not read: age, static_label.") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("moving\nm.nii\n", "a static image of each pair. Received none in row 2"),
        ("static,moving\ns.nii,\n", "a moving image of each pair"),
        ("static\ns.nii\n", r"a column 'moving'.*Received .*\['static'\]"),
        ("static;moving\ns;m\n", "separated by commas.*'static;moving'"),
        ("Static,Moving\ns,m\n", "a column 'moving'.*'Moving'"),
        ("static,moving\n", "a table with rows"),
        ("static,moving\na\n", "rows of 2 cells"),
    ],
)
def test_incomplete_tables_are_refused(text, message, tmp_path):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_pairs(tmp_path / "pairs.csv")


def test_lists_are_of_paths_or_of_dicts():
    pairs = list_pairs(
        ["a.nii", {"moving": "b.nii", "static": "t.nii"}], static="s.nii"
    )
    assert [pair["static"] for pair in pairs] == [Path("s.nii"), Path("t.nii")]
    with pytest.raises(ValueError, match="Received .'movin'"):
        list_pairs([{"movin": "a.nii"}])
    with pytest.raises(ValueError, match="one pair or more"):
        list_pairs([])


def test_names_are_those_of_the_images():
    pairs = list_pairs(["x/a.nii.gz", "y/a.nii.gz"], static="s.nii")
    assert [pair["id"] for pair in named(pairs)] == ["x_a", "y_a"]
    pairs = list_pairs(["a.nii.gz", "b.nii.gz"], static="s.nii")
    pairs[0]["static"] = Path("t.nii")
    assert [pair["id"] for pair in named(pairs)] == ["t_a", "s_b"]


@pytest.mark.parametrize("name", ["a/b", "..", "a\nb", "cohort.tsv", "Cohort.html"])
def test_names_have_to_be_those_of_folders(name):
    with pytest.raises(ValueError, match="the name of a folder"):
        named([{"id": name, "static": Path("s"), "moving": Path("m")}])


def test_two_pairs_do_not_share_a_name():
    pairs = [
        {"id": name, "static": Path("s"), "moving": Path(name)} for name in ("a", "A")
    ]
    with pytest.raises(ValueError, match="different names. Received 'A' twice"):
        named(pairs)


def test_further_images_are_those_of_both_people(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(
        "moving,static,static_3,moving_3,moving_2,static_2\na,b,f,e,c,d\na,b,,,,\n"
    )
    both, first = read_pairs(path)
    found = further_images(both)
    names = {person: [p.name for p in paths] for person, paths in found.items()}
    assert names == {"moving": ["c", "e"], "static": ["d", "f"]}
    assert further_images(first) is None


def test_a_further_image_of_one_person_alone_is_refused():
    (pair,) = list_pairs([{"moving": "a", "static": "b", "moving_2": "c"}])
    with pytest.raises(ValueError, match="moving_2 and static_2.*'?a"):
        further_images(pair)
