"""Supervision: overlap of label maps, distance of landmarks, misalignment of fibres."""

from keras import ops
import numpy as np

from dipy_nn_reg.losses.averages import EPSILON, masked_mean
from dipy_nn_reg.symmetric import ENTRIES
from dipy_nn_reg.transform.functions import sample
from dipy_nn_reg.transform.tensors import as_float32, check_field, check_image_pair


def label_overlap(static, warped):
    """Return the soft Dice overlap of label maps.

    Parameters
    ----------
    static, warped : tensor, shape (batch, *spatial, labels)
        The fraction of each label in each voxel, from 0 to 1.

    Returns
    -------
    overlap : tensor, shape (batch,)
        Mean over the labels that occur in at least one of the two maps, from 0 to 1.
        It is 1 if no label occurs.

    Notes
    -----
    As in :footcite:t:`Balakrishnan2019`.

    References
    ----------
    .. footbibliography::
    """
    static, warped, _ = check_image_pair(static, warped)
    spatial = tuple(range(1, len(static.shape) - 1))
    common = 2 * ops.sum(static * warped, axis=spatial)
    total = ops.sum(static + warped, axis=spatial)
    occurs = ops.cast(total > 0, "float32")
    dice = (common + (1 - occurs)) / (total + (1 - occurs))
    labels = ops.sum(occurs, axis=-1)
    # Labels that occur in neither image have a Dice overlap of 1, and are left out.
    mean = ops.sum(dice * occurs, axis=-1) / ops.maximum(labels, 1)
    return ops.where(labels > 0, mean, ops.ones_like(mean))


def landmark_error(displacement, static, moving):
    """Return the mean squared distance of landmarks after registration.

    Parameters
    ----------
    displacement : tensor, shape (batch, *spatial, ndim)
        Displacement in voxels.
    static, moving : tensor, shape (batch, n, ndim)
        Pairs of landmarks in voxels.

    Returns
    -------
    error : tensor, shape (batch,)
        Mean squared length of ``static + displacement(static) - moving``, in squared
        voxels.
    """
    displacement = check_field("displacement", displacement)
    static, moving = as_float32("static", static), as_float32("moving", moving)
    numbers = {static.shape[1:2], moving.shape[1:2]} - {(None,)}
    if len(static.shape) != 3 or len(moving.shape) != 3 or len(numbers) > 1:
        raise ValueError(
            f"Expected pairs of landmarks, both of shape (batch, n, ndim). Received "
            f"{tuple(static.shape)} and {tuple(moving.shape)}."
        )
    mapped = static + sample(displacement, static, border="repeat")
    return ops.mean(ops.sum(ops.square(mapped - moving), axis=-1), axis=-1)


def misalignment(static, warped, mask=None):
    """Return how far orientations differ, beside their own size.

    Parameters
    ----------
    static, warped : tensor, shape (batch, x, y, z, 6)
        :mod:`Orientation tensors <dipy_nn_reg.transform.orientations>` along the axes
        of the grid.
    mask : tensor, shape (batch, x, y, z, 1), optional

    Returns
    -------
    misalignment : tensor, shape (batch,)
        Sum of the squares of the differences of all entries, divided by the sum of the
        squares of all entries of both: 0 for equal orientations, and 1 where fibres are
        perpendicular or where one image has none.
    """
    times = ops.convert_to_tensor([1.0 + (i != j) for i, j in ENTRIES], "float32")

    def size(tensors):
        return masked_mean(ops.square(tensors) * times, mask)

    return size(static - warped) / ops.maximum(size(static) + size(warped), EPSILON)


def one_hot(label_maps, labels):
    """Return the fraction of each label in each voxel, 0 or 1.

    Parameters
    ----------
    label_maps : ndarray of int, shape (n, *spatial)
    labels : ndarray of int, shape (number,)

    Returns
    -------
    fractions : ndarray of float32, shape (n, *spatial, number)

    Examples
    --------
    >>> one_hot(np.array([[0, 5, 7]]), np.array([5, 7])).tolist()
    [[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]]
    """
    return (label_maps[..., None] == labels).astype(np.float32)
