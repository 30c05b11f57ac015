"""Phase encodings of the images of a command, from options or from sidecars."""

from dipy_nn_reg.diffusion.phase_encoding import (
    PhaseEncoding,
    parse_direction,
    read_phase_encoding,
    readout_of,
    sidecar_of,
)

# Largest difference of readout times that are the same, relative to one of them.
_SAME = 0.01


def encoding_of(path, direction, sidecar):
    """Return the phase encoding of an image.

    Parameters
    ----------
    path : Path
    direction : str or None
        In letters of BIDS, in place of that of a sidecar, which may still have the
        readout time.
    sidecar : string or Path or None
        Where it is not beside the image.

    Returns
    -------
    encoding : PhaseEncoding

    Raises
    ------
    ValueError
        If a direction is given beside a sidecar, or as
        :func:`~dipy_nn_reg.diffusion.phase_encoding.read_phase_encoding`.
    """
    if direction is None:
        return read_phase_encoding(sidecar or sidecar_of(path))
    if sidecar:
        raise ValueError(
            f"Expected a direction or sidecars. Received direction={direction!r} and "
            f"{str(sidecar)!r}."
        )
    return PhaseEncoding(*parse_direction(direction), readout_of(path))


def check_opposite(up, paths, direction, sidecar):
    """Raise ValueError unless the second image of a pair is encoded in reverse.

    Parameters
    ----------
    up : PhaseEncoding
        That of the first image.
    paths : list of Path
    direction : str or None
        Direction of the first image; the second one then has the opposite.
    sidecar : string or Path or None
        That of the second image, where it is not beside it.
    """
    if direction is not None and not sidecar:
        down = PhaseEncoding(up.axis, -up.sign, readout_of(paths[1]))
    else:
        down = encoding_of(paths[1], direction, sidecar)
    if (up.axis, up.sign) != (down.axis, -down.sign):
        raise ValueError(
            f"Expected opposite phase encodings along one axis. Received axis "
            f"{up.axis}, sign {up.sign} of {str(paths[0])!r} and axis {down.axis}, "
            f"sign {down.sign} of {str(paths[1])!r}."
        )
    _check_readout(down, up, paths[1])


def encoding_of_series(path, up, direction):
    """Return the phase encoding of a series that is corrected.

    Parameters
    ----------
    path : Path
    up : PhaseEncoding
        That of the first image of the pair, which a series without a sidecar has.
    direction : str or None
        Direction in letters of BIDS, in place of that of the sidecar.

    Returns
    -------
    encoding : PhaseEncoding

    Raises
    ------
    ValueError
        If the axis or the readout time is not that of the pair.
    """
    if direction is not None:
        encoding = PhaseEncoding(*parse_direction(direction), readout_of(path))
    elif sidecar_of(path).is_file():
        encoding = read_phase_encoding(sidecar_of(path))
    else:
        return up
    if encoding.axis != up.axis:
        raise ValueError(
            f"Expected phase encoding along axis {up.axis}, as the pair has. Received "
            f"axis {encoding.axis} of {str(path)!r}."
        )
    _check_readout(encoding, up, path)
    return encoding


def _check_readout(encoding, up, path):
    """Raise ValueError if a readout time is known, and is not that of the pair."""
    if not (encoding.readout and up.readout):
        return
    if abs(encoding.readout - up.readout) > _SAME * up.readout:
        raise ValueError(
            f"Expected a readout time of {up.readout:g} s, as the first image has. "
            f"Received {encoding.readout:g} s of {str(path)!r}."
        )
