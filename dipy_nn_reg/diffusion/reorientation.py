"""Tensors, peaks and spherical harmonics that turn with the tissue."""

from typing import NamedTuple

import numpy as np

from dipy_nn_reg.checks import check_name, check_real
from dipy_nn_reg.diffusion.conventions import CONVENTIONS, ORDERS, axes_of
from dipy_nn_reg.diffusion.local_maps import local_maps, rotations_of
from dipy_nn_reg.diffusion.spherical_harmonics import BASES, order_of, reorient_sh
from dipy_nn_reg.mapping.resampling import warp_image
from dipy_nn_reg.progress import progress_bar
from dipy_nn_reg.symmetric import from_matrices, to_matrices

KINDS = ("tensors", "peaks", "sh")
STRATEGIES = ("ppd", "finite_strain")
# Planes that are turned at once, to keep memory small.
_SLAB = 8


class Quantity(NamedTuple):
    """Meaning of the volumes of an image, and how they turn.

    Attributes
    ----------
    kind : {"tensors", "peaks", "sh"}
        Six values of a tensor; three of each peak, whose length is kept; coefficients
        of spherical harmonics of even order.
    convention : {"dipy", "fsl", "mrtrix", "itk"}
        See :mod:`dipy_nn_reg.diffusion.conventions`.
    basis : str, optional
        Of spherical harmonics, see
        :data:`~dipy_nn_reg.diffusion.spherical_harmonics.BASES`.
    strategy : {"ppd", "finite_strain"}
        "ppd" moves each direction as the tissue moves, and keeps the shape of a tensor
        or of a lobe: preservation of principal direction. "finite_strain" applies the
        rotation alone.
    modulate : bool
        Keep the total density of fibres across a bundle, see
        :func:`~dipy_nn_reg.diffusion.spherical_harmonics.reorient_sh`. Not for tensors.
    """

    kind: str
    convention: str = "dipy"
    basis: str | None = None
    strategy: str = "ppd"
    modulate: bool = False

    def check(self):
        """Raise ValueError for an unknown name or an impossible combination."""
        check_name("reorient", self.kind, KINDS)
        check_name("convention", self.convention, CONVENTIONS)
        check_name("strategy", self.strategy, STRATEGIES)
        if self.kind == "sh":
            check_name("sh_basis", self.basis, BASES)
        elif self.basis is not None:
            raise ValueError(
                f"Expected sh_basis with spherical harmonics alone. Received "
                f"{self.basis!r} with {self.kind!r}."
            )
        if self.modulate and (self.kind == "tensors" or self.strategy != "ppd"):
            raise ValueError(
                f"Expected modulate with peaks or sh and the strategy 'ppd'. Received "
                f"{self.kind!r} and {self.strategy!r}."
            )

    def check_image(self, image):
        """Raise ValueError unless the volumes of an image can be such a quantity.

        Parameters
        ----------
        image : dipy_nn_reg.io.nifti.Image
        """
        shape = image.data.shape
        self.check_volumes(shape[3] if len(shape) == 4 else 1, shape, str(image.path))

    def check_volumes(self, volumes, shape, name):
        """Raise ValueError unless so many volumes can be such a quantity.

        Parameters
        ----------
        volumes : int
        shape : tuple of int
        name : str
            Of the array or its file, in messages, with its shape.
        """
        if self.kind == "sh":
            order_of(volumes)
        fits = volumes == 6 if self.kind == "tensors" else volumes % 3 == 0
        if self.kind != "sh" and not fits:
            expected = "six" if self.kind == "tensors" else "three for each peak"
            raise ValueError(
                f"Expected {self.kind} as volumes, {expected}. Received "
                f"{name!r} of shape {shape}."
            )


def warp_quantity(moving, static, maps, quantity, *, inverse=False, interpolation):
    """Warp tensors, peaks or spherical harmonics, and turn them with the tissue.

    Parameters
    ----------
    moving, static : dipy_nn_reg.io.nifti.Image
        As for :func:`~dipy_nn_reg.mapping.resampling.warp_image`.
    maps : sequence
    quantity : Quantity
    inverse : bool, optional
    interpolation : {"linear", "nearest", "cubic"}
        Peaks have no mean: they are always those of the nearest voxel.

    Returns
    -------
    warped : ndarray of float32, shape (*spatial, volumes)
        0 outside of the moving image.
    number : int
        Number of voxels where the map folds, and the affine part alone has been used.

    Raises
    ------
    ValueError
        If the quantity or the number of volumes is invalid.
    """
    quantity.check()
    quantity.check_image(moving)
    warped = warp_image(
        moving,
        static,
        maps,
        inverse=inverse,
        interpolation="nearest" if quantity.kind == "peaks" else interpolation,
        fill=0,
    ).astype(np.float32)
    before = axes_of(quantity.convention, moving.affine)
    after = axes_of(quantity.convention, static.affine)
    number = 0
    for start in progress_bar(range(0, len(warped), _SLAB), desc="Turning"):
        planes = slice(start, start + _SLAB)
        there = np.any(warped[planes], axis=-1)
        if not there.any():
            continue
        local = local_maps(maps, static.grid, inverse=inverse, planes=planes)
        number += int(np.sum(local.folded & there))
        linear = after.T @ local.matrices[there] @ before
        warped[planes][there] = reorient(warped[planes][there], linear, quantity)
    return warped, number


