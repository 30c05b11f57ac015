"""Images in files whose volumes are the values of one quantity, as of a tensor."""

import numpy as np

from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.io.nifti_header import in_mm
from dipy_nn_reg.io.nifti_writing import write_image
from dipy_nn_reg.io.voxel_values import check_values

# Intent of NIfTI for symmetric matrices, whose values are on the fifth axis.
_SYMMETRIC_MATRIX = 1005


def read_quantity(path):
    """Read an image of values on its fourth or, as NIfTI has tensors, fifth axis.

    Parameters
    ----------
    path : string or Path

    Returns
    -------
    image : dipy_nn_reg.io.nifti.Image
        With the values on the fourth axis. NaN, which MRtrix has for missing peaks,
        counts as 0.

    Raises
    ------
    ValueError
        As :func:`~dipy_nn_reg.io.nifti.read_image`.
    """
    image = read_image(path, vectors=True)
    header, affine = in_mm(image.header, image.affine, image.path)
    data = image.data
    if data.ndim == 5 and data.shape[3] == 1:
        data = data[..., 0, :]
    data = check_values(data, image.path, max_axes=4)
    if data.dtype.kind == "f":
        data = np.nan_to_num(data, posinf=np.inf, neginf=-np.inf)
    return image._replace(data=data, header=header, affine=affine)


def write_quantity(path, data, like, static):
    """Write values as the file that they come from has them, whole or not at all.

    Parameters
    ----------
    path : string or Path
    data : ndarray, shape (*spatial, volumes)
    like : dipy_nn_reg.io.nifti.Image
        As :func:`read_quantity` returns it: its header tells the axis of the values.
    static : dipy_nn_reg.io.nifti.Image
        Whose grid the result has.
    """
    is_fifth = len(like.header.get_data_shape()) == 5
    is_tensor = int(like.header["intent_code"]) == _SYMMETRIC_MATRIX
    write_image(
        path,
        data[..., None, :] if is_fifth else data,
        static.affine,
        header=static.header,
        intent=_SYMMETRIC_MATRIX if is_tensor else None,
    )
