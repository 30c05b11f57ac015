"""Optimisation of the field of a pair: by a displacement or by a velocity."""

from functools import partial

from keras import ops

from dipy_nn_reg.mapping.parts import Parts
from dipy_nn_reg.pairwise.displacement_descent import optimize_displacement
from dipy_nn_reg.pairwise.inverses import inverted
from dipy_nn_reg.pairwise.levels import iterations_for
from dipy_nn_reg.pairwise.unfolding import unfold, unfold_displacement
from dipy_nn_reg.pairwise.velocity_descent import optimize_velocity
from dipy_nn_reg.transform.functions import compose, integrate
from dipy_nn_reg.transform.layers import INTEGRATION_STEPS
from dipy_nn_reg.transform.pyramid import enlarge

# Largest numbers of iterations for a velocity on images shrunk by 8, 4, 2 and 1; after
# a model, on images shrunk by 2 and 1.
VELOCITY_ITERS, VELOCITY_ITERS_AFTER_MODEL = (10, 10, 20, 30), (10, 4)
# Factor of the smoothness after a model, whose fewer iterations smooth less.
_SMOOTHER_AFTER_MODEL = 1.15


def optimize_parts(tensors, prediction=None, *, options, level_iters):
    """Return the displacement that registers a pair, without folds.

    Parameters
    ----------
    tensors : PairTensors
        Images that are aligned by the affine of the prediction, if it has one.
    prediction : dipy_nn_reg.mapping.parts.Prediction, optional
        Field from which the optimisation starts; its affine is not used.
    options : DescentOptions
    level_iters : sequence of int or None
        Largest number of iterations of each level; None for the default.

    Returns
    -------
    parts : Parts
        Without an affine.
    """
    if options.transform == "displacement":
        stride = None if prediction is None else prediction.stride
        if stride is not None and not level_iters:
            more = _SMOOTHER_AFTER_MODEL * options.smoothness
            options = options._replace(smoothness=more)
        level_iters = level_iters or iterations_for(tensors.shape, stride)
        return _descend_displacement(tensors, prediction, options, level_iters)
    default_iters = VELOCITY_ITERS if prediction is None else VELOCITY_ITERS_AFTER_MODEL
    level_iters = level_iters or default_iters
    return _descend_velocity(tensors, prediction, options, level_iters)


def _descend_displacement(tensors, prediction, options, level_iters):
    start = None
    if prediction is not None:
        fields = prediction.parts.displacement, prediction.parts.invert()
        start = [ops.convert_to_tensor(field[None], "float32") for field in fields]
    displacement, inverse = optimize_displacement(
        tensors, options, level_iters=level_iters, start=start
    )
    displacement = unfold_displacement(displacement)
    return Parts(
        ops.convert_to_numpy(displacement)[0], lambda: inverted(displacement, inverse)
    )


def _descend_velocity(tensors, prediction, options, level_iters):
    start, field = {}, None
    if prediction is not None and prediction.velocity is None:
        field = prediction.parts._replace(matrix=None)
        tensors = tensors.warped(field.displacement[None])
    elif prediction is not None:
        start = {"velocity": prediction.velocity, "velocity_stride": prediction.stride}
    descend = partial(optimize_velocity, options=options, level_iters=level_iters)
    velocity = descend(tensors, **start)
    if options.symmetric:
        if "velocity" in start:
            start["velocity"] = -start["velocity"]
        velocity = (velocity - descend(tensors.swapped(), **start)) / 2
    added = unfolded_parts(velocity, tensors.static, options.field_stride)
    if field is None:
        return added
    return Parts(
        compose(field.displacement, added.displacement),
        lambda: compose(added.invert(), field.invert()),
    )


def unfolded_parts(velocity, static, stride):
    """Return Parts of a velocity, smoothed where they would fold.

    Parameters
    ----------
    velocity : tensor, shape (1, *coarse, ndim)
    static : tensor, shape (1, *spatial, channels)
        Static image; only its shape is used.
    stride : int
        Distance in voxels of the values of the velocity.

    Returns
    -------
    parts : Parts
    """

    def displace(velocity):
        displacement = integrate(velocity, steps=INTEGRATION_STEPS)
        return enlarge(displacement, static, stride)

    velocity, displacement = unfold(velocity, displace)
    return Parts(displacement, lambda: ops.convert_to_numpy(displace(-velocity))[0])
