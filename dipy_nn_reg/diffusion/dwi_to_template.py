"""Registration of a DWI series to a template, with the signature that DIPY has."""

from inspect import signature
from pathlib import Path

import numpy as np

from dipy_nn_reg.checks import check_name
from dipy_nn_reg.diffusion.series import image_of_series, mean_b0
from dipy_nn_reg.io.nifti import array_and_affine
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.regridding import labels_on_grid
from dipy_nn_reg.mapping.resampling import resample


def register_dwi_to_template(
    dwi,
    gtab,
    *,
    dwi_affine=None,
    template=None,
    template_affine=None,
    reg_method="syn",
    image="b0",
    mask=None,
    **options,
):
    """Register a DWI series to a template through an image of the series.

    It takes and returns what the function of this name in ``dipy.align`` does, so that
    pyAFQ and other programs can call it instead.

    Parameters
    ----------
    dwi : ndarray, nibabel image, string or Path
        Series of shape (x, y, z, volumes), whose motion has been corrected.
    gtab : GradientTable or sequence of two
        Gradients; or b-values, shape (volumes,), and b-vectors, shape (volumes, 3) or
        (3, volumes), each as an array or a file.
    dwi_affine, template_affine : ndarray, shape (4, 4), optional
        From voxels to world coordinates in mm; needed with arrays.
    template : ndarray, nibabel image, string or Path, optional
        Of shape (x, y, z). By default the MNI template (T2) that DIPY downloads.
    reg_method : {"syn", "aff"}, optional
        As DIPY names them, in any case: "syn" for a deformation, which
        :func:`~dipy_nn_reg.register` finds here; "aff" for an affine map alone.
    image : {"b0", "fa"}, optional
        What is registered: the mean of the volumes without weighting, or the fractional
        anisotropy, which suits a template of anisotropy.
    mask : ndarray, nibabel image, string or Path, optional
        Mask of the brain in the series, outside of which the image is set to 0: an
        array on its grid, or an image or a file, whose header says where it is. By
        default DIPY's ``median_otsu`` finds it.
    **options
        Options of :func:`~dipy_nn_reg.register`; with "aff", of
        :func:`~dipy_nn_reg.mapping.prealign.estimate_prealign`. Of DIPY's own options
        ``metric`` ("CC" or "SSD") and ``dim`` (3) are understood as well; with "aff",
        ``pipeline``, whose last step is the kind of the map.

    Returns
    -------
    warped : ndarray, shape (x, y, z)
        The image of the series on the grid of the template, outside of the mask as
        well.
    mapping : dipy.align.imwarp.DiffeomorphicMap, or ndarray of shape (4, 4)
        ``transform`` warps volumes of the series to the template. With "aff", the
        affine from world coordinates of the template to those of the series.

    Raises
    ------
    ValueError
        If the series has other axes, an array has no affine, the gradients do not
        belong to the series, or an option is invalid.
    """
    reg_method = str(reg_method).lower()
    check_name("reg_method", reg_method, _METHODS)
    find, known = _METHODS[reg_method]
    options = known(dict(options))
    data, dwi_affine = array_and_affine(dwi, dwi_affine, series=True)
    gtab = _gradients(gtab, np.shape(data))
    if template is None:
        from dipy.data import read_mni_template

        template = read_mni_template()
    static, template_affine = array_and_affine(template, template_affine)
    for name, affine in (("dwi", dwi_affine), ("template", template_affine)):
        if affine is None:
            raise ValueError(f"Expected {name}_affine with an array. Received None.")
    if np.ndim(static) != 3:
        raise ValueError(
            f"Expected a template of three axes. Received {np.shape(static)}."
        )
    data = np.asarray(data)
    mask = _mask_on(Grid(data.shape[:3], dwi_affine), mask)
    moving, _, _ = image_of_series(data, gtab, image=image, mask=mask)
    whole = mean_b0(data, gtab) if image == "b0" else moving
    affines = {"moving_affine": dwi_affine, "static_affine": template_affine}
    return find(moving, static, whole, affines, options)


