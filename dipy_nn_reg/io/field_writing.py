"""Writing of fields in NIfTI files."""

import numpy as np

from dipy_nn_reg.io.field_formats import FORMATS
from dipy_nn_reg.io.field_headers import About
from dipy_nn_reg.io.field_values import values_of
from dipy_nn_reg.io.nifti_writing import write_image
from dipy_nn_reg.mapping.affines import lift_affine
from dipy_nn_reg.mapping.grid import moving_grid, prealign_of, static_grid


def write_field(path, mapping, format, *, static_zooms, moving_zooms):
    """Write a map to a NIfTI file, with the moving grid in an extension of the header.

    Parameters
    ----------
    path : string or Path
    mapping : dipy.align.imwarp.DiffeomorphicMap
        Of finite values.
    format : str
        One of those in NIfTI that are written.
    static_zooms, moving_zooms : ndarray, shape (ndim,)
        Voxel sizes in mm, by which FSL measures.
    """
    static, moving = static_grid(mapping), moving_grid(mapping)
    repeated = format == "itk" and mapping.dim == 3 and static.shape[2] == 1
    zooms = {"static_zooms": static_zooms, "moving_zooms": moving_zooms}
    values = values_of(mapping, format, repeated=repeated, **zooms)
    about = About(
        format=format,
        ndim=mapping.dim,
        moving_shape=moving.shape,
        moving_affine=moving.affine,
        prealign=prealign_of(mapping),
        moving_zooms=moving_zooms if format == "fsl" else None,
        repeated=repeated,
    )
    affine = np.linalg.inv(static.affine) if format == "dipy" else static.affine
    write_image(
        path,
        values.astype(np.float32),
        lift_affine(affine),
        zooms=static_zooms if format == "fsl" else None,
        intent=FORMATS[format].intent,
        extension=about.to_json(),
    )
