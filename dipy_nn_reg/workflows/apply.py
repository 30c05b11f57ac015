"""Command that transforms images, points and tractograms."""

from contextlib import nullcontext

from dipy.io.utils import split_filename_extension
from dipy.utils.logging import logger
from dipy.workflows.workflow import Workflow

from dipy_nn_reg.checks import check_defaults, check_fill, check_name
from dipy_nn_reg.cohort.failures import Failures
from dipy_nn_reg.cohort.naming import distinct_names
from dipy_nn_reg.diffusion.reorientation import Quantity
from dipy_nn_reg.io.atomic import whole_files
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.io.nifti_writing import check_image_name
from dipy_nn_reg.io.warped import check_warped_name
from dipy_nn_reg.mapping.resampling import ORDERS
from dipy_nn_reg.progress import progress_bar
from dipy_nn_reg.text import printable
from dipy_nn_reg.workflows.applied_file import Options, apply_to_file, is_image
from dipy_nn_reg.workflows.output_checks import check_none_remain
from dipy_nn_reg.workflows.paths import find_input, find_inputs, plan_outputs
from dipy_nn_reg.workflows.series_bvecs import beside as file_beside


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
        moving_grid_file=None,
        any_grid=False,
        absolute=False,
        reorient=None,
        convention="dipy",
        sh_basis=None,
        strategy="ppd",
        modulate=False,
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
            images of 2 or 3 axes, or of 4, volume by volume; points (.csv, .tsv or
            .txt: x, y and z in mm, or columns named as l, p and s); tractograms (.trk,
            .trx or .tck).
        transform_files : variable string
            Paths of fields (.nii or .nii.gz, of DIPY, ITK, ANTs, AFNI or FSL), of
            composite transforms of ITK, ANTs or fMRIPrep (.h5) and of affines from
            static to moving world coordinates (.txt), in the order in which they move a
            point from the static image to the moving one.
        inverse : bool, optional
            Transform from the space of the static image to that of the moving image.
        interpolation : string, optional
            "linear", "cubic", which is sharper and may overshoot, or "nearest" for
            label maps, which keep their values and type.
        fill : float, optional
            Value outside of a transformed image. By default its background; 0 with
            "nearest".
        bvecs : string or Path, optional
            Path of the b-vectors of a DWI series, to be rotated by the affine part of
            the transforms.
        moving_grid_file : string or Path, optional
            Path of the image that points or a tractogram belong to. Fields that FSL
            wrote count its voxels; with --inverse they need nothing more.
        any_grid : bool, optional
            Accept fields that do not cover the same region as the images.
        absolute : bool, optional
            Fields of FSL hold positions, as with --abs of applywarp. By default this is
            found from their values.
        reorient : string, optional
            What the volumes are, to be turned with the tissue: "tensors", "peaks" or
            "sh", spherical harmonics of even order. Outside of the image they are 0,
            and peaks are those of the nearest voxel.
        convention : string, optional
            Order of the values of tensors, and axes: "dipy", "fsl" or "mrtrix"; "itk"
            for ANTs.
        sh_basis : string, optional
            Basis of spherical harmonics: "descoteaux07_legacy" or "tournier07_legacy",
            as DIPY writes them by default; "descoteaux07", or "tournier07" of MRtrix.
        strategy : string, optional
            How they turn: "ppd", each direction as the tissue (preservation of
            principal direction), or "finite_strain", by the rotation alone.
        modulate : bool, optional
            Scale peaks and spherical harmonics so that the total density of fibres
            across a bundle stays.
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
        beside = moving_grid_file and find_input("moving_grid_file", moving_grid_file)
        bvecs = find_input("bvecs", bvecs) if bvecs else None
        given = (convention, sh_basis, strategy, modulate)
        quantity = _quantity(reorient, given, fill, out_file)
        _check_kinds(moving_paths, bvecs, quantity, beside)
        names = [
            {
                "out_file": _with_ending_of(path, out_file),
                **({"out_bvecs": out_bvecs} if bvecs and is_image(path) else {}),
            }
            for path in moving_paths
        ]
        optional = [path for path in (bvecs, beside) if path]
        kept = [static_path, *transforms, *optional]
        outputs = plan_outputs(self, [moving_paths], out_dir, names, kept=kept)
        for paths in outputs:
            if "out_bvecs" not in paths:
                vectors = file_beside(paths["out_file"], ".bvec").name
                check_none_remain(paths["out_file"], [vectors], moving_paths + kept)
        static = read_image(static_path, series=True)
        failures = Failures(len(moving_paths))
        sets = list(zip(moving_paths, distinct_names(moving_paths), outputs))
        options = Options(
            inverse=inverse,
            interpolation=interpolation,
            fill=fill,
            bvecs=bvecs,
            quantity=quantity,
            moving_grid=read_image(beside, series=True) if beside else None,
            any_grid=any_grid,
            absolute=absolute,
        )
        for path, name, paths in progress_bar(sets, desc="Files"):
            with failures.caught(name):
                # A single file is written whole; two appear together.
                several = whole_files if len(paths) > 1 else nullcontext
                with several(paths) as partials:
                    outside = apply_to_file(path, static, transforms, partials, options)
                out = printable(paths["out_file"])
                if outside:
                    logger.warning(
                        f"{outside} points in {out} are outside of the image "
                        f"{printable(static_path)}: DIPY loads it with "
                        f"bbox_valid_check=False."
                    )
                logger.info(f"Written: {out}")
        failures.finish()


def _quantity(reorient, given, fill, out_file):
    """Return what the volumes are, or None; raise ValueError for idle options."""
    if reorient is None:
        names = ("convention", "sh_basis", "strategy", "modulate")
        check_defaults("reorient", names, given, Quantity("tensors")[1:])
        return None
    quantity = Quantity(reorient, *given)
    quantity.check()
    if fill not in (None, 0):
        raise ValueError(f"Expected no fill with reorient. Received fill={fill}.")
    check_image_name(out_file)
    return quantity


def _check_kinds(paths, bvecs, quantity, moving_grid_file):
    """Raise ValueError if options and files do not go together."""
    if bvecs and quantity is not None:
        raise ValueError(
            f"Expected bvecs with a DWI series, or reorient. Received both, "
            f"{quantity.kind!r} and {printable(bvecs)}."
        )
    if (bvecs or quantity) and not any(map(is_image, paths)):
        expected = "a DWI series, with bvecs" if bvecs else "with reorient"
        raise ValueError(
            f"Expected an image, {expected}. Received {printable(paths[0])}."
        )
    if moving_grid_file and all(map(is_image, paths)):
        raise ValueError(
            f"Expected points or a tractogram with moving_grid_file. Received "
            f"{printable(paths[0])}, which has a grid of its own."
        )


def _with_ending_of(path, name):
    """Return the name of an output with the ending of the file that is transformed."""
    if is_image(path):
        check_warped_name(name)
        return name
    return split_filename_extension(name)[0] + path.suffix.lower()
