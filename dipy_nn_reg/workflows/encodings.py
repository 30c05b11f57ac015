"""Phase encodings of the images of a command, from options or from sidecars."""

from dipy_nn_reg.diffusion.phase_encoding import (
    PhaseEncoding,
    parse_direction,
    read_phase_encoding,
    sidecar_of,
)

# Largest difference of readout times that are the same, relative to one of them.
_SAME = 0.01


def encodings_of_pair(paths, direction, sidecars):
    """Return the phase encoding of both images of a pair.

    Parameters
    ----------
    paths : list of Path
    direction : str or None
        That of the first image, in letters of BIDS; the second one has the opposite.
    sidecars : tuple of string or Path or None
        Sidecar of each image, where it is not beside the image.

    Returns
    -------
    encodings : list of PhaseEncoding

    Raises
    ------
    ValueError
        If a direction is given beside sidecars, or as
        :func:`~dipy_nn_reg.diffusion.phase_encoding.read_phase_encoding`.
    """
    if direction is None:
        return [
            read_phase_encoding(sidecar or sidecar_of(path))
            for path, sidecar in zip(paths, sidecars)
        ]
    if any(sidecars):
        raise ValueError(
            f"Expected a direction or sidecars. Received direction={direction!r} and "
            f"{str(sidecars[0] or sidecars[1])!r}."
        )
    axis, sign = parse_direction(direction)
    return [PhaseEncoding(axis, s, None) for s in (sign, -sign)]


def check_opposite(up, down, paths):
    """Raise ValueError unless two phase encodings are opposite, and else the same."""
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
        encoding = PhaseEncoding(*parse_direction(direction), None)
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
