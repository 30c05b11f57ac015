"""A map applied to two images: all that is shown and measured of it, on one grid."""

from typing import NamedTuple

import numpy as np

from dipy_nn_reg.checks import check_real
from dipy_nn_reg.intensities import estimate_background, replace_nan
from dipy_nn_reg.mapping.affines import check_affine
from dipy_nn_reg.mapping.grid import Grid, moving_grid, prealign_of, static_grid
from dipy_nn_reg.mapping.maps import check_mapping
from dipy_nn_reg.mapping.resampling import resample, to_moving


class Result(NamedTuple):
    """What a map makes of two images, all on the grid of the static one.

    Attributes
    ----------
    mapping : dipy.align.imwarp.DiffeomorphicMap
    static, before, warped : ndarray, shape (*spatial,)
        ``before`` is the moving image after the affine alone.
    labels : dict of ndarray, shape (*spatial,)
        ``static``, ``before`` and ``warped``, or nothing.
    covered : ndarray of bool, shape (*spatial,)
        Where the map ends within the moving image.
    affine : ndarray, shape (ndim + 1, ndim + 1)
        Of the grid of the static image.
    """

    mapping: object
    static: np.ndarray
    before: np.ndarray
    warped: np.ndarray
    labels: dict
    covered: np.ndarray
    affine: np.ndarray


def apply_map(
    mapping,
    moving,
    static,
    *,
    moving_affine=None,
    static_affine=None,
    moving_labels=None,
    static_labels=None,
):
    """Return the Result of a map.

    Parameters
    ----------
    mapping : dipy.align.imwarp.DiffeomorphicMap
    moving, static : ndarray, shape (*spatial,)
        On the grids of the map, unless an affine says where they lie. NaN counts as
        background.
    moving_affine, static_affine : ndarray, shape (ndim + 1, ndim + 1), optional
        From voxels to world coordinates in mm: where each image lies, in whatever
        order it is stored. By default, that of the map.
    moving_labels, static_labels : ndarray of int, shape (*spatial,), optional
        On the grids of their images.

    Raises
    ------
    ValueError
        If an image is not on its grid or not of finite real numbers, or if a label map
        is none or has no label but 0.
    """
    check_mapping(mapping)
    given = {"moving": moving, "static": static}
    given = {name: check_real(name, image) for name, image in given.items()}
    given |= {"moving_labels": moving_labels, "static_labels": static_labels}
    given = {name: check_real(name, a) for name, a in given.items() if a is not None}
    affines = {"moving": moving_affine, "static": static_affine}
    _check(mapping, given, affines)
    _check_labels(given)
    grids = {"moving": moving_grid(mapping), "static": static_grid(mapping)}
    for name, affine in affines.items():
        if affine is not None:
            affine = check_affine(affine, name=f"{name}_affine", ndim=mapping.dim)
            grids[name] = Grid(given[name].shape, affine)
    affine_alone = prealign_of(mapping)

    def read(array, maps, interpolation, affine=grids["moving"].affine, fill=0):
        return resample(
            array,
            affine,
            lambda points: to_moving(points, maps),
            grids["static"],
            interpolation=interpolation,
            fill=fill,
        )

    labels = {}
    if moving_labels is not None:
        labels = {
            "static": given["static_labels"],
            "before": read(given["moving_labels"], [affine_alone], "nearest"),
            "warped": read(given["moving_labels"], [mapping], "nearest"),
        }
    images = {n: _in_float32(given[n], f"the {n} image") for n in ("moving", "static")}
    outside = {"fill": estimate_background(images["moving"])}
    # With a margin of zeros: where these are read, it is from outside.
    inside = np.pad(np.ones(images["moving"].shape, np.uint8), 1)
    margin = np.eye(mapping.dim + 1)
    margin[:-1, -1] = -1
    return Result(
        mapping=mapping,
        static=images["static"],
        before=read(images["moving"], [affine_alone], "linear", **outside),
        warped=read(images["moving"], [mapping], "linear", **outside),
        labels=labels,
        covered=read(inside, [mapping], "nearest", grids["moving"].affine @ margin) > 0,
        affine=grids["static"].affine,
    )


def _check(mapping, given, affines):
    shapes = {"moving": mapping.domain_shape, "static": mapping.codomain_shape}
    for name in ("moving", "static"):
        shape = given[name].shape
        expected = tuple(int(n) for n in shapes[name])
        if affines[name] is None and shape != expected:
            raise ValueError(
                f"Expected {name} on the grid of the map, of shape {expected}. "
                f"Received {name}.shape={shape}."
            )
        if len(shape) != mapping.dim:
            raise ValueError(
                f"Expected {name} of {mapping.dim} axes, as the map has them. Received "
                f"{name}.shape={shape}."
            )


def _check_labels(given):
    if ("moving_labels" in given) != ("static_labels" in given):
        raise ValueError("Expected label maps of both images or of none. Received one.")
    for name in ("moving", "static"):
        labels = given.get(f"{name}_labels")
        if labels is None:
            continue
        if labels.shape != given[name].shape or labels.dtype.kind not in "biu":
            raise ValueError(
                f"Expected {name}_labels to be integers on the grid of {name}, of "
                f"shape {given[name].shape}. Received {labels.dtype} of shape "
                f"{labels.shape}."
            )
    if "static_labels" in given and not given["static_labels"].any():
        raise ValueError(
            "Expected labels other than 0 in static_labels. Received none."
        )


def _in_float32(image, name):
    """Return an image in float32, NaN replaced by its background.

    Where float32 would lose its contrast, beside a large offset or out of range, the
    image less its background and in parts of its range is returned.
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
