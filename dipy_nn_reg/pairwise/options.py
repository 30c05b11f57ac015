"""Options of the registration of one pair, checked before anything is computed."""

from dataclasses import replace
from functools import partial
from math import prod

from nibabel.affines import voxel_sizes
import numpy as np

from dipy_nn_reg.annotations import labels_of_one_type
from dipy_nn_reg.checks import (
    PRETRAINED,
    Pretrained,
    as_array,
    check_both,
    check_flag,
    check_name,
    check_number,
    check_smoothness,
    choose_pairwise_transform,
)
from dipy_nn_reg.losses.choice_checks import (
    check_choice,
    check_loss,
    check_mask_is_taken,
    check_penalty,
    check_penalty_option,
    default_smoothness,
)
from dipy_nn_reg.losses.choices import LOSSES, get_loss
from dipy_nn_reg.losses.images import lncc
from dipy_nn_reg.losses.objective import ObjectiveOptions
from dipy_nn_reg.memory import check_memory, size_of_labels
from dipy_nn_reg.networks.pretrained import pretrained_weights
from dipy_nn_reg.pairwise.levels import DescentOptions
from dipy_nn_reg.transform.kinds import (
    check_spacing,
    choose_field_stride,
    choose_spacing,
)
from dipy_nn_reg.transform.pyramid import coarse_shape

# Default loss, for images of one contrast. Windows of 5 voxels give better results than
# the usual 9 if the remaining displacement is small (doc/experiments.md).
LOSS = partial(lncc, window=5, floor=0.05)
# Default loss for images of different contrast: on SRI24 it is as exact as the
# self-similarity descriptors or more so (doc/recovered_sri24.csv).
LOSS_OF_TWO_CONTRASTS = "mi"
# Number of float32 values per voxel that the descent holds in addition to the loss:
# fields, and the Jacobians from which folds are counted.
VALUES_PER_VOXEL = 70
# The same for orientations of fibres.
_VALUES_OF_ORIENTATIONS = 100
# Relative difference of the sides of voxels that count as cubic.
_EQUAL_SIZES = 0.02


def find_layout(static, static_affine, num_channels, model):
    """Return the layout of the images: ``ndim`` and ``num_channels``, by name."""
    if model is not None:
        return {"ndim": model.ndim, "num_channels": num_channels}
    in_world = np.shape(static_affine) == (4, 4)
    spatial = static.shape if num_channels == 1 else static.shape[:-1]
    if num_channels == 1 and static.shape[-1:] == (1,):
        # The last axis is that of the channel, unless it lies across a slice.
        spatial = static.shape[: 3 if in_world else -1]
    if len(spatial) not in (2, 3):
        raise ValueError(
            f"Expected images of two or three axes"
            f"{'' if num_channels == 1 else ' and one for channels'}. "
            f"Received static.shape={static.shape} and num_channels={num_channels}."
        )
    ndim = 2 if in_world and 1 in spatial else len(spatial)
    return {"ndim": ndim, "num_channels": num_channels}


def spatial_shape(image, ndim):
    """Return the shape along the axes of registration; for a slice, those within it."""
    shape = image.shape
    if ndim == 2 and 1 in shape[:3] and len(shape) > 2:
        shape = [size for size in shape[:3] if size > 1]
    return tuple(shape[:ndim])


def check_model(model):
    """Raise ValueError unless the model is a registration, a known name, or None."""
    if isinstance(model, str):
        check_name("model", model, [PRETRAINED])
    elif isinstance(model, Pretrained):
        model.check()
    elif model is not None and not hasattr(model, "predict_mapping"):
        raise ValueError(
            f"Expected model to be a DeformableRegistration, an AffineRegistration or "
            f"{PRETRAINED!r}. Received model={model!r}."
        )


def check_pretrained(ndim, num_channels):
    """Raise ValueError unless the pretrained model takes images of this layout."""
    pretrained_weights(ndim)
    if num_channels != 1:
        raise ValueError(
            f"Expected images of one channel with model={PRETRAINED!r}. Received "
            f"num_channels={num_channels}."
        )


def check_options(
    shape,
    trained,
    field,
    *,
    loss=None,
    penalty=None,
    smoothness=None,
    symmetric=False,
    **weights,
):
    """Return checked options of the descent.

    Parameters
    ----------
    shape : tuple of int
        Shape of the static image along the axes of registration.
    trained : dict
        Options of a model, whose loss and penalty are the defaults; empty without one.
    field : dict
        ``transform``, ``spacing`` and ``field_stride``.
    loss, penalty, smoothness : optional
        As for :func:`~dipy_nn_reg.register`.
    symmetric : bool, optional
    **weights
        ``label_weight`` and ``orientation_weight``.

    Returns
    -------
    options : DescentOptions
    """
    transform = choose_pairwise_transform(field["transform"], penalty)
    check_smoothness(smoothness, transform)
    check_flag("symmetric", symmetric)
    loss = trained.get("loss", LOSS) if loss is None else loss
    check_choice("loss", loss, LOSSES)
    for name, weight in weights.items():
        check_number(name, weight, or_zero=True)
    if transform == "displacement":
        penalties = {"penalty": {}, "smoothness": None}
        smoothness = _factor(loss, smoothness)
    else:
        penalty = trained.get("penalty", "gradient") if penalty is None else penalty
        penalties = _penalties(transform, loss, penalty, smoothness)
        smoothness = 1.0
    weights = {name: float(weight) for name, weight in weights.items()}
    stride = 1 if field["field_stride"] is None else field["field_stride"]
    return DescentOptions(
        ObjectiveOptions.of(loss=loss, landmark_weight=0.0, **penalties, **weights),
        transform,
        choose_spacing(transform, shape, field["spacing"]),
        choose_field_stride(transform, None, len(shape), stride),
        smoothness,
        symmetric,
    )


