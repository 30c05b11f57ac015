"""Kinds of transforms: from the values that a network predicts to a displacement."""

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

# Largest number of influences of control points on voxels of a thin-plate spline, which
# take 1 GiB.
MAX_INFLUENCES = 2**28
# Strides of the grid of a field, in voxels of the images.
FIELD_STRIDES = (1, 2, 4)


@dataclass(frozen=True)
class Transform:
    """Meaning of the values that a network predicts.

    Attributes
    ----------
    spline : {"bspline", "tps"} or None
        Spline of which the values are the control points; None for values of voxels.
    integrated : bool
        Whether the values define a velocity, which is integrated, and not a
        displacement.
    affine : bool
        Whether the values are the parameters of an affine map.
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
    """Return the number of values of a transform per voxel, control point or image.

    Parameters
    ----------
    transform : str
    ndim : int
        Number of spatial axes.
    """
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
        longest axis, rounded up to a power of two. It is less if an axis is short.

    Returns
    -------
    spacing : int or None
        As in :mod:`dipy_nn_reg.networks`: 1 for values at each voxel, None for values
        of the whole image.

    Raises
    ------
    ValueError
        If a transform without control points has a spacing, if the spacing is not an
        integer of 2 or more, or as :func:`check_spacing`.
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
    """Return the stride of the grid on which the network works.

    Parameters
    ----------
    transform : str
    network : str, keras.Model or callable
    ndim : int
    field_stride : int, optional
        1, 2 or 4. By default 2 in 3D if there are values for each voxel, but 1 for a
        user's own network.

    Returns
    -------
    field_stride : int

    Raises
    ------
    ValueError
        If it is another number, or if it is not 1 and the transform has no values for
        each voxel.
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
    """Raise ValueError unless control points with a spacing fit into an image.

    Parameters
    ----------
    transform : str
    shape : sequence of int
        Spatial shape of the image.
    spacing : int or None
        Spacing in voxels, see :func:`choose_spacing`.

    Raises
    ------
    ValueError
        If the spacing is too large for the image, or so small that a thin-plate spline
        would need more than 1 GiB.
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
    is_tps = TRANSFORMS[transform].spline == "tps"
    if is_tps and points * prod(shape) > MAX_INFLUENCES:
        raise ValueError(
            f"Expected a larger spacing with transform={transform!r}, which needs a "
            f"number for each voxel and control point. Received spacing={spacing}, "
            f"that is {points} points in an image of {tuple(shape)}."
        )


def _largest_spacing(transform, shape):
    """Return the largest spacing of control points in an image.

    A thin-plate spline needs two points along each axis, a B-spline one.
    """
    return min(shape) - (TRANSFORMS[transform].spline == "tps")


def connect_field(transform, values, reference, *, spacing, stride=1):
    """Connect the layers that turn values into a field and a displacement.

    Parameters
    ----------
    transform : str
        Any transform except "affine".
    values : KerasTensor
        Output of the network.
    reference : KerasTensor, shape (batch, *spatial, any)
        Image on the grid of the displacement; only its shape is used.
    spacing : int
        Spacing of the values, see :func:`choose_spacing`.
    stride : int, optional
        Stride of the grid of the field, see :func:`choose_field_stride`.

    Returns
    -------
    field : KerasTensor, shape (batch, *coarse, ndim)
        Velocity, if the transform is integrated, or displacement, in coarse voxels.
    displacement : KerasTensor, shape (batch, *spatial, ndim)
        Displacement in voxels.
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
        Network that predicts parameters, shape (batch, ndim * (ndim + 1)), from moving
        and static images.
    moving, static : KerasTensor, shape (batch, *spatial, channels)
    background : KerasTensor, shape (batch, channels)
        Background of the moving image.
    passes : int
        Number of predictions. Each one after the first further aligns the image that
        those before it have aligned.

    Returns
    -------
    matrix : KerasTensor, shape (batch, ndim, ndim + 1)
        From voxels of the static to voxels of the moving image.
    displacement : KerasTensor, shape (batch, *spatial, ndim)
        Displacement in voxels.
    """
    no_displacement = 0 * static[..., :1]
    matrix, aligned = None, moving
    for _ in range(passes):
        step = AffineMatrix()(predict([aligned, static]), static)
        matrix = step if matrix is None else ComposeAffine()(matrix, step)
        displacement = ApplyAffine()(matrix, no_displacement)
        aligned = Warp(image_is_constant=True)(moving, displacement, background)
    return matrix, displacement
