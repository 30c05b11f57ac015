"""Orientation tensors, by which fibres are registered, from what files hold of them."""

import numpy as np

from dipy_nn_reg.checks import check_real
from dipy_nn_reg.diffusion.conventions import ORDERS, axes_of
from dipy_nn_reg.diffusion.spherical_harmonics import (
    evaluate_basis,
    order_of,
    quadrature,
)
from dipy_nn_reg.io.quantities import read_quantity
from dipy_nn_reg.mapping.affines import check_affine
from dipy_nn_reg.mapping.regridding import read_on_grid
from dipy_nn_reg.symmetric import from_matrices, to_matrices

# Percentile of the density of voxels with fibres that becomes a density of 1.
_LARGE = 99
# Nodes of a quadrature beyond those of the harmonics, for the products of directions.
_MORE_NODES = 2
# Planes that are treated at once, to keep memory small.
_SLAB = 8


def orientation_tensors(values, affine, quantity):
    """Return what a registration compares of tensors, peaks or spherical harmonics.

    Parameters
    ----------
    values : ndarray, shape (x, y, z, volumes)
        Tensors, peaks, or coefficients of spherical harmonics of even order.
    affine : ndarray, shape (4, 4)
        From voxels to world coordinates in mm.
    quantity : dipy_nn_reg.diffusion.reorientation.Quantity
        What the volumes are. Its strategy and modulation do not matter.

    Returns
    -------
    tensors : ndarray of float32, shape (x, y, z, 6)
        :mod:`Orientation tensors <dipy_nn_reg.transform.orientations>` along the axes
        of the world, as :func:`~dipy_nn_reg.register` takes them. The density of fibres
        is that of the anisotropic part of a tensor, of the lengths of peaks, or of the
        function of spherical harmonics from its lowest value on; it is 1 at the 99th
        percentile of the voxels with fibres.

    Raises
    ------
    ValueError
        If the values have other axes or another number of volumes, or if they are not
        finite or show no direction anywhere.
    """
    quantity.check()
    values = check_real("values", values)
    if values.ndim != 4:
        raise ValueError(
            f"Expected {quantity.kind} of shape (x, y, z, volumes). Received "
            f"{values.shape}."
        )
    quantity.check_volumes(values.shape[3], values.shape, "values")
    affine = check_affine(affine, name="affine", ndim=3)
    if not np.all(np.isfinite(values)):
        raise ValueError(f"Expected finite {quantity.kind}. Received others.")
    axes = axes_of(quantity.convention, affine).astype(np.float32)
    found = np.empty((*values.shape[:3], 6), np.float32)
    for start in range(0, len(values), _SLAB):
        slab = slice(start, start + _SLAB)
        dyads = _DYADS[quantity.kind](values[slab].astype(np.float32), quantity)
        found[slab] = from_matrices(axes @ dyads @ axes.T)
    return found / _large_density(found, quantity)


def read_orientations_on(path, image, quantity):
    """Read a file of orientations on the grid of an image.

    Parameters
    ----------
    path : string or Path
    image : dipy_nn_reg.io.nifti.Image
    quantity : dipy_nn_reg.diffusion.reorientation.Quantity

    Returns
    -------
    tensors : ndarray of float32, shape (*image.data.shape[:3], 6)
        As :func:`orientation_tensors` returns them.

    Raises
    ------
    ValueError
        As :func:`orientation_tensors` and
        :func:`~dipy_nn_reg.io.quantities.read_quantity`; and if no fibres are on the
        grid of the image.
    """
    stored = read_quantity(path)
    quantity.check_image(stored)
    tensors = orientation_tensors(stored.data, stored.affine, quantity)
    tensors = read_on_grid(tensors, stored.affine, [], image.grid, fill=0.0)
    if not tensors.any():
        raise ValueError(
            f"Expected {quantity.kind} within the image {str(image.path)!r}. Received "
            f"{str(stored.path)!r}, which lies elsewhere."
        )
    return tensors


def _of_tensors(tensors, quantity):
    matrices = to_matrices(tensors, ORDERS[quantity.convention])
    lowest = np.linalg.eigvalsh(matrices)[..., :1, None]
    return matrices - lowest * np.eye(3, dtype=np.float32)


def _of_peaks(peaks, _):
    peaks = peaks.reshape(*peaks.shape[:-1], -1, 3)
    lengths = np.linalg.norm(peaks, axis=-1, keepdims=True)
    return np.einsum("...ki,...kj->...ij", peaks, peaks / np.where(lengths, lengths, 1))


def _of_harmonics(coefficients, quantity):
    order = order_of(coefficients.shape[-1])
    directions, areas = quadrature(order + _MORE_NODES)
    basis = evaluate_basis(directions, order, quantity.basis).astype(np.float32)
    values = coefficients @ basis.T
    lowest = np.maximum(values.min(axis=-1, keepdims=True), 0)
    values = np.maximum(values - lowest, 0) * areas.astype(np.float32)
    dyads = directions[:, :, None] * directions[:, None, :]
    return np.tensordot(values, dyads.astype(np.float32), 1)


_DYADS = {"tensors": _of_tensors, "peaks": _of_peaks, "sh": _of_harmonics}


def _large_density(tensors, quantity):
    """Return the density of voxels with many fibres, or raise ValueError."""
    density = np.trace(to_matrices(tensors), axis1=-2, axis2=-1)
    if not np.any(density > 0):
        raise ValueError(
            f"Expected {quantity.kind} that show a direction somewhere. Received none."
        )
    return np.percentile(density[density > 0], _LARGE).astype(np.float32)
