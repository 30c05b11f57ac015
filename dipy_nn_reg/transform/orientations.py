"""Orientations of fibres, which turn as a displacement turns the tissue.

The fibres in a voxel are described by an orientation tensor: the sum of the products
``d[i] * d[j]`` of their directions ``d``, of length 1, each weighted by its density.
Its trace is the whole density.
"""

from keras import ops

from dipy_nn_reg.backend import recomputed
from dipy_nn_reg.symmetric import ENTRIES, PLACES
from dipy_nn_reg.transform.smoothing import shifted

# Smallest density by which something is divided.
_TINY = 1e-6
# Most by which the density is corrected after the directions have moved.
_MOST = 10.0


@recomputed
def turn(tensors, displacement):
    """Turn orientation tensors that a displacement has warped, as the tissue turns.

    Parameters
    ----------
    tensors : tensor, shape (batch, x, y, z, 6)
        Those of a moving image after warping, along the axes of a grid of cubic voxels:
        xx, xy, yy, xz, yz and zz.
    displacement : tensor, shape (batch, x, y, z, 3)
        In voxels.

    Returns
    -------
    tensors : tensor, shape (batch, x, y, z, 6)
        Directions are moved by the inverse of the Jacobian matrix, by central
        differences, and the density of each voxel stays. Where all fibres of a voxel
        have one direction, this is preservation of principal direction
        :footcite:p:`Alexander2001`.

    References
    ----------
    .. footbibliography::
    """
    matrix = _inverse_jacobian(displacement)
    before = [[tensors[..., i] for i in row] for row in PLACES]
    after = _product(_product(matrix, before), list(zip(*matrix)))
    wanted, found = _trace(before), _trace(after)
    factor = ops.clip(wanted / ops.maximum(found, _TINY), 0.0, _MOST)
    return ops.stack([factor * after[i][j] for i, j in ENTRIES], axis=-1)


def _inverse_jacobian(displacement):
    """Return the rows of the inverse Jacobian matrix, multiplied by the determinant."""
    derivatives = [
        (shifted(displacement, axis, 1) - shifted(displacement, axis, -1)) / 2
        for axis in (1, 2, 3)
    ]
    jacobian = [
        [derivatives[column][..., row] + float(row == column) for column in range(3)]
        for row in range(3)
    ]
    return [[_cofactor(jacobian, i, j) for i in range(3)] for j in range(3)]


def _cofactor(rows, i, j):
    """Return a minor of a matrix of 3 x 3 with its sign."""
    (a, b), (c, d) = (
        [rows[k % 3][m % 3] for m in (j + 1, j + 2)] for k in (i + 1, i + 2)
    )
    return a * d - b * c


def _product(one, other):
    return [
        [sum(row[k] * other[k][j] for k in range(3)) for j in range(3)] for row in one
    ]


def _trace(rows):
    return sum(rows[i][i] for i in range(3))