def reorient(values, linear, quantity):
    """Turn tensors, peaks or spherical harmonics by a linear map for each.

    Parameters
    ----------
    values : ndarray, shape (n, volumes)
    linear : ndarray, shape (n, 3, 3)
        From directions before to directions after, of positive determinant, along the
        axes of the values.
    quantity : Quantity

    Returns
    -------
    turned : ndarray, shape (n, volumes)

    Raises
    ------
    ValueError
        If a name or the number of volumes is invalid, or if there is not a linear map
        for each.
    """
    values, linear = _check_turned(values, linear, quantity)
    is_rigid = quantity.strategy == "finite_strain"
    moved = rotations_of(linear) if is_rigid else linear
    if quantity.kind == "sh":
        how = {"basis": quantity.basis, "modulate": quantity.modulate}
        return reorient_sh(values, moved, **how)
    if quantity.kind == "peaks":
        return _turn_peaks(values, moved, quantity.modulate)
    rotations = moved if is_rigid else principal_rotations(values, linear, quantity)
    matrices = to_matrices(values, ORDERS[quantity.convention])
    turned = rotations @ matrices @ np.swapaxes(rotations, -1, -2)
    return from_matrices(turned, ORDERS[quantity.convention])


def _check_turned(values, linear, quantity):
    """Return values and linear maps as arrays, after a check of all arguments."""
    if not isinstance(quantity, Quantity):
        raise ValueError(f"Expected quantity to be a Quantity. Received {quantity!r}.")
    quantity.check()
    values, linear = check_real("values", values), check_real("linear", linear)
    if values.ndim != 2 or linear.shape != (len(values), 3, 3):
        raise ValueError(
            f"Expected values of shape (n, volumes) and linear of shape (n, 3, 3). "
            f"Received values.shape={values.shape} and linear.shape={linear.shape}."
        )
    quantity.check_volumes(values.shape[1], values.shape, "values")
    return values, linear


def principal_rotations(tensors, linear, quantity):
    """Return rotations by preservation of principal direction.

    Parameters
    ----------
    tensors : ndarray, shape (n, 6)
    linear : ndarray, shape (n, 3, 3)
    quantity : Quantity
        Its convention is that of the tensors.

    Returns
    -------
    rotations : ndarray, shape (n, 3, 3)
        They take the first eigenvector to the direction to which the map takes it, and
        the second one to the plane to which the map takes both
        :footcite:p:`Alexander2001`.

    References
    ----------
    .. footbibliography::
    """
    places = ORDERS[quantity.convention]
    matrices = to_matrices(tensors.astype(np.float64), places)
    # Eigenvalues are in ascending order.
    _, vectors = np.linalg.eigh(matrices)
    first, second = vectors[..., 2], vectors[..., 1]
    moved_first = _unit(_apply(linear, first))
    moved_second = _apply(linear, second)
    along = (moved_second * moved_first).sum(axis=-1, keepdims=True)
    moved_second = _unit(moved_second - along * moved_first)
    before = np.stack([first, second, np.cross(first, second)], axis=-1)
    crossed = np.cross(moved_first, moved_second)
    after = np.stack([moved_first, moved_second, crossed], axis=-1)
    return after @ np.swapaxes(before, -1, -2)


def _turn_peaks(values, moved, modulate):
    peaks = values.reshape(len(values), -1, 3)
    turned = _apply(moved[:, None], peaks)
    if modulate:
        turned = turned / np.abs(np.linalg.det(moved))[:, None, None]
    else:
        turned = np.linalg.norm(peaks, axis=-1, keepdims=True) * _unit(turned)
    return turned.reshape(values.shape)


def _apply(matrices, vectors):
    return np.einsum("...ij,...j->...i", matrices, vectors)


def _unit(vectors):
    """Return vectors of length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
