"""Pictures, in PNG, JPEG and TIFF files, as images of one slice.

Pillow reads them: it is installed with Matplotlib, and reads grey values of 1 to 32
bits, floats, and each usual compression of TIFF. Other readers, such as ``tifffile``,
need further packages for compressed files, and know neither PNG nor JPEG.

The first axis of an image is the column of a picture, and the second axis its row, from
the top. They lead to the left and to the back, which are ITK's x and y: ITK and ANTs
place a picture in the same way.
"""

from pathlib import Path
import warnings

from dipy.utils.logging import logger
import numpy as np
from PIL import Image, ImageOps

from dipy_nn_reg.io.atomic import whole_file
from dipy_nn_reg.io.colours import RGB
from dipy_nn_reg.io.nifti_header import header_class

# Endings of the names of pictures, and of those that are written: JPEG loses details.
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
WRITABLE_PICTURES = (".png", ".tif", ".tiff")
_FORMATS = ("PNG", "JPEG", "TIFF")
# Pillow's modes of one number a pixel, and of colours, transparent or from a palette.
_GREY = ("1", "L", "I;16", "I;16B", "I;16L", "I", "F")
_COLOURS = ("RGB", "RGBA", "RGBX", "P", "PA", "LA")
# White of PNG in 16 bits.
_WHITE = 65535
# Largest size in mm of a pixel that comes from a microscope: 1000 pixels per inch. The
# resolution of other pictures is a hint for printers.
_MAX_PIXEL = 0.0254
# Types of numbers that a format holds.
_TYPES = {
    ".png": (np.uint8, np.uint16),
    ".tif": (np.uint8, np.uint16, np.int32, np.float32),
}
# TIFF's tags of the orientation and the kind of numbers.
_ORIENTATION, _SAMPLES = 274, 339


def is_picture(path):
    """Return whether a name has the ending of a picture, in any case."""
    return Path(path).suffix.lower() in PICTURE_ENDINGS


def read_picture(path):
    """Read a picture as an image of one slice.

    Parameters
    ----------
    path : Path

    Returns
    -------
    data : ndarray, shape (columns, rows, 1)
        Numbers of the type of the file, or colours of type :data:`RGB`. The picture is
        as viewers show it, with its EXIF orientation; transparent pixels are white.
    affine : ndarray, shape (4, 4)
    header : nibabel.Nifti1Header
        Of two axes. Its code of the sform is 0 if the file does not say how large a
        pixel is, which then counts as 1 mm.

    Raises
    ------
    ValueError
        If Pillow cannot read the file, or if it holds several pictures or other colours
        than red, green and blue.
    """
    try:
        with warnings.catch_warnings():
            # Many pixels, which is usual for sections; far more are refused below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            # A stream, since Pillow does not turn each TIFF that it opens by its name.
            with open(path, "rb") as stream:
                pixels, sizes = _read(stream, path)
    except (MemoryError, _Refused):
        raise
    except Exception as error:  # A damaged file may fail anywhere in Pillow.
        raise ValueError(
            f"Expected a whole picture of at most {2 * Image.MAX_IMAGE_PIXELS} pixels, "
            f"in PNG, JPEG or TIFF. Received {str(path)!r}: {error}"
        ) from error
    data = np.ascontiguousarray(np.swapaxes(pixels, 0, 1))[:, :, None]
    if data.ndim == 4:
        data = data.view(RGB)[..., 0]
    affine = _affine(sizes or (1.0, 1.0))
    return data, affine, _header(data.shape[:2], affine, sizes)


def write_picture(path, data, affine):
    """Write an image of one slice as a picture, whole or not at all.

    Parameters
    ----------
    path : string or Path
        Ends with ``.png``, ``.tif`` or ``.tiff``.
    data : ndarray, shape (columns, rows, 1) or (columns, rows, 1, 3)
        Of a type for which :func:`check_picture` raises no error.
    affine : ndarray, shape (4, 4)
        A picture has no place in the world: if this is not the affine of one, a warning
        is logged. Pixels as small as those of a microscope are stored in a TIFF.
    """
    check_picture(path, data.shape[:3], data.dtype)
    rows = np.swapaxes(data[:, :, 0], 0, 1)
    rows = np.ascontiguousarray(rows.astype(_stored_type(path, data.dtype)))
    picture, options = Image.fromarray(rows), {}
    sizes = np.linalg.norm(affine[:3, :2], axis=0)
    is_tiff = _kind(path) == ".tif"
    if is_tiff and sizes.max() <= _MAX_PIXEL:
        options["dpi"] = tuple(25.4 / size for size in sizes)
    if not np.allclose(affine, _affine(sizes if options else (1.0, 1.0)), atol=1e-6):
        logger.warning(
            f"{Path(path).name} is a picture, which does not say where it is or how "
            f"large its pixels are. Write NIfTI to keep this."
        )
    with whole_file(path) as partial:
        picture.save(partial, format="TIFF" if is_tiff else "PNG", **options)


