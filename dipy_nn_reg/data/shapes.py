"""Made pairs of images of random shapes, whose displacement is known.

The random numbers are drawn by NumPy, and few of them, in
:mod:`dipy_nn_reg.data.shape_draws`. A function of tensors makes the images of them,
:func:`make_pairs`, wherever the backend computes.
The shapes are those of no organ, their contrasts those of no scanner, so that a network
that is trained on them has no images to prefer.

A pair starts from smooth random fields. The largest of several fields decides the
region of each voxel, a further one divides the regions into bands, and another one
draws the outline of the whole object. In 2D, more than half of the pairs are of ribbons
on a plain ground: all bands but one have its brightness. The static object has the
fields of the moving one, read after a displacement. Each image then has its own
brightness of regions, blur, bias field, noise and field of view.
"""

from math import prod

from keras import ops
import numpy as np

from dipy_nn_reg.checks import check_input_shape, check_integer
from dipy_nn_reg.data.shape_draws import BANDS, REGIONS, SHELLS, STRIDE, draw_pairs
from dipy_nn_reg.memory import check_memory
from dipy_nn_reg.transform.functions import integrate, warp
from dipy_nn_reg.transform.layers import ApplyAffine
from dipy_nn_reg.transform.pyramid import enlarge

# Smallest size of an axis, and memory for each voxel of a pair.
_MIN_SIZE, _BYTES_PER_VOXEL = 8, 400


def make_shapes(n, *, shape=(64, 64), seed=None):
    """Make pairs of images of random shapes, and the displacements between them.

    Parameters
    ----------
    n : int
        Number of pairs.
    shape : tuple of int, optional
        Shape of an image in 2D or 3D, with 8 voxels or more along each axis.
    seed : int, optional
        Seed of the random numbers. The same seed gives the same pairs.

    Returns
    -------
    pairs : dict of ndarray, float32
        As :func:`make_pairs` returns them.

    Raises
    ------
    ValueError
        If a parameter is invalid.
    MemoryError
        If more memory is needed than is available.

    Examples
    --------
    >>> pairs = make_shapes(3, shape=(32, 40), seed=0)
    >>> pairs["moving"].shape, pairs["displacement"].shape
    ((3, 32, 40, 1), (3, 32, 40, 2))
    """
    check_integer("n", n, lowest=1)
    check_input_shape(shape)
    for size in shape:
        check_integer("each axis of shape", size, lowest=_MIN_SIZE)
    if seed is not None:
        check_integer("seed", seed, lowest=0)
    check_memory(
        n * prod(shape) * _BYTES_PER_VOXEL,
        what=f"Making {n} pairs of {shape}",
        advice="Fewer or smaller images need less.",
    )
    pairs = make_pairs(draw_pairs(n, shape, np.random.default_rng(seed)))
    return {name: ops.convert_to_numpy(values) for name, values in pairs.items()}


def make_pairs(draws):
    """Make pairs of images from their random numbers.

    Parameters
    ----------
    draws : dict of tensor
        As :func:`draw_pairs` returns them.

    Returns
    -------
    pairs : dict of tensor, shape (n, *shape, any)
        ``moving`` and ``static`` images; ``displacement`` in voxels, with
        ``static(x) = moving(x + displacement(x))`` but for the differences of the two;
        ``clean_moving`` and ``clean_static``: both objects in one contrast, without
        noise or bias, as a loss compares them.
    """
    displacement = _displacement(draws)
    fields = ops.concatenate(
        [
            _smooth(draws, "regions"),
            _smooth(draws, "bands"),
            _radius(draws) + draws["roughness of outline"] * _smooth(draws, "outline"),
        ],
        axis=-1,
    )
    # Beyond the border the fields go on: the object is cut there, and does not end.
    moved = warp(fields, displacement, border="repeat")
    one, other = ops.split(_smooth(draws, "difference"), 2, axis=-1)
    size = draws["difference amounts"]
    moved = moved + ops.concatenate([size[..., :-1] * one, size[..., -1:] * other], -1)
    labels = _labels(fields, draws), _labels(moved, draws)
    pairs = {"displacement": displacement}
    for name, label in zip(("moving", "static"), labels):
        pairs[name] = _scan(label, draws, name)
        clean = _paint(label, draws["clean brightness"])
        pairs[f"clean_{name}"] = _along_axes(clean, draws, "clean blur")
    return pairs


