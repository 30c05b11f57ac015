"""Number of channels of the images of one pair, and their default losses."""

from dipy_nn_reg.checks import check_integer
from dipy_nn_reg.io.channels import is_several
from dipy_nn_reg.pairwise.options import LOSS, LOSS_OF_TWO_CONTRASTS


def check_num_channels(num_channels, model, moving, static):
    """Return the number of channels: that of lists of images, of the model, or 1.

    Raises
    ------
    ValueError
        If the images, the model and the option do not have the same number.
    """
    listed = {len(image) if is_several(image) else None for image in (moving, static)}
    if len(listed) > 1:
        raise ValueError(
            f"Expected an image of each person, or lists of as many images. Received "
            f"{_described(moving)} and {_described(static)}."
        )
    default = 1 if model is None else model.num_channels
    number = listed.pop()
    expected = default if number is None else number
    num_channels = expected if num_channels is None else num_channels
    check_integer("num_channels", num_channels, lowest=1)
    if number is not None and num_channels != number:
        raise ValueError(
            f"Expected num_channels={number}, one for each image. Received "
            f"num_channels={num_channels!r}."
        )
    if model is not None and num_channels != default:
        raise ValueError(
            f"Expected num_channels={default}, that of the model. "
            f"Received num_channels={num_channels!r}."
        )
    return int(num_channels)  # that of NumPy may be of 8 bits


def _described(image):
    return f"a list of {len(image)}" if is_several(image) else "one image"


def default_losses(agree):
    """Return a loss for each channel, by whether the contrasts of both images agree."""
    return [LOSS if one else LOSS_OF_TWO_CONTRASTS for one in agree]
