"""Two images and their label maps, brought together on the static grid by a map."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from nibabel.affines import apply_affine
import numpy as np

from dipy_nn_reg.annotations import PLACES, Annotations
from dipy_nn_reg.checks import check_both, check_name, check_real
from dipy_nn_reg.intensities import estimate_background, normalize, replace_nan
from dipy_nn_reg.mapping.affines import check_affine
from dipy_nn_reg.mapping.frame_checks import check_annotation
from dipy_nn_reg.mapping.grid import Grid, moving_grid, prealign_of, static_grid
from dipy_nn_reg.mapping.maps import check_mapping
from dipy_nn_reg.mapping.points import to_moving
from dipy_nn_reg.mapping.resampling import resample
from dipy_nn_reg.mapping.view import view_of


class MappedPair(NamedTuple):
    """Two images and labels on the static grid, as a map brings them together.

    Attributes
    ----------
    mapping : dipy.align.imwarp.DiffeomorphicMap
    static, before, warped : ndarray, shape (*spatial,)
        The static image, and the moving image after the affine alone and after the
        whole map.
    labels : dict of ndarray, shape (*spatial,)
        Label maps ``static``, ``before`` and ``warped``; empty without labels.
    covered : ndarray of bool, shape (*spatial,)
        True where the map points into the moving image, and into what it shows if it
        was cut and then padded.
    masks : dict of ndarray
        ``mask`` and ``moving_mask``, each on the grid of its image; empty without.
    inside : ndarray of bool, shape (*spatial,)
        True inside of both masks, on the static grid: everywhere without masks.
    affine : ndarray, shape (ndim + 1, ndim + 1)
        Affine of the static grid, from voxels to world coordinates in mm.
    moving : ndarray
        The moving image as it came, on a grid of its own.
    moving_affine : ndarray, shape (ndim + 1, ndim + 1)
        Affine of that grid.
    bundles : dict of sequence of ndarray, shape (n, 3), or None
        Streamlines ``static``, ``before`` and ``warped``, in world coordinates (mm) of
        the static image; None without bundles.
    """

    mapping: object
    static: np.ndarray
    before: np.ndarray
    warped: np.ndarray
    labels: dict
    covered: np.ndarray
    masks: dict
    inside: np.ndarray
    affine: np.ndarray
    moving: np.ndarray
    moving_affine: np.ndarray
    bundles: dict | None = None


def apply_map(
    mapping,
    moving,
    static,
    *,
    moving_affine=None,
    static_affine=None,
    **annotations,
):
    """Return two images on the static grid, before and after a map is applied.

    Parameters
    ----------
    mapping : dipy.align.imwarp.DiffeomorphicMap
    moving, static : ndarray, shape (*spatial,)
        On the grids of the map, unless an affine is passed. NaN counts as background.
    moving_affine, static_affine : ndarray, shape (ndim + 1, ndim + 1), optional
        From voxels to world coordinates in mm, for an image that is stored on another
        grid or in another order than the map has it. By default, that of the map.
    **annotations
        On the grids of their images: ``moving_labels`` and ``static_labels``, label
        maps, ndarray of int; ``mask`` and ``moving_mask``: where one is 0, the images
        are not compared.

    Returns
    -------
    pair : MappedPair

    Raises
    ------
    ValueError
        If an image is not on its grid or not of finite real numbers, if an annotation
        is not one of these, if a label map or a mask is invalid or 0 everywhere, or if
        the map brings no part of the masks together.
    """
    check_mapping(mapping)
    arrays = {"moving": moving, "static": static}
    arrays = {name: check_real(name, image) for name, image in arrays.items()}
    affines = {"moving": moving_affine, "static": static_affine}
    _check_images(mapping, arrays, affines)
    labels, masks = _check_annotations(annotations, arrays)
    grids = _grids(mapping, arrays, affines)
    images = {n: _in_float32(a, f"the {n} image") for n, a in arrays.items()}
    read = partial(_read, affine=grids["moving"].affine, grid=grids["static"])
    fill = estimate_background(images["moving"])
    # SciPy and DIPY let two threads compute at once.
    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(read, images["moving"], prealign_of(mapping), fill=fill)
        view = _view(images["moving"], grids["moving"])
        warped, covered = _warp(images["moving"], mapping, grids, view, fill)
    return MappedPair(
        mapping=mapping,
        static=images["static"],
        before=before.result(),
        warped=warped,
        labels=_map_labels(labels, mapping, read) if labels else {},
        covered=covered,
        masks=masks,
        inside=_inside(masks, mapping, read, covered),
        affine=grids["static"].affine,
        moving=images["moving"],
        moving_affine=grids["moving"].affine,
    )


def _check_images(mapping, images, affines):
    shapes = {"moving": mapping.domain_shape, "static": mapping.codomain_shape}
    for name in ("moving", "static"):
        shape = images[name].shape
        expected = tuple(int(n) for n in shapes[name])
        if affines[name] is None and shape != expected:
            raise ValueError(
                f"Expected {name} on the grid of the map, of shape {expected}. "
                f"Received {name}.shape={shape}."
            )
        if len(shape) != mapping.dim:
            raise ValueError(
                f"Expected {name} of {mapping.dim} axes, like the map. Received "
                f"{name}.shape={shape}."
            )


def _check_annotations(annotations, images):
    """Return label maps and masks by name, once they are known to fit the images."""
    taken = [name for name, p in PLACES.items() if p.kind in ("labels", "mask")]
    for name in annotations:
        check_name("each annotation", name, taken)
    labels, masks = {}, {}
    for name, array in Annotations(**annotations).as_dict().items():
        if PLACES[name].kind == "labels":
            labels[name] = check_real(name, array)
        else:
            shape = images[PLACES[name].image].shape
            masks[name] = check_annotation(array, PLACES[name], shape)
    _check_labels(labels, images)
    return labels, masks


def _check_labels(labels, images):
    check_both("label maps", **labels)
    for name, array in labels.items():
        image_name = name.removesuffix("_labels")
        shape = images[image_name].shape
        if array.shape != shape or array.dtype.kind not in "biu":
            raise ValueError(
                f"Expected {name} to be integers on the grid of {image_name}, of "
                f"shape {shape}. Received {array.dtype} of shape {array.shape}."
            )
    if labels and not labels["static_labels"].any():
        raise ValueError(
            "Expected labels other than 0 in static_labels. Received only zeros."
        )


def _grids(mapping, images, affines):
    """Return the grids on which both images lie."""
    grids = {"moving": moving_grid(mapping), "static": static_grid(mapping)}
    for name, affine in affines.items():
        if affine is not None:
            affine = check_affine(affine, name=f"{name}_affine", ndim=mapping.dim)
            grids[name] = Grid(images[name].shape, affine)
    return grids


def _read(array, transform, *, affine, grid, labels=False, fill=0):
    """Return a moving array on the static grid, through a map or an affine."""
    return resample(
        array,
        affine,
        [transform],
        grid,
        interpolation="nearest" if labels else "linear",
        fill=fill,
    )


def _map_labels(labels, mapping, read):
    """Return label maps on the static grid, before and after the map."""
    moving = labels["moving_labels"]
    return {
        "static": labels["static_labels"],
        "before": read(moving, prealign_of(mapping), labels=True),
        "warped": read(moving, mapping, labels=True),
    }


def _inside(masks, mapping, read, covered):
    """Return where the static mask and the mapped moving mask are not 0."""
    inside = np.ones(covered.shape, bool)
    if "mask" in masks:
        inside &= masks["mask"] != 0
    if "moving_mask" in masks:
        inside &= read(masks["moving_mask"], mapping, labels=True) != 0
    if masks and not (inside & covered).any():
        raise ValueError(
            f"Expected masks that overlap within both images. Received "
            f"{' and '.join(masks)} without overlap."
        )
    return inside


def _view(image, grid):
    """Return a function of points that tells where an image shows something."""
    if 1 in grid.shape:
        return grid.contains
    low, high = np.transpose(view_of(normalize(image)[..., None]))
    if np.all((low <= -0.5) & (high >= np.array(grid.shape) - 0.5)):
        return grid.contains
    to_voxels = np.linalg.inv(grid.affine)

    def contains(points):
        voxels = apply_affine(to_voxels, points)
        is_shown = np.all((voxels >= low) & (voxels <= high), axis=1)
        return grid.contains(points) & is_shown

    return contains


def _warp(image, mapping, grids, contains, fill):
    """Return the warped moving image, and where the map points into what it shows."""
    inside = []

    def find(points):
        # Points come slab by slab, in the order of the static grid.
        points = to_moving(points, [mapping])
        inside.append(contains(points))
        return points

    affine, grid = grids["moving"].affine, grids["static"]
    warped = resample(image, affine, find, grid, fill=fill)
    return warped, np.concatenate(inside).reshape(grid.shape)


def _in_float32(image, name):
    """Return an image in float32, with NaN replaced by the background.

    If float32 would lose the contrast, since the offset is large or values are out of
    range, the background is subtracted and the image is divided by its range.
    """
    image = replace_nan(image, name=name)
    low, high = float(image.min()), float(image.max())
    if not np.isfinite([low, high]).all():
        raise ValueError(
            f"Expected finite values in {name}. Received values from {low} to {high}."
        )
    extent = max(abs(low), abs(high))
    steps = (high / 2 - low / 2) / extent if extent else 1.0
    in_range = extent == 0 or 1e-35 < extent < 1e35
    if in_range and (steps > 1e-3 or steps == 0):
        return image.astype(np.float32)
    background = estimate_background(image) / extent
    return ((image / extent - background) / (2 * steps or 1.0)).astype(np.float32)
