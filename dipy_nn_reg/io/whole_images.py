"""Reading of images with nibabel, with a check of their size and checksum.

nibabel stops at the last voxel. The checksum of a gzip stream comes after it: unless it
is read, a flipped byte silently changes voxels.
"""

import bz2
from contextlib import ExitStack
from math import prod
from pathlib import Path

from isal import igzip
import nibabel as nib
from nibabel.analyze import AnalyzeImage
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.freesurfer import MGHImage
from nibabel.openers import Opener
from nibabel.spatialimages import SpatialImage
import numpy as np

# Largest number of bytes that one byte of a DEFLATE stream expands to.
_MAX_DEFLATE = 1032
# Number of bytes that are read at a time.
_CHUNK = 1 << 20
# Endings of the names of files in gzip format.
_GZIP = (".gz", ".mgz")


def load_header(path):
    """Open an image without reading its voxels.

    Parameters
    ----------
    path : Path

    Returns
    -------
    file : nibabel.spatialimages.SpatialImage

    Raises
    ------
    ValueError
        If nibabel cannot open the file, or its header asks for more bytes than it has.
    """
    try:
        file = nib.load(path)
        if not isinstance(file, SpatialImage):
            raise ImageFileError(f"{type(file).__name__} is no image in space")
        shape, offset = tuple(file.shape), getattr(file.dataobj, "offset", 0)
    except MemoryError:
        raise
    except Exception as error:  # A damaged header may fail anywhere in nibabel.
        raise ValueError(
            f"Expected a NIfTI image, or a picture (PNG, JPEG or TIFF). Received "
            f"{str(path)!r}: {_describe(error)}"
        ) from error
    if not shape or min(shape) < 1 or offset < 0:
        raise ValueError(
            f"Expected an image with voxels. Received {str(path)!r} with a header of "
            f"shape {shape} and voxels from byte {offset}."
        )
    if _is_plain(file):
        _check_length(file, offset + prod(shape) * file.dataobj.dtype.itemsize, path)
    return file


def read_voxels(file, path):
    """Read all voxels of an image, and the file to its end.

    Parameters
    ----------
    file : nibabel.spatialimages.SpatialImage
        As :func:`load_header` returns it.
    path : Path
        Name of the file in an error.

    Returns
    -------
    data : ndarray

    Raises
    ------
    ValueError
        If a file is cut short, or its checksum is wrong.
    """
    compressed = {
        key: holder.filename
        for key, holder in file.file_map.items()
        # Voxels in memory may differ from those in the file.
        if nib.is_proxy(file.dataobj)
        and _is_compressed(holder.filename)
        and Path(holder.filename).is_file()
    }
    try:
        with ExitStack() as stack:
            streams = {
                key: stack.enter_context(_open(name))
                for key, name in compressed.items()
            }
            if _is_plain(file) and streams:
                holders = {k: FileHolder(fileobj=s) for k, s in streams.items()}
                file = type(file).from_file_map({**file.file_map, **holders})
            data = np.asanyarray(file.dataobj)
            for stream in streams.values():
                _read_on(stream)
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(
            f"Expected a whole image. {str(path)!r} is cut short or damaged: "
            f"{_describe(error)}"
        ) from error
    return data


def _is_plain(file):
    """Return whether the voxels are stored as one block."""
    return isinstance(file, (AnalyzeImage, MGHImage))


def _is_compressed(name):
    return name is not None and str(name).lower().endswith((*_GZIP, ".bz2", ".zst"))


def _open(name):
    if str(name).lower().endswith(_GZIP):
        return igzip.open(name)
    return bz2.open(name) if str(name).lower().endswith(".bz2") else Opener(str(name))


def _read_on(stream):
    """Read a stream to its end, and return the number of bytes."""
    length = 0
    while chunk := stream.read(_CHUNK):
        length += len(chunk)
    return length


def _check_length(file, needed, path):
    """Raise ValueError if a file is too small for its header, using little memory."""
    name = Path(file.file_map["image"].filename)
    available = name.stat().st_size
    if str(name).lower().endswith(_GZIP):
        available *= _MAX_DEFLATE
    elif _is_compressed(name):
        try:
            with _open(name) as stream:
                available = _read_on(stream)
        except Exception as error:
            raise ValueError(
                f"Expected a whole image. {str(path)!r} is cut short or damaged: "
                f"{_describe(error)}"
            ) from error
    if available < needed:
        raise ValueError(
            f"Expected a whole image. {str(path)!r} is cut short or damaged: its "
            f"header asks for {needed} bytes, and the file holds {available} at most."
        )


def _describe(error):
    """Return the message of an error, or its repr if the message alone says little."""
    text = str(error)
    return text if isinstance(error, (OSError, ValueError)) and text else repr(error)
