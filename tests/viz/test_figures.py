import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.viz import (
    draw_grid,
    plot_dice,
    plot_field,
    plot_histograms,
    plot_history,
    plot_images,
    plot_jacobian,
    plot_registration,
)

AFFINE = np.diag([-2.0, 2.0, 3.0, 1.0])


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
    figure = plot_history({**history, "val_folding": [0, 0]})
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["loss", "similarity", "folding"]
    assert [len(ax.lines) for ax in figure.axes] == [2, 1, 1]
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


def test_images_in_three_planes(rng):
    static, moving, warped = rng.random((3, 10, 12, 14))
    figure = plot_images(static, moving, warped, affine=AFFINE)
    panels = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in panels[:3]] == ["static", "moving", "warped"]
    assert len([ax for ax in panels if ax.get_aspect() != "auto"]) == 15
    # Voxels are 3 mm high in the coronal and the sagittal plane.
    assert [panels[i].get_aspect() for i in (0, 5, 10)] == [1, 1.5, 1.5]
    letters = [[text.get_text() for text in panels[i].texts] for i in (0, 5, 10)]
    assert letters == [list("RLAP"), list("RLSI"), list("APSI")]
    # Of both images in turn, the checkerboard has the first at its corner.
    shown, board = (panels[i].images[0].get_array() for i in (0, 4))
    assert board[0, 0] == shown[0, 0]
    differs = board != shown
    npt.assert_array_equal(board[differs], panels[2].images[0].get_array()[differs])
    assert 0.3 < differs.mean() < 0.7


def test_lengths_are_in_mm():
    field = np.zeros((6, 7, 8, 3))
    field[..., 2] = 2  # voxels of 3 mm
    figure = plot_field(field, affine=AFFINE)
    lengths = figure.axes[2].images[0].get_array()
    npt.assert_allclose(lengths, 6)
    assert figure.axes[2].get_title() == "length, mm"
    in_voxels = plot_field(field[:, :, 0, :2])
    assert in_voxels.axes[2].get_title() == "length, voxels"


def test_changes_of_volume_and_folds():
    x = np.arange(12.0)
    field = np.stack(np.meshgrid(x, 0 * x, indexing="ij"), axis=-1)  # twice as far
    figure = plot_jacobian(field)
    npt.assert_allclose(figure.axes[0].images[0].get_array(), 1)
    assert figure.axes[0].get_legend() is None
    field[5, 4, 0] += 6
    figure = plot_jacobian(field)
    (crosses,) = figure.axes[0].lines
    npt.assert_array_equal(crosses.get_xydata(), [[4, 6]])
    assert figure.axes[0].get_legend() is not None


def test_overlaps_are_sorted_and_named():
    before, after = {1: 0.5, 2: 0.6, 3: np.nan}, {1: 0.9, 2: 0.7, 3: np.nan}
    (ax,) = plot_dice(before, after, names={1: "putamen"}).axes
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels == ["putamen", "2", "3"]  # from below
    old, new = (points.get_offsets() for points in ax.collections[1:])
    npt.assert_array_equal(np.asarray(old)[:2, 0], [0.5, 0.6])
    npt.assert_array_equal(np.asarray(new)[:2, 0], [0.9, 0.7])
    (ax,) = plot_dice(before, after, most=1).axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["3"]


def test_histograms(rng):
    static, warped = rng.random((2, 9, 10))
    figure = plot_histograms(static, warped, np.zeros((9, 10, 2)))
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["intensities", "changes of volume", "displacements"]
    counts = [patch.get_height() for patch in figure.axes[1].patches]
    assert max(counts) == sum(counts) == 90  # nowhere a change


def test_bad_input_of_volumes(rng):
    with pytest.raises(ValueError, match="Expected images of one shape"):
        plot_images(*rng.random((2, 8, 9)), np.zeros((8, 8)))
    for plot in (plot_field, plot_jacobian):
        with pytest.raises(ValueError, match="Expected a displacement of shape"):
            plot(np.zeros((8, 9, 3)))


SLICES = [(1, 14, 12), (14, 1, 12), (14, 12, 1), (2, 14, 12), (14, 2, 12), (14, 12, 2)]


@pytest.mark.parametrize("affine", [None, AFFINE])
@pytest.mark.parametrize("shape", SLICES)
def test_slices_along_any_axis(shape, affine, rng, tmp_path):
    images = rng.random((3, *shape))
    field = 0.1 * rng.random((*shape, 3))
    planes = 1 if 1 in shape else 3
    figures = [
        plot_images(*images, affine=affine),
        plot_field(field, affine=affine),
        plot_jacobian(field, affine=affine),
        plot_histograms(*images[:2], field, affine=affine),
    ]
    drawn = [ax for ax in figures[0].axes if ax.images][: 5 * planes]
    assert len(drawn) == 5 * planes
    for figure in figures:
        figure.savefig(tmp_path / "figure.png")


def test_images_without_contrast_are_drawn(tmp_path):
    zeros = np.zeros((8, 9, 7))
    figures = [plot_images(zeros, zeros, zeros), plot_field(np.zeros((8, 9, 7, 3)))]
    figures += [plot_histograms(zeros, zeros, np.zeros((8, 9, 7, 3)))]
    for figure in figures:
        figure.savefig(tmp_path / "figure.png")


@pytest.mark.parametrize(
    "name", ["$x$ $\\frac", "M\udcfcller", "a\nb", "<b>", "", 7, None]
)
def test_any_name_of_a_label_is_drawn(name, tmp_path):
    plot_dice({1: 0.5}, {1: 0.7}, names={1: name}).savefig(tmp_path / "figure.png")


FIELD, IMAGE = np.zeros((8, 9, 7, 3)), np.zeros((8, 9, 7))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plot_field(FIELD + np.nan), "finite values in displacement"),
        (lambda: plot_field(FIELD[..., 0]), "displacement of shape"),
        (lambda: plot_field("field"), "real numbers in displacement"),
        (lambda: plot_field(FIELD, affine=np.eye(3)), "affine of shape"),
        (lambda: plot_field(FIELD[:, :1, :1]), "two voxels or more along two axes"),
        (lambda: plot_jacobian(1j * FIELD), "real numbers in displacement"),
        (lambda: plot_jacobian(FIELD[:0]), "one value or more"),
        (lambda: plot_images(IMAGE, IMAGE, 1j * IMAGE), "real numbers in warped"),
        (lambda: plot_images(*[IMAGE[:1, :1]] * 3), "two voxels or more along two"),
        (lambda: plot_images(*[IMAGE] * 3, affine=0 * AFFINE), "Expected affine"),
        (lambda: plot_histograms(IMAGE, IMAGE, FIELD + np.inf), "finite values"),
        (lambda: plot_dice({}, {}), "same labels before and after"),
        (lambda: plot_dice({1: 0.5}, {2: 0.5}), r"Received \[1\] and \[2\]"),
        (lambda: plot_history({}), "a measure or more"),
        (
            lambda: plot_registration(*[IMAGE[:0]] * 3, np.zeros((0, 9, 7, 2))),
            "moving to be an array of one value or more",
        ),
        (
            lambda: plot_registration(*[IMAGE] * 3, np.zeros((8, 9, 7, 2)), spacing=0),
            "spacing to be an integer >= 1",
        ),
        (lambda: draw_grid(None, FIELD[..., 0, :2], spacing=0), "spacing"),
    ],
)
def test_what_cannot_be_drawn(call, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}|{message}"):
        call()
    assert not plt.get_fignums()
