"""Command that transforms images, points and tractograms."""

from pathlib import Path
from typing import NamedTuple

from dipy.io.utils import split_filename_extension
from dipy.utils.logging import logger
from dipy.workflows.workflow import Workflow
from nibabel.affines import voxel_sizes
import numpy as np

from dipy_nn_reg.checks import check_fill, check_name
from dipy_nn_reg.cohort.failures import Failures
from dipy_nn_reg.cohort.naming import distinct_names
from dipy_nn_reg.io.atomic import whole_file, whole_files
from dipy_nn_reg.io.fields import load_mapping
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.io.points import (
    POINTS,
    TRACTOGRAMS,
    read_affine,
    read_bvecs,
    read_points,
    read_streamlines,
    write_points,
    write_streamlines,
)
from dipy_nn_reg.io.warped import check_warped, check_warped_name, write_warped
from dipy_nn_reg.mapping.bvecs import rotate_bvecs
from dipy_nn_reg.mapping.grid import moving_grid, prealign_of, static_grid
from dipy_nn_reg.mapping.maps import lift_mapping
from dipy_nn_reg.mapping.resampling import ORDERS, to_moving, to_static, warp_image
from dipy_nn_reg.progress import progress_bar
from dipy_nn_reg.text import printable
from dipy_nn_reg.workflows.paths import find_input, find_inputs, plan_outputs


class ApplyFlow(Workflow):
    """Transform images, points and tractograms to the space of an image."""

    @classmethod
    def get_short_name(cls):
        return "nn_reg_apply"

    def run(
        self,
        static_file,
        moving_files,
        transform_files,
        inverse=False,
        interpolation="linear",
        fill=None,
        bvecs=None,
        any_grid=False,
        absolute=False,
        out_dir="",
        out_file="transformed.nii.gz",
        out_bvecs="transformed.bvec",
    ):
        """Transform images, points and tractograms to the space of a static image.

        The ending of a name tells the kind of data. An image is interpolated once,
        however many transforms there are.

        Parameters
        ----------
        static_file : string or Path
            Path of the static image, or of any image on its grid. With --inverse, path
            of the moving image.
        moving_files : string or Path
            Path of the file to transform, or a pattern of several: pictures; NIfTI
            images of 2 or 3 axes, or of 4, volume by volume; points (.csv or .txt: x, y
            and z in mm); tractograms (.trk, .trx or .tck).
        transform_files : variable string
            Paths of fields (.nii or .nii.gz, of DIPY, ITK, ANTs, AFNI or FSL), of
            composite transforms of ITK, ANTs or fMRIPrep (.h5) and of affines from
            static to moving world coordinates (.txt), in the order in which they move a
            point from the static image to the moving one.
        inverse : bool, optional
            Transform from the space of the static image to that of the moving image.
        interpolation : string, optional
            "linear", or "nearest" for label maps, which keep their values and type.
        fill : float, optional
            Value outside of a transformed image. By default its background; 0 with
            "nearest".
        bvecs : string or Path, optional
            Path of the b-vectors of a DWI series, to be rotated by the affine part of
            the transforms.
        any_grid : bool, optional
            Accept fields that do not cover the same region as the images.
        absolute : bool, optional
            Fields of FSL hold positions, as with --abs of applywarp. By default this is
            found from their values.
        out_dir : string or Path, optional
            Output directory.
        out_file : string, optional
            Name of the result: NIfTI, or a picture (.png, .tif) of a slice. For points
            and tractograms, its ending becomes that of the file that is transformed.
            With several files, their names are used as prefixes.
        out_bvecs : string, optional
            Name of the rotated b-vectors.
        """
        check_name("interpolation", interpolation, ORDERS)
        check_fill(fill)
        moving_paths = find_inputs(moving_files)
        transforms = find_inputs(transform_files)
        static_path = find_input("static_file", static_file)
        bvecs = find_input("bvecs", bvecs) if bvecs else None
        if bvecs and not any(map(_is_image, moving_paths)):
            raise ValueError(
                f"Expected an image, a DWI series, with bvecs. Received "
                f"{printable(moving_paths[0])}."
            )
        names = [
            {
                "out_file": _with_ending_of(path, out_file),
                **({"out_bvecs": out_bvecs} if bvecs and _is_image(path) else {}),
            }
            for path in moving_paths
        ]
        kept = [static_path, *transforms, *([bvecs] if bvecs else [])]
        outputs = plan_outputs(self, [moving_paths], out_dir, names, kept=kept)
        static = read_image(static_path, series=True)
        failures = Failures(len(moving_paths))
        sets = list(zip(moving_paths, distinct_names(moving_paths), outputs))
        options = _Options(inverse, interpolation, fill, bvecs, any_grid, absolute)
        for path, name, paths in progress_bar(sets, desc="Files"):
            with failures.caught(name):
                with whole_files(paths) as partials:
                    outside = _apply(path, static, transforms, partials, options)
                out = printable(paths["out_file"])
                if outside:
                    logger.warning(
                        f"{outside} points in {out} are outside of the image "
                        f"{printable(static_path)}: DIPY loads it with "
                        f"bbox_valid_check=False."
                    )
                logger.info(f"Written: {out}")
        failures.finish()


