"""Pairs of images of every kind at hand, and motions that turn one of them."""

import nibabel as nib
from nibabel.affines import apply_affine, voxel_sizes
import numpy as np
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from dipy_nn_reg.data.mnist import load_mnist
from dipy_nn_reg.intensities import normalize

# Largest shift in mm, and percentage of a high intensity above which a voxel counts
# as part of the object.
MAX_SHIFT, STRUCTURE = 100.0, 0.1
# Pairs of one kind that are turned one after another.
PAIRS = 5


def _people_2mm(options):
    with np.load(options.data / "malf" / "malf_dev_2mm.npz") as file:
        return [(image, file["affine"]) for image in file["images"]]


def _neighbours(images):
    """Return pairs of images and those that follow them."""
    return list(zip(images[:-1], images[1:]))[:PAIRS]


def _malf_2mm(options):
    return _neighbours(_people_2mm(options))


def _malf_1mm(options):
    folder = options.data / "malf" / "mni_1mm"
    return _neighbours([_load(path) for path in sorted(folder.glob("*_t1.nii.gz"))])


def _native(options):
    folder = options.data / "malf" / "native"
    one, other = (_load(path) for path in sorted(folder.glob("*_SS.nii.gz")))
    return [(one, other), (other, one)]


def _load(path):
    image = nib.load(path)
    values = np.asarray(image.dataobj)
    return values[..., 0] if values.ndim == 4 else values, image.affine


def _atlas(options, moving, static):
    folder = options.data / "sri24"
    return [(_load(folder / f"{moving}.nii.gz"), _load(folder / f"{static}.nii.gz"))]


def _atlas_and_person(options, name):
    """Return an image of the atlas and those of people, each of them as moving."""
    atlas = _load(options.data / "sri24" / f"{name}.nii.gz")
    one, other = _people_2mm(options)[:2]
    return [(atlas, one), (other, atlas)]


def _hippocampus(options):
    folder = options.data / "hippocampus"
    with np.load(folder / "hippocampus_dev_48x64x48.npz") as file:
        images = file["images"][:20]
    # Padding is removed, since it is not part of what is found in practice.
    return _neighbours([(_cropped(image), np.eye(4)) for image in images])


def _cropped(image):
    where = np.argwhere(image > 0)
    return image[tuple(map(slice, where.min(0), where.max(0) + 1))]


def _oasis(options):
    with np.load(options.data / "oasis2d" / "oasis2d_dev95.npz") as file:
        return _neighbours([(image, np.eye(3)) for image in file["images"][:10]])


def _slices(options, name):
    with np.load(options.data / "malf" / "malf_dev_2d.npz") as file:
        return _neighbours([(image, np.eye(3)) for image in file[name][:10]])


def _digits(options, *, two_hands):
    """Return pairs of digits that look like no other digit when they are turned."""
    _, (images, labels) = load_mnist(options.data / "mnist")
    pairs = []
    for digit in (2, 3, 4, 5, 7):
        one, other = (np.squeeze(images[i]) for i in np.where(labels == digit)[0][:2])
        pairs.append(((other if two_hands else one, np.eye(3)), (one, np.eye(3))))
    return pairs


# Pairs of a moving and a static image, each with its affine, by kind.
SETS = {
    "MALF, 2 mm": _malf_2mm,
    "MALF, native": _native,
    "MALF, 1 mm": _malf_1mm,
    "SRI24, T2 to T1": lambda options: _atlas(options, "late", "spgr"),
    "SRI24, FA to T1": lambda options: _atlas(options, "fa", "spgr"),
    "SRI24, T1 to T1": lambda options: _atlas(options, "spgr", "spgr"),
    "SRI24 T1 and MALF": lambda options: _atlas_and_person(options, "spgr"),
    "SRI24 T2 and MALF": lambda options: _atlas_and_person(options, "late"),
    "SRI24 FA and MALF": lambda options: _atlas_and_person(options, "fa"),
    "hippocampus crops": _hippocampus,
    "OASIS slices": _oasis,
    "MALF axial slices": lambda options: _slices(options, "axial"),
    "MALF coronal slices": lambda options: _slices(options, "coronal"),
    "MNIST, one digit": lambda options: _digits(options, two_hands=False),
    "MNIST, two of a digit": lambda options: _digits(options, two_hands=True),
}
# Sets of images of different contrast.
OTHER_CONTRAST = {name for name in SETS if "T2" in name or "FA" in name}


