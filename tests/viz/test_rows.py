import matplotlib.pyplot as plt
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.viz import plot_registration


def test_each_pair_has_a_row(rng):
    images = rng.random((3, 2, 8, 9))
    figure = plot_registration(*images, np.zeros((2, 8, 9, 2)))
    assert len(figure.axes) == 8
    titles = [ax.get_title() for ax in figure.axes[:4]]
    assert titles == ["static", "moving", "warped", "deformed grid"]
    shown = [ax.images[0].get_array() for ax in figure.axes[4:7]]
    for image, expected in zip(shown, (images[1, 1], images[0, 1], images[2, 1])):
        npt.assert_array_equal(image, expected)


def test_one_static_image_serves_all_pairs(rng):
    images = rng.random((3, 8, 9))
    figure = plot_registration(images, images[0], images, np.zeros((3, 8, 9, 2)))
    for ax in figure.axes[::4]:
        npt.assert_array_equal(ax.images[0].get_array(), images[0])


def test_the_grid_of_each_pair_is_deformed_by_its_field():
    images, displacement = np.zeros((2, 8, 9)), np.zeros((2, 8, 9, 2))
    displacement[1, ..., 0] = 2
    figure = plot_registration(images, images[0], images, displacement, spacing=4)
    for ax, shift in zip((figure.axes[3], figure.axes[7]), (0, 2)):
        assert len(ax.lines) == 2 + 3
        rows = [line.get_ydata()[0] for line in ax.lines[:2]]
        npt.assert_array_equal(rows, [shift, 4 + shift])


@pytest.mark.parametrize(
    "shapes",
    [((2, 8, 9), (2, 8, 9, 3)), ((8, 9), (8, 9, 2)), ((2, 8, 9), (3, 8, 9, 2))],
)
def test_images_and_fields_of_other_shapes_are_refused(shapes):
    image, field = (np.zeros(shape) for shape in shapes)
    if field.shape[:-1] == image.shape and field.ndim == 4:
        image = image[..., None]  # 3D images
    with pytest.raises(ValueError, match="Expected images of one shape"):
        plot_registration(image, image, image, field)


def test_invalid_options_are_refused():
    images = np.zeros((8, 9, 7))
    with pytest.raises(ValueError, match="moving to be an array of one value or more"):
        plot_registration(*[images[:0]] * 3, np.zeros((0, 9, 7, 2)))
    with pytest.raises(ValueError, match="Expected spacing to be an integer >= 1"):
        plot_registration(*[images] * 3, np.zeros((8, 9, 7, 2)), spacing=0)
    assert not plt.get_fignums()


def test_one_missing_value_does_not_blank_a_row(rng):
    images = rng.random((2, 20, 20))
    images[0, 0, 0] = np.nan
    figure = plot_registration(
        images[:1], images[1], images[:1], np.zeros((1, 20, 20, 2))
    )
    shown = figure.axes[0].images[0]
    assert shown.get_clim() == (np.nanmin(images), np.nanmax(images))
