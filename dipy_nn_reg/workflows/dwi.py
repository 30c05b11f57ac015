"""Command that registers a DWI series to a template, and carries it over."""

from dipy.workflows.workflow import Workflow
import nibabel as nib
import numpy as np

from dipy_nn_reg.checks import check_name, check_number, check_smoothness
from dipy_nn_reg.checks.choices import check_choices
from dipy_nn_reg.cohort.pair import register_files
from dipy_nn_reg.diffusion.correction import correct_distortion
from dipy_nn_reg.diffusion.series import (
    IMAGES,
    check_for_tensors,
    image_of_series,
)
from dipy_nn_reg.io.gradients import read_gradients
from dipy_nn_reg.io.labels import read_mask_on
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.io.nifti_writing import check_image_name
from dipy_nn_reg.quiet import start_import_of_keras
from dipy_nn_reg.workflows.dwi_files import (
    anisotropy_beside,
    carry_series,
    carry_tensors,
    log_outputs,
    orientations_of,
    read_distortion,
    read_series,
    write_on,
)
from dipy_nn_reg.workflows.encodings import encoding_of
from dipy_nn_reg.workflows.output_checks import check_none_remain
from dipy_nn_reg.workflows.pair_files import INVERSE, outputs_of, read_prealign
from dipy_nn_reg.workflows.paths import find_input, plan_outputs


