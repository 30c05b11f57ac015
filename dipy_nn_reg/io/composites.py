"""Maps in composite transforms of ITK, which hold an affine and a field in one file."""

from functools import reduce

from nibabel.affines import apply_affine
import numpy as np

from dipy_nn_reg.io.field_headers import SIGNATURE, About, about_of
from dipy_nn_reg.io.itk_hdf5 import ItkField, read_transforms, write_transforms
from dipy_nn_reg.io.point_maps import map_of_points, moving_grid_beside
from dipy_nn_reg.mapping.affines import grid_points
from dipy_nn_reg.mapping.grid import Grid, moving_grid, prealign_of, static_grid
from dipy_nn_reg.mapping.maps import displacement_of

# Name of the format.
_FORMAT = "itk_h5"


def save_composite(path, mapping):
    """Write a map as its field and, if there is one, its prealignment.

    Parameters
    ----------
    path : string or Path
    mapping : dipy.align.imwarp.DiffeomorphicMap
        Of finite values.
    """
    ndim, static, moving = mapping.dim, static_grid(mapping), moving_grid(mapping)
    turn, prealign = _to_lps(ndim), prealign_of(mapping)
    linear = (turn @ static.affine)[:ndim, :ndim]
    vectors = (displacement_of(mapping) @ linear.T).astype(np.float32)
    transforms = [ItkField(vectors, turn @ static.affine)]
    if not np.array_equal(prealign, np.eye(ndim + 1)):
        transforms.append(turn @ prealign @ turn)
    about = About(_FORMAT, ndim, moving.shape, moving.affine, prealign)
    write_transforms(path, transforms, {SIGNATURE: about.to_json()})


def load_composite(path, *, moving_shape=None, moving_affine=None, prealign=None):
    """Read a map from a file of ITK, ANTs, fMRIPrep or this package.

    The static grid is that of the field which a point passes first. If affines come
    before it, they bring the static grid to that of the field.

    Parameters
    ----------
    path : string or Path
    moving_shape : tuple of int, optional
    moving_affine, prealign : ndarray, shape (ndim + 1, ndim + 1), optional
        As :func:`~dipy_nn_reg.io.fields.load_mapping` takes them. The prealignment is
        that of the file by default: all of its affines, one after the other.

    Returns
    -------
    mapping : dipy.align.imwarp.DiffeomorphicMap

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no transform of ITK that can be read, or has no field.
    """
    transforms, text = read_transforms(path, SIGNATURE)
    first = next((i for i, t in enumerate(transforms) if isinstance(t, ItkField)), None)
    if first is None:
        raise ValueError(
            f"Expected a transform with a displacement field. There is no field in "
            f"{str(path)!r}: write its affine to a text file of 4 x 4 (.txt, static to "
            f"moving, RAS+), which the commands take as well, also as --prealign."
        )
    field = transforms[first]
    ndim = field.vectors.shape[-1]
    turn = _to_lps(ndim)
    before = np.linalg.inv(_product(transforms[:first], ndim))
    static = Grid(field.vectors.shape[:-1], turn @ before @ field.affine)
    moved = grid_points(static.shape, field.affine) + field.vectors.reshape(-1, ndim)
    for transform in transforms[first + 1 :]:
        moved = _apply(transform, moved)
    if text is not None:
        about = _about(text, path, ndim)
        moving_shape, moving_affine = about.moving_shape, about.moving_affine
    if text is not None or prealign is None:
        affines = [t for t in transforms if not isinstance(t, ItkField)]
        prealign = turn @ _product(affines, ndim) @ turn
    grid = moving_grid_beside(static.affine, moving_shape, moving_affine)
    moved = apply_affine(turn, moved)
    return map_of_points(static, moved, path, prealign=prealign, **grid)


def _to_lps(ndim):
    """Return the affine from RAS+ to LPS+, which is its own inverse."""
    return np.diag([-1.0, -1, 1, 1])[[*range(ndim), 3]][:, [*range(ndim), 3]]


def _product(affines, ndim):
    """Return the affine that applies some one after the other."""
    return reduce(lambda done, affine: affine @ done, affines, np.eye(ndim + 1))


def _about(text, path, ndim):
    about = about_of(text, path, [_FORMAT])
    if about.ndim != ndim:
        raise ValueError(
            f"Expected a moving grid of {ndim} axes, as the field. Received "
            f"{str(path)!r}, which says that it has {about.ndim}."
        )
    return about


def _apply(transform, points):
    """Return where an affine or a field takes points; ITK's fields end at the border.

    Parameters
    ----------
    transform : ndarray or ItkField
    points : ndarray, shape (n, ndim)
        In mm (LPS+).

    Returns
    -------
    moved : ndarray, shape (n, ndim)
    """
    from scipy.ndimage import map_coordinates

    if not isinstance(transform, ItkField):
        return apply_affine(transform, points)
    voxels = apply_affine(np.linalg.inv(transform.affine), points)
    last = np.array(transform.vectors.shape[:-1]) - 0.5
    inside = np.all((voxels >= -0.5) & (voxels <= last), axis=1)
    places, moved = voxels[inside].T, points.copy()
    for axis in range(points.shape[1]):
        values = transform.vectors[..., axis].astype(np.float64)
        moved[inside, axis] += map_coordinates(values, places, order=1, mode="nearest")
    return moved
