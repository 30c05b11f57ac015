"""Views of a registration for its page: slices of each image in each plane."""

import numpy as np
from scipy.ndimage import map_coordinates

from dipy_nn_reg.intensities import estimate_background
from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.metrics.images import to_unit_range
from dipy_nn_reg.quality.bundles import outlines
from dipy_nn_reg.quality.slices import (
    choose_slices,
    contour_strip,
    difference_strip,
    gray_strip,
    hatch_strip,
)
from dipy_nn_reg.viz.differences import match_brightness
from dipy_nn_reg.viz.planes import Planes, cut

__all__ = ["COLORS", "affine_in_3d", "overlap", "views_of"]

# Colours (red, green, blue) of label contours: blue and orange, as in the figures.
COLORS = {"static": (0, 114, 178), "other": (230, 120, 0)}
# Colour of the contours of each image. The static ones are drawn last, on top.
_CONTOURS = dict.fromkeys(("before", "warped"), COLORS["other"])
_CONTOURS["static"] = COLORS["static"]
# Overlap of the images at the positions in their headers above which the moving image
# is shown on the static grid.
_MIN_OVERLAP = 0.25
# Number of voxels along an axis of the grids whose overlap is measured.
_FEW = 24


def views_of(pair):
    """Return the pictures of each plane of a pair, for the template of its page.

    Parameters
    ----------
    pair : MappedPair

    Returns
    -------
    views : list of dict
        For each plane: ``plane``; ``grid`` with the number of ``slices`` and the
        ``aspect`` of one; ``layers``, a dict of the data URLs of ``static``,
        ``warped``, ``before`` and ``difference``, each a strip of slices; ``outside``,
        the marks where the map points out of the moving image, or None; and
        ``contours`` of labels, or of bundles without labels. ``moving`` has ``grid``,
        ``url``, ``outside`` and ``at_header``: the moving image as it came, at its
        place on the static grid, or else on its own grid; None if it has no such plane.
    """
    planes = Planes(pair.static.shape, affine_in_3d(pair.affine))
    images = {"static": pair.static, "before": pair.before, "warped": pair.warped}
    turned = {name: planes.turn(to_unit_range(image)) for name, image in images.items()}
    outlined = {n: planes.turn(array) for n, array in outlines(pair).items()}
    covered = planes.turn(pair.covered)
    subtract = _subtraction(turned["warped"], turned["static"], covered)
    arrival = _arrival(pair, planes)
    views = []
    for plane in planes.planes:
        at = plane, choose_slices(turned["static"] > 0, plane)
        layers = {name: gray_strip(array, *at) for name, array in turned.items()}
        layers["difference"] = subtract(*at)
        views.append(
            {
                "plane": plane,
                "grid": _grid(turned["static"], *at),
                "layers": layers,
                "outside": _marks(covered, *at),
                "contours": _contours(outlined, *at),
                "moving": arrival(*at),
            }
        )
    return views


def _subtraction(warped, static, covered):
    """Return a function that shows slices of the difference of two images."""
    inside = covered if covered.any() else np.ones_like(covered)
    match = match_brightness(warped[inside], static[inside])

    def show(plane, indices):
        images = [
            [cut(a, plane, i) for i in indices] for a in (warped, static, covered)
        ]
        return difference_strip([(match(w) - s) * c for w, s, c in zip(*images)])

    return show


def _marks(covered, plane, indices):
    """Return marks where there is no moving image, or None if it is everywhere."""
    return None if covered.all() else hatch_strip(~covered, plane, indices)


def _contours(labels, plane, indices):
    return {
        name: contour_strip(labels[name], plane, indices, color)
        for name, color in _CONTOURS.items()
        if name in labels
    }


def affine_in_3d(affine):
    """Return an affine of three axes, and None in 2D, which is drawn as stored."""
    return affine if len(affine) == 4 else None


def overlap(one, other):
    """Return the overlap of two grids, as a fraction of the smaller one.

    Parameters
    ----------
    one, other : Grid

    Returns
    -------
    overlap : float
        From 0 to 1.
    """
    return max(
        float(b.contains(_thinned(a).points()).mean())
        for a, b in ((one, other), (other, one))
    )


def _thinned(grid):
    return grid.every(-(-max(grid.shape) // _FEW))


def _grid(turned, plane, indices):
    """Return the number of the slices, and the width of one divided by its height."""
    rows, columns = turned.shape[plane.rows], turned.shape[plane.columns]
    return {"slices": len(indices), "aspect": columns / (rows * plane.aspect)}


def _arrival(pair, planes):
    """Return a function that shows slices of the moving image as it came."""
    moving = to_unit_range(pair.moving)
    grids = Grid(pair.static.shape, pair.affine), Grid(moving.shape, pair.moving_affine)
    if overlap(*grids) < _MIN_OVERLAP:
        return _on_own_grid(moving, pair.moving_affine)
    fill = estimate_background(moving)
    to_moving = np.linalg.inv(pair.moving_affine)
    to_moving = to_moving @ planes.turn_affine(pair.affine, pair.static.shape)
    shape = planes.turn(np.empty(pair.static.shape, bool)).shape

    def show(plane, indices):
        axes = [range(size) for size in shape]
        if plane.normal is not None:
            axes[plane.normal] = indices
        # Axes are added by broadcasting, which is faster than a product of matrices.
        axes = np.ix_(*axes)
        places = np.stack(
            [sum(map(np.multiply, row, axes), row[-1]) for row in to_moving[:-1]]
        )
        style = {"order": 1, "mode": "grid-constant", "cval": fill}
        slices = map_coordinates(moving, places, **style)
        at = plane, range(len(indices))
        edges = np.reshape(moving.shape, (-1,) + (1,) * moving.ndim) - 0.5
        return {
            "grid": _grid(slices, *at),
            "url": gray_strip(np.clip(slices, 0, 1), *at),
            "outside": _marks(np.all((places >= -0.5) & (places < edges), axis=0), *at),
            "at_header": True,
        }

    return show


def _on_own_grid(moving, affine):
    """Return a function that shows the same plane of the moving image, on its grid."""
    planes = Planes(moving.shape, affine_in_3d(affine))
    own = {plane.name: plane for plane in planes.planes}
    moving = planes.turn(moving)

    def show(plane, indices):
        if plane.name not in own:
            return None
        at = own[plane.name], choose_slices(moving > 0, own[plane.name])
        shown = {"grid": _grid(moving, *at), "url": gray_strip(moving, *at)}
        return {**shown, "outside": None, "at_header": False}

    return show
