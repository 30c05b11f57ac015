"""Affines, b-vectors and streamlines in files, and maps beside their images."""

from pathlib import Path

from nibabel.streamlines.array_sequence import ArraySequence
import numpy as np

from dipy_nn_reg.checks import check_path
from dipy_nn_reg.io.atomic import whole_file
from dipy_nn_reg.io.fields import load_mapping, save_mapping
from dipy_nn_reg.io.nifti import Image
from dipy_nn_reg.io.nifti_header import corner_distance, header_class
from dipy_nn_reg.io.point_tables import check_finite
from dipy_nn_reg.io.tables import read_numbers
from dipy_nn_reg.mapping.affines import check_affine
from dipy_nn_reg.mapping.grid import static_grid
from dipy_nn_reg.mapping.maps import flatten_mapping, lift_mapping

# Endings of the names of tractograms.
TRACTOGRAMS = (".tck", ".trk", ".trx")
# Largest distance in voxels between the grid of a field and that of its static image.
_MAX_DISTANCE = 0.1


def read_affine(path):
    """Read an affine of 4 x 4, as ``dipy_align_affine`` writes it."""
    return check_affine(read_numbers(path, "an affine"), name=str(path), ndim=3)


def read_bvecs(path):
    """Read b-vectors from three rows, as FSL writes them, or from three columns.

    A table of 3 x 3 is read as three rows.

    Parameters
    ----------
    path : string or Path
        A text file, or one of NumPy with the ending ``.npy``.

    Returns
    -------
    bvecs : ndarray, shape (n, 3)
        Vectors of NaN alone, which FSL has for volumes without weighting, are 0.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If there are no three rows or columns of numbers.
    """
    if Path(path).suffix.lower() == ".npy" and Path(path).is_file():
        try:
            bvecs = np.atleast_2d(np.load(path)).astype(np.float64)
        except (OSError, EOFError, ValueError, TypeError) as error:
            raise ValueError(
                f"Expected b-vectors. Received {str(path)!r}: {error}"
            ) from error
    else:
        bvecs = read_numbers(path, "b-vectors")
    if bvecs.ndim != 2 or 3 not in bvecs.shape:
        raise ValueError(
            f"Expected b-vectors of three rows or columns. Received {str(path)!r} of "
            f"shape {bvecs.shape}."
        )
    bvecs = bvecs.T if bvecs.shape[0] == 3 else bvecs
    return np.where(np.isnan(bvecs).all(axis=1, keepdims=True), 0, bvecs)


def read_streamlines(path, reference):
    """Read a tractogram in world coordinates, also streamlines outside of its image.

    Parameters
    ----------
    path : Path
    reference : dipy_nn_reg.io.nifti.Image or Path
        Any image, for formats that do not store the grid of one.

    Returns
    -------
    tractogram : dipy.io.stateful_tractogram.StatefulTractogram

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read, if it is empty, or if a point is not finite.
    """
    from dipy.io.streamline import load_tractogram

    path = check_path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    try:
        with np.errstate(invalid="ignore"):  # points that are not finite
            tractogram = load_tractogram(
                str(path),
                "same" if path.suffix.lower() != ".tck" else _as_reference(reference),
                bbox_valid_check=False,
            )
    except Exception as error:
        raise ValueError(
            f"Expected a tractogram. Received {str(path)!r}: {error}"
        ) from error
    if tractogram is False:
        raise ValueError(
            f"Expected an ending in lower case, as DIPY reads it. Received "
            f"{str(path)!r}."
        )
    if not len(tractogram.streamlines):
        raise ValueError(f"Expected streamlines. There are none in {str(path)!r}.")
    check_finite(tractogram.streamlines.get_data(), path)
    return tractogram


