import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.viz import draw_grid, plot_history, plot_registration


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_a_row_for_each_pair(rng):
    images = rng.random((3, 2, 8, 9))
    figure = plot_registration(*images, np.zeros((2, 8, 9, 2)))
    assert len(figure.axes) == 8
    titles = [ax.get_title() for ax in figure.axes[:4]]
    assert titles == ["static", "moving", "warped", "deformed grid"]
    shown = [ax.images[0].get_array() for ax in figure.axes[4:7]]
    for image, expected in zip(shown, (images[1, 1], images[0, 1], images[2, 1])):
        npt.assert_array_equal(image, expected)


def test_one_static_image_for_all(rng):
    images = rng.random((3, 8, 9))
    figure = plot_registration(images, images[0], images, np.zeros((3, 8, 9, 2)))
    for ax in figure.axes[::4]:
        npt.assert_array_equal(ax.images[0].get_array(), images[0])


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


def test_history_beside_its_validation():
    history = {"loss": [3, 2], "val_loss": [4, 3], "similarity": [0, 1]}
    figure = plot_history(history)
    assert [ax.get_title() for ax in figure.axes] == ["loss", "similarity"]
    assert [len(ax.lines) for ax in figure.axes] == [2, 1]
    npt.assert_array_equal(figure.axes[0].lines[1].get_ydata(), [4, 3])


@pytest.mark.parametrize(
    "shapes",
    [((2, 8, 9), (2, 8, 9, 3)), ((8, 9), (8, 9, 2)), ((2, 8, 9), (3, 8, 9, 2))],
)
def test_bad_input(shapes):
    image, field = (np.zeros(shape) for shape in shapes)
    if field.shape[:-1] == image.shape and field.ndim == 4:
        image = image[..., None]  # 3D images
    with pytest.raises(ValueError, match="Expected images of one shape"):
        plot_registration(image, image, image, field)
