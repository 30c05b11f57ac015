import matplotlib.pyplot as plt
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.viz import plot_images

IMAGE = np.zeros((8, 9, 7))


def test_images_are_drawn_in_three_planes(rng, affine):
    moving, static, warped = rng.random((3, 10, 12, 14))
    figure = plot_images(moving, static, warped, affine=affine)
    panels = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in panels[:3]] == ["static", "moving", "warped"]
    assert len([ax for ax in panels if ax.get_aspect() != "auto"]) == 15
    # Voxels are 3 mm high in the coronal and the sagittal plane.
    assert [panels[i].get_aspect() for i in (0, 5, 10)] == [1, 1.5, 1.5]
    letters = [[text.get_text() for text in panels[i].texts] for i in (0, 5, 10)]
    assert letters == [list("RLAP"), list("RLSI"), list("APSI")]
    # The checkerboard begins with the static image in its corner.
    shown, board = (panels[i].images[0].get_array() for i in (0, 4))
    assert board[0, 0] == shown[0, 0]
    differs = board != shown
    npt.assert_array_equal(board[differs], panels[2].images[0].get_array()[differs])
    assert 0.3 < differs.mean() < 0.7


def test_each_image_is_drawn_under_its_title():
    moving, static, warped = (np.full((8, 9), 0.0) for _ in range(3))
    for image, column in ((moving, 1), (static, 2), (warped, 3)):
        image[4, column] = 1
    figure = plot_images(moving, static, warped)
    shown = {ax.get_title(): ax.images[0].get_array() for ax in figure.axes[:4]}
    for title, image in {"moving": moving, "static": static, "warped": warped}.items():
        npt.assert_array_equal(shown[title], image)
    npt.assert_array_equal(shown["warped - static"], warped - static)


def test_slices_along_any_axis_are_drawn(thin_shape, affine_or_none, rng, tmp_path):
    planes = 1 if 1 in thin_shape else 3
    figure = plot_images(*rng.random((3, *thin_shape)), affine=affine_or_none)
    drawn = [ax for ax in figure.axes if ax.images][: 5 * planes]
    assert len(drawn) == 5 * planes
    figure.savefig(tmp_path / "figure.png")


def test_images_without_contrast_are_drawn(tmp_path):
    plot_images(IMAGE, IMAGE, IMAGE).savefig(tmp_path / "figure.png")


def test_images_of_two_shapes_are_refused(rng):
    shapes = r"\(8, 9\) \(moving\), \(8, 9\) \(static\) and \(8, 8\) \(warped\)"
    with pytest.raises(ValueError, match=f"Expected images of one shape.*{shapes}"):
        plot_images(*rng.random((2, 8, 9)), np.zeros((8, 8)))


@pytest.mark.parametrize(
    ("images", "affine", "message"),
    [
        ((IMAGE, IMAGE, 1j * IMAGE), None, "Expected real numbers in warped"),
        ([IMAGE[:1, :1]] * 3, None, "Expected .*two voxels or more along two axes"),
        ([IMAGE] * 3, np.zeros((4, 4)), "Expected affine"),
    ],
    ids=["complex", "a line", "affine of zeros"],
)
def test_invalid_images_and_affines_are_refused(images, affine, message):
    with pytest.raises(ValueError, match=message):
        plot_images(*images, affine=affine)
    assert not plt.get_fignums()
