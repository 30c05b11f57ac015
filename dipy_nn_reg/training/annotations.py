"""Label maps, landmarks and masks that a user gives beside the images.

NumPy only. What belongs to the moving and to the static images comes by name:
``moving_labels`` and ``static_labels``, ``moving_landmarks`` and ``static_landmarks``,
and ``mask``, which belongs to the static images.
"""

import numpy as np

from dipy_nn_reg.checks import check_training_pairs
from dipy_nn_reg.training.padding import pad_to_one_size

DATA = {
    "moving",
    "static",
    "moving_labels",
    "static_labels",
    "moving_landmarks",
    "static_landmarks",
    "mask",
}


def check_training_data(moving, static=None, *, ndim, num_channels, **annotations):
    """Return checked training data as arrays of one size.

    Parameters
    ----------
    moving, static : array-like
        As for :func:`~dipy_nn_reg.checks.check_training_pairs`.
    ndim, num_channels : int
        Number of spatial axes and of channels expected.
    **annotations
        As for :func:`check_annotations`.

    Returns
    -------
    data : dict
        ``moving``, ``static`` and ``annotations``.

    Raises
    ------
    ValueError
        As these two functions.
    """
    layout = {"ndim": ndim, "num_channels": num_channels}
    given = {"moving": moving, "static": static, **annotations}
    given = pad_to_one_size(given, ndim)
    moving, static = given.pop("moving"), given.pop("static")
    moving, static = check_training_pairs(moving, static, **layout)
    annotations = check_annotations(given, moving, static)
    return {"moving": moving, "static": static, "annotations": annotations}


def check_validation_data(data, *, ndim, num_channels):
    """Return what :class:`~dipy_nn_reg.training.dataset.Pairs` takes to validate with.

    Parameters
    ----------
    data : tuple or dict
        ``(moving, static)``, or arguments of :func:`check_training_data` by name.
        Without static images, each moving one is registered to the one before it.
    ndim, num_channels : int

    Returns
    -------
    data : dict

    Raises
    ------
    ValueError
        As :func:`check_training_data`, and if the data are something else.
    """
    if isinstance(data, (tuple, list)) and len(data) == 2:
        data = dict(zip(("moving", "static"), data))
    if not isinstance(data, dict) or "moving" not in data or set(data) - DATA:
        received = sorted(data) if isinstance(data, dict) else type(data).__name__
        raise ValueError(
            f"Expected validation_data=(moving, static), or a dictionary with moving "
            f"and others of {sorted(DATA)}. Received {received}."
        )
    data = check_training_data(**data, ndim=ndim, num_channels=num_channels)
    if data["static"] is None:
        data["static"] = np.roll(data["moving"], 1, axis=0)
        for name, array in data["annotations"].items():
            if name.startswith("static") or name == "mask":
                data["annotations"][name] = np.roll(array, 1, axis=0)
    return data


def check_annotations(annotations, moving, static):
    """Return annotations as arrays, after looking for what would go wrong.

    Parameters
    ----------
    annotations : dict
        Values by name, those that are None included.
    moving : ndarray, shape (n, *spatial, channels)
    static : ndarray, shape (1 or n, *spatial, channels), or None
        None: pairs are made of the moving images, and so of their annotations.

    Returns
    -------
    annotations : dict of ndarray
        Those given; labels of shape (n, *spatial), landmarks of shape
        (n, points, ndim), a mask of shape (1 or n, *spatial, 1). With labels there
        is ``labels``: the values but 0 that occur.

    Raises
    ------
    ValueError
        If one comes without its partner, if a shape does not fit the images, if
        landmarks or masks are not finite numbers, if labels are not integers or all 0,
        or if a mask is empty.
    """
    given = {name: a for name, a in annotations.items() if a is not None}
    for kind in ("labels", "landmarks"):
        _add_partner(given, kind, static)
    checked = {}
    for name, array in given.items():
        images = moving if "moving" in name or static is None else static
        check = CHECKS[name.split("_")[-1]]
        checked[name] = check(name, np.asarray(array), images)
    _check_same_number_of_points(checked)
    if "moving_labels" in checked:
        checked |= labels_of_one_type(
            {name: checked[name] for name in ("moving_labels", "static_labels")}
        )
        checked["labels"] = _label_values(checked)
    return checked