def _mask_on(grid, mask):
    """Return a mask on the grid of the series, where an array lies already."""
    mask, affine = array_and_affine(mask)
    if affine is None:
        return mask
    mask = labels_on_grid((np.asarray(mask) > 0).astype(np.uint8), affine, [], grid)
    if not mask.any():
        raise ValueError(
            "Expected a mask that overlaps the series. Received one that does not."
        )
    return mask


def _deformation(moving, static, whole, affines, options):
    from dipy_nn_reg.pairwise.register import register

    mapping, _ = register(moving, static, **affines, **options)
    return mapping.transform(whole), mapping


def _affine(moving, static, whole, affines, options):
    from dipy_nn_reg.mapping.prealign import estimate_prealign

    options = {"kind": "affine", **options}
    affine = estimate_prealign(moving, static, **affines, **options).affine
    grid = Grid(np.shape(static), affines["static_affine"])
    warped = resample(whole, affines["moving_affine"], [affine], grid)
    return warped, affine


def _options_of_register(options):
    """Return options of ``register`` for those, some of which are DIPY's for SyN."""
    from dipy_nn_reg.pairwise.register import register

    if (dim := options.pop("dim", 3)) != 3:
        raise ValueError(f"Expected dim to be 3. Received {dim!r}.")
    if "metric" in options:
        metric = options.pop("metric")
        check_name("metric", metric, _LOSSES)
        options.setdefault("loss", _LOSSES[metric])
    return _known(options, register, "metric, dim")


def _options_of_alignment(options):
    """Return options of an alignment for those, one of which may be DIPY's."""
    from dipy_nn_reg.mapping.prealign import estimate_prealign

    if (steps := options.pop("pipeline", None)) is not None:
        last = steps[-1] if isinstance(steps, (list, tuple)) and steps else steps
        check_name("the last step of pipeline", last, _KINDS)
        options.setdefault("kind", _KINDS[last])
    return _known(options, estimate_prealign, "pipeline")


def _known(options, function, others):
    """Return options, or raise ValueError if a function does not take one of them."""
    names = [
        name
        for name, parameter in signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and not name.endswith("_affine")
    ]
    for name in options:
        if name not in names:
            raise ValueError(
                f"Expected options out of {', '.join(names)}, {others}. Received "
                f"{name!r}."
            )
    return options


# Losses and kinds of alignments by the names that DIPY gives them.
_LOSSES = {"CC": "lncc", "SSD": "mse"}
_KINDS = {"rigid": "rigid", "rigid_isoscaling": "similarity", "affine": "affine"}
# How each method of DIPY is carried out, and its options.
_METHODS = {
    "syn": (_deformation, _options_of_register),
    "aff": (_affine, _options_of_alignment),
}


def _gradients(gtab, shape):
    """Return a GradientTable that belongs to a series of a shape."""
    from dipy.core.gradients import GradientTable

    from dipy_nn_reg.io.gradients import check_gradients
    from dipy_nn_reg.io.points import read_bvecs
    from dipy_nn_reg.io.tables import read_numbers

    if len(shape) != 4:
        raise ValueError(f"Expected a DWI series of four axes. Received {shape}.")
    if not isinstance(gtab, GradientTable):
        if not isinstance(gtab, (tuple, list)) or len(gtab) != 2:
            raise ValueError(
                f"Expected gtab to be a GradientTable, or b-values and b-vectors. "
                f"Received {type(gtab).__name__}."
            )
        values, vectors = gtab
        if isinstance(values, (str, Path)):
            values = read_numbers(values, "b-values").ravel()
        if isinstance(vectors, (str, Path)):
            vectors = read_bvecs(vectors)
        return check_gradients(values, vectors, volumes=shape[3])
    if len(gtab.bvals) != shape[3]:
        raise ValueError(
            f"Expected a gradient for each of {shape[3]} volumes. Received "
            f"{len(gtab.bvals)}."
        )
    if not gtab.b0s_mask.any():
        raise ValueError("Expected a volume without weighting. Received none.")
    return gtab
