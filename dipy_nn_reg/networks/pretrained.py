"""Weights of the pyramids that come with this package."""

from functools import lru_cache, partial
from importlib.resources import files

import numpy as np

from dipy_nn_reg.checks import SMOOTHNESS, check_dial, check_name
from dipy_nn_reg.losses.images import lncc

# Files of weights by the number of spatial axes. They hold, in float16,
#
# - ``style``: the matrix (2, n) that turns the smoothness and 1 into n features;
# - ``0``, ``1``, ...: the weights of the network in Keras's order. A matrix
#   (n + 1, filters) gives the scales or shifts of a block for the features and 1.
FILES = {2: "zero_shot_2d.npz", 3: "zero_shot_3d.npz"}
# Number of passes by rank, unless another one is asked for. In 2D they cost little, and
# the overlap of slices rises up to the third one or the fourth (doc/zero_shot.rst).
PASSES = {2: 4, 3: 1}
# Options of a model with which a training may go on from these weights.
TRAINING = (
    "label_weight",
    "landmark_weight",
    "learning_rate",
    "loss",
    "optimizer",
    "passes",
    "penalty",
    "precision",
    "seed",
    "symmetric",
)


def pretrained_weights(ndim, smoothness=SMOOTHNESS):
    """Return the weights of a pyramid that was trained on made shapes.

    Parameters
    ----------
    ndim : int
        Number of spatial axes of the images.
    smoothness : float, optional
        From 0, the roughest field, to 1.

    Returns
    -------
    weights : list of ndarray, float32
        In Keras's order.

    Raises
    ------
    ValueError
        If there is no pyramid of this rank, if the smoothness is out of range, or if
        the file is damaged.
    """
    if ndim not in FILES:
        raise ValueError(
            f"Expected ndim to be one of {list(FILES)}, for which this package has a "
            f"pretrained model. Received ndim={ndim!r}."
        )
    check_dial(smoothness)
    style, weights = _read(ndim)
    features = np.append(np.maximum(np.float32([smoothness, 1]) @ style, 0), 1)
    weights = [w.astype(np.float32) for w in weights]
    return [np.float32(features @ w) if w.ndim == 2 else w for w in weights]


def training_options(ndim, options):
    """Return the options of a model with which a training goes on from these weights.

    Parameters
    ----------
    ndim : int
    options : dict
        Any of ``TRAINING``.

    Returns
    -------
    options : dict

    Raises
    ------
    ValueError
        If an option is not one of ``TRAINING``.
    """
    for name in options:
        check_name("each option of the pretrained model", name, TRAINING)
    # With another loss or penalty, a weight that suits them is chosen.
    weight = {} if {"loss", "penalty"} & set(options) else {"smoothness": 0.3}
    passes = 1 if options.get("symmetric") else PASSES[ndim]
    return {"loss": partial(lncc, window=5), "passes": passes, **weight, **options}


@lru_cache
def _read(ndim):
    """Return the arrays of a file, which nobody changes."""
    path = files(__package__) / "weights" / FILES[ndim]
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            style = arrays["style"].astype(np.float32)
            return style, [arrays[str(i)] for i in range(len(arrays) - 1)]
    except Exception as error:  # zipfile and NumPy raise several types
        raise ValueError(
            f"Expected the weights of the pretrained model in {path}, as this package "
            f"installs them. Received a file that cannot be read: {error}"
        ) from error
