"""Application of transforms to one file: an image, points or a tractogram."""

from pathlib import Path
from typing import NamedTuple

from dipy.utils.logging import logger
from nibabel.affines import voxel_sizes
import numpy as np

from dipy_nn_reg.diffusion.local_maps import measure_turn
from dipy_nn_reg.diffusion.reorientation import Quantity, warp_quantity
from dipy_nn_reg.io.atomic import whole_file
from dipy_nn_reg.io.fields import load_mapping
from dipy_nn_reg.io.nifti import Image, read_image
from dipy_nn_reg.io.pictures import is_picture
from dipy_nn_reg.io.point_tables import POINTS, read_points, write_points
from dipy_nn_reg.io.points import (
    TRACTOGRAMS,
    read_affine,
    read_streamlines,
    write_streamlines,
)
from dipy_nn_reg.io.quantities import read_quantity, write_quantity
from dipy_nn_reg.io.warped import check_warped, write_warped
from dipy_nn_reg.mapping.bvecs import rotate_bvecs
from dipy_nn_reg.mapping.grid import moving_grid, prealign_of, static_grid
from dipy_nn_reg.mapping.maps import lift_mapping
from dipy_nn_reg.mapping.points import to_moving, to_static
from dipy_nn_reg.mapping.resampling import warp_image
from dipy_nn_reg.workflows.series_bvecs import read_bvecs_of


class Options(NamedTuple):
    """Options of the command that hold for all files."""

    inverse: bool
    interpolation: str
    fill: float | None
    bvecs: Path | None
    quantity: Quantity | None
    moving_grid: Image | None
    any_grid: bool
    absolute: bool


def apply_to_file(path, static, transforms, paths, options):
    """Write one file in the space of an image.

    Parameters
    ----------
    path : Path
    static : dipy_nn_reg.io.nifti.Image
    transforms : list of Path
    paths : dict of Path
        ``out_file``, and ``out_bvecs`` of a series with b-vectors.
    options : Options

    Returns
    -------
    outside : int
        Number of points of streamlines outside of the image.
    """
    if not is_image(path):
        maps = _read_maps(transforms, static, options.moving_grid, options)
        static, _ = _on_grids_of(maps, static, options.moving_grid, options)
        if path.suffix.lower() in POINTS:
            moved = _move(read_points(path), maps, options.inverse)
            write_points(paths["out_file"], moved)
            return 0
        return _move_streamlines(path, static, maps, options.inverse, paths["out_file"])
    turns = options.quantity is not None
    moving = read_quantity(path) if turns else read_image(path, series=True)
    check_warped(paths["out_file"], moving, static, fill=options.fill)
    vectors = read_bvecs_of(path, options.bvecs) if options.bvecs else None
    maps = _read_maps(transforms, static, moving, options)
    static, moving = _on_grids_of(maps, static, moving, options)
    if turns:
        _warp_and_turn(moving, static, maps, paths, options)
        return 0
    if vectors is not None:
        out = paths["out_bvecs"]
        write_turned_bvecs(out, vectors, moving, static, maps, inverse=options.inverse)
    warped = warp_image(
        moving,
        static,
        maps,
        inverse=options.inverse,
        interpolation=options.interpolation,
        fill=options.fill,
    )
    write_warped(paths["out_file"], warped, moving, static, series=moving.header)
    return 0


def is_image(path):
    """Return whether a file holds neither points nor streamlines, by its name."""
    return path.suffix.lower() not in (*POINTS, *TRACTOGRAMS)


def _warp_and_turn(moving, static, maps, paths, options):
    warped, folded = warp_quantity(
        moving,
        static,
        maps,
        options.quantity,
        inverse=options.inverse,
        interpolation=options.interpolation,
    )
    if folded:
        logger.warning(
            f"The transforms fold at {folded} voxels, which have been turned by the "
            f"affine part alone."
        )
    write_quantity(paths["out_file"], warped, moving, static)


