"""Registration of one pair of images, with or without a trained model."""

from functools import partial
from time import perf_counter

from dipy.utils.logging import logger

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.checks import (
    ORIENTATION_WEIGHT,
    as_pretrained,
    check_flag,
    check_level_iters,
)
from dipy_nn_reg.io.channels import read_channels
from dipy_nn_reg.losses.choice_checks import join_losses
from dipy_nn_reg.losses.choices import loss_name, takes_mask
from dipy_nn_reg.mapping.frame import Frame
from dipy_nn_reg.mapping.prealign import Alignment
from dipy_nn_reg.pairwise.channels import check_num_channels, default_losses
from dipy_nn_reg.pairwise.contrast import contrasts_agree, contrasts_agree_after
from dipy_nn_reg.pairwise.options import (
    LOSS,
    check_annotations,
    check_model,
    check_options,
    check_pretrained,
    check_size,
    choose_voxel_size,
    find_layout,
    spatial_shape,
)
from dipy_nn_reg.pairwise.outcome import Outcome
from dipy_nn_reg.pairwise.safeguard import best_sound_parts
from dipy_nn_reg.pairwise.zero_shot import predict_pretrained
from dipy_nn_reg.tracing import check_not_forked


def register(
    moving,
    static,
    *,
    moving_affine=None,
    static_affine=None,
    prealign="auto",
    voxel_size=None,
    num_channels=None,
    channel_weights=None,
    model=None,
    optimize=True,
    transform=None,
    spacing=None,
    field_stride=None,
    loss=None,
    penalty=None,
    smoothness=None,
    level_iters=None,
    mask=None,
    moving_mask=None,
    moving_labels=None,
    static_labels=None,
    label_weight=1.0,
    moving_orientations=None,
    static_orientations=None,
    orientation_weight=ORIENTATION_WEIGHT,
    symmetric=False,
):
    """Register one pair of images, on any grids, by optimisation.

    The optimisation starts from the prediction of a trained model, if one is given,
    and from a search for large motion between coarse images otherwise. Where the field
    folds, it is smoothed. One that still folds at more than 0.001 % of the voxels, or
    that makes the images less similar, is not returned. The best result before it is
    returned instead, if need be the affine alone, and ``outcome.used`` names it.

    Parameters
    ----------
    moving, static : ndarray, nibabel image, string or Path
        Images of shape (*spatial,) or (*spatial, channels), or files of them, of any
        size and range: an offset or a factor of the intensities changes the result by
        rounding alone. A list of images of one person, such as T1 and FA, each a file
        on its own grid or an array on that of the first one, has one channel each. The
        background of the moving image continues outside of it; if its border cuts
        through the object, what lies beyond is not compared.
        NaN counts as background.
    moving_affine, static_affine : ndarray, shape (ndim + 1, ndim + 1), optional
        From voxels to world coordinates in mm; by default those of files and of images
        of nibabel. Without them both images are on one grid. Slices with affines of
        4 x 4, stored along any axis, are registered in their plane, whatever their
        distance across it.
    prealign : str, Alignment, ndarray or None, optional
        "auto", "rigid", "similarity" or "affine": an alignment that is
        estimated before, wherever the images lie and however they are turned; "auto"
        chooses the kind, or none, from the images. Or ``outcome.alignment`` of an
        earlier registration, or an affine from static to moving world coordinates. None
        for images that are aligned.
    voxel_size : float, optional
        Voxel size in mm of the grid on which the images are compared. By default that
        of the static image; without a model, that of cubic voxels of the same volume if
        one side of its voxels is twice as long as another.
    num_channels : int, optional
        Number of channels of an image in one piece; by default that of the model, or
        1.
    channel_weights : sequence of float, optional
        Weight of the loss of each channel; by default they are equal.
    model : DeformableRegistration, AffineRegistration or "pretrained", optional
        Trained model, whose prediction is the start. It does not change. "pretrained"
        is the one of :meth:`dipy_nn_reg.DeformableRegistration.pretrained`, for images
        of one channel; everything else is then chosen as without a model.
    optimize : bool, optional
        If False, the prediction of the model is returned without optimisation, unless
        it has to be repaired.
    transform : {"displacement", "velocity", "bspline_velocity"}, optional
        Field that is optimised: a displacement, composed of small steps; or a
        stationary velocity at each voxel, or at control points, which takes a penalty.
        By default a displacement, or a velocity if there is a ``penalty``.
    spacing : int, optional
        Distance of the control points in voxels; by default 4.
    field_stride : int, optional
        1, 2 or 4: distance in voxels of the values of the field; by default 1.
    loss : str, callable or sequence of these, optional
        As for ``DeformableRegistration``; a sequence has one for each channel. By
        default that of the model. Without a model, it is chosen from the images, for
        each channel: local normalised cross-correlation in
        windows of 5 voxels where their contrasts agree, mutual information where not;
        if they agree once the images are registered, these are registered again.
    penalty : str, callable or dict, optional
        Penalty of a velocity, as for ``DeformableRegistration``. By default that of the
        model, or the gradient of the velocity.
    smoothness : float, optional
        Factor of what smooths a displacement, up to 100, by default 1: between a half
        and 4, the roughness of a field (SDlogJ) falls by a tenth to a quarter with each
        doubling. For a velocity, the weight of the penalty, whose default depends on
        the loss and the penalty.
    level_iters : sequence of int, optional
        Largest number of iterations of each level, as for DIPY's SyN: the last one is
        for the images in full resolution, those before for images shrunk by 2, 4 and
        so on. By default four levels of 25 iterations, or fewer, down to 5, where
        images are large; after a model, two levels or more of at most 20. For a
        velocity (10, 10, 20, 30); after a model, (10, 4).
    mask : ndarray, shape (*spatial,), optional
        Mask on the static grid: where it is 0, the images are not compared. Integers,
        booleans or finite floats. Without a model, if one image has a skull and the
        other one has not, the images are compared in the brain by default; a mask of
        ones switches this off.
    moving_mask : ndarray, shape (*spatial,), optional
        The same for the moving image, on its grid. The mask is warped with the image.
        With both masks, the images are compared where both are not 0.
    moving_labels, static_labels : ndarray of int, shape (*spatial,), optional
        Label maps of both images, 0 for background, whose overlap is optimised too.
    label_weight : float, optional
        Weight of one minus the overlap of labels.
    moving_orientations, static_orientations : ndarray, shape (x, y, z, 6), optional
        Orientations of fibres on the grid of each image, computed from tensors, peaks
        or spherical harmonics by
        :func:`~dipy_nn_reg.diffusion.orientations.orientation_tensors`. Those of the
        moving image are warped and turned with the tissue while the field is optimised;
        the images are compared on cubic voxels. An alignment of the images that they
        clearly do not support is not used.
    orientation_weight : float, optional
        Weight of the difference of orientations, from 0 to 1, beside the loss of the
        images. From 1 to 10 the results are alike (doc/diffusion.rst).
    symmetric : bool, optional
        Whether both directions are registered to the end, so that moving and static,
        on one grid and without ``prealign``, can be exchanged: the map is then the
        inverse, to a tenth of a voxel in brains. Takes up to twice the time, and costs
        some overlap.

    Returns
    -------
    mapping : dipy.align.imwarp.DiffeomorphicMap
        ``mapping.transform(moving)`` is the moving image on the static grid.
    outcome : Outcome

    Raises
    ------
    FileNotFoundError
        If there is no file of an image.
    ValueError
        If a file cannot be read, if an image is constant or has infinite values, if
        images or masks do not overlap, if they do not fit each other or the model, or
        if an option is not one of those listed.
    MemoryError
        If the registration needs more memory than there is.

    Examples
    --------
    >>> static = np.exp(-((np.indices((32, 32)) - 16) ** 2).sum(0) / 60)
    >>> mapping, outcome = register(np.roll(static, 2, 0), static, prealign=None)
    >>> outcome.used, outcome.ncc_after > outcome.ncc_before
    ('optimized', True)
    """
    check_not_forked()
    start = perf_counter()
    check_model(model)
    predict = partial(_predict, model)
    if (pretrained := as_pretrained(model)) is not None:
        predict, model = partial(predict_pretrained, pretrained), None
    check_level_iters(level_iters)
    check_flag("optimize", optimize)
    if not optimize and model is None and pretrained is None:
        raise ValueError("Expected a model with optimize=False. Received model=None.")
    num_channels = check_num_channels(num_channels, model, moving, static)
    read = partial(read_channels, num_channels)
    moving, moving_affine = read("moving", moving, moving_affine)
    static, static_affine = read("static", static, static_affine)
    layout = find_layout(static, static_affine, num_channels, model)
    if pretrained is not None:
        check_pretrained(**layout)
    trained = {} if model is None else model.options
    with_loss = partial(
        check_options,
        spatial_shape(static, layout["ndim"]),
        trained,
        {"transform": transform, "spacing": spacing, "field_stride": field_stride},
        penalty=penalty,
        smoothness=smoothness,
        label_weight=label_weight,
        orientation_weight=orientation_weight,
        symmetric=symmetric,
    )
    join = partial(join_losses, weights=channel_weights, number=num_channels)
    default = trained.get("loss", LOSS)
    options = with_loss(loss=join(default if loss is None else loss))
    annotations = Annotations(
        moving_labels=moving_labels,
        static_labels=static_labels,
        mask=mask,
        moving_mask=moving_mask,
        moving_orientations=moving_orientations,
        static_orientations=static_orientations,
    )
    annotations = check_annotations(annotations, options.objective, layout["ndim"])
    affines = {"moving_affine": moving_affine, "static_affine": static_affine}
    voxel_size = choose_voxel_size(voxel_size, model, annotations, static_affine)
    place = {**affines, "prealign": prealign, "voxel_size": voxel_size}

    frame = Frame(moving, static, **layout, **place)
    annotations = frame.check_annotations(annotations)
    check_size(frame.shape, options, annotations)
    # A function without a mask compares all of the grid, as its author knows it, and a
    # model predicts from whole images, as in predict_mapping.
    masked = model is None and takes_mask(options.objective.loss)
    pair = frame.read(annotations, masked=masked)
    # A chosen loss is confirmed, or replaced, once the images are registered.
    is_chosen = loss is None and model is None
    agree = contrasts_agree(pair) if is_chosen else [True]
    if not all(agree):
        options = with_loss(loss=join(default_losses(agree)))
        logger.info(
            f"The contrasts of the images differ: they are compared by the loss "
            f"{loss_name(options.objective.loss)!r}."
        )
        check_size(frame.shape, options, annotations)
    find_best = partial(
        best_sound_parts,
        pair,
        predict(pair),
        level_iters=level_iters,
        optimize=optimize,
    )
    affine, best = find_best(options)
    if agree != (after := _agree_after(pair, best, agree)):
        options = with_loss(loss=join(default_losses(after)))
        logger.info(
            f"Once registered, their contrasts agree: they are registered again by the "
            f"loss {loss_name(options.objective.loss)!r}."
        )
        affine, best = find_best(options)
    mapping = frame.to_mapping(best.parts, pair.prealign)

    seconds = perf_counter() - start
    if isinstance(prealign, Alignment):
        seconds += prealign.seconds
    outcome = Outcome.of(
        affine,
        best,
        mapping,
        seconds=seconds,
        loss=loss_name(options.objective.loss),
        alignment=pair.alignment,
        skull=pair.skull,
    )
    logger.info(str(outcome))
    return mapping, outcome


def _agree_after(pair, best, before):
    """Return whether the contrasts of each channel agree before or once registered."""
    if all(before):
        return before
    after = contrasts_agree_after(pair, best.parts.displacement)
    return [one or other for one, other in zip(before, after)]


def _predict(model, pair):
    """Return the prediction of a model, which may not be finite; None without one."""
    if model is None:
        return None
    return model.predictor.predict_on_grid(pair.moving, pair.static, finite=False)
