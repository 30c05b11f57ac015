"""B-vectors of series that a command moves: found, checked and turned."""

from dipy.io.utils import split_filename_extension
import numpy as np

from dipy_nn_reg.io.gradients import unit_vectors
from dipy_nn_reg.io.points import read_bvecs
from dipy_nn_reg.io.whole_images import load_header
from dipy_nn_reg.mapping.bvecs import rotate_bvecs
from dipy_nn_reg.text import printable
from dipy_nn_reg.workflows.paths import find_inputs


def beside(path, ending):
    """Return the file of the same name with another ending, which may not exist."""
    return path.with_name(split_filename_extension(path.name)[0] + ending)


def find_bvecs(series, bvecs):
    """Return the file with the b-vectors of each series; None for one that has none.

    Parameters
    ----------
    series : list of Path
    bvecs : string or Path, or list of these, or None
        One for each series. By default the file beside it of the same name that ends
        with ``.bvec``.

    Returns
    -------
    paths : list of Path or None

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If their numbers differ.
    """
    if bvecs is None:
        found = [beside(path, ".bvec") for path in series]
        return [path if path.is_file() else None for path in found]
    paths = find_inputs(bvecs)
    if len(paths) != len(series):
        raise ValueError(
            f"Expected a file of bvecs for each of series_files. Received {len(paths)} "
            f"for {len(series)}."
        )
    return paths


def read_bvecs_of(series, path):
    """Read the b-vectors of a series, without its volumes.

    Parameters
    ----------
    series, path : Path

    Returns
    -------
    vectors : ndarray, shape (volumes, 3)

    Raises
    ------
    ValueError
        If there are no three rows or columns of finite numbers, not one vector for
        each volume, or vectors that are neither 0 nor of length 1.
    """
    vectors, shape = read_bvecs(path), load_header(series).shape
    if len(vectors) != (shape[3] if len(shape) > 3 else 1):
        raise ValueError(
            f"Expected a b-vector for each volume of {printable(series)}, of shape "
            f"{shape}. Received {len(vectors)} in {printable(path)}."
        )
    if not np.all(np.isfinite(vectors)):
        raise ValueError(
            f"Expected finite b-vectors. Received {printable(path)} with values that "
            f"are not."
        )
    unit_vectors(vectors, f" in {printable(path)}")
    return vectors


def write_bvecs_after(motion, path, vectors, affine):
    """Write the b-vectors of a series that a motion has moved.

    Parameters
    ----------
    motion : ndarray, shape (4, 4), or None
        From voxels of the series, as it lies now, to those where it lay before.
    path : Path
    vectors : ndarray, shape (volumes, 3)
        As they were before.
    affine : ndarray, shape (4, 4)
        From voxels to world coordinates, of the series before and now.
    """
    if motion is not None:
        prealign = affine @ motion @ np.linalg.inv(affine)
        affines = {"moving_affine": affine, "static_affine": affine}
        vectors = rotate_bvecs(vectors, prealign=prealign, **affines)
    np.savetxt(path, vectors.T, fmt="%.8f")