def _read_maps(paths, static, moving, options):
    """Return affines and maps, in the order from the static to the moving image."""
    end = static if options.inverse else moving
    fallback = {}
    if end is not None:
        fallback = {
            "moving_shape": end.data.shape[:3],
            "moving_affine": end.affine,
            "moving_zooms": end.zooms,
        }
    maps = []
    for path in paths:
        if path.suffix.lower() == ".txt":
            maps.append(read_affine(path))
            continue
        if not is_image(path) or is_picture(path):
            raise ValueError(
                f"Expected a field (NIfTI or .h5) or an affine (.txt). Received "
                f"{str(path)!r}."
            )
        mapping = load_mapping(
            path,
            absolute=options.absolute or None,
            **(fallback if path is paths[-1] else {}),
        )
        maps.append(lift_mapping(mapping) if mapping.dim == 2 else mapping)
    return maps


def _on_grids_of(maps, static, moving, options):
    """Return the images, placed on the grids of the maps, after a check of these."""
    # Images at both ends of the chain of transforms; points may have none.
    ends = [moving, static] if options.inverse else [static, moving]
    for i, (step, grid) in enumerate(((maps[0], static_grid), (maps[-1], moving_grid))):
        if ends[i] is None or isinstance(step, np.ndarray):
            continue
        ends[i] = ends[i].placed_on(grid(step))
        if not options.any_grid:
            _check_grid(ends[i], grid(step))
    return ends[::-1] if options.inverse else ends


def _check_grid(image, grid):
    """Raise ValueError unless an image covers the box of a grid."""
    grids = image.grid, grid
    voxel = max(voxel_sizes(one.affine).max() for one in grids)
    if np.abs(image.grid.box() - grid.box()).max() > voxel:
        raise ValueError(
            f"Expected an image that covers the region of the field, "
            f"{_describe(grid)}. Received {str(image.path)!r} with "
            f"{_describe(image.grid)}; --any_grid skips this check."
        )


def _describe(grid):
    sizes = " x ".join(f"{size:.4g}" for size in voxel_sizes(grid.affine))
    lowest = ", ".join(f"{x:.4g}" for x in grid.box()[0])
    voxels = " x ".join(map(str, grid.shape))
    return f"{voxels} voxels of {sizes} mm from ({lowest})"


def _move(points, maps, inverse):
    """Transform points in the direction of images.

    A map from static to moving points resamples images in the opposite direction.
    """
    return to_moving(points, maps) if inverse else to_static(points, maps)


def _move_streamlines(path, static, maps, inverse, out):
    tractogram = read_streamlines(path, static)
    points = _move(tractogram.streamlines.get_data(), maps, inverse)
    return write_streamlines(out, tractogram, points, static, source=path)


def write_turned_bvecs(path, vectors, moving, static, maps, *, inverse=False):
    """Write the b-vectors of a series along the axes of the static image.

    Parameters
    ----------
    path : Path
    vectors : ndarray, shape (n, 3)
    moving, static : dipy_nn_reg.io.nifti.Image
    maps, inverse
        As for :func:`~dipy_nn_reg.mapping.resampling.warp_image`; their affine parts
        turn the vectors.
    """
    total = np.eye(4)
    for step in maps:
        is_affine = isinstance(step, np.ndarray)
        total = (step if is_affine else prealign_of(step)) @ total
    _tell_of_rest(static, maps, inverse)
    turned = rotate_bvecs(
        vectors,
        moving_affine=moving.affine,
        static_affine=static.affine,
        prealign=np.linalg.inv(total) if inverse else total,
    )
    with whole_file(path) as partial:
        np.savetxt(partial, turned.T, fmt="%.8f")


def _tell_of_rest(static, maps, inverse):
    """Log by how much the maps turn the tissue beyond what b-vectors can follow."""
    middle, most = measure_turn(maps, static.grid, inverse=inverse)
    logger.info(
        f"B-vectors are turned by the affine part. Beyond it, the field turns the "
        f"tissue by {middle:.1f} degrees in the median, and by {most:.1f} at 95 % of "
        f"the voxels. Tensors, peaks or spherical harmonics follow it, by --reorient."
    )
