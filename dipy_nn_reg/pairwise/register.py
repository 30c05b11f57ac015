"""Register one pair of images, with no trained model or from where one ends."""

from functools import partial
from time import perf_counter

from dipy.utils.logging import logger
import numpy as np

from dipy_nn_reg.checks import check_integer, check_name, check_number, check_real
from dipy_nn_reg.losses.choices import (
    check_choice,
    check_penalty,
    default_smoothness,
    takes_mask,
)
from dipy_nn_reg.losses.images import LOSSES, lncc
from dipy_nn_reg.mapping.measures import measure_field
from dipy_nn_reg.mapping.physical import predict_mapping
from dipy_nn_reg.pairwise.outcome import RegistrationReport
from dipy_nn_reg.pairwise.safeguard import Pair
from dipy_nn_reg.tracing import check_not_forked
from dipy_nn_reg.training.annotations import labels_of_one_type
from dipy_nn_reg.transform.kinds import choose_field_stride, choose_spacing

# For images of one contrast. Windows of 5 voxels do better than the usual 9 where what
# remains to be done is small (doc/performance.md).
LOSS = partial(lncc, window=5)
# By how much more a velocity at each voxel is to be smoothed than what a network
# predicts, with losses that leave more to chance (SRI24, doc/performance.md).
SMOOTHER = {"mi": 10.0, "mind": 8.0}
TRANSFORMS = ("bspline_velocity", "velocity")


def register(
    moving,
    static,
    *,
    moving_affine=None,
    static_affine=None,
    prealign="affine",
    voxel_size=None,
    num_channels=None,
    model=None,
    optimize=True,
    transform="velocity",
    spacing=None,
    field_stride=None,
    loss=None,
    penalty=None,
    smoothness=None,
    level_iters=None,
    mask=None,
    moving_labels=None,
    static_labels=None,
    label_weight=1.0,
):
    """Register one pair of images, on any grids, by optimisation.

    No trained model is needed; where there is one, the optimisation starts from what it
    predicts, else from a search for large motion between coarse images. A field that
    folds at more than 0.001 % of the voxels, or makes the images less similar, is not
    returned: what was there before it is, the affine alone if need be, and the report
    says so.

    Parameters
    ----------
    moving, static : ndarray, shape (*spatial,) or (*spatial, channels)
        Of any sizes and intensities: an offset or a factor changes nothing, and what
        lies outside of the moving image is its background. NaN counts as background.
    moving_affine, static_affine : ndarray, shape (ndim + 1, ndim + 1), optional
        From voxels to world coordinates in mm. Without them both images are on one
        grid. Slices with affines of 4 x 4, stored along any axis, are registered in
        their plane, however far they are apart across it.
    prealign : {"affine", "rigid"}, ndarray or None, optional
        How DIPY is to align the images before, or an affine from static to moving world
        coordinates; None for images that are aligned.
    voxel_size : float, optional
        In mm, of the images that are compared. By default those of the static image.
    num_channels : int, optional
        By default those of the model, or 1.
    model : DeformableRegistration or AffineRegistration, optional
        Where to start. It does not change.
    optimize : bool, optional
        If not, what the model predicts is returned, unless it has to be put right.
    transform : {"velocity", "bspline_velocity"}, optional
        What is optimised: a velocity at each voxel, or at control points.
    spacing : int, optional
        Distance of the control points in voxels; by default 4.
    field_stride : int, optional
        1, 2 or 4: distance in voxels of the values of a velocity; by default 1.
    loss, penalty : optional
        As for ``DeformableRegistration``. By default those of the model; without one,
        local normalised cross-correlation in windows of 5 voxels, and the gradient of
        the velocity.
    smoothness : float, optional
        Weight of the penalty; by default one that suits both.
    level_iters : sequence of int, optional
        Most iterations of each level, as for DIPY's SyN: the last one for the images as
        they are, the ones before for images shrunk by 2, 4 ... A level ends when it no
        longer improves. By default (10, 10, 20, 30); after a model, (10, 4).
    mask : ndarray, shape (*spatial,), optional
        On the static grid: where it is 0, the images are not compared. Integers,
        booleans or finite floats.
    moving_labels, static_labels : ndarray of int, shape (*spatial,), optional
        Label maps of both images, 0 for background: their overlap counts as well.
    label_weight : float, optional
        Of one minus the overlap of labels.

    Returns
    -------
    mapping : dipy.align.imwarp.DiffeomorphicMap
        ``mapping.transform(moving)`` is the moving image on the static grid.
    report : RegistrationReport

    Raises
    ------
    ValueError
        If the images are constant, do not overlap, do not fit each other or the model,
        or hold values that are not finite; or if an option is not one of those listed.
    MemoryError
        If more memory is needed than there is.

    Examples
    --------
    >>> static = np.exp(-((np.indices((32, 32)) - 16) ** 2).sum(0) / 60)
    >>> mapping, report = register(np.roll(static, 2, 0), static, prealign=None)
    >>> report.used, report.ncc_after > report.ncc_before
    ('optimized', True)
    """
    check_not_forked()
    start = perf_counter()
    moving, static = check_real("moving", moving), check_real("static", static)
    _check_model(model)
    ndim, num_channels = _find_layout(static, static_affine, num_channels, model)
    options = _check_options(
        _spatial_shape(static, ndim),
        model,
        transform,
        spacing,
        field_stride,
        loss,
        penalty,
        smoothness,
    )
    check_number("label_weight", label_weight, or_zero=True)
    options |= {"label_weight": float(label_weight), "landmark_weight": 0.0}
    _check_level_iters(level_iters)
    _check_annotations(mask, moving_labels, static_labels, options["loss"])
    label_maps = _check_labels(moving_labels, static_labels)
    pair = Pair(model, optimize, options, level_iters)
    mapping = predict_mapping(
        pair.register,
        moving,
        static,
        ndim=ndim,
        num_channels=num_channels,
        moving_affine=moving_affine,
        static_affine=static_affine,
        prealign=prealign,
        voxel_size=voxel_size,
        annotations={"mask": mask, **label_maps},
        check_size=partial(pair.check_size, labels=_count_labels(label_maps)),
    )
    seconds = perf_counter() - start
    measured = measure_field(mapping, roughness=False)
    report = RegistrationReport(**pair.found, **measured, seconds=seconds)
    logger.info(str(report))
    return mapping, report


