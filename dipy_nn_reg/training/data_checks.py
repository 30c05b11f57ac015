"""Checks of training data: images, label maps, landmarks and masks."""

from dataclasses import replace

import numpy as np

from dipy_nn_reg.annotations import (
    PLACES,
    Annotations,
    find_label_values,
    labels_of_one_type,
)
from dipy_nn_reg.checks import as_array, check_training_pairs
from dipy_nn_reg.training.padding import pad_to_one_size

# Names of training data, as in a dictionary of validation data.
DATA = {"moving", "static"}
DATA |= {place.name for place in PLACES.values() if place.kind != "orientations"}


def check_training_data(moving, static=None, *, ndim, num_channels, **annotations):
    """Return checked training data as arrays of one size.

    Parameters
    ----------
    moving, static : array-like
        Images, as for :func:`~dipy_nn_reg.checks.check_training_pairs`.
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
        As both of these functions.
    """
    layout = {"ndim": ndim, "num_channels": num_channels}
    arrays = {"moving": moving, "static": static, **annotations}
    _check_sizes(arrays, ndim)
    arrays = pad_to_one_size(arrays, ndim)
    moving, static = arrays.pop("moving"), arrays.pop("static")
    moving, static = check_training_pairs(moving, static, **layout)
    annotations = check_annotations(arrays, moving, static)
    return {"moving": moving, "static": static, "annotations": annotations}


def _check_sizes(arrays, ndim):
    """Raise ValueError unless label maps and masks in a list fit their images.

    Once they are padded to one size, nothing would tell.
    """
    for name, place in PLACES.items():
        of_moving = place.image == "moving" or arrays["static"] is None
        of = "moving" if of_moving else "static"
        images, given = arrays[of], arrays.get(name)
        if place.kind not in ("labels", "mask") or not isinstance(given, (list, tuple)):
            continue
        sizes = [as_array(name, array).shape[:ndim] for array in given]
        expected = sizes[:1]
        if isinstance(images, (list, tuple)):
            expected = [as_array(of, image).shape[:ndim] for image in images]
        # One serves all. Other numbers, and none, are refused later.
        for size, image in zip(*_repeated(sizes, expected)):
            if size != image:
                raise ValueError(
                    f"Expected {name} of the size of their images. Received one of "
                    f"{size} for an image of {image}."
                )


def _repeated(*lists):
    """Return lists of which those of a single item are as long as the longest one."""
    longest = max(map(len, lists))
    return [items * longest if len(items) == 1 else items for items in lists]


def check_validation_data(data, *, ndim, num_channels):
    """Return checked validation data as arrays of one size.

    Parameters
    ----------
    data : tuple or dict
        ``(moving, static)``, or arguments of :func:`check_training_data` by name.
        Without static images, each moving one is registered to the one before it.
    ndim, num_channels : int

    Returns
    -------
    data : dict
        As of :func:`check_training_data`.

    Raises
    ------
    ValueError
        As :func:`check_training_data`, and if the data have another form.
    """
    if isinstance(data, (tuple, list)) and len(data) == 2:
        data = dict(zip(("moving", "static"), data))
    if not isinstance(data, dict) or "moving" not in data or set(data) - DATA:
        received = sorted(data) if isinstance(data, dict) else type(data).__name__
        raise ValueError(
            f"Expected validation_data=(moving, static), or a dictionary with moving "
            f"and any others of {sorted(DATA)}. Received {received}."
        )
    data = check_training_data(**data, ndim=ndim, num_channels=num_channels)
    if data["static"] is None:
        data["static"] = np.roll(data["moving"], 1, axis=0)
        data["annotations"] = data["annotations"].map(_roll_static)
    return data


def _roll_static(array, place):
    return np.roll(array, 1, axis=0) if place.image == "static" else array


def check_annotations(annotations, moving, static):
    """Return annotations as checked arrays.

    Parameters
    ----------
    annotations : dict
        Arrays by the names of :class:`~dipy_nn_reg.annotations.Annotations`; None
        counts as absent.
    moving : ndarray, shape (n, *spatial, channels)
    static : ndarray, shape (1 or n, *spatial, channels), or None
        With None, pairs are made of the moving images and their annotations.

    Returns
    -------
    annotations : Annotations
        Labels of shape (n, *spatial), landmarks of shape (n, points, ndim), a mask of
        shape (1 or n, *spatial, 1).

    Raises
    ------
    ValueError
        If only one image of a pair has labels or landmarks, if a shape does not fit
        the images, if landmarks or masks are not finite numbers, if labels are not
        integers or are all 0, or if a mask is empty.
    """
    arrays = {name: a for name, a in annotations.items() if a is not None}
    for kind in ("labels", "landmarks"):
        _add_partner(arrays, kind, static)

    def check(array, place):
        images = moving if place.image == "moving" or static is None else static
        return CHECKS[place.kind](place.name, as_array(place.name, array), images)

    checked = Annotations(**arrays).map(check)
    _check_same_number_of_points(checked)
    return _with_label_values(checked)


def _add_partner(arrays, kind, static):
    """Add static annotations to pairs of moving images: those of the moving images."""
    moving_name, static_name = f"moving_{kind}", f"static_{kind}"
    if static is None and moving_name in arrays and static_name not in arrays:
        arrays[static_name] = arrays[moving_name]
    elif static is None and static_name in arrays:
        raise ValueError(
            f"Expected {static_name}=None, since static=None makes pairs of the moving "
            f"images: their {moving_name} are used. Received {static_name}."
        )
    for present, absent in ((moving_name, static_name), (static_name, moving_name)):
        if present in arrays and absent not in arrays:
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
    """Return maps of the size of the images, with an axis for the images."""
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
    """Return the smallest number of arrays for n images: one mask may serve all."""
    return 1 if PLACES[name].kind == "mask" else n


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


def _check_same_number_of_points(annotations):
    both = annotations.moving_landmarks, annotations.static_landmarks
    numbers = {points.shape[1] for points in both if points is not None}
    if len(numbers) > 1:
        raise ValueError(
            f"Expected as many static landmarks as moving ones. "
            f"Received {sorted(numbers)} landmarks."
        )


def _with_label_values(annotations):
    if annotations.moving_labels is None:
        return annotations
    both = labels_of_one_type(annotations.moving_labels, annotations.static_labels)
    values = find_label_values(*both)
    if values.size == 0:
        raise ValueError("Expected labels other than 0. Received 0 everywhere.")
    moving, static = both
    return replace(
        annotations, moving_labels=moving, static_labels=static, label_values=values
    )
