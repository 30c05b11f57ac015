"""The command that registers images by a trained model."""

from time import perf_counter

from dipy.utils.logging import logger
from dipy.workflows.workflow import Workflow
import numpy as np

from dipy_nn_reg import metrics
from dipy_nn_reg.checks import check_name, check_number
from dipy_nn_reg.field_files import FORMATS, save_field
from dipy_nn_reg.files import whole_file
from dipy_nn_reg.mapping import invert_mapping
from dipy_nn_reg.nifti import check_image_name, read_image, write_image
from dipy_nn_reg.prealign import KINDS
from dipy_nn_reg.resampling import warp_image
from dipy_nn_reg.tables import format_rows, write_csv
from dipy_nn_reg.workflows.inputs import read_affine
from dipy_nn_reg.workflows.measure import measure_field
from dipy_nn_reg.workflows.paths import find_inputs, pair_inputs, plan_outputs

SHOWN = ("moving", "ncc_before", "ncc_after", "folding", "inverse_error_mm", "seconds")


class PredictFlow(Workflow):
    @classmethod
    def get_short_name(cls):
        return "nn_reg_predict"

    def run(
        self,
        static_files,
        moving_files,
        model_file,
        prealign=None,
        voxel_size=None,
        field_format="dipy",
        all_pairs=False,
        out_dir="",
        out_warped="warped.nii.gz",
        out_field="field.nii.gz",
        out_inverse="inverse.nii.gz",
        out_metrics="metrics.csv",
        out_prealign="prealign.txt",
    ):
        """Register moving images to static ones by a trained model.

        The images may differ in grid, voxel size and orientation. A warped image is
        interpolated once, from the moving image as it is in its file.

        Parameters
        ----------
        static_files : string or Path
            Path of the static image; or of several, one for each moving image.
        moving_files : variable string
            Paths of the moving images.
        model_file : string or Path
            Model that dipy_nn_reg_fit has written, or the method save in Python.
        prealign : string, optional
            What is done before the model sees the images: "affine" or "rigid" for
            DIPY's own registration, or the path of a text file with the affine from
            static to moving world coordinates, as dipy_align_affine writes it.
        voxel_size : float, optional
            Size in mm of the voxels that the model sees, which should be that of the
            images it was trained on. By default that of the static image.
        field_format : string, optional
            Format of the field and its inverse: "dipy", "itk" (for ANTs and Slicer),
            "afni" or "fsl".
        all_pairs : bool, optional
            Register each moving image to each static one.
        out_dir : string or Path, optional
            Output directory.
        out_warped : string, optional
            Name of the moving image on the grid of the static one. Of several pairs,
            the names of both images go in front of all names.
        out_field : string, optional
            Name of the field from static to moving.
        out_inverse : string, optional
            Name of the field from moving to static.
        out_metrics : string, optional
            Name of the table of measures.
        out_prealign : string, optional
            Name of the affine that is done before the field, if there is one. DIPY's
            own tools need it beside a field of format "dipy".
        """
        check_name("field_format", field_format, FORMATS)
        if voxel_size is not None:
            check_number("voxel_size", voxel_size)
        for name in (out_warped, out_field, out_inverse):
            check_image_name(name)
        static, moving = pair_inputs(
            find_inputs(static_files), find_inputs(moving_files), all_pairs=all_pairs
        )
        if prealign is not None and prealign not in KINDS:
            prealign = read_affine(prealign)
        names = {
            "out_warped": out_warped,
            "out_field": out_field,
            "out_inverse": out_inverse,
            "out_metrics": out_metrics,
            "out_prealign": out_prealign,
        }
        outputs = plan_outputs(self, [static, moving], out_dir, names)

        from dipy_nn_reg import DeformableRegistration

        registration = DeformableRegistration.load(model_file)
        options = registration.model.options
        several = options["num_channels"] > 1
        rows = []
        for static_path, moving_path, paths in zip(static, moving, outputs):
            images = {
                "static": read_image(static_path, series=several),
                "moving": read_image(moving_path, series=several),
            }
            _check_rank(images, len(options["input_shape"]))
            start = perf_counter()
            mapping = registration.predict_mapping(
                images["moving"].data,
                images["static"].data,
                moving_affine=images["moving"].affine,
                static_affine=images["static"].affine,
                prealign=prealign,
                voxel_size=voxel_size,
            )
            seconds = perf_counter() - start
            row = _write(mapping, images, paths, field_format)
            names = {"static": static_path.name, "moving": moving_path.name}
            rows.append({**names, **row, "seconds": seconds})
            write_csv(rows[-1:], paths["out_metrics"])
        logger.info("Registered:\n" + format_rows(rows, SHOWN))


def _check_rank(images, ndim):
    for image in images.values():
        shape = image.data.shape
        if (shape[2] == 1) != (ndim == 2):
            raise ValueError(
                f"Expected an image of {ndim} axes, as the model was trained on. "
                f"Received {str(image.path)!r} of shape {shape}."
            )


def _write(mapping, images, paths, field_format):
    """Write what belongs to one pair, and return its measures."""
    static, moving = images["static"], images["moving"]
    warped = warp_image(moving, static, [mapping])
    write_image(paths["out_warped"], warped, static.affine, header=static.header)
    save_field(paths["out_field"], mapping, format=field_format)
    save_field(paths["out_inverse"], invert_mapping(mapping), format=field_format)
    prealign = np.linalg.inv(mapping.prealign)
    paths["out_prealign"].unlink(missing_ok=True)  # that of an earlier registration
    if not np.allclose(prealign, np.eye(len(prealign))):
        with whole_file(paths["out_prealign"]) as partial:
            np.savetxt(partial, prealign)
    return _measure(mapping, static, moving, warped)


def _measure(mapping, static, moving, warped):
    before = warp_image(moving, static, [])
    return {
        "ncc_before": metrics.ncc(static.data, before),
        "ncc_after": metrics.ncc(static.data, warped),
        **measure_field(mapping),
    }
