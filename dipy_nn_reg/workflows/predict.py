"""Command that registers images by a trained model."""

from pathlib import Path

from dipy.workflows.workflow import Workflow

from dipy_nn_reg.checks import Pretrained, check_fill, check_number
from dipy_nn_reg.quiet import import_keras
from dipy_nn_reg.workflows.channel_files import (
    check_channels_of_model,
    find_channels_of_pairs,
    paths_of,
)
from dipy_nn_reg.workflows.pair_files import (
    INVERSE,
    check_field_files,
    outputs_of,
    plan_pairs,
    read_prealign,
    register_pairs,
)
from dipy_nn_reg.workflows.paths import find_model


class PredictFlow(Workflow):
    """Register images by a trained model."""

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
        smoothness=None,
        passes=None,
        moving_channels=None,
        static_channels=None,
        field_format="dipy",
        fill=None,
        inverse=False,
        all_pairs=False,
        no_report=False,
        out_dir="",
        out_warped="warped.nii.gz",
        out_field="field.nii.gz",
        out_inverse=INVERSE,
        out_metrics="metrics.csv",
        out_prealign="prealign.txt",
        out_report="report.html",
        out_cohort="cohort.html",
    ):
        """Register as dipy_nn_reg_register --model_file does, but without optimisation.

        Moving images are registered to static ones by a trained model. Unless it is the
        pretrained one, or --prealign says so, they are not aligned before. The images
        may differ in grid, voxel size and orientation. A warped image is interpolated
        once, from the moving image as stored in its file. A field that folds is
        smoothed. If it still folds, or makes the images less similar, the pair is
        optimised after all; if that fails, only the affine is used. The table of
        measures and the log say what was used.

        Parameters
        ----------
        static_files : string or Path
            Path of the static image, or of several, one for each moving image.
        moving_files : variable string
            Paths of the moving images.
        model_file : string or Path
            Model that dipy_nn_reg_fit has written, or the method save in Python; or
            "pretrained" for the one that comes with this package.
        prealign : string, optional
            Alignment before the model is applied: "auto", "rigid", "similarity",
            "affine", or the path of a text file with the affine from static to moving
            world coordinates, as dipy_align_affine writes it; or "none". By default
            "auto" for the pretrained model, and none for others.
        voxel_size : float, optional
            Size in mm of the voxels that the model receives, which should be that of
            the images it was trained on. By default that of the static image.
        smoothness : float, optional
            Of the fields, from 0, the roughest ones, to 1: of the pretrained model, by
            default 0.3, or of one that dipy_nn_reg_fit has trained with --smoothness
            any, by default 0.5.
        passes : int, optional
            Number of predictions of the pretrained model, each for the image that those
            before it have warped. By default 4 in 2D and 1 in 3D.
        moving_channels : variable string, optional
            Paths of further images of the moving people, for a model that was trained
            on several images of each: the second images of all, then the third ones.
            They may lie on other grids.
        static_channels : variable string, optional
            Paths of those of the static people, in the same order.
        field_format : string, optional
            Format of the field and its inverse: "dipy", "itk" (for ANTs and Slicer),
            "afni", "fsl" or "mrtrix"; or "itk_h5", affine and field in one file of ITK,
            with --out_field field.h5.
        fill : float, optional
            Value outside of the moving image. By default its background.
        inverse : bool, optional
            Also write the field from moving to static. dipy_nn_reg_apply --inverse does
            not need it: it inverts the other one.
        all_pairs : bool, optional
            Register each moving image to each static one.
        no_report : bool, optional
            Write no pages on the quality of the result.
        out_dir : string or Path, optional
            Output directory.
        out_warped : string, optional
            Name of the moving image on the grid of the static one: NIfTI, or a picture
            (.png, .tif) of a slice. With several pairs, all names are prefixed by the
            names of both images.
        out_field : string, optional
            Name of the field from static to moving.
        out_inverse : string, optional
            Name of the field from moving to static, which --inverse asks for.
        out_metrics : string, optional
            Name of the table of measures.
        out_prealign : string, optional
            Name of the affine that is applied before the field, if there is one. DIPY's
            own tools need it beside a field of format "dipy".
        out_report : string, optional
            Name of the page on the quality of the result, to be opened in a browser.
        out_cohort : string, optional
            Name of the page on several pairs, the worst ones first.
        """
        check_field_files(field_format, out_field, out_inverse, inverse=inverse)
        check_fill(fill)
        if voxel_size is not None:
            check_number("voxel_size", voxel_size)
        model = find_model(model_file)
        models = [model] if isinstance(model, Path) else []
        if models and passes is not None:
            raise ValueError(
                f"Expected passes with the pretrained model alone. "
                f"Received passes={passes!r} and model_file={str(model_file)!r}."
            )
        dials = {"smoothness": smoothness, "passes": passes}
        dials = {name: value for name, value in dials.items() if value is not None}
        pretrained = Pretrained(**dials)
        pretrained.check()
        if not models and prealign is None:
            prealign = "auto"
        channels, number = find_channels_of_pairs(
            static_files, moving_files, static_channels, moving_channels
        )
        prealign, prealign_files = read_prealign(prealign)
        names = {
            "out_warped": out_warped,
            "out_field": out_field,
            "out_inverse": out_inverse,
            "out_metrics": out_metrics,
            "out_prealign": out_prealign,
            "out_report": out_report,
            "out_cohort": out_cohort,
        }
        style = {"field_format": field_format, "fill": fill}
        static, moving, paths, cohort = plan_pairs(
            self,
            static_files,
            moving_files,
            names,
            all_pairs=all_pairs,
            out_dir=out_dir,
            kept=[*models, *paths_of(channels), *prealign_files],
        )

        import_keras()
        from dipy_nn_reg import DeformableRegistration

        if models:
            model = DeformableRegistration.load(model)
            model.predictor = model.predictor.at(smoothness)
        else:
            model = pretrained
        num_channels = model.num_channels if models else 1
        check_channels_of_model(number, num_channels, in_one=True)
        register_pairs(
            static,
            moving,
            outputs_of(paths, inverse=inverse, no_report=no_report, **style),
            cohort,
            channels=channels,
            model=model,
            optimize=False,
            prealign=prealign,
            voxel_size=voxel_size,
        )