class _Options(NamedTuple):
    """Options of the command that hold for all files."""

    inverse: bool
    interpolation: str
    fill: float | None
    bvecs: Path | None
    any_grid: bool
    absolute: bool


def _apply(path, static, transforms, paths, options):
    """Write one file, and return the number of its points outside of the image."""
    moving = read_image(path, series=True) if _is_image(path) else None
    if moving is not None:
        check_warped(paths["out_file"], moving, static, fill=options.fill)
    maps = _read_maps(transforms, static, moving, options)
    static, moving = _on_grids_of(maps, static, moving, options)
    inverse = options.inverse
    if moving is not None:
        if options.bvecs:
            rotated = _rotate(options.bvecs, moving, static, maps, inverse)
            _write_bvecs(paths["out_bvecs"], rotated)
        warped = warp_image(
            moving,
            static,
            maps,
            inverse=inverse,
            interpolation=options.interpolation,
            fill=options.fill,
        )
        write_warped(paths["out_file"], warped, moving, static, series=moving.header)
    elif path.suffix in POINTS:
        write_points(paths["out_file"], _move(read_points(path), maps, inverse))
    else:
        return _move_streamlines(path, static, maps, inverse, paths["out_file"])
    return 0


def _is_image(path):
    return path.suffix not in (*POINTS, *TRACTOGRAMS)


def _with_ending_of(path, name):
    """Return the name of an output with the ending of the file that is transformed."""
    if _is_image(path):
        check_warped_name(name)
        return name
    return split_filename_extension(name)[0] + path.suffix


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
        if path.suffix == ".txt":
            maps.append(read_affine(path))
            continue
        mapping = load_mapping(
            path,
            absolute=options.absolute or None,
            **(fallback if path is paths[-1] else {}),
        )
        maps.append(lift_mapping(mapping) if mapping.dim == 2 else mapping)
    return maps


def _on_grids_of(maps, static, moving, options):
    """Return the images, placed on the grids of the maps, after a check of these."""
    # Images at both ends of the chain of transforms; points and streamlines have none.
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
    return write_streamlines(out, tractogram, points, static)


def _rotate(bvecs, moving, static, maps, inverse):
    """Return the b-vectors of a series along the axes of the static image."""
    vectors = read_bvecs(bvecs)
    volumes = moving.data.shape[3] if moving.data.ndim > 3 else 1
    if len(vectors) != volumes:
        raise ValueError(
            f"Expected a b-vector for each volume. Received {len(vectors)} in "
            f"{str(bvecs)!r} and an image of shape {moving.data.shape}."
        )
    total = np.eye(4)
    for step in maps:
        is_affine = isinstance(step, np.ndarray)
        total = (step if is_affine else prealign_of(step)) @ total
    return rotate_bvecs(
        vectors,
        moving_affine=moving.affine,
        static_affine=static.affine,
        prealign=np.linalg.inv(total) if inverse else total,
    )


def _write_bvecs(path, vectors):
    with whole_file(path) as partial:
        np.savetxt(partial, vectors.T, fmt="%.8f")
