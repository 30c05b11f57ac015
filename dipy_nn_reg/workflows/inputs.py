"""Read what is not an image: affines, fields, points, streamlines."""

import csv
from pathlib import Path

from nibabel.streamlines.array_sequence import ArraySequence
import numpy as np

from dipy_nn_reg.field_files import load_field
from dipy_nn_reg.files import whole_file
from dipy_nn_reg.mapping import check_affine, lift_mapping

TRACTOGRAMS = (".tck", ".trk", ".trx")
POINTS = (".csv", ".txt")


def read_affine(path):
    """Read an affine of 4 x 4, as ``dipy_align_affine`` writes it."""
    return check_affine(_read_table(path, "an affine"), name=str(path), ndim=3)


def read_points(path):
    """Read points: three columns of world coordinates in mm, with a header or not.

    Returns
    -------
    points : ndarray, shape (n, 3)
    """
    points = _read_table(path, "points")
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(
            f"Expected three columns, x, y and z in mm. Received {str(path)!r} of "
            f"shape {points.shape}."
        )
    return points


def write_points(path, points):
    """Write points as comma-separated values."""
    with whole_file(path) as partial, open(partial, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow("xyz")
        writer.writerows([f"{value:.6f}" for value in point] for point in points)


def read_streamlines(path, reference):
    """Read a tractogram in world coordinates, streamlines outside of the box as well.

    Parameters
    ----------
    path : Path
    reference : nibabel.Nifti1Header or Path
        Any image, for the formats that do not name one.

    Returns
    -------
    tractogram : dipy.io.stateful_tractogram.StatefulTractogram
    """
    from dipy.io.streamline import load_tractogram

    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    try:
        tractogram = load_tractogram(
            str(path),
            "same" if Path(path).suffix != ".tck" else str(reference),
            bbox_valid_check=False,
        )
    except Exception as error:
        raise ValueError(
            f"Expected a tractogram. Received {str(path)!r}: {error}"
        ) from error
    if not tractogram or not len(tractogram.streamlines):
        raise ValueError(f"Expected streamlines. There are none in {str(path)!r}.")
    return tractogram


def write_streamlines(path, tractogram, points, reference):
    """Write a tractogram with other points, in the space of another image.

    Parameters
    ----------
    path : Path
    tractogram : dipy.io.stateful_tractogram.StatefulTractogram
        In world coordinates.
    points : ndarray, shape (n, 3)
        Of all streamlines, one after the other.
    reference : Path
        The image in whose space they are.

    Returns
    -------
    outside : int
        How many points lie outside of that image.
    """
    from dipy.io.stateful_tractogram import Space, StatefulTractogram
    from dipy.io.streamline import save_tractogram

    old = tractogram.streamlines
    lengths = [len(streamline) for streamline in old]
    moved = ArraySequence(np.split(points.astype(np.float32), np.cumsum(lengths)[:-1]))
    moved = StatefulTractogram(
        moved,
        str(reference),
        Space.RASMM,
        data_per_point=tractogram.data_per_point,
        data_per_streamline=tractogram.data_per_streamline,
    )
    with whole_file(path) as partial:
        save_tractogram(moved, str(partial), bbox_valid_check=False)
    moved.to_vox()
    moved.to_corner()
    voxels = moved.streamlines.get_data()
    inside = np.all((voxels >= 0) & (voxels <= moved.dimensions), axis=1)
    return int(np.sum(~inside))


def read_map(path, static, moving):
    """Read a field between two images.

    Parameters
    ----------
    path : Path
    static, moving : dipy_nn_reg.nifti.Image

    Returns
    -------
    mapping : dipy.align.imwarp.DiffeomorphicMap

    Raises
    ------
    ValueError
        If it is not on the grid of the static image.
    """
    mapping = load_field(
        path, moving_shape=moving.data.shape, moving_affine=moving.affine
    )
    mapping = lift_mapping(mapping) if mapping.dim == 2 else mapping
    shape = tuple(int(n) for n in mapping.codomain_shape)
    if shape != static.data.shape:
        raise ValueError(
            f"Expected the field on the grid of the static image, of size "
            f"{static.data.shape}. Received {str(path)!r} of size {shape}."
        )
    return mapping


def _read_table(path, what):
    """Read rows of numbers; a first line of words is passed over."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    lines = Path(path).read_text(errors="replace").replace(",", " ").splitlines()
    rows = [line.split() for line in lines if line.strip() and line[0] != "#"]
    if rows and not any(_is_number(word) for word in rows[0]):
        rows = rows[1:]
    try:
        return np.array([[float(word) for word in row] for row in rows])
    except ValueError as error:
        raise ValueError(
            f"Expected {what}, numbers in columns. Received {str(path)!r}: {error}"
        ) from error


def _is_number(word):
    try:
        float(word)
    except ValueError:
        return False
    return True
