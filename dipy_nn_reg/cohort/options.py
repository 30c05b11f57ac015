"""Options of the registrations of a cohort: checked before any, and with defaults."""

from inspect import signature

from dipy_nn_reg.checks import (
    as_pretrained,
    check_fill,
    check_level_iters,
    check_name,
    check_number,
    check_smoothness,
    choose_pairwise_transform,
)
from dipy_nn_reg.checks.choices import check_choices
from dipy_nn_reg.quiet import import_keras

# Options of a registration that are images or arrays of one pair.
_OF_ONE_PAIR = {"moving", "static", "moving_affine", "static_affine", "optimize"}


def with_defaults(options):
    """Return options of a registration, also those that were left out."""
    import_keras()
    from dipy_nn_reg.pairwise.register import register

    parameters = signature(register).parameters.values()
    known = {p.name: p.default for p in parameters if p.name not in _OF_ONE_PAIR}
    return {**known, **options}


def check_options(options, fill=None):
    """Raise ValueError for an option that no pair could be registered with.

    Parameters
    ----------
    options : dict
        Options of :func:`~dipy_nn_reg.register`.
    fill : float, optional
    """
    names = {name: options.get(name) for name in ("loss", "penalty")}
    check_choices(**{n: v for n, v in names.items() if isinstance(v, str)})
    kind = choose_pairwise_transform(options.get("transform"), names["penalty"])
    check_smoothness(options.get("smoothness"), kind)
    check_level_iters(options.get("level_iters"))
    check_fill(fill)
    if options.get("voxel_size") is not None:
        check_number("voxel_size", options["voxel_size"])
    # What needs Keras comes last: other mistakes are told at once.
    known = with_defaults({})
    for name in options:
        check_name("an option", name, known)


def check_channels(options, numbers):
    """Raise ValueError unless losses, weights and a model suit the images of someone.

    Parameters
    ----------
    options : dict
        Options of :func:`~dipy_nn_reg.register`.
    numbers : iterable of int
        Numbers of images of the people. Someone who lacks an image does not matter.
    """
    import_keras()
    from dipy_nn_reg.losses.choice_checks import join_losses
    from dipy_nn_reg.pairwise.options import LOSS, check_pretrained

    loss, weights = (options.get(name) for name in ("loss", "channel_weights"))
    reason = None
    for number in set(numbers):
        try:
            join_losses(LOSS if loss is None else loss, weights, number)
            if as_pretrained(options.get("model")) is not None:
                check_pretrained(ndim=3, num_channels=number)
        except ValueError as error:
            reason = error
        else:
            return
    raise reason
