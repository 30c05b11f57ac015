"""Keras layers over the functions of :mod:`dipy_nn_reg.transform`."""

import keras
from keras import ops

from dipy_nn_reg.backend import compiled
from dipy_nn_reg.transform.control_points import SPLINES
from dipy_nn_reg.transform.functions import integrate, warp
from dipy_nn_reg.transform.pyramid import enlarge
from dipy_nn_reg.transform.sampling import voxel_grid

# How many voxels along each axis tell the percentiles of an image, at most.
VOXELS_PER_AXIS = {2: 256, 3: 48}
# Of the voxels, that are beyond each of the percentiles which become 0 and 1.
_OUTLIERS = 0.001
# Of velocities that a network predicts: exact enough where a voxel moves some voxels.
INTEGRATION_STEPS = 5

_register = keras.saving.register_keras_serializable(package="dipy_nn_reg")


@_register
class RescaleIntensity(keras.layers.Layer):
    """Bring each image and channel to the range from 0 to 1, whatever its outliers.

    Input and output: shape (batch, *spatial, channels). The 0.1 and 99.9 percentiles,
    of voxels spread evenly over large images, become 0 and 1, and what is beyond is
    clipped; where these are equal, the lowest and the highest value take their place. A
    constant channel becomes 0.
    """

    def call(self, images):
        return rescale(images, *intensity_range(images))

    def compute_output_shape(self, input_shape):
        return input_shape


