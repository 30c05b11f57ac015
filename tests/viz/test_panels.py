import matplotlib.pyplot as plt
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.viz import draw_grid
from dipy_nn_reg.viz.panels import cut_at, name_edges, panels
from dipy_nn_reg.viz.planes import Planes


@pytest.mark.parametrize(
    ("shape", "rows"), [((8, 9), 1), ((8, 9, 7), 3), ((8, 9, 1), 1)]
)
def test_panels_have_a_row_for_each_plane_and_a_column_for_each_title(shape, rows):
    figure, axes = panels(Planes(shape), ("one", "other"))
    assert axes.shape == (rows, 2)
    assert [ax.get_title() for ax in axes[0]] == ["one", "other"]
    assert list(figure.axes) == list(axes.flat)
    assert not any(len(ax.get_xticks()) or len(ax.get_yticks()) for ax in axes.flat)


def test_slices_are_cut_through_the_position(rng):
    image = rng.random((6, 7, 8))
    axial, coronal, sagittal = Planes(image.shape).planes
    npt.assert_array_equal(cut_at(image, axial, (1, 2, 3)), image[:, :, 3].T)
    npt.assert_array_equal(cut_at(image, coronal, (1, 2, 3)), image[:, 2].T)
    npt.assert_array_equal(cut_at(image, sagittal, (1, 2, 3)), image[1].T)
    (plane,) = Planes((6, 7)).planes
    npt.assert_array_equal(cut_at(image[..., 0], plane, (1, 2)), image[..., 0])


def test_letters_are_written_at_the_edges(affine):
    _, (ax, empty) = plt.subplots(1, 2)
    axial, *_ = Planes((6, 7, 8), affine).planes
    name_edges(ax, axial)
    letters = {text.get_text(): text.get_position() for text in ax.texts}
    assert letters["R"][0] < 0.1 and letters["L"][0] > 0.9  # radiological
    assert letters["P"][1] < 0.1 and letters["A"][1] > 0.9
    name_edges(empty, Planes((6, 7)).planes[0])
    assert not empty.texts


def test_the_grid_is_drawn_where_it_falls_in_the_moving_image():
    displacement = np.zeros((6, 8, 2))
    displacement[..., 0] = 2  # rows, downward
    displacement[..., 1] = -1
    _, ax = plt.subplots()
    draw_grid(ax, displacement, spacing=2)
    assert len(ax.lines) == 3 + 4
    first_row, first_column = ax.lines[0], ax.lines[3]
    npt.assert_array_equal(first_row.get_xydata(), [(x - 1, 2) for x in range(8)])
    npt.assert_array_equal(first_column.get_xydata(), [(-1, y + 2) for y in range(6)])
    assert ax.yaxis_inverted()


@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 3), (2, 8, 9, 2)])
def test_fields_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"displacement of shape \(rows, columns, 2\)"):
        draw_grid(None, np.zeros(shape))


def test_an_invalid_spacing_is_refused():
    with pytest.raises(ValueError, match="Expected spacing to be an integer >= 1"):
        draw_grid(None, np.zeros((8, 9, 2)), spacing=0)
