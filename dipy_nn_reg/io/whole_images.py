"""Images as nibabel reads them, but to the end of the file and no larger than it.

nibabel stops at the last voxel. The checksum of a gzip stream comes after it: unless it
is read, a flipped byte gives other voxels without a word.
"""

import bz2
from contextlib import ExitStack
import gzip
from math import prod
from pathlib import Path

import nibabel as nib
from nibabel.analyze import AnalyzeImage
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.freesurfer import MGHImage
from nibabel.openers import Opener
from nibabel.spatialimages import SpatialImage
import numpy as np

# DEFLATE writes no more than this for a byte of its stream.
_MAX_DEFLATE = 1032
_CHUNK = 1 << 20
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
        If nibabel cannot open it, or its header asks for more than the file holds.
    """
    try:
        file = nib.load(path)
        if not isinstance(file, SpatialImage):
            raise ImageFileError(f"{type(file).__name__} is no image in space")
        shape, offset = tuple(file.shape), getattr(file.dataobj, "offset", 0)
    except MemoryError:
        raise
    except Exception as error:  # A damaged header ends anywhere in nibabel.
        raise ValueError(
            f"Expected a NIfTI image. Received {str(path)!r}: {_describe(error)}"
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
        What to call it in an error.

    Returns
    -------
    data : ndarray

    Raises
    ------
    ValueError
        If a file is cut short, or its checksum is another.
    """
    compressed = {
        key: holder.filename
        for key, holder in file.file_map.items()
        if _is_compressed(holder.filename) and Path(holder.filename).is_file()
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
    """Tell whether the voxels are one block of the file."""
    return isinstance(file, (AnalyzeImage, MGHImage))


def _is_compressed(name):
    return name is not None and str(name).lower().endswith((*_GZIP, ".bz2", ".zst"))


def _open(name):
    if str(name).lower().endswith(_GZIP):
        return gzip.open(name)
    return bz2.open(name) if str(name).lower().endswith(".bz2") else Opener(str(name))


def _read_on(stream):
    """Read a stream to its end, and return how many bytes that were."""
    length = 0
    while chunk := stream.read(_CHUNK):
        length += len(chunk)
    return length


def _check_length(file, needed, path):
    """Compare a header with the size of its file, before memory is taken."""
    name = Path(file.file_map["image"].filename)
    there = name.stat().st_size
    if str(name).lower().endswith(_GZIP):
        there *= _MAX_DEFLATE
    elif _is_compressed(name):
        try:
            with _open(name) as stream:
                there = _read_on(stream)
        except Exception as error:
            raise ValueError(
                f"Expected a whole image. {str(path)!r} is cut short or damaged: "
                f"{_describe(error)}"
            ) from error
    if there < needed:
        raise ValueError(
            f"Expected a whole image. {str(path)!r} is cut short or damaged: its "
            f"header asks for {needed} bytes, and the file holds {there} at most."
        )


def _describe(error):
    """Return what an error says, and its name where that alone says little."""
    text = str(error)
    return text if isinstance(error, (OSError, ValueError)) and text else repr(error)
