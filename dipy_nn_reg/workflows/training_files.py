"""Files of a training, found by options or in a table, and read on one grid."""

from functools import partial

import numpy as np

from dipy_nn_reg.cohort.inputs import ANNOTATIONS, further_images, is_table, read_pairs
from dipy_nn_reg.io.cache import cache_images, compact
from dipy_nn_reg.io.labels import read_labels_on, read_mask_on
from dipy_nn_reg.io.nifti import Image, read_image
from dipy_nn_reg.mapping.grid import FEWEST_VOXELS
from dipy_nn_reg.mapping.regridding import read_on_grid
from dipy_nn_reg.mapping.slices import axis_across, check_planes, normal_of
from dipy_nn_reg.workflows.channel_files import find_channels
from dipy_nn_reg.workflows.paths import find_inputs

# Columns of a table that a training reads.
_COLUMNS = ("moving", "static", "moving_labels", "static_labels")
# Images of people by the options of their further images, in a table and beside it.
_FURTHER = {"moving_channels": "moving", "static_channels": "static"}
_IMAGES = ("moving", "static", "validation")


def find_training_files(moving_files, optional, further):
    """Return the files of a training by the names of their options.

    Parameters
    ----------
    moving_files : path, pattern or list
        Images; or a table of pairs, as
        :func:`~dipy_nn_reg.cohort.inputs.read_pairs` reads it.
    optional : dict
        Paths of ``static``, of labels and of ``validation``, or None.
    further : dict
        Paths or None by ``moving_channels``, ``static_channels`` and
        ``validation_channels``. A table has its own for the first two.

    Returns
    -------
    files : dict of list of Path
    channels, number
        As :func:`~dipy_nn_reg.workflows.channel_files.find_channels` returns them.

    Raises
    ------
    FileNotFoundError
        If there are no such files.
    ValueError
        If a table comes with other images, or with labels or further images of some
        pairs alone; or if there are not as many further images of each person.
    """
    files = find_inputs(moving_files)
    optional = {n: find_inputs(p) for n, p in optional.items() if p is not None}
    further = {n: paths for n, paths in further.items() if paths}
    if any(map(is_table, files)):
        others = {*optional, *further} & {*_COLUMNS, *_FURTHER}
        if len(files) > 1 or others:
            raise ValueError(
                f"Expected a table of pairs alone, or images. Received "
                f"{str(files[0])!r} and {sorted(others) or f'{len(files)} files'}."
            )
        listed, more = _read_table(files[0])
        optional, further = {**listed, **optional}, {**more, **further}
    else:
        optional = {"moving": files, **optional}
    images = {n: optional[n] for n in _IMAGES if n in optional}
    return optional, *find_channels(images, further)


def _read_table(path):
    """Return the files that a table lists, and further images as options name them."""
    pairs = read_pairs(path)
    _check_no_masks(pairs, path)
    columns = [name for name in _COLUMNS if any(name in pair for pair in pairs)]
    more = [further_images(pair) for pair in pairs]
    for number, (pair, channels) in enumerate(zip(pairs, more), start=2):
        missing = [name for name in columns if name not in pair]
        if missing:
            raise ValueError(
                f"Expected labels of all pairs or of none. Received no {missing[0]} in "
                f"row {number} of {str(path)!r}."
            )
        counts = [len(c["moving"]) if c else 0 for c in (more[0], channels)]
        if counts[0] != counts[1]:
            raise ValueError(
                f"Expected {counts[0]} further images of each person, as in the first "
                f"row. Received {counts[1]} in row {number} of {str(path)!r}."
            )
    found = {n: find_inputs([pair[n] for pair in pairs]) for n in columns}
    if more[0] is None:
        return found, {}
    # The second images of all, then the third ones.
    in_order = {
        name: [p for kind in zip(*(c[role] for c in more)) for p in kind]
        for name, role in _FURTHER.items()
    }
    return found, in_order


def _check_no_masks(pairs, path):
    """Raise ValueError for masks of pairs, which a training cannot use."""
    masks = [name for name in ANNOTATIONS if "mask" in name]
    if found := [name for name in masks if any(name in pair for pair in pairs)]:
        raise ValueError(
            f"Expected no masks of pairs in a table of a training, but mask_file, one "
            f"for all. Received {str(path)!r} with the columns {found}."
        )


def reference_of(paths, voxel_size):
    """Return an empty image on the grid of all, and the axis across slices, or None."""
    first = read_image(paths.get("static", paths["moving"])[0])
    grid = first.grid
    across = axis_across(grid.shape)
    if voxel_size is not None:
        grid = grid.with_voxel_size(voxel_size, fewest=FEWEST_VOXELS)
    data = np.empty(grid.shape, bool)
    return Image(data, grid.affine, first.header, first.path), across


def read_all(paths, channels, image, across, folder):
    """Return the files of a training as arrays on one grid.

    Parameters
    ----------
    paths, channels
        As :func:`find_training_files` returns them.
    image, across
        As :func:`reference_of` returns them.
    folder : string or Path
        Of the memory-mapped files of these arrays.

    Returns
    -------
    data : dict of ndarray, shape (n, *spatial)
        Images of several channels have an axis more, the last one.
    """
    data = {}
    readers = {"mask": read_mask_on}
    readers |= {"moving_labels": _read_labels, "static_labels": _read_labels}
    for name, group in paths.items():
        read = readers.get(name, _read_image)
        if channels is not None and name in channels:
            group = [[path, *channels[name][path]] for path in group]
            read = _read_channels
        data[name] = cache_images(group, partial(read, image=image), folder, name=name)
        if across is not None:
            data[name] = data[name][(slice(None),) * (across + 1) + (0,)]
    return data


def _read_channels(paths, image):
    """Read the images of one person as channels."""
    return np.stack([_read_image(path, image) for path in paths], axis=-1)


def _read_image(path, image):
    """Read an image on the grid of another one."""
    reference, image = image, read_image(path)
    shapes = reference.data.shape, image.data.shape
    if len({axis_across(shape) is None for shape in shapes}) > 1:
        raise ValueError(
            f"Expected slices alone, or volumes alone. Received {str(path)!r} of shape "
            f"{shapes[1]}, and {str(reference.path)!r} of shape {shapes[0]} in voxels "
            f"of the training."
        )
    if axis_across(image.data.shape) is not None:
        check_planes(normal_of(reference.grid), normal_of(image.grid))
    values = read_on_grid(image.data, image.affine, [], reference.grid)
    if np.ptp(values) == 0:
        raise ValueError(
            f"Expected images that overlap by their headers; slices, in one plane. "
            f"Received {str(path)!r}, which has no contrast on the grid of "
            f"{str(reference.path)!r}."
        )
    return compact(values)


def _read_labels(path, image):
    """Read labels as integers of the smallest type that training accepts."""
    labels = read_labels_on(path, image)
    lowest, highest = int(labels.min()), int(labels.max())
    for dtype in (np.int32, np.int64, np.uint64):
        if np.iinfo(dtype).min <= lowest and highest <= np.iinfo(dtype).max:
            return labels.astype(dtype)
