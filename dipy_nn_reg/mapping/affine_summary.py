"""Summary of an affine in words: turn, shift, scales and shears."""

from typing import NamedTuple

from nibabel.affines import apply_affine
import numpy as np
from scipy.linalg import polar
from scipy.spatial.transform import Rotation

from dipy_nn_reg.checks import as_array
from dipy_nn_reg.mapping.affines import check_affine

# Smallest shear that is told in words, and not rounded to 0.
_MIN_SHEAR = 0.005


class AffineSummary(NamedTuple):
    """Parts of an affine from static to moving world coordinates.

    The linear part is a rotation after a stretch, by polar decomposition.

    Attributes
    ----------
    angle_degrees : float
        Angle of the rotation, from 0 to 180.
    shift_mm : float
        Distance by which the centre moves.
    scales : tuple of float
        Stretch along each static world axis: above 1 where the object is larger in
        the moving image. If the affine mirrors, that of one axis is negative: of that
        which leaves the smallest angle.
    shears : tuple of float
        Shear of each pair of axes (x and y, x and z, y and z; in 2D x and y), from -1
        to 1: entry of the stretch off its diagonal, as a fraction of the geometric
        mean of both scales.
    determinant : float
        Factor by which volumes grow from static to moving; negative if mirrored.
    """

    angle_degrees: float
    shift_mm: float
    scales: tuple
    shears: tuple
    determinant: float

    def __str__(self):
        scales = " x ".join(f"{abs(scale):.2f}" for scale in self.scales)
        text = (
            f"turned by {self.angle_degrees:.1f} degrees, centre shifted by "
            f"{self.shift_mm:.1f} mm, scaled by {scales}"
        )
        shear = max(map(abs, self.shears))
        if shear >= _MIN_SHEAR:
            text += f", sheared by up to {shear:.2f}"
        mirrored = [a for a, scale in zip("xyz", self.scales) if scale < 0]
        return f"{text}, mirrored along {mirrored[0]}" if mirrored else text


def describe_affine(affine, center):
    """Return the rotation, the shift, the scales and the shears of an affine.

    Parameters
    ----------
    affine : ndarray, shape (ndim + 1, ndim + 1)
        From static to moving world coordinates in mm, in 2D or 3D, as
        :func:`~dipy_nn_reg.mapping.grid.prealign_of` returns it.
    center : array-like, shape (ndim,)
        World coordinates of the centre of the static image, whose shift is measured.

    Returns
    -------
    summary : AffineSummary

    Raises
    ------
    ValueError
        If the affine is invalid, or if the centre is not ``ndim`` finite numbers.

    Examples
    --------
    >>> print(describe_affine(np.diag([1.1, 1, 1, 1]), [0, 0, 0]))
    turned by 0.0 degrees, centre shifted by 0.0 mm, scaled by 1.10 x 1.00 x 1.00
    """
    ndim = 2 if as_array("affine", affine).shape == (3, 3) else 3
    affine = check_affine(affine, name="affine", ndim=ndim)
    center = _check_center(center, ndim)
    orthogonal, stretch = polar(affine[:-1, :-1])
    signs = np.ones(ndim)
    if np.linalg.det(orthogonal) < 0:
        # The larger the trace of the rotation that is left, the smaller its angle.
        signs[np.argmin(np.diag(orthogonal))] = -1
    rotation = np.eye(3)
    rotation[:ndim, :ndim] = orthogonal * signs
    lengths = np.diag(stretch)
    shears = (stretch / np.sqrt(np.outer(lengths, lengths)))[np.triu_indices(ndim, 1)]
    return AffineSummary(
        angle_degrees=float(np.rad2deg(Rotation.from_matrix(rotation).magnitude())),
        shift_mm=float(np.linalg.norm(apply_affine(affine, center) - center)),
        scales=tuple((signs * lengths).tolist()),
        shears=tuple(shears.tolist()),
        determinant=float(np.linalg.det(affine[:-1, :-1])),
    )


def _check_center(center, ndim):
    array = as_array("center", center)
    is_point = array.shape == (ndim,) and array.dtype.kind in "biuf"
    if not is_point or not np.all(np.isfinite(array)):
        raise ValueError(
            f"Expected a center of {ndim} finite numbers. Received center={center!r}."
        )
    return array.astype(np.float64)
