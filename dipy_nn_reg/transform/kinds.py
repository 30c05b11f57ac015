"""From the values that a network predicts to a displacement: the transforms."""

from dataclasses import dataclass
from math import ceil, log2, prod

from dipy_nn_reg.checks import check_integer
from dipy_nn_reg.transform.layers import (
    AffineMatrix,
    ApplyAffine,
    ComposeAffine,
    ControlPoints,
    EnlargeDisplacement,
    IntegrateVelocity,
    Warp,
)

# For a thin-plate spline: 1 GiB of influences of control points on voxels.
MOST_INFLUENCES = 2**28
FIELD_STRIDES = (1, 2, 4)


@dataclass(frozen=True)
class Transform:
    """What the values of a network are.

    Attributes
    ----------
    spline : {"bspline", "tps"} or None
        They belong to control points of this spline; else to voxels.
    integrated : bool
        They make a velocity, which is integrated; else a displacement.
    affine : bool
        They are the parameters of one affine map.
    """

    spline: str | None = None
    integrated: bool = False
    affine: bool = False


TRANSFORMS = {
    "affine": Transform(affine=True),
    "bspline": Transform(spline="bspline"),
    "bspline_velocity": Transform(spline="bspline", integrated=True),
    "displacement": Transform(),
    "tps": Transform(spline="tps"),
    "velocity": Transform(integrated=True),
}


def values_needed(transform, ndim):
    """Return how many values a transform needs, for a voxel, a point or an image."""
    return ndim * (ndim + 1) if TRANSFORMS[transform].affine else ndim


def choose_spacing(transform, shape, spacing=None):
    """Return the spacing of the values that a transform needs.

    Parameters
    ----------
    transform : str
    shape : sequence of int
        Spatial shape of the images.
    spacing : int, optional
        Distance of control points in voxels. By default 4 for B-splines; for
        thin-plate splines, whose cost grows with their number, a quarter of the
        longest axis, rounded up to a power of two; less where an axis is short.

    Returns
    -------
    spacing : int or None
        As :mod:`dipy_nn_reg.networks` has it: 1 for values at each voxel, None for
        values of the whole image.

    Raises
    ------
    ValueError
        If a spacing is given where there are no control points, or is not an integer
        of 2 or more, or as :func:`check_spacing`.
    """
    kind = TRANSFORMS[transform]
    if kind.spline is None:
        if spacing is not None:
            with_points = sorted(n for n, other in TRANSFORMS.items() if other.spline)
            raise ValueError(
                f"Expected spacing=None, since only {with_points} have control points. "
                f"Received transform={transform!r} and spacing={spacing!r}."
            )
        return None if kind.affine else 1
    if spacing is not None:
        check_integer("spacing", spacing, lowest=2)
    elif kind.spline == "bspline":
        spacing = min(4, _largest_spacing(transform, shape))
    else:
        spacing = 2 ** ceil(log2(max(shape) / 4))
        while spacing > _largest_spacing(transform, shape):
            spacing //= 2
    check_spacing(transform, shape, spacing)
    return int(spacing)


def choose_field_stride(transform, network, ndim, field_stride=None):
    """Return the distance of the voxels that the network sees and predicts for.

    Parameters
    ----------
    transform : str
    network : str, keras.Model or callable
    ndim : int
    field_stride : int, optional
        1, 2 or 4. By default 2 in 3D if there are values for each voxel, except for a
        network of the user's.

    Returns
    -------
    field_stride : int

    Raises
    ------
    ValueError
        If it is another number, or not 1 where there are no values for each voxel.
    """
    kind = TRANSFORMS[transform]
    dense = kind.spline is None and not kind.affine
    if field_stride is None:
        return 2 if dense and ndim == 3 and isinstance(network, str) else 1
    if isinstance(field_stride, bool) or field_stride not in FIELD_STRIDES:
        raise ValueError(
            f"Expected field_stride to be one of {list(FIELD_STRIDES)}. "
            f"Received {field_stride!r}."
        )
    if field_stride > 1 and not dense:
        raise ValueError(
            f"Expected field_stride=1 with transform={transform!r}, which has no "
            f"values for each voxel. Received {field_stride!r}."
        )
    return int(field_stride)


def check_spacing(transform, shape, spacing):
    """Raise ValueError unless control points of a spacing fit into an image.

    Parameters
    ----------
    transform : str
    shape : sequence of int
        Spatial shape of the image.
    spacing : int or None
        Of :func:`choose_spacing`.
    """
    if TRANSFORMS[transform].spline is None:
        return
    largest = _largest_spacing(transform, shape)
    if spacing > largest or spacing < 2:
        raise ValueError(
            f"Expected spacing to be {largest} voxels at most, so that the control "
            f"points fit into an image of {tuple(shape)}. Received spacing={spacing}."
        )
    points = prod(-(-size // spacing) for size in shape)
    if transform == "tps" and points * prod(shape) > MOST_INFLUENCES:
        raise ValueError(
            f"Expected a larger spacing with transform='tps', which needs a number for "
            f"each voxel and control point. Received spacing={spacing}, that is "
            f"{points} points in an image of {tuple(shape)}."
        )


def _largest_spacing(transform, shape):
    """A thin-plate spline needs two points along each axis, a B-spline one."""
    return min(shape) - 1 if transform == "tps" else min(shape)


def connect_field(transform, values, reference, *, spacing, stride=1):
    """Connect the layers that turn values into a field and a displacement.

    Parameters
    ----------
    transform : str
        Any but "affine".
    values : KerasTensor
        What the network predicts.
    reference : KerasTensor, shape (batch, *spatial, any)
        On the grid of the displacement.
    spacing : int
        Of :func:`choose_spacing`.
    stride : int, optional
        Of :func:`choose_field_stride`.

    Returns
    -------
    field : KerasTensor, shape (batch, *coarse, ndim)
        In coarse voxels: a velocity if the transform is integrated, else the
        displacement.
    displacement : KerasTensor, shape (batch, *spatial, ndim)
        In voxels.
    """
    kind = TRANSFORMS[transform]
    field = values
    if kind.spline is not None:
        field = ControlPoints(spline=kind.spline, spacing=spacing)(values, reference)
    displacement = IntegrateVelocity()(field) if kind.integrated else field
    if stride > 1:
        displacement = EnlargeDisplacement(stride=stride)(displacement, reference)
    return field, displacement


def connect_affine(predict, moving, static, background, passes):
    """Connect the layers that align images by an affine map.

    Parameters
    ----------
    predict : keras.Model
        Predicts parameters, shape (batch, ndim * (ndim + 1)), from moving and static
        images.
    moving, static : KerasTensor, shape (batch, *spatial, channels)
    background : KerasTensor, shape (batch, channels)
        What the moving image shows where there is nothing.
    passes : int
        How often it predicts: after the first time, what is left to do.

    Returns
    -------
    matrix : KerasTensor, shape (batch, ndim, ndim + 1)
        From voxels of the static to voxels of the moving image.
    displacement : KerasTensor, shape (batch, *spatial, ndim)
    """
    nowhere = 0 * static[..., :1]
    matrix, aligned = None, moving
    for _ in range(passes):
        step = AffineMatrix()(predict([aligned, static]), static)
        matrix = step if matrix is None else ComposeAffine()(matrix, step)
        displacement = ApplyAffine()(matrix, nowhere)
        aligned = Warp(image_is_constant=True)(moving, displacement, background)
    return matrix, displacement
