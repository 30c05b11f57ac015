"""Values of images: checks, treatment of NaN, and types that files can hold."""

from dipy.utils.logging import logger
import numpy as np

from dipy_nn_reg.checks import check_real
from dipy_nn_reg.intensities import replace_nan


def check_values(data, path, *, max_axes):
    """Return the values of an image with three axes or more.

    Parameters
    ----------
    data : ndarray
    path : Path
        Name of the file in an error.
    max_axes : {3, 4}

    Returns
    -------
    data : ndarray
        With a third axis of size 1 if there were two; axes of size 1 after the third
        are dropped. One volume is in NumPy's order in memory, not in that of files, so
        that images are read in one order, whatever they came from.

    Raises
    ------
    ValueError
        If there are more axes, or if values are infinite or not real numbers.
    """
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim == 2:
        data = data[..., None]
    if not 3 <= data.ndim <= max_axes:
        raise ValueError(
            f"Expected an image of {'3 or 4' if max_axes == 4 else '2 or 3'} axes. "
            f"Received {str(path)!r} of shape {data.shape}."
        )
    if data.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected real numbers. Received {str(path)!r} of type {data.dtype}."
        )
    if data.dtype.kind == "f" and np.any(np.isinf(data)):
        raise ValueError(
            f"Expected finite values. Received {str(path)!r} with infinite ones."
        )
    return np.ascontiguousarray(data) if data.ndim == 3 else data


def nan_to_background(data, path):
    """Replace NaN by the background of its volume, with a warning."""
    if data.ndim == 3:
        return replace_nan(data, name=str(path))
    if data.dtype.kind != "f" or not np.any(np.isnan(data)):
        return data
    volumes = [
        replace_nan(volume, name=f"volume {i} of {path}")
        for i, volume in enumerate(np.moveaxis(data, -1, 0))
    ]
    return np.stack(volumes, axis=-1)


def nan_to_zero(data, path):
    """Replace NaN by 0, with a warning."""
    missing = np.isnan(data)
    if not missing.any():
        return data
    logger.warning(
        f"{np.count_nonzero(missing)} of {data.size} values of {path} are NaN. They "
        f"count as 0."
    )
    return np.where(missing, data.dtype.type(0), data)


def to_integers(data, path):
    """Return floats as int64 or uint64, or raise ValueError if they do not fit."""
    if np.any(data != np.round(data)):
        raise ValueError(f"Expected a label map. {str(path)!r} holds fractions.")
    lowest, highest = float(data.min()), float(data.max())
    # 2**63 and 2**64 are floats, and the first values that would wrap around.
    if -(2.0**63) <= lowest and highest < 2.0**63:
        return data.astype(np.int64)
    if lowest >= 0 and highest < 2.0**64:
        return data.astype(np.uint64)
    raise ValueError(
        f"Expected labels that fit into 64 bits. Received {str(path)!r} with values "
        f"from {lowest:g} to {highest:g}."
    )


def as_stored(data):
    """Return values in a type that NIfTI has.

    Parameters
    ----------
    data : array-like

    Returns
    -------
    data : ndarray
        Bools become uint8, and float16 becomes float32; other types stay.

    Raises
    ------
    ValueError
        If there are more than 7 axes, or floats of more than 64 bits.
    """
    data = check_real("data", data)
    if data.ndim > 7:
        raise ValueError(
            f"Expected data of 7 axes at most. Received data.shape={data.shape}."
        )
    if data.dtype.kind == "b":
        return data.astype(np.uint8)
    if data.dtype.itemsize == 2 and data.dtype.kind == "f":
        return data.astype(np.float32)
    if data.dtype.kind == "f" and data.dtype.itemsize > 8:
        raise ValueError(
            f"Expected data of 64 bits at most. Received data.dtype={data.dtype}."
        )
    return data
