"""Choices of the options of commands, checked before Keras is imported."""

from dipy_nn_reg.checks import check_integer, check_name, check_number

# Names by option. The tables with the functions of these names import Keras, which
# takes seconds; a test compares both.
CHOICES = {
    "network": (
        "dirnet",
        "encoder_decoder",
        "fcn",
        "unet",
        "voxelmorph1",
        "voxelmorph2",
    ),
    "transform": (
        "affine",
        "bspline",
        "bspline_velocity",
        "displacement",
        "tps",
        "velocity",
    ),
    "pair_transform": ("displacement", "velocity", "bspline_velocity"),
    "loss": ("lncc", "mi", "mind", "mse", "ncc", "robust_lncc"),
    "penalty": ("bending", "folding", "gradient", "inverse_consistency", "tv"),
}


def check_choices(*, smoothness=None, level_iters=None, **chosen):
    """Raise ValueError unless options of a command have one of their values.

    Parameters
    ----------
    smoothness : float, optional
    level_iters : list of int, optional
    **chosen
        Names by option, as in ``CHOICES``; None for the default.
    """
    for option, name in chosen.items():
        if name is not None:
            check_name(option.removeprefix("pair_"), name, CHOICES[option])
    if smoothness is not None:
        check_number("smoothness", smoothness, or_zero=True)
    for number in level_iters or ():
        check_integer("each of level_iters", number, lowest=0)
