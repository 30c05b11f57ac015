"""Spherical harmonics of even order, whose functions a linear map moves.

A function on the sphere is a sum of lobes of one shape along many directions. The
directions move, the shape of the lobes stays :footcite:p:`Raffelt2012`. A rotation
moves the whole function exactly. Even harmonics up to an order L are, on the sphere,
the homogeneous polynomials of degree L: those are evaluated, and one matrix leads back
to the coefficients of whatever basis.

References
----------
.. footbibliography::
"""

from functools import cache
import warnings

import numpy as np
from numpy.polynomial.legendre import leggauss, legval

from dipy_nn_reg.checks import check_name

# For each name of a basis, that of DIPY and whether it is DIPY's legacy definition.
BASES = {
    "descoteaux07": ("descoteaux07", False),
    "descoteaux07_legacy": ("descoteaux07", True),
    "tournier07": ("tournier07", False),
    "tournier07_legacy": ("tournier07", True),
}
_ORTHONORMAL = "tournier07"
MAX_ORDER = 16
# Voxels that are treated at once: their arrays fit into the cache of a processor.
_AT_ONCE = 256
# Nodes of a quadrature that are added to those that the order itself needs, since moved
# directions bring in higher orders.
_MORE_NODES = 6


def order_of(number):
    """Return the even order of a number of coefficients, or raise ValueError.

    Parameters
    ----------
    number : int
        6, 15, 28, 45 ...
    """
    orders = {(n + 1) * (n + 2) // 2: n for n in range(2, MAX_ORDER + 1, 2)}
    if number not in orders:
        raise ValueError(
            f"Expected the coefficients of spherical harmonics of even order, "
            f"{', '.join(map(str, orders))} of them. Received {number}."
        )
    return orders[number]


def reorient_sh(coefficients, linear, *, basis, modulate=False):
    """Move the directions of functions on the sphere by linear maps.

    Parameters
    ----------
    coefficients : ndarray, shape (n, c)
        Spherical harmonics of even order up to 16.
    linear : ndarray, shape (n, 3, 3)
        That can be inverted. A direction d becomes that of ``linear @ d``.
    basis : str
        A name of :data:`BASES`: a basis of DIPY, in its present definition or, with
        ``_legacy``, in that which DIPY's functions use by default. "tournier07" is that
        of MRtrix3.
    modulate : bool, optional
        Scale each direction by ``|linear @ d| / |det(linear)|``, which keeps the total
        density of fibres across a bundle that widens or narrows
        :footcite:p:`Raffelt2012b`.

    Returns
    -------
    moved : ndarray of float32, shape (n, c)

    Raises
    ------
    ValueError
        If the number of coefficients or the basis is not one of those.

    References
    ----------
    .. footbibliography::
    """
    check_name("basis", basis, BASES)
    tables = _tables(order_of(coefficients.shape[-1]), basis)
    directions, to_weights, from_monomials, exponents = tables
    monomials = np.empty(coefficients.shape, np.float32)
    for start in range(0, len(coefficients), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        weights = coefficients[part].astype(np.float32) @ to_weights
        monomials[part] = _move(weights, linear[part], directions, exponents, modulate)
    return monomials @ from_monomials


def _move(weights, linear, directions, exponents, modulate):
    """Return the weighted sums of the monomials of moved directions, (voxels, c)."""
    # One array for each axis, (voxels, directions).
    moved = np.moveaxis(linear.astype(np.float32) @ directions.T, 1, 0)
    lengths = np.sqrt((moved**2).sum(axis=0))
    moved = moved / lengths
    if modulate:
        weights *= lengths / np.abs(np.linalg.det(linear))[:, None]
    monomials = np.empty((len(weights), len(exponents)), np.float32)
    powers = _powers(moved, exponents.max())
    for i, (a, b, c) in enumerate(exponents):
        products = powers[0][a] * powers[1][b]
        products *= powers[2][c]
        monomials[:, i] = np.einsum("ij,ij->i", products, weights)
    return monomials


def _powers(axes, highest):
    """Return the powers 0 to ``highest`` of the coordinates along each axis."""
    found = []
    for axis in axes:
        powers = [np.ones_like(axis)]
        for _ in range(highest):
            powers.append(powers[-1] * axis)
        found.append(powers)
    return found


@cache
def _tables(order, basis):
    """Return the directions, and matrices from and to the coefficients.

    Returns
    -------
    directions : ndarray, shape (d, 3)
        Half of the nodes of a quadrature of the sphere.
    to_weights : ndarray, shape (c, d)
        From coefficients to the weights of lobes along the directions.
    from_monomials : ndarray, shape (c, c)
        From sums of monomials of the moved directions to coefficients.
    exponents : ndarray of int, shape (c, 3)
    """
    directions, areas = quadrature(order + _MORE_NODES)
    lobe = _lobe(order)[_orders_of(order) // 2]
    harmonics = evaluate_basis(directions, order, _ORTHONORMAL)
    # The weights are a function on the sphere, from which the lobes make the other one.
    weights = harmonics * areas[:, None]
    gram = (weights.T @ harmonics) * lobe[:, None]
    to_weights = np.linalg.solve(gram.T, weights.T)
    exponents = _exponents(order)
    monomials = np.prod(directions[:, None] ** exponents, axis=-1)
    from_monomials = np.linalg.lstsq(monomials, harmonics, rcond=None)[0] * lobe
    named = evaluate_basis(directions, order, basis)
    change = np.linalg.lstsq(harmonics, named, rcond=None)[0].T
    arrays = (directions, change @ to_weights, from_monomials @ np.linalg.inv(change))
    return *(array.astype(np.float32) for array in arrays), exponents


def quadrature(number):
    """Return nodes of half a sphere, and the part of its area that each stands for.

    Gauss's nodes along the axis, equal angles around it: exact to the order
    ``2 * number - 1``.
    """
    number += number % 2
    heights, widths = leggauss(number)
    heights, widths = heights[number // 2 :], widths[number // 2 :]
    angles = np.arange(2 * number) * np.pi / number
    radius = np.sqrt(1 - heights**2)[:, None]
    nodes = np.stack(
        [
            radius * np.cos(angles),
            radius * np.sin(angles),
            np.repeat(heights[:, None], len(angles), axis=1),
        ],
        axis=-1,
    )
    areas = np.repeat(widths / len(angles), len(angles))
    return nodes.reshape(-1, 3), 4 * np.pi * areas


def _lobe(order):
    """Return what each even order of a direction is multiplied by in a lobe.

    It is the lobe that is nowhere negative and as narrow as can be: the square of a
    polynomial, of half the order, whose mean of the second Legendre polynomial is
    largest.
    """
    heights, widths = leggauss(2 * order + 2)

    def legendre(n):
        return legval(heights, [0] * n + [1])

    best = (-1.0, None)
    for parity in (0, 1):
        degrees = range(parity, order // 2 + 1, 2)
        if degrees:
            base = np.array([legendre(n) * np.sqrt(n + 0.5) for n in degrees])
            values, vectors = np.linalg.eigh((base * widths * legendre(2)) @ base.T)
            best = max(best, (values[-1], vectors[:, -1] @ base), key=lambda b: b[0])
    shape = best[1] ** 2 * widths
    means = [shape @ legendre(n) for n in range(0, order + 1, 2)]
    return np.array(means) / means[0]


def _orders_of(order):
    """Return the order of each coefficient."""
    return np.concatenate([np.full(2 * n + 1, n) for n in range(0, order + 1, 2)])


def _exponents(order):
    """Return the exponents of all monomials of a degree, shape (c, 3)."""
    return np.array(
        [(a, b, order - a - b) for a in range(order + 1) for b in range(order + 1 - a)]
    )


def evaluate_basis(directions, order, basis):
    """Return the values of a basis of DIPY, shape (d, c)."""
    from dipy.core.geometry import cart2sphere
    from dipy.reconst import shm

    name, is_legacy = BASES[basis]
    _, theta, phi = cart2sphere(*directions.T)
    with warnings.catch_warnings():  # the user has asked for a legacy basis by name
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return shm.sph_harm_lookup[name](order, theta, phi, legacy=is_legacy)[0]
