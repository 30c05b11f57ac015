"""Checks of the options of a model, from a user or from a file."""

from math import prod

import keras

from dipy_nn_reg.backend import PRECISIONS
from dipy_nn_reg.checks import (
    check_flag,
    check_input_shape,
    check_integer,
    check_name,
    check_number,
    check_takes_dial,
    is_any,
)
from dipy_nn_reg.losses.choice_checks import check_choice, check_penalty_option
from dipy_nn_reg.losses.choices import LOSSES, ChannelLosses
from dipy_nn_reg.networks import check_network
from dipy_nn_reg.transform.kinds import TRANSFORMS, choose_field_stride, choose_spacing

OPTIONS = {
    "affine",
    "field_stride",
    "input_shape",
    "label_weight",
    "landmark_weight",
    "learning_rate",
    "loss",
    "network",
    "num_channels",
    "passes",
    "penalty",
    "precision",
    "seed",
    "smoothness",
    "spacing",
    "symmetric",
    "transform",
}
# Largest number of voxels of an image: backends count them in 32 bits.
MAX_VOXELS = 2**31 - 1
# Largest numbers of channels, and of passes of an affine network: far above those in
# use, so that a file cannot ask for unlimited memory or time.
MAX_CHANNELS, MAX_PASSES = 4096, 100


def check_options(options):
    """Raise ValueError unless a model can be built from options.

    Parameters
    ----------
    options : dict
        All of those of :class:`~dipy_nn_reg.training.keras_model.RegistrationModel`.
    """
    if set(options) != OPTIONS:
        raise ValueError(
            f"Expected exactly the options {sorted(OPTIONS)}. Received options that "
            f"differ in {sorted(OPTIONS ^ set(options))}."
        )
    check_image_options(options["input_shape"], options["num_channels"])
    check_name("transform", options["transform"], TRANSFORMS)
    check_network(options["network"], options["transform"])
    _check_layout(options)
    _check_loss(options["loss"], options["num_channels"])
    _check_penalty(options["penalty"], options["smoothness"], options["network"])
    for name in ("label_weight", "landmark_weight"):
        check_number(name, options[name], or_zero=True)
    _check_symmetric(options)
    _check_first_stage(options)
    check_integer("passes", options["passes"], lowest=1)
    _check_at_most("passes", options["passes"], MAX_PASSES)
    if options["learning_rate"] is not None:
        check_number("learning_rate", options["learning_rate"])
    check_name("precision", options["precision"], PRECISIONS)
    if options["seed"] is not None:
        check_integer("seed", options["seed"], lowest=0)


def check_image_options(input_shape, num_channels):
    """Raise ValueError unless a tensor can hold images of this shape and channels."""
    check_input_shape(input_shape)
    _check_at_most("the voxels of input_shape", prod(input_shape), MAX_VOXELS)
    check_integer("num_channels", num_channels, lowest=1)
    _check_at_most("num_channels", num_channels, MAX_CHANNELS)


def _check_at_most(name, value, highest):
    if value > highest:
        raise ValueError(f"Expected {name} to be at most {highest}. Received {value}.")


def _check_loss(loss, num_channels):
    check_choice("loss", loss, LOSSES)
    if isinstance(loss, ChannelLosses) and len(loss.losses) != num_channels:
        raise ValueError(
            f"Expected a loss for each of {num_channels} channels. "
            f"Received {len(loss.losses)}."
        )


def _check_penalty(penalty, smoothness, network):
    """Raise ValueError unless the weight is one that a penalty and a network take."""
    check_takes_dial(network, smoothness)
    if smoothness is None and not isinstance(penalty, dict):
        raise ValueError("Expected smoothness to be a number. Received None.")
    if is_any(smoothness) and not isinstance(penalty, dict):
        smoothness = None  # the weight is a multiple of the default one
    check_penalty_option(penalty, smoothness)


def _check_layout(options):
    """Raise ValueError unless spacing and field_stride fit the transform."""
    transform, shape = options["transform"], options["input_shape"]
    spacing, stride = options["spacing"], options["field_stride"]
    points = TRANSFORMS[transform].spline is not None
    expected = choose_spacing(transform, shape, spacing if points else None)
    if spacing != expected:
        raise ValueError(
            f"Expected spacing={expected} with transform={transform!r}. "
            f"Received {spacing!r}."
        )
    if stride is None:
        raise ValueError("Expected field_stride to be a number. Received None.")
    choose_field_stride(transform, options["network"], len(shape), stride)


def _check_first_stage(options):
    affine, transform = options["affine"], options["transform"]
    if affine is None:
        return
    others = getattr(affine, "options", None)
    if not isinstance(affine, keras.Model) or not isinstance(others, dict):
        raise ValueError(
            f"Expected affine to be an AffineRegistration. "
            f"Received a {type(affine).__name__}."
        )
    if others["transform"] != "affine" or TRANSFORMS[transform].affine:
        raise ValueError(
            f"Expected an affine first stage and a transform that deforms. "
            f"Received {others['transform']!r} and transform={transform!r}."
        )
    expected = len(options["input_shape"]), options["num_channels"]
    received = len(others["input_shape"]), others["num_channels"]
    if received != expected:
        raise ValueError(
            f"Expected an affine first stage for images of {expected[0]} axes and "
            f"{expected[1]} channels. Received one for {received[0]} axes and "
            f"{received[1]} channels."
        )


def _check_symmetric(options):
    """Raise ValueError unless exchanging the images can invert the transform."""
    check_flag("symmetric", options["symmetric"])
    if not options["symmetric"]:
        return
    velocities = sorted(name for name, kind in TRANSFORMS.items() if kind.integrated)
    has_stage, passes = options["affine"] is not None, options["passes"]
    if options["transform"] not in velocities or has_stage or passes != 1:
        raise ValueError(
            f"Expected transform to be one of {velocities}, no affine first stage and "
            f"passes=1 with symmetric=True. Received transform="
            f"{options['transform']!r}, {'an' if has_stage else 'no'} affine first "
            f"stage and passes={passes!r}."
        )


def as_plain(options):
    """Return options in the plain types of Python, which a file can hold."""
    plain = {**options, "input_shape": [int(size) for size in options["input_shape"]]}
    plain["symmetric"] = bool(options["symmetric"])
    for name in ("num_channels", "passes", "seed"):
        plain[name] = None if options[name] is None else int(options[name])
    for name in ("label_weight", "landmark_weight"):
        plain[name] = float(options[name])
    if options["smoothness"] is not None and not is_any(options["smoothness"]):
        plain["smoothness"] = float(options["smoothness"])
    return plain