class DwiFlow(Workflow):
    """Register a DWI series to a template."""

    @classmethod
    def get_short_name(cls):
        return "nn_reg_dwi"

    def run(
        self,
        static_file,
        dwi_file,
        bvals,
        bvecs,
        image="b0",
        mask_file=None,
        b0_threshold=50.0,
        prealign="auto",
        loss=None,
        smoothness=None,
        tensors=False,
        static_fa=None,
        static_tensors=None,
        no_series=False,
        fieldmap_file=None,
        direction=None,
        no_report=False,
        out_dir="",
        out_image="dwi_image.nii.gz",
        out_mask="dwi_mask.nii.gz",
        out_warped="warped.nii.gz",
        out_field="field.nii.gz",
        out_metrics="metrics.csv",
        out_prealign="prealign.txt",
        out_report="report.html",
        out_series="dwi.nii.gz",
        out_bvals="dwi.bval",
        out_bvecs="dwi.bvec",
        out_tensors="tensors.nii.gz",
        out_fa="fa.nii.gz",
    ):
        """Register a DWI series to a template or to another image of the head.

        An image of the series is registered; the series is then interpolated once, and
        its b-vectors are turned by the affine part of the map. Motion has to be
        corrected before, and so has distortion, unless its field is given.

        Parameters
        ----------
        static_file : string or Path
            Path of the template, or of the T1 of the same person.
        dwi_file : string or Path
            Path of the series.
        bvals : string or Path
            Path of its b-values.
        bvecs : string or Path
            Path of its b-vectors.
        image : string, optional
            What is registered: "b0", the mean of the volumes without weighting; or
            "fa", the fractional anisotropy, for a template of anisotropy.
        mask_file : string or Path, optional
            Path of a mask of the brain in the series. By default DIPY's median_otsu
            finds it.
        b0_threshold : float, optional
            Largest b-value of a volume without weighting.
        prealign : string, optional
            Alignment before, as for dipy_nn_reg_register.
        loss : string, optional
            Dissimilarity of the images, as for dipy_nn_reg_register.
        smoothness : float, optional
            Factor of the smoothing of the field, 1 by default.
        tensors : bool, optional
            Fit diffusion tensors, and carry them over as well: they turn with the
            tissue.
        static_fa : string or Path, optional
            Path of the fractional anisotropy in the space of the template: that of the
            series is then registered beside its b0, by one field.
        static_tensors : string or Path, optional
            Path of tensors in the space of the template, in DIPY's order, as --tensors
            writes them: the directions of fibres are then registered as well.
        no_series : bool, optional
            Do not carry the series over.
        fieldmap_file : string or Path, optional
            Path of the field of the distortion of the series, as dipy_nn_reg_undistort
            writes it. The series, as it was acquired, is then corrected and carried
            over in one interpolation.
        direction : string, optional
            Phase encoding of the series, as BIDS names it ("j-"), for that field. By
            default that of its sidecar.
        no_report : bool, optional
            Write no page on the quality of the result.
        out_dir : string or Path, optional
            Output directory.
        out_image : string, optional
            Name of the image that is registered, in the space of the series.
        out_mask : string, optional
            Name of the mask of the brain, in the space of the series.
        out_warped : string, optional
            Name of that image on the grid of the template.
        out_field : string, optional
            Name of the field from the template to the series.
        out_metrics : string, optional
            Name of the table of measures.
        out_prealign : string, optional
            Name of the affine that is applied before the field, if there is one.
        out_report : string, optional
            Name of the page on the quality of the result.
        out_series : string, optional
            Name of the series on the grid of the template.
        out_bvals : string, optional
            Name of its b-values.
        out_bvecs : string, optional
            Name of its b-vectors.
        out_tensors : string, optional
            Name of the tensors on the grid of the template, in DIPY's order.
        out_fa : string, optional
            Name of their fractional anisotropy.
        """
        _check_images(image, static_fa)
        check_number("b0_threshold", b0_threshold, or_zero=True)
        check_choices(loss=loss, penalty=None)
        check_smoothness(smoothness, "displacement")
        inputs = {
            "static_file": static_file,
            "dwi_file": dwi_file,
            "bvals": bvals,
            "bvecs": bvecs,
            "mask_file": mask_file,
            "fieldmap_file": fieldmap_file,
            "static_fa": static_fa,
            "static_tensors": static_tensors,
        }
        inputs = {name: find_input(name, path) for name, path in inputs.items() if path}
        encoding = None
        if fieldmap_file:
            encoding = encoding_of(inputs["dwi_file"], direction, None)
        elif direction:
            raise ValueError(
                f"Expected fieldmap_file with a direction. Received {direction!r}."
            )
        prealign, prealign_files = read_prealign(prealign)
        names = {
            "out_image": out_image,
            "out_mask": out_mask,
            "out_warped": out_warped,
            "out_field": out_field,
            "out_inverse": INVERSE,
            "out_metrics": out_metrics,
            "out_prealign": out_prealign,
            "out_report": out_report,
        }
        of_series = {
            "out_series": out_series,
            "out_bvals": out_bvals,
            "out_bvecs": out_bvecs,
        }
        of_tensors = {"out_tensors": out_tensors, "out_fa": out_fa}
        names |= ({} if no_series else of_series) | (of_tensors if tensors else {})
        carried = [out_series, *of_tensors.values()]
        idle = [name for name in carried if name not in names.values()]
        for name in (out_image, out_mask, out_warped, out_series, out_tensors, out_fa):
            check_image_name(name)
        kept = [*inputs.values(), *prealign_files]
        (paths,) = plan_outputs(
            self, [[inputs["dwi_file"]]], out_dir, [names], kept=kept
        )
        check_none_remain(paths["out_warped"], idle, kept)
        start_import_of_keras()
        static = read_image(inputs["static_file"])
        series = read_series(inputs["dwi_file"])
        gtab = read_gradients(
            inputs["bvals"],
            inputs["bvecs"],
            volumes=series.data.shape[3],
            b0_threshold=b0_threshold,
        )
        fits = bool(tensors or static_tensors or static_fa)
        if fits:
            check_for_tensors(gtab)
        mask = read_mask_on(inputs["mask_file"], series) if mask_file else None
        data, distortion = series.data, None
        if encoding:
            distortion = read_distortion(inputs["fieldmap_file"], encoding, series)
            data = correct_distortion(data, distortion[0], **distortion[1])
        values, mask, fitted = image_of_series(
            data, gtab, image=image, mask=mask, with_tensors=fits
        )
        moving = nib.Nifti1Image(values, series.affine)
        moving.set_filename(paths["out_image"])

        def write_others(partials, mapping):
            arrays = {"out_image": values, "out_mask": mask.astype(np.uint8)}
            write_on(series, partials, **arrays)
            if tensors:
                carry_tensors(fitted, series, static, mapping, partials)
            if not no_series:
                files = inputs | partials
                carry_series(series, distortion, static, mapping, files)

        asked_for = {"inverse": False, "no_report": no_report}
        (outputs,) = outputs_of([paths], **asked_for, write_others=write_others)
        row, _ = register_files(
            {"static": inputs["static_file"], "moving": moving},
            {"static": inputs["static_file"].name, "moving": out_image},
            outputs,
            prealign=prealign,
            loss=loss,
            smoothness=smoothness,
            channels=anisotropy_beside(fitted, inputs.get("static_fa")),
            **orientations_of(fitted, series, inputs.get("static_tensors")),
        )
        log_outputs(row, outputs)


def _check_images(image, static_fa):
    check_name("image", image, IMAGES)
    if static_fa and image == "fa":
        raise ValueError(
            "Expected image='b0' with static_fa. Received image='fa': the anisotropy "
            "would be registered twice."
        )
