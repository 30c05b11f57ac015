"""Registration of one pair of images, with or without a trained model."""

from time import perf_counter

from dipy.utils.logging import logger

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.checks import check_real
from dipy_nn_reg.mapping.frame import Frame
from dipy_nn_reg.pairwise.options import (
    check_annotations,
    check_level_iters,
    check_model,
    check_options,
    check_size,
    find_layout,
    spatial_shape,
)
from dipy_nn_reg.pairwise.outcome import Outcome
from dipy_nn_reg.pairwise.safeguard import best_sound_parts
from dipy_nn_reg.tracing import check_not_forked


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
    returned: what was there before it is, the affine alone if need be, and the outcome
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
    outcome : Outcome

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
    >>> mapping, outcome = register(np.roll(static, 2, 0), static, prealign=None)
    >>> outcome.used, outcome.ncc_after > outcome.ncc_before
    ('optimized', True)
    """
    check_not_forked()
    start = perf_counter()
    moving, static = check_real("moving", moving), check_real("static", static)
    check_model(model)
    ndim, num_channels = find_layout(static, static_affine, num_channels, model)
    annotations = Annotations(
        moving_labels=moving_labels, static_labels=static_labels, mask=mask
    )
    options = check_options(
        spatial_shape(static, ndim),
        {} if model is None else model.options,
        {"transform": transform, "spacing": spacing, "field_stride": field_stride},
        {"loss": loss, "penalty": penalty, "smoothness": smoothness},
        label_weight,
    )
    check_level_iters(level_iters)
    annotations = check_annotations(annotations, options.objective.loss)
    frame = Frame(
        moving,
        static,
        ndim=ndim,
        num_channels=num_channels,
        moving_affine=moving_affine,
        static_affine=static_affine,
        prealign=prealign,
        voxel_size=voxel_size,
    )
    annotations = frame.check_annotations(annotations)
    check_size(frame.shape, options, annotations)
    pair = frame.read(annotations)
    prediction = None
    if model is not None:
        predict = model.predictor.predict_on_grid
        prediction = predict(pair.moving, pair.static, finite=False)
    affine, best = best_sound_parts(
        pair, prediction, options, level_iters=level_iters, optimize=optimize
    )
    mapping = frame.to_mapping(best.parts, pair.prealign)
    outcome = Outcome.of(affine, best, mapping, seconds=perf_counter() - start)
    logger.info(str(outcome))
    return mapping, outcome
