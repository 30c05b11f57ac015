"""Checks of DIPY's maps, and of the options from which they are made."""

import numpy as np

from dipy_nn_reg.mapping.affines import check_affine


def check_mapping(mapping):
    """Raise ValueError unless the object is a map as DIPY's SyN returns it.

    Parameters
    ----------
    mapping : dipy.align.imwarp.DiffeomorphicMap
    """
    names = ("dim", "backward", "forward", "codomain_shape", "domain_shape")
    if isinstance(mapping, type) or not all(hasattr(mapping, name) for name in names):
        raise ValueError(
            f"Expected a DiffeomorphicMap. Received a {type(mapping).__name__}."
        )
    ndim = mapping.dim
    for name, field in (("backward", mapping.backward), ("forward", mapping.forward)):
        shape = np.shape(field)
        if ndim not in (2, 3) or len(shape) != ndim + 1 or shape[-1] != ndim:
            raise ValueError(
                f"Expected a map with a {name} field of shape (*spatial, ndim). "
                f"Received one of dim={ndim} and a field of shape {shape}."
            )
    if np.shape(mapping.backward) != np.shape(mapping.forward):
        raise ValueError(
            f"Expected a map with fields of one shape. Received fields of shape "
            f"{np.shape(mapping.backward)} and {np.shape(mapping.forward)}."
        )
    for name in ("prealign", "codomain_grid2world", "domain_grid2world"):
        affine = getattr(mapping, name, None)
        if affine is not None:
            check_affine(affine, name=f"{name} of the map", ndim=ndim)


def check_moving_shape(shape, default):
    """Return the shape of a moving image as a tuple of int.

    Parameters
    ----------
    shape : sequence of int or None
    default : tuple of int
        Shape that is returned for None; the length is the number of axes.

    Raises
    ------
    ValueError
        If the shape has another length, or values other than positive integers.
    """
    if shape is None:
        return default
    sizes = np.asarray(shape)
    if sizes.shape != (len(default),) or sizes.dtype.kind not in "iu":
        raise ValueError(
            f"Expected moving_shape of {len(default)} integers. Received {shape!r}."
        )
    if sizes.min() < 1:
        raise ValueError(f"Expected moving_shape of 1 or more. Received {shape!r}.")
    return tuple(int(size) for size in sizes)
