"""Small valid files that the cases damage."""

import gzip
import json

import nibabel as nib
import numpy as np

from fuzzing import scenes

FIELD_FORMATS = ("dipy", "itk", "afni", "fsl")
# Files that a writer may replace, if it is told to.
SPECIAL = ("pipe.nii.gz", "link.nii.gz")


def write_image(path, array, *, affine=None, dtype=None):
    """Write an image as NIfTI, whatever its values."""
    affine = np.diag([2.0, 2, 2, 1]) if affine is None else affine
    array = np.asarray(array, dtype or array.dtype)
    array = array[..., None] if array.ndim == 2 else array
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".mgz":
        nib.save(nib.MGHImage(array, affine), path)
    elif path.suffix == ".img":
        nib.save(nib.Nifti1Pair(array, affine), path)
    else:
        nib.save(nib.Nifti1Image(array, affine), path)
    return path


def write_pair(folder, ndim, ending=".nii.gz"):
    """Write a static and a moving image that are similar."""
    moving, static = scenes.pair(ndim)
    return (
        write_image(folder / f"static{ending}", static),
        write_image(folder / f"moving{ending}", moving),
    )


def write_labels(path, rng, ndim):
    return write_image(path, scenes.labels(rng, scenes.PAIRS[ndim]), dtype=np.int16)


def write_field(path, rng, ndim, *, format="dipy"):
    """Write a field between two images of :func:`write_pair`."""
    from dipy_nn_reg.io.fields import save_mapping
    from dipy_nn_reg.mapping.maps import displacement_to_mapping

    size = scenes.PAIRS[ndim]
    u, grid = scenes.field(rng, size), np.diag([2.0, 2, 2, 1])
    made = displacement_to_mapping(
        u,
        inverse=-u,
        static_affine=grid,
        moving_affine=grid,
        moving_shape=size if ndim == 3 else (*size, 1),
    )
    save_mapping(path, made, format=format)
    return path


def write_tractogram(path, rng, reference):
    """Write a few streamlines within an image."""
    from dipy.io.stateful_tractogram import Space, StatefulTractogram
    from dipy.io.streamline import save_tractogram

    lines = [rng.uniform(2, 18, (n, 3)).astype(np.float32) for n in (4, 2, 7)]
    made = StatefulTractogram(lines, str(reference), Space.RASMM)
    save_tractogram(made, str(path), bbox_valid_check=False)
    return path


def write_table(path, rng, *, header=True):
    rows = rng.uniform(0, 20, (5, 3)).round(3)
    lines = ["x,y,z"] * header + [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_affine(path, rng):
    np.savetxt(path, scenes.near_identity(rng, 3))
    return path


def write_mnist(folder, rng):
    """Write the four files of MNIST with a few small digits."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, n in (("train", 40), ("t10k", 20)):
        images = rng.integers(0, 256, (n, 12, 12), np.uint8)
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(n) % 10)
    return folder


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        file.write(header + array.astype(np.uint8).tobytes())


def add_extension(path, content):
    """Write a text into the header of a NIfTI file, as our fields store their grids."""
    image = nib.load(path)
    header = image.header.copy()
    header.extensions.clear()
    header.extensions.append(nib.nifti1.Nifti1Extension("comment", content))
    values = np.array(image.dataobj)  # not mapped: the file is written anew
    nib.save(nib.Nifti1Image(values, image.affine, header), path)


def read_extension(path):
    for extension in nib.load(path).header.extensions:
        return json.loads(extension.get_content())
    return {}