def _displacement(draws):
    """Return the displacement: an affine after a smooth, invertible field."""
    far, near = _smooth(draws, "far"), _smooth(draws, "near")
    share = draws["share of near"]
    velocity = (1 - share) * far + share * near
    axes = tuple(range(1, len(velocity.shape)))
    highest = ops.max(ops.abs(velocity), axis=axes, keepdims=True)
    velocity = velocity * draws["farthest"] / STRIDE / highest
    displacement = enlarge(integrate(velocity, steps=6), draws["moving noise"], STRIDE)
    return ApplyAffine()(draws["affine"], displacement)


def _labels(fields, draws):
    """Return the label of each voxel, as a float."""
    regions, bands, radius = fields[..., :REGIONS], fields[..., -2:-1], fields[..., -1:]
    allowed = ops.arange(0, REGIONS, dtype="float32") < draws["number of regions"]
    regions = ops.where(allowed, regions, -1e6)
    region = ops.cast(ops.argmax(regions, axis=-1), "float32")[..., None]
    band = draws["bands per unit"] * bands + draws["phase of bands"]
    label = 1 + BANDS * region + ops.floor(ops.mod(band, 1.0) * BANDS)
    inside = draws["radius"]
    label = ops.where(radius < inside, label, 0.0)
    start = inside
    for i in range(SHELLS):
        end = inside + draws["shells"][..., i : i + 1]
        in_shell = (radius >= start) & (radius < end)
        label = ops.where(in_shell, float(1 + REGIONS * BANDS + i), label)
        start = end
    return label


def _scan(label, draws, name):
    """Return the image of a label map: blurred, with bias, noise and gamma."""
    image = _along_axes(
        _paint(label, draws[f"{name} brightness"]), draws, f"{name} blur"
    )
    image = ops.power(ops.maximum(image, 1e-4), draws[f"{name} gamma"])
    bias = draws[f"{name} bias amount"] * _smooth(draws, f"{name} bias")
    noise = draws[f"{name} noise amount"] * draws[f"{name} noise"]
    image = image * ops.exp(bias) + noise
    for seen in _of_axes(draws, f"{name} view"):
        image = image * seen
    return image


def _paint(label, brightness):
    """Return the brightness of each voxel from that of each label."""
    shape = ops.shape(label)
    index = ops.cast(ops.reshape(label, (shape[0], -1)), "int32")
    return ops.reshape(ops.take_along_axis(brightness, index, axis=1), shape)


def _smooth(draws, name):
    """Return a smooth field of unit variance from its coefficients."""
    return _along_axes(draws[name], draws, name)


def _of_axes(draws, name):
    """Return what was drawn for each axis."""
    ndim = len(draws["moving noise"].shape) - 2
    return [draws[f"{name} {axis}"] for axis in range(ndim)]


def _radius(draws):
    """Return the distance of each voxel from the centre of the object."""
    return ops.sqrt(sum(_of_axes(draws, "position")))


def _along_axes(values, draws, name):
    """Multiply values by the matrix of each axis."""
    for axis in range(1, len(values.shape) - 1):
        matrix = draws[f"{name} {axis - 1}"]
        values = ops.moveaxis(values, axis, 1)
        n, m, *rest = ops.shape(values)
        values = ops.matmul(matrix, ops.reshape(values, (n, m, -1)))
        values = ops.reshape(values, (n, -1, *rest))
        values = ops.moveaxis(values, 1, axis)
    return values
