"""Layers of fields: interpolation, integration, and warping by a displacement."""

import keras
from keras import ops

from dipy_nn_reg.transform.control_points import SPLINES
from dipy_nn_reg.transform.functions import compose, integrate, warp
from dipy_nn_reg.transform.pyramid import enlarge

# Number of squarings in the integration of a velocity that a network predicts: exact
# enough for displacements of some voxels.
INTEGRATION_STEPS = 5

_register = keras.saving.register_keras_serializable(package="dipy_nn_reg")


@_register
class ControlPoints(keras.layers.Layer):
    """Interpolate a dense field from values at control points.

    See :mod:`dipy_nn_reg.transform.control_points`.

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
    """Interpolate a coarse displacement on a finer grid.

    See :func:`dipy_nn_reg.transform.pyramid.enlarge`.

    Inputs: a displacement in coarse voxels, shape (batch, *coarse, ndim), and a
    reference of shape (batch, *spatial, any). Output: shape (batch, *spatial, ndim),
    in voxels.

    Parameters
    ----------
    stride : int
        Distance of the coarse voxels, in voxels of the fine grid.
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
class Warp(keras.layers.Layer):
    """Warp images by displacements, see :func:`~dipy_nn_reg.transform.warp`.

    Inputs: images, shape (batch, *spatial, channels); displacements in voxels, shape
    (batch, *spatial, ndim); optionally the values outside of the images in place of
    zeros, shape (batch, channels). Output: shape (batch, *spatial, channels).

    Parameters
    ----------
    interpolation : {"linear", "nearest"}, optional
    image_is_constant : bool, optional
        Compute no gradient of the images.
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
    """Integrate velocities, see :func:`~dipy_nn_reg.transform.integrate`.

    Input: velocities in voxels, shape (batch, *spatial, ndim). Output: displacements in
    voxels, of the same shape.

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


@_register
class ComposeDisplacements(keras.layers.Layer):
    """Compose two displacements, see :func:`~dipy_nn_reg.transform.compose`.

    Inputs: displacements in voxels, shape (batch, *spatial, ndim); an image is warped
    by the first one first. Output: displacement in voxels, of the same shape.
    """

    def call(self, first, second):
        return compose(first, second)

    def compute_output_shape(self, first_shape, second_shape):
        return second_shape
