from itertools import product
from pathlib import Path

import pytest

from dipy_nn_reg.cohort.naming import distinct_names, pair_name, prefixes_of_sets


def prefixes(*names):
    return prefixes_of_sets([[Path("/data", name) for name in names]])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.nii.gz", "b.nii"], ["a__", "b__"]),
        (["1/t1.nii", "2/t1.nii"], ["1_t1__", "2_t1__"]),
        (["x/1/t1.nii", "y/1/t1.nii"], ["x_1_t1__", "y_1_t1__"]),
        (["y.nii.gz", "y.nii"], ["y_nii_gz__", "y_nii__"]),
        (["CST.trk", "CST.tck", "b.trk"], ["CST_trk__", "CST_tck__", "b__"]),
        (["x.img", "x.hdr"], ["x_img__", "x_hdr__"]),
        (["a.nii", "a.nii"], ["a_1__", "a_2__"]),
        (["a.nii", "a.nii", "a_1.nii"], ["a_2__", "a_3__", "a_1__"]),
        (["T1.nii", "t1.nii"], ["T1_1__", "t1_2__"]),
        (["a/b_c.nii", "a_b/c.nii"], ["b_c__", "c__"]),
        (["\u00e9.nii", "e\u0301.nii"], ["\u00e9_1__", "e\u0301_2__"]),
    ],
)
def test_prefixes_are_distinct(names, expected):
    assert prefixes(*names) == expected


def test_prefixes_that_look_alike_when_joined_are_distinct():
    static = [Path("sub-01.nii"), Path("sub-01_T1.nii")]
    moving = [Path("T1_x.nii"), Path("x.nii")]
    pairs = list(product(static, moving))
    assert prefixes_of_sets([list(paths) for paths in zip(*pairs)]) == [
        "sub-01__T1_x__",
        "sub-01__x__",
        "sub-01_T1__T1_x__",
        "sub-01_T1__x__",
    ]


def test_prefixes_of_all_combinations_are_distinct():
    """All sets of three names that are chosen to collide."""
    names = [
        "a.nii", "a.nii.gz", "A.nii", "a_nii.nii", "a/a.nii", "a_a.nii", "a_1.nii",
        "b/a.nii", "a/a/a.nii", "a_a/a.nii", ".nii", "a", "a__a.nii", "a_nii_gz.csv",
    ]  # fmt: skip
    for three in product(names, repeat=3):
        result = {name.lower() for name in prefixes(*three)}
        assert len(result) == 3, three
    for static in product(names[:6], repeat=2):
        for moving in product(names[:8], repeat=2):
            pairs = list(product(map(Path, static), map(Path, moving)))
            result = prefixes_of_sets([list(paths) for paths in zip(*pairs)])
            assert len({name.lower() for name in result}) == 4, (static, moving)


def test_links_keep_their_own_names(tmp_path):
    (tmp_path / "MD5E-s1--bbb.nii.gz").touch()
    links = []
    for subject in ("sub-02", "sub-03"):
        (tmp_path / subject).mkdir()
        links.append(tmp_path / subject / "T1w.nii.gz")
        links[-1].symlink_to("../MD5E-s1--bbb.nii.gz")
    assert prefixes_of_sets([links]) == ["sub-02_T1w__", "sub-03_T1w__"]
    assert distinct_names(links) == ["sub-02/T1w.nii.gz", "sub-03/T1w.nii.gz"]


def test_names_in_tables_are_as_short_as_possible():
    def names(*paths):
        return distinct_names(list(map(Path, paths)))

    assert names("1/a.nii", "1/b.nii") == ["a.nii", "b.nii"]
    assert names("1/a.nii", "2/a.nii", "1/a.nii") == ["1/a.nii", "2/a.nii", "1/a.nii"]
    assert names("a.nii", "a.nii.gz") == ["a.nii", "a.nii.gz"]
    assert names("/a/x/t.nii", "/b/x/t.nii", "/a/x/u.nii") == [
        "a/x/t.nii",
        "b/x/t.nii",
        "a/x/u.nii",
    ]
    assert names("/t.nii", "/a/t.nii") == ["/t.nii", "a/t.nii"]


def test_names_of_pairs_contain_both_images():
    assert pair_name({"static": "s.nii.gz", "moving": "1/m.nii"}) == "1/m to s"
    assert pair_name({"static": "a.nii", "moving": "a.nii.gz"}) == "a.nii.gz to a.nii"
