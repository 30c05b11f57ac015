"""Files of a DWI series: read, and carried over to a template."""

import shutil

from dipy.utils.logging import logger
import numpy as np

from dipy_nn_reg.diffusion.correction import distortion_to_displacement, volume_change
from dipy_nn_reg.diffusion.orientations import orientation_tensors
from dipy_nn_reg.diffusion.reorientation import Quantity, warp_quantity
from dipy_nn_reg.diffusion.series import anisotropy_of
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.io.nifti_writing import write_image
from dipy_nn_reg.io.points import read_bvecs
from dipy_nn_reg.io.tables import format_rows
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.mapping.resampling import warp_image
from dipy_nn_reg.text import printable
from dipy_nn_reg.workflows.applied_file import write_turned_bvecs
from dipy_nn_reg.workflows.pair_files import shown_columns

# Step between neighbours at which the field of a distortion folds.
_STEEPEST = 1
# NIfTI's name for tensors, whose values are on the fifth axis.
_TENSORS = "symmetric matrix"


def read_series(path):
    """Read a DWI series, an Image of four axes, or raise ValueError."""
    series = read_image(path, series=True)
    if series.data.ndim != 4 or series.colours is not None:
        raise ValueError(
            f"Expected a DWI series of four axes. Received {printable(path)} of shape "
            f"{series.data.shape}."
        )
    return series


def write_on(image, paths, **arrays):
    """Write arrays on the grid of an image, by the names of their paths."""
    for name, array in arrays.items():
        write_image(paths[name], array, image.affine, header=image.header)


def log_outputs(row, outputs):
    """Log the measures of a registration, and the main files that were written."""
    logger.info("Registered:\n" + format_rows([row], shown_columns([row])))
    for name in ("out_tensors", "out_series"):
        if name in outputs.paths:
            logger.info(f"Written: {printable(outputs.paths[name])}")
    if "out_report" not in outputs.unwanted:
        logger.info(f"Page for a browser: {printable(outputs.paths['out_report'])}")


def read_distortion(path, encoding, series):
    """Read the field of a distortion on the grid of a series.

    Parameters
    ----------
    path : Path
    encoding : dipy_nn_reg.diffusion.phase_encoding.PhaseEncoding
    series : dipy_nn_reg.io.nifti.Image

    Returns
    -------
    field : ndarray, shape (x, y, z)
        In voxels.
    encoding : dict
        ``axis`` and ``sign`` of the series, as
        :func:`~dipy_nn_reg.diffusion.correction.correct_distortion` takes them.

    Raises
    ------
    ValueError
        If the field is on another grid, or folds.
    """
    field = read_image(path)
    same = field.data.shape == series.data.shape[:3]
    if not same or not np.allclose(field.affine, series.affine, atol=1e-3):
        raise ValueError(
            f"Expected a field on the grid of the series, of shape "
            f"{series.data.shape[:3]}. Received {printable(path)} of shape "
            f"{field.data.shape}{', placed elsewhere' if same else ''}."
        )
    values = field.data
    slope = np.abs(np.diff(values, axis=encoding.axis)).max(initial=0)
    # A field in Hz folds nearly everywhere, one in voxels nowhere.
    if slope >= _STEEPEST:
        raise ValueError(
            f"Expected a field in voxels that does not fold, as dipy_nn_reg_undistort "
            f"writes it: not that in Hz. Received {printable(path)} with values from "
            f"{values.min():.3g} to {values.max():.3g} and steps of up to "
            f"{slope:.3g} between neighbours."
        )
    return values, {"axis": encoding.axis, "sign": encoding.sign}


def orientations_of(tensors, series, static_tensors):
    """Return options by which fibres are registered; none without static tensors.

    Parameters
    ----------
    tensors : ndarray, shape (x, y, z, 6)
        Of the series, in DIPY's order.
    series : dipy_nn_reg.io.nifti.Image
    static_tensors : Path or None

    Returns
    -------
    options : dict
        For :func:`~dipy_nn_reg.cohort.pair.register_files`.
    """
    if static_tensors is None:
        return {}
    quantity = Quantity("tensors")
    return {
        "moving_orientations": orientation_tensors(tensors, series.affine, quantity),
        "static_orientations": static_tensors,
        "quantity": quantity,
    }


def anisotropy_beside(tensors, static_fa):
    """Return further channels: the anisotropy of a series, and that of the template.

    Parameters
    ----------
    tensors : ndarray, shape (x, y, z, 6)
        Of the series, in DIPY's order.
    static_fa : Path or None

    Returns
    -------
    channels : dict of list, or None
        For :func:`~dipy_nn_reg.cohort.pair.register_files`.
    """
    if static_fa is None:
        return None
    return {"moving": [anisotropy_of(tensors)], "static": [static_fa]}


def carry_series(series, distortion, static, mapping, files):
    """Write a series on the grid of the template, with its gradients.

    The distortion and the map to the template are composed, for one interpolation.

    Parameters
    ----------
    series, static : dipy_nn_reg.io.nifti.Image
    distortion : tuple or None
        As :func:`read_distortion` returns it.
    mapping : dipy.align.imwarp.DiffeomorphicMap
        From the template to the series.
    files : dict of Path
        Gradients of the series, and outputs, by the options of the command.
    """
    maps, factor = [mapping], None
    if distortion is not None:
        field, encoding = distortion
        displacement = distortion_to_displacement(field, **encoding)
        affines = {"static_affine": series.affine, "moving_affine": series.affine}
        maps.append(displacement_to_mapping(displacement, **affines))
        change = series._replace(data=volume_change(field, **encoding))
        factor = warp_image(change, static, [mapping], fill=1.0)
    warped = warp_image(series, static, maps)
    if factor is not None:
        warped *= factor[..., None]
    place = {"header": static.header, "series": series.header}
    write_image(files["out_series"], warped, static.affine, **place)
    vectors = read_bvecs(files["bvecs"])
    # Those of weighted volumes were found to be unit vectors.
    vectors[np.isnan(vectors).any(axis=1)] = 0
    write_turned_bvecs(files["out_bvecs"], vectors, series, static, [mapping])
    shutil.copyfile(files["bvals"], files["out_bvals"])


def carry_tensors(tensors, series, static, mapping, paths):
    """Write tensors on the grid of the template, and their anisotropy.

    Parameters
    ----------
    tensors : ndarray, shape (x, y, z, 6)
        On the grid of the series, in DIPY's order.
    series, static : dipy_nn_reg.io.nifti.Image
    mapping : dipy.align.imwarp.DiffeomorphicMap
        From the template to the series.
    paths : dict of Path
        Outputs by the options of the command.
    """
    moving = series._replace(data=tensors)
    quantity = Quantity("tensors")
    warped, _ = warp_quantity(
        moving, static, [mapping], quantity, interpolation="linear"
    )
    place = {"affine": static.affine, "header": static.header}
    write_image(paths["out_tensors"], warped[..., None, :], **place, intent=_TENSORS)
    write_image(paths["out_fa"], anisotropy_of(warped), **place)