def _find_layout(static, static_affine, num_channels, model):
    """Return the number of spatial axes and of channels."""
    if model is not None:
        layout = model._layout()
        if num_channels not in (None, layout["num_channels"]):
            raise ValueError(
                f"Expected num_channels={layout['num_channels']}, that of the model. "
                f"Received num_channels={num_channels!r}."
            )
        return layout["ndim"], layout["num_channels"]
    num_channels = 1 if num_channels is None else num_channels
    check_integer("num_channels", num_channels, lowest=1)
    num_channels = int(num_channels)  # that of NumPy may be of 8 bits
    in_world = np.shape(static_affine) == (4, 4)
    spatial = static.shape if num_channels == 1 else static.shape[:-1]
    if num_channels == 1 and static.shape[-1:] == (1,):
        # The last axis is that of the channel, unless it is that across a slice.
        spatial = static.shape[: 3 if in_world else -1]
    if len(spatial) not in (2, 3):
        raise ValueError(
            f"Expected images of two or three axes"
            f"{'' if num_channels == 1 else ' and one for channels'}. "
            f"Received static.shape={static.shape} and num_channels={num_channels}."
        )
    return 2 if in_world and 1 in spatial else len(spatial), num_channels


def _spatial_shape(image, ndim):
    """Return the axes along which an image is registered: of a slice, those in it."""
    shape = image.shape
    if ndim == 2 and 1 in shape[:3] and len(shape) > 2:
        shape = [size for size in shape[:3] if size > 1]
    return tuple(shape[:ndim])


def _check_model(model):
    if model is not None and not hasattr(model, "predict_mapping"):
        raise ValueError(
            f"Expected model to be a DeformableRegistration or an AffineRegistration. "
            f"Received model={model!r}."
        )


def _check_options(
    shape, model, transform, spacing, field_stride, loss, penalty, smoothness
):
    """Return the options of the optimisation."""
    check_name("transform", transform, TRANSFORMS)
    trained = {} if model is None else model.model.options
    loss = trained.get("loss", LOSS) if loss is None else loss
    penalty = trained.get("penalty", "gradient") if penalty is None else penalty
    check_choice("loss", loss, LOSSES)
    check_penalty(penalty, smoothness)
    if smoothness is None and not isinstance(penalty, dict):
        smoothness = default_smoothness(loss, penalty, transform)
        smoothness *= SMOOTHER.get(loss, 1.0) if isinstance(loss, str) else 1.0
    spacing = choose_spacing(transform, shape, spacing)
    field_stride = 1 if field_stride is None else field_stride
    field_stride = choose_field_stride(transform, None, len(shape), field_stride)
    return {
        "transform": transform,
        "spacing": spacing,
        "field_stride": field_stride,
        "loss": loss,
        "penalty": penalty,
        "smoothness": smoothness,
    }


def _check_labels(moving, static):
    """Return label maps by name, of one type; none without maps.

    Raises
    ------
    ValueError
        If they are no integers, or have none but 0 in common: their overlap could not
        grow.
    """
    if moving is None:
        return {}
    maps = {"moving_labels": np.asarray(moving), "static_labels": np.asarray(static)}
    for name, labels in maps.items():
        if labels.dtype.kind not in "biu" or not labels.any():
            raise ValueError(
                f"Expected integers in {name}, and labels other than 0. Received "
                f"{name}.dtype={labels.dtype} and shape {labels.shape}."
            )
    maps = labels_of_one_type(maps)
    values = [np.setdiff1d(labels, 0) for labels in maps.values()]
    if not np.intersect1d(*values).size:
        moving, static = (found[:5].tolist() for found in values)
        raise ValueError(
            f"Expected labels that both maps have. Received moving_labels of {moving} "
            f"and static_labels of {static}."
        )
    return maps


def _count_labels(maps):
    """Return the number of labels of both maps but 0."""
    return len(np.setdiff1d(np.union1d(*maps.values()), 0)) if maps else 0


def _check_level_iters(level_iters):
    if level_iters is None:
        return
    if not isinstance(level_iters, (list, tuple)) or not level_iters:
        raise ValueError(
            f"Expected level_iters to be a list of numbers of iterations. "
            f"Received {level_iters!r}."
        )
    for most in level_iters:
        check_integer("each of level_iters", most, lowest=0)


def _check_annotations(mask, moving_labels, static_labels, loss):
    if (moving_labels is None) != (static_labels is None):
        raise ValueError(
            "Expected label maps of both images or of none. Received "
            f"{'static' if moving_labels is None else 'moving'}_labels alone."
        )
    if mask is not None and not takes_mask(loss):
        raise ValueError(
            f"Expected a loss that takes a mask, loss(static, warped, *, mask). "
            f"Received loss={loss!r} and a mask."
        )