@_register
class Background(keras.layers.Layer):
    """Estimate what an image shows where there is nothing.

    Input: shape (batch, *spatial, channels). Output: shape (batch, channels): the
    median of the medians of the faces of each image, as
    :func:`~dipy_nn_reg.intensities.estimate_background` takes it; of large faces, of
    voxels spread evenly over them.
    """

    def call(self, images):
        most = VOXELS_PER_AXIS[len(images.shape) - 2]
        every = [slice(None, None, -(-n // most)) for n in ops.shape(images)[1:-1]]
        medians = []
        for axis in range(len(every)):
            for end in (slice(None, 1), slice(-1, None)):
                face = [*every[:axis], end, *every[axis + 1 :]]
                values = images[(slice(None), *face)]
                shape = (ops.shape(images)[0], -1, images.shape[-1])
                medians.append(_lower_median(ops.reshape(values, shape)))
        return _lower_median(ops.stack(medians, axis=1))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1])


@_register
class CutLike(keras.layers.Layer):
    """Cut features to the size of a reference.

    A strided convolution takes n voxels to ceil(n / 2). Doubled and cut, they have
    the size they came from, odd sizes included, so that no image needs padding.

    Inputs: features, and a reference of shape (batch, *spatial, any) that is nowhere
    larger. Output: shape (batch, *spatial, channels).
    """

    def call(self, features, reference):
        sizes = ops.shape(reference)[1:-1]
        return features[(slice(None), *[slice(0, size) for size in sizes])]

    def compute_output_shape(self, features_shape, reference_shape):
        return (*reference_shape[:-1], features_shape[-1])


@_register
class Moments(keras.layers.Layer):
    """Summarise features of any size by their means and first moments.

    Input: shape (batch, *spatial, channels). Output: shape
    (batch, (1 + ndim) * channels): for each channel its mean, and the mean of its
    products with the position along each axis, from -1 to 1 over the longest axis.
    """

    def call(self, features):
        sizes = ops.shape(features)[1:-1]
        axes = tuple(range(1, len(sizes) + 1))
        grid = voxel_grid(sizes)
        sizes = ops.cast(ops.convert_to_tensor(sizes), "float32")
        positions = (2 * grid - (sizes - 1)) / ops.max(sizes)
        weights = [1.0, *(positions[..., axis, None] for axis in range(len(axes)))]
        moments = [ops.mean(features * weight, axis=axes) for weight in weights]
        return ops.concatenate(moments, axis=-1)

    def compute_output_shape(self, input_shape):
        ndim = len(input_shape) - 2
        return (input_shape[0], (1 + ndim) * input_shape[-1])


@_register
class ControlPoints(keras.layers.Layer):
    """Dense field of control points, by :mod:`dipy_nn_reg.transform.control_points`.

    Inputs: values at control points, shape (batch, *points, ndim), and a reference of
    shape (batch, *spatial, any). Output: shape (batch, *spatial, ndim).

    Parameters
    ----------
    spline : {"bspline", "tps"}
    spacing : int
        Distance of the control points in voxels.
    """

    def __init__(self, *, spline, spacing, **kwargs):
        super().__init__(**kwargs)
        self.spline, self.spacing = spline, spacing

    def call(self, values, reference):
        shape = ops.shape(reference)[1:-1]
        return SPLINES[self.spline](values, shape, self.spacing)

    def compute_output_shape(self, values_shape, reference_shape):
        return (*reference_shape[:-1], values_shape[-1])

    def get_config(self):
        options = {"spline": self.spline, "spacing": self.spacing}
        return {**super().get_config(), **options}


@_register
class EnlargeDisplacement(keras.layers.Layer):
    """Coarse displacement, see :func:`dipy_nn_reg.transform.pyramid.enlarge`.

    Inputs: a displacement in coarse voxels, shape (batch, *coarse, ndim), and a
    reference of shape (batch, *spatial, any). Output: shape (batch, *spatial, ndim),
    in voxels.

    Parameters
    ----------
    stride : int
        Distance of the coarse voxels.
    """

    def __init__(self, *, stride, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, displacement, reference):
        return enlarge(displacement, reference, self.stride)

    def compute_output_shape(self, displacement_shape, reference_shape):
        return (*reference_shape[:-1], displacement_shape[-1])

    def get_config(self):
        return {**super().get_config(), "stride": self.stride}


@_register
class AffineMatrix(keras.layers.Layer):
    """Turn the parameters of an affine map about the image centre into its matrix.

    Inputs: parameters, shape (batch, ndim * (ndim + 1)), and a reference of shape
    (batch, *spatial, any). Output: shape (batch, ndim, ndim + 1), from voxels of the
    static to voxels of the moving image.

    With the parameters as a matrix ``[P | t]`` the map is ``x + P (x - c) + t n / 2``:
    c is the centre of the image and n the number of voxels along its longest axis, so
    that a change of any parameter moves the border about as far. Parameters of 0 are
    the identity.
    """

    def call(self, parameters, reference):
        sizes = ops.cast(ops.convert_to_tensor(ops.shape(reference)[1:-1]), "float32")
        ndim = sizes.shape[0]
        parameters = ops.reshape(parameters, (-1, ndim, ndim + 1))
        linear, center = parameters[..., :ndim], (sizes - 1) / 2
        offset = parameters[..., ndim] * ops.max(sizes) / 2
        offset = offset - ops.einsum("bij,j->bi", linear, center)
        return ops.concatenate(
            [linear + ops.eye(ndim, dtype="float32"), offset[..., None]], axis=-1
        )

    def compute_output_shape(self, parameters_shape, reference_shape):
        ndim = len(reference_shape) - 2
        return (parameters_shape[0], ndim, ndim + 1)


@_register
class ComposeAffine(keras.layers.Layer):
    """Multiply the matrices of two affine maps: ``A(B(x))``.

    Inputs: matrices A and B of :class:`AffineMatrix`. Output: shape
    (batch, ndim, ndim + 1).
    """

    def call(self, outer, inner):
        ndim = outer.shape[-2]
        product = ops.matmul(outer[..., :ndim], inner)
        return product + ops.pad(outer[..., ndim:], [(0, 0), (0, 0), (ndim, 0)])

    def compute_output_shape(self, outer_shape, inner_shape):
        return inner_shape


@_register
class ApplyAffine(keras.layers.Layer):
    """Follow a displacement by an affine map: ``u(x) = A(x + d(x)) - x``.

    Inputs: matrices of :class:`AffineMatrix` and displacements d in voxels, shape
    (batch, *spatial, ndim), or (batch, *spatial, 1) where all components are equal.
    Output: u, shape (batch, *spatial, ndim). An image warped by it is interpolated
    once.
    """

    def call(self, matrix, displacement):
        ndim = matrix.shape[-2]
        positions = voxel_grid(ops.shape(displacement)[1:-1]) + displacement
        change = matrix[..., :ndim] - ops.eye(ndim, dtype="float32")
        moved = ops.einsum("bij,b...j->b...i", change, positions)
        offset = ops.reshape(matrix[..., ndim], (-1, *[1] * ndim, ndim))
        return displacement + moved + offset

    def compute_output_shape(self, matrix_shape, displacement_shape):
        return (*displacement_shape[:-1], matrix_shape[-2])


@_register
class Warp(keras.layers.Layer):
    """Warp images by displacements, see :func:`~dipy_nn_reg.transform.warp`.

    Inputs: images, shape (batch, *spatial, channels), displacements in voxels, shape
    (batch, *spatial, ndim), and what lies outside in place of zeros, shape
    (batch, channels), if anything. Output: shape (batch, *spatial, channels).

    Parameters
    ----------
    interpolation : {"linear", "nearest"}, optional
    image_is_constant : bool, optional
        The images need no gradient.
    """

    def __init__(self, *, interpolation="linear", image_is_constant=False, **kwargs):
        super().__init__(**kwargs)
        self.options = {
            "interpolation": interpolation,
            "image_is_constant": image_is_constant,
        }

    def call(self, images, displacement, fill=None):
        return warp(images, displacement, fill=fill, **self.options)

    def compute_output_shape(self, images_shape, displacement_shape, fill_shape=None):
        return (*displacement_shape[:-1], images_shape[-1])

    def get_config(self):
        return {**super().get_config(), **self.options}


@_register
class IntegrateVelocity(keras.layers.Layer):
    """Turn velocities into displacements, see
    :func:`~dipy_nn_reg.transform.integrate`.

    Input and output: shape (batch, *spatial, ndim), in voxels.

    Parameters
    ----------
    steps : int, optional
        Number of squarings.
    """

    def __init__(self, *, steps=INTEGRATION_STEPS, **kwargs):
        super().__init__(**kwargs)
        self.steps = steps

    def call(self, velocity):
        return integrate(velocity, steps=self.steps)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "steps": self.steps}


