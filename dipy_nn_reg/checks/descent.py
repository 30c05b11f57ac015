"""Checks of the options of a descent for one pair, made before Keras is imported."""

from dipy_nn_reg.checks.options import check_integer, check_name, check_number

# Default weight of the orientations of fibres beside the loss of the images: from 1 to
# 10 the results are alike (doc/diffusion.rst).
ORIENTATION_WEIGHT = 3.0
PAIRWISE_TRANSFORMS = ("bspline_velocity", "displacement", "velocity")
# Largest smoothness of a displacement, which is relaxed this many times as much in each
# step. Long before, little more than an affine motion is left.
MAX_SMOOTHNESS = 100


def choose_pairwise_transform(transform, penalty):
    """Return the transform of one pair: only a penalty makes it a velocity by default.

    Parameters
    ----------
    transform : str or None
    penalty : str, callable, dict or None

    Raises
    ------
    ValueError
        If there is no such transform, or if a displacement gets a penalty.
    """
    if transform is None:
        return "displacement" if penalty is None else "velocity"
    check_name("transform", transform, PAIRWISE_TRANSFORMS)
    if transform == "displacement" and penalty is not None:
        raise ValueError(
            f"Expected penalty=None with transform='displacement', which smoothness "
            f"alone smooths. Received penalty={penalty!r}. A velocity takes penalties."
        )
    return transform


def check_smoothness(smoothness, transform):
    """Raise ValueError unless a smoothness, or None, suits a transform of one pair."""
    if smoothness is not None:
        limit = {"highest": MAX_SMOOTHNESS} if transform == "displacement" else {}
        check_number("smoothness", smoothness, or_zero=True, **limit)


def check_level_iters(level_iters):
    """Raise ValueError unless these are None or numbers of iterations."""
    if level_iters is None:
        return
    if not isinstance(level_iters, (list, tuple)) or not level_iters:
        raise ValueError(
            f"Expected level_iters to be a list of numbers of iterations. "
            f"Received {level_iters!r}."
        )
    for max_iterations in level_iters:
        check_integer("each of level_iters", max_iterations, lowest=0)
