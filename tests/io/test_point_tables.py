"""Points in text files: their columns, by names and without."""

import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.io.point_tables import read_points, write_points


@pytest.mark.parametrize("header", ["", "x,y,z\n"])
@pytest.mark.parametrize("delimiter", [",", " "])
def test_points_are_read_from_three_columns(header, delimiter, rng, tmp_path):
    points = rng.normal(size=(4, 3)).round(4)
    lines = [delimiter.join(map(str, point)) for point in points]
    (tmp_path / "points.csv").write_text(header + "\n".join(lines))
    npt.assert_array_equal(read_points(tmp_path / "points.csv"), points)


def test_written_points_are_read_again(rng, tmp_path):
    points = rng.normal(size=(4, 3))
    write_points(tmp_path / "points.csv", points)
    npt.assert_allclose(read_points(tmp_path / "points.csv"), points, atol=1e-6)


@pytest.mark.parametrize("text", ["x,y,z\n", "1,2\n3,4\n", ""])
def test_tables_of_other_columns_are_refused(text, tmp_path):
    (tmp_path / "points.csv").write_text(text)
    with pytest.raises(ValueError, match="three columns"):
        read_points(tmp_path / "points.csv")


def test_points_with_words_are_refused(tmp_path):
    (tmp_path / "points.csv").write_text("x,y,z\n1,2,three\n")
    with pytest.raises(ValueError, match="Expected points, numbers in columns"):
        read_points(tmp_path / "points.csv")


def test_a_header_of_column_numbers_is_skipped(tmp_path, dipy_log):
    path = tmp_path / "points.csv"
    points = np.array([[1.5, 2, 3], [4, 5, 6]])
    # pandas.DataFrame(points).to_csv(path, index=False)
    path.write_text("0,1,2\n1.5,2.0,3.0\n4.0,5.0,6.0\n")
    npt.assert_array_equal(read_points(path), points)
    assert "names of columns" in dipy_log.text
    assert dipy_log.records[0].levelname == "WARNING"
    path.write_text("0,1,2.0\n3,4,5\n")
    npt.assert_array_equal(read_points(path), [[0, 1, 2], [3, 4, 5]])
    path.write_text("0,1,2\n")
    npt.assert_array_equal(read_points(path), [[0, 1, 2]])
    path.write_text("\ufeffx,y,z\n  # a comment\n3,4,5\n")
    npt.assert_array_equal(read_points(path), [[3, 4, 5]])


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "NaN"])
def test_points_that_are_not_finite_are_refused(value, tmp_path):
    (tmp_path / "points.csv").write_text(f"x,y,z\n1,2,3\n4,{value},6\n")
    with pytest.raises(ValueError, match=r"finite.*points.csv.*1 of 2"):
        read_points(tmp_path / "points.csv")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("x,y,z", [1, 2, 3]),
        ("X, Y, Z", [1, 2, 3]),
        ("z,y,x", [3, 2, 1]),
        ("r,a,s", [1, 2, 3]),
        ("l,p,s", [-1, -2, 3]),
        ("S L P", [-2, -3, 1]),
        ("r,p,i", [1, -2, -3]),
        ("# l,p,s", [-1, -2, 3]),
        ("# l p s", [-1, -2, 3]),
        ('"l","p","s"', [-1, -2, 3]),
        ("l (mm),p (mm),s (mm)", [-1, -2, 3]),
        ("x_mm,y_mm,z_mm", [1, 2, 3]),
        ("# of two people", [1, 2, 3]),
        ("# of 2 people\n# of ANTs\nl,p,s", [-1, -2, 3]),
        ("# l,p,s\nz,y,x", [3, 2, 1]),
        ("# of 2 people\n\n# l,p,s", [-1, -2, 3]),
    ],
)
def test_names_of_columns_say_what_they_hold(names, expected, tmp_path, dipy_log):
    path = tmp_path / "points.csv"
    path.write_text(f"{names}\n1,2,3\n4,5,6\n")
    npt.assert_array_equal(read_points(path)[0], expected)
    assert not dipy_log.text


@pytest.mark.parametrize("names", ["a,b,c", "x,y,y", "l,r,s", "one two three"])
def test_other_names_are_told(names, tmp_path, dipy_log):
    path = tmp_path / "points.csv"
    path.write_text(f"{names}\n1,2,3\n")
    npt.assert_array_equal(read_points(path), [[1, 2, 3]])
    (record,) = dipy_log.records
    assert record.levelname == "WARNING" and "are read as x, y and z" in record.message


@pytest.mark.parametrize("names", ["i,j,k", "k,j,i", "# I J K"])
def test_voxels_are_refused(names, tmp_path):
    path = tmp_path / "points.csv"
    path.write_text(f"{names}\n1,2,3\n")
    with pytest.raises(ValueError, match="world coordinates.*points.csv.*voxels"):
        read_points(path)


@pytest.mark.parametrize("name", ["points.csv", "points.tsv", "points.txt"])
def test_points_are_read_as_they_were_written(name, tmp_path, rng):
    points = rng.normal(size=(4, 3)).round(6)
    write_points(tmp_path / name, points)
    npt.assert_array_equal(read_points(tmp_path / name), points)
    first = (tmp_path / name).read_text().splitlines()[0]
    assert first == ("x\ty\tz" if name.endswith(".tsv") else "x,y,z")
