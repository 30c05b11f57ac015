"""Command that registers images by optimisation, with or without a model."""

from pathlib import Path

from dipy.workflows.workflow import Workflow

from dipy_nn_reg.checks import (
    ORIENTATION_WEIGHT,
    check_both,
    check_fill,
    check_level_iters,
    check_number,
    check_smoothness,
    choose_pairwise_transform,
)
from dipy_nn_reg.checks.choices import check_choices
from dipy_nn_reg.quiet import import_keras, start_import_of_keras
from dipy_nn_reg.workflows.channel_files import (
    check_channel_options,
    check_channels_of_model,
    find_channels_of_pairs,
    paths_of,
)
from dipy_nn_reg.workflows.pair_files import (
    INVERSE,
    check_field_files,
    outputs_of,
    plan_pairs,
    quantity_of,
    read_prealign,
    register_pairs,
)
from dipy_nn_reg.workflows.paths import find_input, find_model

# Stands for the size of images that are not read yet: no option of this command depends
# on it.
_ANY_SHAPE = (32, 32, 32)


class RegisterFlow(Workflow):
    """Register each pair of images by optimisation."""

    @classmethod
    def get_short_name(cls):
        return "nn_reg_register"

    def run(
        self,
        static_files,
        moving_files,
        model_file=None,
        prealign="auto",
        voxel_size=None,
        transform=None,
        loss=None,
        penalty=None,
        smoothness=None,
        level_iters=None,
        symmetric=False,
        mask_file=None,
        moving_mask_file=None,
        moving_labels=None,
        static_labels=None,
        moving_channels=None,
        static_channels=None,
        channel_losses=None,
        channel_weights=None,
        moving_orientations=None,
        static_orientations=None,
        orientation_kind="tensors",
        convention="dipy",
        sh_basis=None,
        orientation_weight=ORIENTATION_WEIGHT,
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
        """Register moving images to static ones, each pair by itself.

        No trained model is needed: the images, wherever they lie and however they are
        turned, are aligned by an affine map, and a field is then optimised, from coarse
        images to fine ones. The images may differ in grid, voxel size and orientation.
        A warped image is interpolated once, from the moving image as stored in its
        file. A field that folds or makes the images less similar is not used; the table
        of measures and the log say what was used.

        Parameters
        ----------
        static_files : string or Path
            Path of the static image, or of several, one for each moving image.
        moving_files : variable string
            Paths of the moving images.
        model_file : string or Path, optional
            Model to start from, which dipy_nn_reg_fit has written; or "pretrained" for
            the one that comes with this package.
        prealign : string, optional
            Alignment before the optimisation: "rigid", "similarity" or "affine", or
            "auto" to choose among them and none from the images; the path of a text
            file with the affine from static to moving world coordinates, as
            dipy_align_affine writes it; or "none" for images that are aligned.
        voxel_size : float, optional
            Size in mm of the voxels of the images that are compared: larger voxels take
            less time and memory. By default that of the static image; without a model,
            of cubic voxels of the same volume if its slices are thick.
        transform : string, optional
            Field that is optimised: "displacement"; or a stationary velocity, which
            takes a penalty, "velocity" for one at each voxel or "bspline_velocity" for
            one at control points. By default "displacement", or "velocity" if a penalty
            is named.
        loss : string, optional
            Dissimilarity of the images: "ncc", "mse" or "lncc"; "mi" or "mind" for
            images of different contrast; "robust_lncc" for a lesion in one image. By
            default that of the model; without one, local normalised cross-correlation
            in windows of 5 voxels where the contrasts agree, and "mi" where not.
        penalty : string, optional
            Penalty of a velocity: "gradient", "tv", "bending", "folding" or
            "inverse_consistency". By default that of the model, or "gradient".
        smoothness : float, optional
            Factor of the smoothing of a displacement: 1 by default, less for rougher
            fields, more, up to 100, for smoother ones. For a velocity, the weight of
            the penalty; by default one that suits loss and penalty.
        level_iters : variable int, optional
            Largest number of iterations of each level, from coarse to fine. By default
            25 25 25 25 for a displacement, or 20 20 after a model, and fewer where
            images are large; for a velocity 10 10 20 30, and 10 4 after a model.
        symmetric : bool, optional
            Register both directions to the end, so that images on one grid, with
            --prealign none, can be exchanged: the field is then the inverse, to a tenth
            of a voxel in brains. Takes up to twice the time, and costs some overlap.
        mask_file : string or Path, optional
            Path of a mask in the space of the static image: where it is not above 0,
            images are not compared. Its own header says where it lies. By default,
            images of which one alone has a skull are compared in the brain.
        moving_mask_file : string or Path, optional
            Path of a mask in the space of the moving image, which is warped with it.
            With both masks, images are compared where both are above 0.
        moving_labels : string or Path, optional
            Path of a label map of the moving image, whose overlap with that of the
            static image is maximised as well.
        static_labels : string or Path, optional
            Path of a label map of the static image.
        moving_channels : variable string, optional
            Paths of further images of the moving people, such as FA beside T1: the
            second images of all, then the third ones. They may lie on other grids.
        static_channels : variable string, optional
            Paths of those of the static people, in the same order.
        channel_losses : variable string, optional
            A loss for each image, the first one included. By default each is chosen
            from the images.
        channel_weights : variable float, optional
            A weight for each image, the first one included; all 1 by default.
        moving_orientations : string or Path, optional
            Path of the tensors, peaks or spherical harmonics of the moving image: where
            fibres run is registered as well, and turns with the tissue.
        static_orientations : string or Path, optional
            Path of those of the static image.
        orientation_kind : string, optional
            What these files hold: "tensors", "peaks" or "sh".
        convention : string, optional
            Their order and axes, as for dipy_nn_reg_apply: "dipy", "fsl", "mrtrix" or
            "itk".
        sh_basis : string, optional
            Basis of spherical harmonics, as for dipy_nn_reg_apply.
        orientation_weight : float, optional
            Weight of the difference of orientations beside the loss, 3 by default.
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
        objective = {"loss": loss, "penalty": penalty, "smoothness": smoothness}
        check_choices(loss=loss, penalty=penalty)
        channels, number = find_channels_of_pairs(
            static_files, moving_files, static_channels, moving_channels
        )
        check_channel_options(number, loss, channel_losses, channel_weights)
        check_smoothness(smoothness, choose_pairwise_transform(transform, penalty))
        check_level_iters(level_iters)
        labels = {"moving_labels": moving_labels, "static_labels": static_labels}
        check_both("label maps", **labels)
        orientations = {
            "moving_orientations": moving_orientations,
            "static_orientations": static_orientations,
        }
        quantity = quantity_of(
            orientations, orientation_kind, convention, sh_basis, orientation_weight
        )
        prealign, prealign_files = read_prealign(prealign)
        annotations = {
            "mask": mask_file,
            "moving_mask": moving_mask_file,
            **labels,
            **orientations,
        }
        annotations = {n: find_input(n, p) for n, p in annotations.items() if p}
        model = find_model(model_file) if model_file else None
        models = [model] if isinstance(model, Path) else []
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
            kept=[*models, *annotations.values(), *paths_of(channels), *prealign_files],
        )
        if len(static) > 1 and annotations:
            raise ValueError(
                f"Expected one pair of images with {sorted(annotations)}. "
                f"Received {len(static)} pairs."
            )
        # Keras is imported while images are read and aligned, unless there is a model.
        start_import_of_keras()
        if models:
            model = _load(model, transform, objective)
            check_channels_of_model(number, model.num_channels, in_one=True)
        register_pairs(
            static,
            moving,
            outputs_of(paths, inverse=inverse, no_report=no_report, **style),
            cohort,
            model=model,
            prealign=prealign,
            voxel_size=voxel_size,
            transform=transform,
            level_iters=level_iters,
            symmetric=symmetric,
            channels=channels,
            channel_weights=channel_weights,
            quantity=quantity,
            orientation_weight=orientation_weight,
            **objective | ({"loss": list(channel_losses)} if channel_losses else {}),
            **annotations,
        )


def _load(path, transform, objective):
    """Return a model, once it is known that the options fit it."""
    import_keras()
    from dipy_nn_reg import DeformableRegistration
    from dipy_nn_reg.pairwise.options import check_options

    model = DeformableRegistration.load(path)
    field = {"transform": transform, "spacing": None, "field_stride": None}
    check_options(_ANY_SHAPE, model.options, field, label_weight=1.0, **objective)
    return model
