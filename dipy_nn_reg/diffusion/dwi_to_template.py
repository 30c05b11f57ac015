"""Registration of a DWI series to a template, with the signature that DIPY has."""

import numpy as np

from dipy_nn_reg.checks import check_name
from dipy_nn_reg.diffusion.series import image_of_series
from dipy_nn_reg.io.nifti import array_and_affine
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.resampling import resample, to_moving


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
    gtab : GradientTable or sequence of two strings or Paths
        Gradients, or the files of b-values and b-vectors.
    dwi_affine, template_affine : ndarray, shape (4, 4), optional
        From voxels to world coordinates in mm; needed with arrays.
    template : ndarray, nibabel image, string or Path, optional
        Of shape (x, y, z). By default the MNI template (T2) that DIPY downloads.
    reg_method : {"syn", "aff"}, optional
        As DIPY names them: "syn" for a deformation, which
        :func:`~dipy_nn_reg.register` finds here; "aff" for an affine map alone.
    image : {"b0", "fa"}, optional
        What is registered: the mean of the volumes without weighting, or the fractional
        anisotropy, which suits a template of anisotropy.
    mask : ndarray, nibabel image, string or Path, optional
        Mask of the brain in the series, outside of which the image is set to 0. By
        default DIPY's ``median_otsu`` finds it.
    **options
        Options of :func:`~dipy_nn_reg.register`; with "aff", of
        :func:`~dipy_nn_reg.mapping.prealign.estimate_prealign`.

    Returns
    -------
    warped : ndarray, shape (x, y, z)
        The image of the series on the grid of the template.
    mapping : dipy.align.imwarp.DiffeomorphicMap, or ndarray of shape (4, 4)
        ``transform`` warps volumes of the series to the template. With "aff", the
        affine from world coordinates of the template to those of the series.

    Raises
    ------
    ValueError
        If the series has other axes, an array has no affine, the gradients do not
        belong to the series, or an option is invalid.
    """
    check_name("reg_method", reg_method, _METHODS)
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
    mask, _ = array_and_affine(mask)
    moving, _, _ = image_of_series(np.asarray(data), gtab, image=image, mask=mask)
    affines = {"moving_affine": dwi_affine, "static_affine": template_affine}
    return _METHODS[reg_method](moving, static, affines, options)


def _deformation(moving, static, affines, options):
    from dipy_nn_reg.pairwise.register import register

    mapping, _ = register(moving, static, **affines, **options)
    return mapping.transform(moving), mapping


def _affine(moving, static, affines, options):
    from dipy_nn_reg.mapping.prealign import estimate_prealign

    options = {"kind": "affine", **options}
    affine = estimate_prealign(moving, static, **affines, **options).affine
    grid = Grid(np.shape(static), affines["static_affine"])
    warped = resample(
        moving, affines["moving_affine"], lambda p: to_moving(p, [affine]), grid
    )
    return warped, affine


_METHODS = {"syn": _deformation, "aff": _affine}


def _gradients(gtab, shape):
    """Return a GradientTable that belongs to a series of a shape."""
    from dipy.core.gradients import GradientTable

    from dipy_nn_reg.io.gradients import read_gradients

    if len(shape) != 4:
        raise ValueError(f"Expected a DWI series of four axes. Received {shape}.")
    if not isinstance(gtab, GradientTable):
        if not isinstance(gtab, (tuple, list)) or len(gtab) != 2:
            raise ValueError(
                f"Expected gtab to be a GradientTable, or two files of b-values and "
                f"b-vectors. Received {gtab!r}."
            )
        return read_gradients(*gtab, volumes=shape[3])
    if len(gtab.bvals) != shape[3]:
        raise ValueError(
            f"Expected a gradient for each of {shape[3]} volumes. Received "
            f"{len(gtab.bvals)}."
        )
    if not gtab.b0s_mask.any():
        raise ValueError("Expected a volume without weighting. Received none.")
    return gtab
