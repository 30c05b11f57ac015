"""Further images of each person, which become channels, with losses and weights."""

from dipy_nn_reg.checks import check_number
from dipy_nn_reg.checks.choices import check_choices
from dipy_nn_reg.text import printable
from dipy_nn_reg.workflows.paths import find_inputs


def find_further(option, paths, number):
    """Return the further images of each of several people.

    Parameters
    ----------
    option : str
        In a message.
    paths : path, pattern or list
        The second images of all people in the order of the first ones, then the third
        ones.
    number : int
        Of people.

    Returns
    -------
    further : list of list of Path

    Raises
    ------
    FileNotFoundError
        If there are no such files.
    ValueError
        If there are not as many of each person.
    """
    files = find_inputs(paths)
    if len(files) % number:
        raise ValueError(
            f"Expected as many {option} as images, or a multiple. Received "
            f"{len(files)} and {number}."
        )
    return [files[i::number] for i in range(number)]


def find_channels(images, further):
    """Return the further images of each image, and the number of images of a person.

    Parameters
    ----------
    images : dict of list of Path
        First images by their role, such as ``moving`` and ``static``.
    further : dict
        Paths or None by the options of the roles, such as ``moving_channels``, as
        :func:`find_further` takes them.

    Returns
    -------
    channels : dict of dict of list of Path, or None
        By the roles of ``images`` and by the paths of these; None if there are none.
    number : int
        The first one included.

    Raises
    ------
    FileNotFoundError
        If there are no such files.
    ValueError
        If some images have other numbers of further images than others.
    """
    given = {option: paths for option, paths in further.items() if paths}
    if not given:
        return None, 1
    needed = {f"{role}_channels": role for role in images}
    if given.keys() != needed.keys():
        raise ValueError(
            f"Expected further images of all images, {sorted(needed)}, or of none. "
            f"Received {', '.join(sorted(given))} alone."
        )
    channels = {
        role: _by_image(option, given[option], images[role])
        for option, role in needed.items()
    }
    numbers = {role: len(more) for role, of in channels.items() for more in of.values()}
    if len(set(numbers.values())) > 1:
        raise ValueError(
            f"Expected as many further images of each person. Received {numbers}."
        )
    return channels, 1 + numbers.popitem()[1]


def find_channels_of_pairs(static_files, moving_files, static, moving):
    """Return what :func:`find_channels` does for paths, patterns or lists of images."""
    images = {"static": find_inputs(static_files), "moving": find_inputs(moving_files)}
    further = {"static_channels": static, "moving_channels": moving}
    return find_channels(images, further)


def _by_image(option, paths, images):
    """Return the further images of each image by its path."""
    further = {}
    for image, more in zip(images, find_further(option, paths, len(images))):
        if further.setdefault(image, more) != more:
            raise ValueError(
                f"Expected the same {option} wherever {printable(image)} is named. "
                f"Received {[str(path) for path in more]} as well."
            )
    return further


def paths_of(channels):
    """Return all further images in a list."""
    return [
        path
        for of_role in (channels or {}).values()
        for more in of_role.values()
        for path in more
    ]


def check_channel_options(number, loss, losses, weights):
    """Raise ValueError unless there is a valid loss and weight for each image.

    Parameters
    ----------
    number : int
        Of images of each person.
    loss : str or None
        One for all images, if it is not the default.
    losses : list of str or None
    weights : list of float or None
    """
    if loss and losses:
        raise ValueError(
            f"Expected loss or channel_losses. Received {loss!r} and {list(losses)}."
        )
    for name, values in (("channel_losses", losses), ("channel_weights", weights)):
        if values and len(values) != number:
            raise ValueError(
                f"Expected {name} for each of {number} images, the first one included. "
                f"Received {list(values)}."
            )
    for loss in losses or ():
        check_choices(loss=loss)
    for weight in weights or ():
        check_number("each of channel_weights", weight)


def check_channels_of_model(number, num_channels, *, in_one=False):
    """Raise ValueError unless a model takes as many images of each person.

    Parameters
    ----------
    number : int
        Of images of each person.
    num_channels : int
        Of the model.
    in_one : bool, optional
        Whether a single image may hold all channels.
    """
    if number != num_channels and not (in_one and number == 1):
        raise ValueError(
            f"Expected as many images of each person as the model has channels, "
            f"{num_channels}. Received {number}."
        )