def write_streamlines(path, tractogram, points, reference, *, source=None):
    """Write a tractogram with other points, in the space of another image.

    Parameters
    ----------
    path : Path
    tractogram : dipy.io.stateful_tractogram.StatefulTractogram
        In world coordinates.
    points : ndarray, shape (n, 3)
        New points of all streamlines, one streamline after the other.
    reference : dipy_nn_reg.io.nifti.Image or Path
        The image in whose space the points are.
    source : Path, optional
        File of the tractogram. Of one TRX file to another, groups of streamlines are
        carried over, which the tractogram does not hold.

    Returns
    -------
    outside : int
        Number of points outside of that image.
    """
    from dipy.io.stateful_tractogram import Space, StatefulTractogram
    from dipy.io.streamline import save_tractogram

    old = tractogram.streamlines
    lengths = [len(streamline) for streamline in old]
    moved = ArraySequence(np.split(points.astype(np.float32), np.cumsum(lengths)[:-1]))
    moved = StatefulTractogram(
        moved,
        _as_reference(reference),
        Space.RASMM,
        data_per_point=tractogram.data_per_point,
        data_per_streamline=tractogram.data_per_streamline,
    )
    with whole_file(path) as partial:
        save_tractogram(moved, str(partial), bbox_valid_check=False)
        if source and {source.suffix.lower(), path.suffix.lower()} == {".trx"}:
            _copy_groups(source, partial)
    moved.to_vox()
    moved.to_corner()
    voxels = moved.streamlines.get_data()
    inside = np.all((voxels >= 0) & (voxels <= moved.dimensions), axis=1)
    return int(np.sum(~inside))


def _copy_groups(source, path):
    """Copy the groups of a TRX file, and their data, to another one."""
    from trx import trx_file_memmap as trx

    old = trx.load(str(source))
    if old.groups:
        new = trx.load(str(path))
        new.groups, new.data_per_group = dict(old.groups), dict(old.data_per_group)
        trx.save(new, str(path))
        new.close()
    old.close()


def read_map(path, static, moving, *, absolute=False):
    """Read the map between two images.

    Parameters
    ----------
    path : Path
    static, moving : dipy_nn_reg.io.nifti.Image
    absolute : bool, optional
        Read a warp of FSL as positions. By default its values decide.

    Returns
    -------
    mapping : dipy.align.imwarp.DiffeomorphicMap

    Raises
    ------
    ValueError
        If the field is not on the grid of the static image.
    """
    mapping = load_mapping(
        path,
        moving_shape=moving.data.shape[:3],
        moving_affine=moving.affine,
        moving_zooms=moving.zooms,
        absolute=absolute or None,
    )
    mapping = lift_mapping(mapping) if mapping.dim == 2 else mapping
    grid = static_grid(mapping)
    if grid.shape != static.grid.shape:
        raise ValueError(
            f"Expected the field on the grid of the static image, of size "
            f"{static.data.shape[:3]}. Received {str(path)!r} of size {grid.shape}."
        )
    distance = corner_distance(static.affine, grid.affine, grid.shape)
    if distance > _MAX_DISTANCE:
        raise ValueError(
            f"Expected the field on the grid of the static image, "
            f"{str(static.path)!r}. Received {str(path)!r} of that size, but up to "
            f"{distance:.3g} voxels away."
        )
    return mapping


def write_map(path, mapping, static, moving, *, format):
    """Write the map between two images, so that other programs can apply it to them.

    Parameters
    ----------
    path : Path
    mapping : dipy.align.imwarp.DiffeomorphicMap
    static, moving : dipy_nn_reg.io.nifti.Image
    format : str
        As :func:`~dipy_nn_reg.io.fields.save_mapping` takes it. For ITK, a field has
        two axes if both images have two axes in their files.
    """
    if format in ("itk", "itk_h5") and all(map(_is_flat, (static, moving))):
        mapping = flatten_mapping(mapping)
    zooms = {"static_zooms": static.zooms, "moving_zooms": moving.zooms}
    save_mapping(path, mapping, format=format, **zooms)


def _is_flat(image):
    """Return whether a file holds an image of two axes that lies in the x-y plane."""
    across = [*image.affine[:2, 2], *image.affine[2, :2]]
    return int(image.header["dim"][0]) == 2 and not np.any(across)


def _as_reference(image):
    """Return a path or a NIfTI header, from which DIPY reads a space of streamlines."""
    if not isinstance(image, Image):
        return str(image)
    header = header_class(image.data.shape)()
    header.set_data_shape(image.data.shape[:3])
    header.set_sform(image.affine, "scanner")
    header.set_qform(image.affine, "scanner")
    return header
