"""Command that trains a model on a user's own images."""

from inspect import signature
import os
from pathlib import Path
import sys

from dipy.utils.logging import logger
from dipy.workflows.workflow import Workflow

from dipy_nn_reg.checks import (
    check_integer,
    check_number,
    check_takes_dial,
    parse_smoothness,
)
from dipy_nn_reg.checks.choices import check_choices
from dipy_nn_reg.io.temporaries import temporary_folder
from dipy_nn_reg.progress import keras_verbosity
from dipy_nn_reg.quiet import import_keras
from dipy_nn_reg.text import printable
from dipy_nn_reg.workflows.channel_files import (
    check_channel_options,
    check_channels_of_model,
    paths_of,
)
from dipy_nn_reg.workflows.paths import find_input, find_model, plan_outputs
from dipy_nn_reg.workflows.training_files import (
    find_training_files,
    read_all,
    reference_of,
)


class FitFlow(Workflow):
    """Train a model on images of the user."""

    @classmethod
    def get_short_name(cls):
        return "nn_reg_fit"

    def run(
        self,
        moving_files,
        static_files=None,
        moving_labels=None,
        static_labels=None,
        mask_file=None,
        validation_files=None,
        moving_channels=None,
        static_channels=None,
        validation_channels=None,
        channel_losses=None,
        channel_weights=None,
        voxel_size=None,
        network="unet",
        transform=None,
        field_stride=None,
        symmetric=False,
        loss="ncc",
        penalty="gradient",
        smoothness=None,
        learning_rate=None,
        precision="float32",
        mirror=None,
        augment=False,
        epochs=50,
        warm_up=0,
        batch_size=None,
        seed=0,
        checkpoint=None,
        out_dir="",
        out_model="model.keras",
        out_history="history.csv",
    ):
        """Train a model to register images, without ground truth.

        All images are brought to the grid of the first static image (without any, the
        first moving one) through the affines in their headers: they should be roughly
        aligned. The model is written after each epoch, so that an interruption loses
        no more than one.

        Parameters
        ----------
        moving_files : variable string
            Paths of the images to train on; or a table (.csv or .tsv) of pairs, with
            the columns moving, static, moving_labels and static_labels, and moving_2
            and static_2 for a second image of each person, and so on.
        static_files : variable string, optional
            Path of the image to which all are registered, or paths of one image for
            each moving image. By default the moving images are registered to one
            another.
        moving_labels : variable string, optional
            Paths of label maps of the moving images, whose overlap is maximised too.
        static_labels : variable string, optional
            Paths of label maps of the static images.
        mask_file : string or Path, optional
            Path of a mask in the space of the static image: where it is not above 0,
            images are not compared. Its own header says where it is.
        validation_files : variable string, optional
            Paths of further images, each of which is registered to the one before it
            (or to the static image) after each epoch.
        moving_channels : variable string, optional
            Paths of further images of the same people, such as FA beside T1: the second
            images of all, then the third ones. They may lie on other grids.
        static_channels : variable string, optional
            Paths of those of the static people, in the same order.
        validation_channels : variable string, optional
            Paths of those of the people of the validation.
        channel_losses : variable string, optional
            A loss for each image of a person, the first one included.
        channel_weights : variable float, optional
            A weight for each, all 1 by default.
        voxel_size : float, optional
            Size in mm of the voxels to which the images are resampled: training is
            faster with larger ones. By default the voxel size of the first image.
        network : string, optional
            Network that predicts the field: "unet", "pyramid", "voxelmorph1",
            "voxelmorph2", "encoder_decoder", "fcn" or "dirnet".
        transform : string, optional
            Transform that the network predicts: "velocity", "displacement", "bspline",
            "bspline_velocity" (the default of "dirnet"), "tps" or "affine".
        field_stride : int, optional
            1, 2 or 4: the field is predicted at every voxel, every second or every
            fourth along each axis. By default 2 in 3D and 1 in 2D.
        symmetric : bool, optional
            Exchanged images on one grid have the inverse field. Takes up to twice the
            time, and a transform that is a velocity.
        loss : string, optional
            Dissimilarity of the images: "ncc", "mse", "lncc", "mi", "mind" or
            "robust_lncc".
        penalty : string, optional
            Penalty of the field: "gradient", "tv", "bending", "folding" or
            "inverse_consistency".
        smoothness : string, optional
            Weight of the penalty. By default one that suits loss and penalty. With
            "any", which network "pyramid" takes, dipy_nn_reg_predict is told later how
            smooth its fields shall be.
        learning_rate : float, optional
            Highest learning rate. By default 0.004 in 2D and 0.0015 in 3D.
        precision : string, optional
            Precision of the network: "float32", "bfloat16", or "auto", which is
            bfloat16 if the machine is faster with it.
        mirror : int, optional
            Axis of the voxels, 0, 1 or 2, along which half of the pairs are mirrored.
        augment : bool, optional
            Deform the images at random and change their contrast in each epoch, for
            trainings with few images.
        epochs : int, optional
            Number of epochs; in each, every moving image is used once.
        warm_up : int, optional
            Number of epochs before these, with images shrunk by two along each axis.
            Nothing is written meanwhile.
        batch_size : int, optional
            Number of pairs in a step. By default 32 in 2D and 1 in 3D.
        seed : int, optional
            Seed of the weights and the pairs.
        checkpoint : string or Path, optional
            Model to continue with. Its own options then replace those above, and an
            existing history is continued. If its training was interrupted, the same
            command resumes it with the same result as without the interruption;
            otherwise a new training begins, and a warning names options that are not
            used. Or "pretrained" for the model that comes with this package, which
            keeps the network, the loss and the penalty.
        out_dir : string or Path, optional
            Output directory.
        out_model : string, optional
            Name of the trained model.
        out_history : string, optional
            Name of the table of the training, with a row for each epoch.
        """
        check_integer("epochs", epochs, lowest=1)
        check_integer("warm_up", warm_up, lowest=0)
        smoothness = parse_smoothness(smoothness)
        if batch_size is not None:
            check_integer("batch_size", batch_size, lowest=1)
        if voxel_size is not None:
            check_number("voxel_size", voxel_size)
        check_choices(network=network, transform=transform, loss=loss, penalty=penalty)
        check_takes_dial(network, smoothness)
        optional = {
            "static": static_files,
            "moving_labels": moving_labels,
            "static_labels": static_labels,
            "validation": validation_files,
        }
        further = {
            "moving_channels": moving_channels,
            "static_channels": static_channels,
            "validation_channels": validation_channels,
        }
        paths, channels, number = find_training_files(moving_files, optional, further)
        named = None if loss == "ncc" else loss  # which is the default
        check_channel_options(number, named, channel_losses, channel_weights)
        if mask_file is not None:
            paths["mask"] = [find_input("mask_file", mask_file)]
        names = {"out_model": out_model, "out_history": out_history}
        kept = [path for group in paths.values() for path in group] + paths_of(channels)
        if checkpoint is not None:
            checkpoint = find_model(checkpoint, "checkpoint")
            # With --force, the checkpoint itself may be replaced, at once as a whole.
            is_file = isinstance(checkpoint, Path)
            if is_file and not _is_same(checkpoint, Path(out_dir, out_model)):
                kept.append(checkpoint)
        outputs = plan_outputs(self, [paths["moving"][:1]], out_dir, names, kept=kept)
        image, across = reference_of(paths, voxel_size)
        shape = tuple(n for axis, n in enumerate(image.data.shape) if axis != across)
        if mirror is not None:
            mirror = _mirrored_axis(mirror, image.data.shape, across)
        import_keras()
        from dipy_nn_reg import DeformableRegistration
        from dipy_nn_reg.workflows.checkpoints import (
            SaveEachEpoch,
            fit_or_resume,
            load_checkpoint,
            warn_of_unused,
        )

        rows = []
        how = {"learning_rate": learning_rate, "precision": precision, "seed": seed}
        how["symmetric"] = symmetric
        what = {
            "network": network,
            "transform": transform,
            "field_stride": field_stride,
            "loss": list(channel_losses) if channel_losses else loss,
            "channel_weights": channel_weights or None,
            "penalty": penalty,
            "smoothness": smoothness,
        }
        if checkpoint is not None:
            history, pretrained = outputs[0]["out_history"], how | {"ndim": len(shape)}
            registration, rows = load_checkpoint(checkpoint, history, pretrained)
            check_channels_of_model(number, registration.num_channels)
            defaults = signature(self.run).parameters
            given = {n: v for n, v in (what | how).items() if v != defaults[n].default}
            warn_of_unused(given, registration)
        else:
            registration = DeformableRegistration(
                input_shape=shape,
                num_channels=number,
                **what,
                **how,
            )
        # Memory-mapped files can be used after their names are removed.
        with temporary_folder() as folder:
            data = read_all(paths, channels, image, across, folder)
        validation = data.pop("validation", None)
        if validation is not None:
            static = data.get("static")
            is_single = static is not None and len(static) == 1
            validation = (validation, static if is_single else None)
        fit_or_resume(
            registration,
            checkpoint,
            **data,
            epochs=epochs,
            warm_up=warm_up,
            batch_size=batch_size,
            mirror=mirror,
            augment=augment,
            validation_data=validation,
            callbacks=SaveEachEpoch(registration, **outputs[0], rows=rows),
            verbose=keras_verbosity(sys.stdout.isatty()),
        )
        logger.info(
            f"Trained on images of {shape}: {printable(outputs[0]['out_model'])}"
        )


def _mirrored_axis(mirror, shape, across):
    """Return the axis of a model's images for that of the voxels."""
    check_integer("mirror", mirror, lowest=0, highest=len(shape) - 1)
    if mirror == across:
        raise ValueError(f"Expected mirror within the slices. Received axis {mirror}.")
    return mirror - (across is not None and mirror > across)


def _is_same(path, other):
    return os.path.realpath(path) == os.path.realpath(other)