def structure(values):
    """Return the voxels of an image that differ from its background."""
    size = np.abs(normalize(values))
    return size > STRUCTURE * np.percentile(size, 99)


def in_header(rng, values, affine):
    """Turn and shift an image in its header; change the order of its storage too.

    Returns
    -------
    values, affine : ndarray
    motion : ndarray
        From world coordinates of the image to those of the turned one.
    """
    motion = _random_motion(rng, values, affine)
    order = _random_order(rng, values.ndim)
    values, to_voxels = _reordered(values, order)
    return values, motion @ affine @ to_voxels, motion


def by_wrong_header(rng, values, affine):
    """Change the order of storage of an image, with a header that ignores it.

    The order is one that turns the image, and does not mirror it.
    """
    ndim = values.ndim
    while True:
        stored, to_voxels = _reordered(values, _random_order(rng, ndim))
        true = affine @ to_voxels
        header = np.diag([*voxel_sizes(true), 1.0])
        header[:-1, -1] = rng.uniform(-MAX_SHIFT, MAX_SHIFT, ndim)
        motion = header @ np.linalg.inv(true)
        if np.linalg.det(motion) > 0:
            return stored, header, motion


def resampled(rng, values, affine):
    """Turn and shift an image, and interpolate it on a grid along the world axes."""
    motion = _random_motion(rng, values, affine)
    size = voxel_sizes(affine).min()
    corners = apply_affine(motion @ affine, np.argwhere(structure(values)))
    low, high = corners.min(0) - 5 * size, corners.max(0) + 5 * size
    grid = np.diag([*[size] * values.ndim, 1.0])
    grid[:-1, -1] = low
    to_voxels = np.linalg.inv(motion @ affine) @ grid
    shape = tuple(np.ceil((high - low) / size).astype(int))
    turned = affine_transform(
        values.astype(np.float32), to_voxels, output_shape=shape, order=1
    )
    return turned, grid, motion


# Ways to turn an image, in the order in which they take turns.
WAYS = {"header": in_header, "wrong header": by_wrong_header, "resampled": resampled}


def _random_motion(rng, values, affine):
    """Return a rotation of up to 180 degrees about the middle, and a shift."""
    ndim = values.ndim
    if ndim == 3:
        rotation = Rotation.random(random_state=rng).as_matrix()
    else:
        angle = rng.uniform(-np.pi, np.pi)
        rotation = Rotation.from_rotvec([0, 0, angle]).as_matrix()[:2, :2]
    middle = apply_affine(affine, (np.array(values.shape) - 1) / 2)
    direction = rng.normal(size=ndim)
    shift = rng.uniform(0, MAX_SHIFT) * direction / np.linalg.norm(direction)
    motion = np.eye(ndim + 1)
    motion[:-1, :-1] = rotation
    motion[:-1, -1] = middle + shift - rotation @ middle
    return motion


def _random_order(rng, ndim):
    """Return an order of the axes, and whether each of them is reversed."""
    return rng.permutation(ndim), rng.random(ndim) < 0.5


def _reordered(values, order):
    """Return an image in another order, and the affine to voxels of the former one."""
    axes, flips = order
    to_voxels = np.zeros((values.ndim + 1,) * 2)
    to_voxels[-1, -1] = 1
    for new, (old, is_reversed) in enumerate(zip(axes, flips)):
        to_voxels[old, new] = -1 if is_reversed else 1
        to_voxels[old, -1] = values.shape[old] - 1 if is_reversed else 0
    turned = np.transpose(values, axes)
    reversed_axes = tuple(int(axis) for axis in np.flatnonzero(flips))
    return np.ascontiguousarray(np.flip(turned, reversed_axes)), to_voxels