def intensity_range(images):
    """Return what becomes 0 and 1 for :class:`RescaleIntensity`.

    Parameters
    ----------
    images : tensor, shape (batch, *spatial, channels)

    Returns
    -------
    low, high : tensor, shape (batch, 1, ..., channels)
    """
    channels = images.shape[-1]
    most = VOXELS_PER_AXIS[len(images.shape) - 2]
    sizes = ops.shape(images)[1:-1]
    every = [slice(None, None, -(-size // most)) for size in sizes]
    sample = images[(slice(None), *every)]
    sample = ops.reshape(sample, (ops.shape(images)[0], -1, channels))
    sample = ops.moveaxis(sample, 1, -1)
    shape = (-1, *[1] * len(sizes), channels)
    low, high = (ops.reshape(end, shape) for end in (-_high(-sample), _high(sample)))
    narrow = high <= low
    return ops.cond(
        ops.any(narrow),
        lambda: _extremes_where(narrow, images, low, high),
        lambda: (low, high),
    )


@compiled
def rescale(images, low, high):
    """Bring what is from low to high to the range from 0 to 1, and clip what is not."""
    span = ops.where(high > low, high - low, ops.ones_like(low))
    return ops.clip((images - low) / span, 0, 1)


def _high(values):
    """Return the percentile along the last axis that outliers are above.

    As ``ops.quantile`` interpolates it, which sorts all values and takes 15 times as
    long.
    """
    n = ops.shape(values)[-1]
    rank = _OUTLIERS * ops.cast(n - 1, "float32")
    most = int(_OUTLIERS * max(size**ndim for ndim, size in VOXELS_PER_AXIS.items()))
    k = min(n, most + 2) if isinstance(n, int) else ops.minimum(n, most + 2)
    highest, _ = ops.top_k(values, k)
    weights = ops.maximum(1 - ops.abs(ops.arange(0, k, dtype="float32") - rank), 0)
    return ops.sum(highest * weights, axis=-1)


def _lower_median(values):
    """Return the median along the second axis; the lower one of two."""
    middle = (ops.shape(values)[1] - 1) // 2
    return ops.take(ops.sort(values, axis=1), middle, axis=1)


def _extremes_where(narrow, images, low, high):
    """Put the lowest and the highest value in the place of narrow percentiles."""
    axes = tuple(range(1, len(images.shape) - 1))
    lowest, highest = (f(images, axis=axes, keepdims=True) for f in (ops.min, ops.max))
    return ops.where(narrow, lowest, low), ops.where(narrow, highest, high)
