"""Layers of affine maps: matrix from parameters, composition, displacement."""

import keras
from keras import ops

from dipy_nn_reg.transform.sampling import affine_after

_register = keras.saving.register_keras_serializable(package="dipy_nn_reg")


@_register
class AffineMatrix(keras.layers.Layer):
    """Compute the matrix of an affine map about the image centre from its parameters.

    Inputs: parameters, shape (batch, ndim * (ndim + 1)), and a reference of shape
    (batch, *spatial, any). Output: shape (batch, ndim, ndim + 1), from voxels of the
    static to voxels of the moving image.

    With the parameters as a matrix ``[P | t]`` the map is ``x + P (x - c) + t n / 2``,
    where c is the centre of the image and n the number of voxels along its longest
    axis. A given change of any parameter then moves the border by about the same
    distance. Parameters of 0 are the identity.
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
    """Apply an affine map after a displacement: ``u(x) = A(x + d(x)) - x``.

    Inputs: matrices of :class:`AffineMatrix` and displacements d in voxels, shape
    (batch, *spatial, ndim), or (batch, *spatial, 1) if all components are equal.
    Output: u in voxels, shape (batch, *spatial, ndim). An image that is warped by u is
    interpolated only once.
    """

    def call(self, matrix, displacement):
        return affine_after(displacement, matrix)

    def compute_output_shape(self, matrix_shape, displacement_shape):
        return (*displacement_shape[:-1], matrix_shape[-2])