def labels_of_one_type(maps):
    """Return label maps that can be compared, signed and unsigned ones as well.

    Parameters
    ----------
    maps : dict of ndarray of int

    Returns
    -------
    maps : dict of ndarray of int

    Raises
    ------
    ValueError
        If no type holds the values of all of them.
    """
    if np.result_type(*maps.values()).kind != "f":
        return maps
    # NumPy would compare them as float64, which does not tell large values apart.
    highest = max(int(labels.max()) for labels in maps.values())
    lowest = min(int(labels.min()) for labels in maps.values())
    for dtype in (np.int64, np.uint64):
        if np.iinfo(dtype).min <= lowest and highest <= np.iinfo(dtype).max:
            return {name: labels.astype(dtype) for name, labels in maps.items()}
    raise ValueError(
        f"Expected labels that one type of integers holds. Received values from "
        f"{lowest} to {highest}."
    )


def one_hot(label_maps, labels):
    """Return the share of each label in each voxel, 0 or 1.

    Parameters
    ----------
    label_maps : ndarray, shape (n, *spatial)
    labels : ndarray, shape (number,)

    Returns
    -------
    shares : ndarray, shape (n, *spatial, number), float32

    Examples
    --------
    >>> one_hot(np.array([[0, 5, 7]]), np.array([5, 7])).tolist()
    [[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]]
    """
    return (label_maps[..., None] == labels).astype(np.float32)


def _add_partner(given, kind, static):
    """Use what goes with the moving images where pairs are made of these."""
    moving_name, static_name = f"moving_{kind}", f"static_{kind}"
    if static is None and moving_name in given and static_name not in given:
        given[static_name] = given[moving_name]
    elif static is None and static_name in given:
        raise ValueError(
            f"Expected {static_name}=None, since static=None makes pairs of the moving "
            f"images: their {moving_name} are used. Received {static_name}."
        )
    for present, absent in ((moving_name, static_name), (static_name, moving_name)):
        if present in given and absent not in given:
            raise ValueError(
                f"Expected {absent} beside {present}. Received {present} alone."
            )


def _check_labels(name, labels, images):
    labels = _fit_to_images(name, labels, images)
    if labels.dtype.kind not in "biu":
        raise ValueError(
            f"Expected integers in {name}. Received {name}.dtype={labels.dtype}."
        )
    return labels


def _check_mask(name, mask, images):
    if mask.dtype.kind not in "biuf" or not np.all(np.isfinite(mask)):
        raise ValueError(
            f"Expected {name} of finite numbers or booleans. "
            f"Received {name}.dtype={mask.dtype}, or values that are not finite."
        )
    mask = _fit_to_images(name, mask, images) != 0
    empty = ~mask.any(axis=tuple(range(1, mask.ndim)))
    if np.any(empty):
        raise ValueError(
            f"Expected one voxel or more in each {name}. "
            f"Received {np.sum(empty)} of {len(mask)} that are empty."
        )
    return mask[..., None]


def _fit_to_images(name, array, images):
    """Return maps with an axis for the images, whose size must be theirs."""
    n, spatial, shape = len(images), images.shape[1:-1], array.shape
    if array.shape[-1:] == (1,) and array.ndim == len(spatial) + 2:
        array = array[..., 0]
    if array.shape == spatial:
        array = array[None]
    if array.shape[1:] != spatial or len(array) not in (n, _serves_all(name, n)):
        raise ValueError(
            f"Expected {name} of the size of the images, {spatial}, one for each of "
            f"the {n}. Received {name}.shape={shape}."
        )
    return array


def _serves_all(name, n):
    """Return the number of arrays that do for n images: one mask may serve all."""
    return 1 if name == "mask" else n


def _check_landmarks(name, landmarks, images):
    n, ndim, shape = len(images), images.ndim - 2, landmarks.shape
    if landmarks.ndim == 2:
        landmarks = landmarks[None]
    if (
        landmarks.ndim != 3
        or landmarks.shape[2] != ndim
        or landmarks.shape[1] == 0
        or len(landmarks) not in (n, _serves_all(name, n))
    ):
        raise ValueError(
            f"Expected {name} of shape ({n}, points, {ndim}), in voxels. "
            f"Received {name}.shape={shape}."
        )
    if landmarks.dtype.kind not in "iuf" or not np.all(np.isfinite(landmarks)):
        raise ValueError(
            f"Expected finite numbers in {name}. "
            f"Received {name}.dtype={landmarks.dtype}, or values that are not finite."
        )
    return landmarks


CHECKS = {"labels": _check_labels, "landmarks": _check_landmarks, "mask": _check_mask}


def _check_same_number_of_points(checked):
    shapes = {checked[n].shape[1] for n in checked if n.endswith("landmarks")}
    if len(shapes) > 1:
        raise ValueError(
            f"Expected as many static landmarks as moving ones. "
            f"Received {sorted(shapes)} of them."
        )


def _label_values(checked):
    values = np.union1d(checked["moving_labels"], checked["static_labels"])
    values = values[values != 0]
    if values.size == 0:
        raise ValueError("Expected labels other than 0. Received 0 everywhere.")
    return values