def _factor(loss, smoothness):
    """Return the smoothness of a displacement, which is more for some losses."""
    smoothness = 1.0 if smoothness is None else smoothness
    return float(smoothness * get_loss(loss).displacement_smoothness)


def _penalties(transform, loss, penalty, smoothness):
    """Return the penalty of a velocity and its weight, by name."""
    check_penalty_option(penalty, smoothness)
    if smoothness is None and not isinstance(penalty, dict):
        smoothness = default_smoothness(loss, penalty, transform)
        smoothness *= get_loss(loss).pair_smoothness
    return {"penalty": penalty, "smoothness": smoothness}


def check_size(shape, options, annotations):
    """Raise an error unless images of a shape can be registered in memory.

    Parameters
    ----------
    shape : tuple of int
        (*spatial, channels).
    options : DescentOptions
    annotations : Annotations

    Raises
    ------
    ValueError
        If the loss, the penalty or the spacing does not allow this shape.
    MemoryError
        If the registration needs more memory than there is.
    """
    spatial, batch = shape[:-1], (1, *shape)
    check_loss(options.objective.loss, batch)
    check_spacing(options.transform, spatial, options.spacing)
    field = coarse_shape(spatial, options.field_stride)
    for penalty, _ in options.objective.penalties:
        check_penalty(penalty, (1, *field, len(spatial)))
    values = get_loss(options.objective.loss).values_per_voxel + VALUES_PER_VOXEL
    if options.symmetric:  # two directions at a time
        values *= 2
    label_values = annotations.label_values
    labels = 0 if label_values is None else len(label_values)
    if annotations.static_orientations is not None:
        values += _VALUES_OF_ORIENTATIONS
    check_memory(
        4 * values * prod(batch) + size_of_labels(batch, labels),
        what=f"Registering images of {spatial}",
        advice="A voxel_size above that of the images needs less.",
    )


def choose_voxel_size(voxel_size, model, annotations, affine):
    """Return the size of the voxels on which images are compared, as Frame takes it.

    Orientations need cubic voxels, and thick slices are better compared on such.
    """
    if voxel_size is None and annotations.static_orientations is not None:
        sizes = np.ones(3) if affine is None else voxel_sizes(affine)
        if not np.allclose(sizes, sizes[0], rtol=_EQUAL_SIZES):
            return float(np.prod(sizes) ** (1 / 3))
    return "cubic" if voxel_size is None and model is None else voxel_size


def check_annotations(annotations, options, ndim):
    """Return annotations that fit each other and the options of the objective.

    Raises
    ------
    ValueError
        If the loss does not take the mask; if only one image has a label map or
        orientations; if the label maps are not integers or have no label other than 0
        in common, so that their overlap could not grow; or if there are orientations of
        images of two axes.
    """
    for kind, name in (("labels", "label maps"), ("orientations", "orientations")):
        names = (f"moving_{kind}", f"static_{kind}")
        check_both(name, **{n: getattr(annotations, n) for n in names})
    if annotations.static_orientations is not None and ndim != 3:
        raise ValueError(
            f"Expected images of three axes with orientations. Received {ndim}."
        )
    check_mask_is_taken(options.loss, annotations)
    return (
        annotations if annotations.static_labels is None else _check_labels(annotations)
    )


def _check_labels(annotations):
    maps = {
        "moving_labels": as_array("moving_labels", annotations.moving_labels),
        "static_labels": as_array("static_labels", annotations.static_labels),
    }
    for name, labels in maps.items():
        if labels.dtype.kind not in "biu" or not labels.any():
            raise ValueError(
                f"Expected integers in {name}, and labels other than 0. Received "
                f"{name}.dtype={labels.dtype} and shape {labels.shape}."
            )
    moving, static = labels_of_one_type(*maps.values())
    values = [np.setdiff1d(labels, 0) for labels in (moving, static)]
    if not np.intersect1d(*values).size:
        raise ValueError(
            f"Expected labels that both maps have in common. Received moving_labels of "
            f"{values[0][:5].tolist()} and static_labels of {values[1][:5].tolist()}."
        )
    return replace(
        annotations,
        moving_labels=moving,
        static_labels=static,
        label_values=np.union1d(*values),
    )
