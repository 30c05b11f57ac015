import matplotlib.pyplot as plt
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.viz import plot_field, plot_jacobian
from dipy_nn_reg.viz.fields import check_finite_field, determinant_of

FIELD = np.zeros((8, 9, 7, 3))


def test_lengths_are_in_mm_with_an_affine(affine):
    field = np.zeros((6, 7, 8, 3))
    field[..., 2] = 2  # voxels of 3 mm
    figure = plot_field(field, affine=affine)
    lengths = figure.axes[2].images[0].get_array()
    npt.assert_allclose(lengths, 6)
    assert figure.axes[2].get_title() == "length, mm"
    in_voxels = plot_field(field[:, :, 0, :2])
    assert in_voxels.axes[2].get_title() == "length, voxels"


def test_arrows_and_grid_show_the_displacement():
    field = np.zeros((6, 8, 2))
    field[..., 0], field[..., 1] = 2, -1  # rows, columns
    grid, arrows, *_ = plot_field(field).axes
    npt.assert_array_equal(grid.lines[0].get_xydata(), [(x - 1, 2) for x in range(8)])
    (quiver,) = arrows.collections
    npt.assert_array_equal(quiver.U, -1)
    npt.assert_array_equal(quiver.V, 2)


def test_changes_of_volume_and_folds_are_drawn():
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


@pytest.mark.parametrize("plot", [plot_field, plot_jacobian])
def test_slices_along_any_axis_are_drawn(
    plot, thin_shape, affine_or_none, rng, tmp_path
):
    field = 0.1 * rng.random((*thin_shape, 3))
    plot(field, affine=affine_or_none).savefig(tmp_path / "figure.png")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_determinant_of_a_slice_is_that_in_its_plane(axis, rng):
    shape = np.insert([6, 7], axis, 1)
    field = rng.normal(0, 0.4, (*shape, 3))
    flat = np.delete(field.squeeze(axis), axis, axis=-1)
    columns = [np.gradient(flat, axis=a) for a in range(2)]
    expected = np.linalg.det(np.eye(2) + np.stack(columns, axis=-1))
    npt.assert_allclose(determinant_of(field), np.expand_dims(expected, axis))


def test_a_field_without_motion_is_drawn(tmp_path):
    plot_field(FIELD).savefig(tmp_path / "figure.png")


def test_values_that_are_not_finite_are_counted():
    field = FIELD.copy()
    field[0, 0, :2] = np.nan
    with pytest.raises(ValueError, match=f"Received 6 of {field.size} that are not"):
        check_finite_field(field)
    assert check_finite_field(FIELD) is FIELD


@pytest.mark.parametrize(
    ("plot", "field", "message"),
    [
        (plot_field, np.zeros((8, 9, 3)), "a displacement of shape"),
        (plot_jacobian, np.zeros((8, 9, 3)), "a displacement of shape"),
        (plot_field, FIELD + np.nan, "finite values in displacement"),
        (plot_field, FIELD[..., 0], "a displacement of shape"),
        (plot_field, "field", "real numbers in displacement"),
        (plot_field, FIELD[:, :1, :1], ".*two voxels or more along two axes"),
        (plot_jacobian, 1j * FIELD, "real numbers in displacement"),
        (plot_jacobian, FIELD[:0], ".*one value or more"),
    ],
)
def test_invalid_fields_are_refused(plot, field, message):
    with pytest.raises(ValueError, match=f"Expected {message}"):
        plot(field)
    assert not plt.get_fignums()


def test_an_affine_of_other_axes_is_refused():
    with pytest.raises(ValueError, match="Expected affine of shape"):
        plot_field(FIELD, affine=np.eye(3))
    assert not plt.get_fignums()