def check_picture(path, shape, dtype):
    """Raise ValueError unless a picture can hold an image.

    Parameters
    ----------
    path : string or Path
        Ends with ``.png``, ``.tif`` or ``.tiff``.
    shape : tuple of int, length 3
    dtype : numpy.dtype
    """
    if len(shape) != 3 or shape[2] != 1:
        raise ValueError(
            f"Expected an image of one slice, of shape (x, y, 1), for a picture. "
            f"Received a shape of {tuple(shape)} for {str(path)!r}."
        )
    _stored_type(path, dtype)


class _Refused(ValueError):
    """Error of a picture that Pillow reads, and this package does not."""


def _read(stream, path):
    """Return pixels of shape (rows, columns) or (rows, columns, 3), and their sizes."""
    with Image.open(stream, formats=_FORMATS) as file:
        _check_kind(file, path)
        sizes = _pixel_sizes(file)
        return _read_pixels(file), sizes


def _check_kind(file, path):
    pages = getattr(file, "n_frames", 1)
    # MPO is JPEG of a camera, with small copies behind the picture.
    if pages > 1 and file.format != "MPO":
        raise _Refused(
            f"Expected one picture. Received {str(path)!r} with {pages} pages. Save "
            f"one page, or a stack as NIfTI, which says how far apart its slices are."
        )
    if file.mode not in (*_GREY, *_COLOURS):
        raise _Refused(
            f"Expected grey values, or red, green and blue. Received {str(path)!r} of "
            f"mode {file.mode}. Convert it to RGB."
        )
    if file.mode in _COLOURS and any(";16" in str(tile) for tile in file.tile):
        logger.warning(
            f"The colours of {path} have 16 bits. They are read with 8 bits."
        )


def _read_pixels(file):
    samples = None
    if file.format == "TIFF":
        samples = file.tag_v2.get(_SAMPLES, (1,))
        samples = samples if isinstance(samples, int) else samples[0]
    picture = ImageOps.exif_transpose(file)
    transparent = picture.info.get("transparency")
    # Pillow would make grey values of 16 bits ones of 8 bits, all white.
    is_wide = picture.mode in _GREY and picture.mode not in ("1", "L")
    if picture.mode in _GREY and (transparent is None or is_wide):
        picture = picture.convert("L") if picture.mode == "1" else picture
        pixels = np.asarray(picture)
        # Pillow takes these numbers for others of the same size.
        kinds = {("I", 1): np.uint32, ("L", 2): np.int8}
        pixels = pixels.view(kinds.get((picture.mode, samples), pixels.dtype))
        pixels = pixels.astype(pixels.dtype.newbyteorder("="))
        if transparent is not None:
            pixels[pixels == transparent] = _WHITE
        return pixels
    is_opaque = picture.mode in ("RGB", "RGBX") and "transparency" not in picture.info
    if is_opaque:
        return np.asarray(picture.convert("RGB"))
    is_grey = picture.mode in (*_GREY, "LA")
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    pixels = np.asarray(Image.alpha_composite(white, picture).convert("RGB"))
    return pixels[..., 0] if is_grey else pixels


def _pixel_sizes(file):
    """Return the width and height of a pixel in mm, or None if they are not known."""
    if file.format != "TIFF" or "dpi" not in file.info:
        return None
    sizes = 25.4 / np.array(file.info["dpi"], float).clip(1e-6)
    if file.tag_v2.get(_ORIENTATION, 1) > 4:
        sizes = sizes[::-1]
    return tuple(map(float, sizes)) if sizes.max() <= _MAX_PIXEL else None


def _affine(sizes):
    return np.diag([-sizes[0], -sizes[1], min(sizes), 1.0])


def _header(shape, affine, sizes):
    header = header_class(shape)()
    header.set_data_shape(shape)
    header.set_xyzt_units("mm")
    header.set_sform(affine, "scanner" if sizes else "unknown")
    header.set_qform(affine, "scanner" if sizes else "unknown")
    return header


def _kind(path):
    return ".png" if Path(path).suffix.lower() == ".png" else ".tif"


def _stored_type(path, dtype):
    """Return the type of the numbers in a file, or raise ValueError without one."""
    dtype = np.dtype(dtype)
    types = _TYPES[_kind(path)]
    wanted = np.dtype(np.float32) if dtype == np.float64 else dtype
    for one in types:
        if np.can_cast(wanted, one, "safe"):
            return one
    names = ", ".join(np.dtype(one).name for one in types)
    raise ValueError(
        f"Expected values of a type that the file can hold: {names}. Received "
        f"{dtype.name} for {str(path)!r}. NIfTI holds all types."
    )
