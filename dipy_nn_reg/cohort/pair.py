"""Registration of one pair of files: read, aligned, registered and written."""

from pathlib import Path

from dipy_nn_reg.annotations import PLACES, Annotations
from dipy_nn_reg.checks import as_pretrained
from dipy_nn_reg.cohort.outputs import write_pair
from dipy_nn_reg.io.labels import read_labels_on, read_mask_on
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.io.warped import check_warped
from dipy_nn_reg.mapping.slices import Slice, in_one_plane
from dipy_nn_reg.quiet import import_keras

# Options of masks.
MASKS = tuple(place.name for place in PLACES.values() if place.kind == "mask")
# Annotations that have a say in the alignment.
_FOR_ALIGNMENT = (*MASKS, "moving_orientations", "static_orientations")


def register_files(files, names, outputs, *, channels=None, quantity=None, **options):
    """Register the images in two files, and write the outputs together.

    Parameters
    ----------
    files, names : dict
        Path of each image, and its name in tables: ``static`` and ``moving``.
    outputs : dipy_nn_reg.cohort.outputs.Outputs
    channels : dict of list of Path or ndarray, optional
        Further images of the same people, by ``static`` and ``moving``: files, or
        arrays on the grid of the first image.
    quantity : dipy_nn_reg.diffusion.reorientation.Quantity, optional
        What files of orientations hold.
    **options
        Options of :func:`~dipy_nn_reg.register`. Annotations may be a Path.

    Returns
    -------
    row, subjects
        As :func:`~dipy_nn_reg.cohort.outputs.write_pair` returns them.

    Raises
    ------
    ValueError, OSError
        If a file cannot be read, does not fit the others, or cannot be written.
    """
    images = _read_pair(files, _trained(options), several=channels is not None)
    if "out_warped" in outputs.paths:
        check_warped(outputs.paths["out_warped"], **images, fill=outputs.fill)
    options |= {
        name: _read_on_image(Path(path), PLACES[name], images, quantity)
        for name, path in options.items()
        if name in PLACES and isinstance(path, (str, Path))
    }
    if channels is None:
        options = _aligned(images, options)
    return write_pair(
        _register(images, channels, options),
        images,
        names,
        outputs,
        masks={name: options[name] for name in MASKS if name in options},
    )


def align_pair(files, annotations, kind):
    """Estimate the affine between the images in two files.

    Parameters
    ----------
    files : dict of Path
        ``static`` and ``moving``.
    annotations : dict of Path
        Masks, if there are any.
    kind : str
        As :func:`~dipy_nn_reg.mapping.prealign.estimate_prealign` takes it.

    Returns
    -------
    affine : ndarray, shape (4, 4)
        From static to moving world coordinates in mm.
    """
    from dipy_nn_reg.mapping.prealign import estimate_prealign

    images = _read_pair(files, None)
    masks = {
        name: _read_on_image(path, PLACES[name], images)
        for name, path in annotations.items()
        if name in MASKS
    }
    moving, static = images["moving"].data, images["static"].data
    affines = _affines(images)
    affine = estimate_prealign(moving, static, **affines, kind=kind, **masks).affine
    if _ndim(images["static"]) == 3:
        return affine
    planes = [
        Slice.of(name, images[name].data, images[name].affine, 1).affine
        for name in ("moving", "static")
    ]
    return in_one_plane(affine, *planes)


def _read_pair(files, model, *, several=False):
    """Return the images in two files, after a check of their axes.

    If there are several images of each person, each has one channel.
    """
    series = model is not None and model.num_channels > 1 and not several
    images = {name: read_image(path, series=series) for name, path in files.items()}
    _check_rank(images, model)
    return images


def _read_on_image(path, place, images, quantity=None):
    """Read an annotation on the grid of the image that it belongs to."""
    image = images[place.image]
    if place.kind == "orientations":
        from dipy_nn_reg.diffusion.orientations import read_orientations_on

        return read_orientations_on(path, image, quantity)
    read = read_mask_on if place.kind == "mask" else read_labels_on
    return read(path, image)


def _trained(options):
    """Return a model of the user, or None."""
    model = options.get("model")
    return model if as_pretrained(model) is None else None


def _aligned(images, options):
    """Return options with an alignment that is estimated while Keras is imported."""
    prealign = options.get("prealign")
    if not isinstance(prealign, str) or _trained(options) is not None:
        return options
    from dipy_nn_reg.mapping.frame import Frame

    frame = Frame(
        images["moving"].data,
        images["static"].data,
        ndim=_ndim(images["static"]),
        num_channels=1,
        prealign=prealign,
        voxel_size=options.get("voxel_size"),
        **_affines(images),
    )
    given = {name: options.get(name) for name in _FOR_ALIGNMENT}
    annotations = frame.check_annotations(Annotations(**given))
    return {**options, "prealign": frame.align(annotations)}


def _register(images, channels, options):
    """Return the map between two images, and the outcome."""
    import_keras()
    from dipy_nn_reg import register

    moving, static = images["moving"].data, images["static"].data
    if channels is not None:
        moving, static = [moving, *channels["moving"]], [static, *channels["static"]]
    return register(moving, static, **_affines(images), **options)


def _affines(images):
    return {f"{name}_affine": image.affine for name, image in images.items()}


def _ndim(image):
    """Return the number of axes of an image, 2 for a slice along any axis."""
    return 2 if 1 in image.data.shape[:3] else 3


def _check_rank(images, model):
    """Raise ValueError unless all images are slices or all are volumes.

    Images have to have as many axes as those of the model, or as the static image.
    """
    ranks = {name: _ndim(image) for name, image in images.items()}
    if model is None:
        ndim, reason = ranks["static"], "as the static image has"
    else:
        ndim, reason = model.ndim, "as the model takes"
    for name, image in images.items():
        if ranks[name] != ndim:
            raise ValueError(
                f"Expected an image of {ndim} axes, {reason}. "
                f"Received {str(image.path)!r} of shape {image.data.shape}."
            )
