"""Layers of a registration network, from two images to all that the loss needs."""

from functools import partial

import keras
from keras import ops
import numpy as np

from dipy_nn_reg.backend import layers_in
from dipy_nn_reg.networks import READ_IN_FULL, connect
from dipy_nn_reg.training.precision import keep_coarse_layers_in_float32
from dipy_nn_reg.transform.kinds import (
    TRANSFORMS,
    connect_affine,
    connect_field,
    values_needed,
)
from dipy_nn_reg.transform.layers import (
    ApplyAffine,
    Background,
    ComposeDisplacements,
    RescaleIntensity,
    Warp,
)
from dipy_nn_reg.transform.pyramid import coarse_shape, shrink


def connect_outputs(inputs, options):
    """Connect all layers of a registration network.

    Parameters
    ----------
    inputs : dict of KerasTensor
        The images ``moving`` and ``static``, of shape (batch, *spatial, channels); with
        a dial, also ``smoothness``, of shape (batch, 1).
    options : dict
        Options of a model.

    Returns
    -------
    outputs : dict
        What :class:`~dipy_nn_reg.losses.objective.Objective` needs, and ``matrix`` and
        ``deformation`` if there is an affine part.
    """
    transform, stride = options["transform"], options["field_stride"]
    images = {name: inputs[name] for name in ("moving", "static")}
    dial = [inputs["smoothness"]] if "smoothness" in inputs else []
    moving, static = (RescaleIntensity()(image) for image in images.values())
    background = Background()(moving)
    first = None if options["affine"] is None else options["affine"](images)
    aligned = moving if first is None else first["warped"]
    seen = [aligned, static]
    if options["network"] not in READ_IN_FULL:
        seen = [shrink(image, stride) for image in seen]
    values = _connect_network(inputs, seen, dial, options)
    predict = _with_dial(keras.Model([aligned, static, *dial], values[0]), dial)
    warp = partial(Warp(image_is_constant=True), moving, fill=background)
    outputs = {"static": static}
    if TRANSFORMS[transform].affine:
        matrix, displacement = connect_affine(
            predict, moving, static, background, options["passes"]
        )
        outputs |= {"field": displacement, "displacement": displacement}
        outputs["matrix"] = matrix
    else:
        outputs |= _connect_passes(values[0], predict, static, warp, first, options)
    outputs["warped"] = warp(outputs["displacement"])
    if rest := values[1:]:
        outputs["coarser"] = _connect_coarser(rest, *seen, background, transform)
    if dial:  # the weight of the penalty depends on it
        outputs["smoothness"] = dial[0]
    return outputs


def _with_dial(network, dial):
    """Return a function of two images, by a network that is given the dial as well."""
    return lambda images: network([*images, *dial])


def _connect_passes(values, predict, static, warp, first, options):
    """Return the outputs of a field: the sum and the composition of all passes.

    Each pass after the first one sees the moving image as those before have warped it.
    """
    connect = partial(
        *(connect_field, options["transform"]),
        reference=static,
        spacing=options["spacing"],
        stride=options["field_stride"],
    )
    place = partial(ApplyAffine(), first["matrix"]) if first else _as_it_is
    field, deformation = connect(values)
    for _ in range(options["passes"] - 1):
        more, step = connect(predict([warp(place(deformation)), static]))
        field, deformation = field + more, ComposeDisplacements()(deformation, step)
    outputs = {"field": field, "displacement": place(deformation)}
    if first is None:
        return outputs
    return {**outputs, "matrix": first["matrix"], "deformation": deformation}


def _as_it_is(displacement):
    return displacement


def _connect_network(inputs, images, dial, options):
    """Return the values that the network predicts from images, in float32."""
    rng = np.random.default_rng(options["seed"])
    shape, spacing = options["input_shape"], options["spacing"]
    if options["network"] in READ_IN_FULL:
        spacing *= options["field_stride"]
    with layers_in(options["precision"]):
        values = connect(
            options["network"],
            *images,
            shape=coarse_shape(shape, options["field_stride"]),
            values=values_needed(options["transform"], len(shape)),
            spacing=spacing,
            seed=lambda: int(rng.integers(2**31)),
            dial=dial[0] if dial else None,
        )
    if options["precision"] != "float32":
        keep_coarse_layers_in_float32(inputs, images[1], values)
    values = [ops.cast(v, "float32") for v in values]
    return _antisymmetric(images, dial, values) if options["symmetric"] else values


def _antisymmetric(images, dial, values):
    """Return half of f(moving, static) - f(static, moving) for each output of f.

    Exchanging the images negates them. Both terms are calls of one model, so that they
    round alike.
    """
    network = keras.Model([*images, *dial], values)
    orders = images, images[::-1]
    terms = (keras.tree.flatten(network([*order, *dial])) for order in orders)
    return [0.5 * (one - other) for one, other in zip(*terms)]


def _connect_coarser(values, moving, static, background, transform):
    """Return outputs at a half, a quarter and so on of the network's resolution."""
    levels = []
    for field in values:
        moving, static = shrink(moving, 2), shrink(static, 2)
        field, displacement = connect_field(transform, field, static, spacing=1)
        levels.append(
            {
                "static": static,
                "field": field,
                "displacement": displacement,
                "warped": Warp(image_is_constant=True)(
                    moving, displacement, background
                ),
            }
        )
    return levels
