"""Command that builds the template of a group of images."""

from dipy.utils.logging import logger
from dipy.workflows.workflow import Workflow

from dipy_nn_reg.quiet import start_import_of_keras
from dipy_nn_reg.text import printable
from dipy_nn_reg.workflows.channel_files import find_further
from dipy_nn_reg.workflows.output_checks import check_no_force
from dipy_nn_reg.workflows.paths import find_input, find_inputs, one_for_each


class TemplateFlow(Workflow):
    """Build the template of a group of images."""

    @classmethod
    def get_short_name(cls):
        return "nn_reg_template"

    def run(
        self,
        images,
        initial=None,
        further=None,
        masks=None,
        labels=None,
        weights=None,
        rounds=4,
        average="mean",
        sharpen=0.0,
        voxel_size=None,
        prealign="affine",
        loss=None,
        smoothness=None,
        level_iters=None,
        n_jobs=1,
        scheduler=None,
        out_dir="template",
    ):
        """Build the image of mean shape and mean intensity of a group.

        The same command again goes on where it was stopped. The folder of the results
        holds template.nii.gz, the map of each person in maps/, and template.html, which
        shows the template of each round.

        Parameters
        ----------
        images : variable string
            Paths of the images of all people, all in 3D or all in 2D; also pictures.
        initial : string or Path, optional
            Path of an image to begin with, whose grid the template keeps. By default
            the mean of all.
        further : variable string, optional
            Paths of further images of the same people, such as FA beside T1: the second
            images of all people in the order of the first ones, then the third ones.
        masks : variable string, optional
            Paths of a mask for each image, outside of which it is not compared.
        labels : variable string, optional
            Paths of a label map for each image; that of the template is voted.
        weights : variable float, optional
            Weight of each image. By default 1.
        rounds : int, optional
            Number of rounds of registration.
        average : string, optional
            How intensities are averaged: "mean" or "median".
        sharpen : float, optional
            How much of the difference from a blurred image is added to the template.
        voxel_size : float, optional
            Size in mm of the voxels of the template. By default that of the images.
        prealign : string, optional
            Alignment of each image: "affine", "similarity" or "rigid"; or "none" for
            images that are aligned.
        loss : string, optional
            Dissimilarity of the images: "ncc", "mse", "lncc", "mi", "mind" or
            "robust_lncc". By default chosen for each image.
        smoothness : float, optional
            Factor of the smoothing of a displacement, 1 by default.
        level_iters : variable int, optional
            Largest number of iterations of each level, from coarse to fine.
        n_jobs : int, optional
            Number of processes, which share the processors of this machine.
        scheduler : string, optional
            Address of a Dask scheduler, or the file that it has written.
        out_dir : string or Path, optional
            Folder of the results.
        """
        check_no_force(self)
        files = find_inputs(images)
        of_each = {
            name: None if paths is None else one_for_each(name, paths, len(files))
            for name, paths in {"masks": masks, "labels": labels}.items()
        }
        more = find_further("further images", further, len(files)) if further else []
        start_import_of_keras()
        from dipy_nn_reg.cohort.rounds import PAGE
        from dipy_nn_reg.cohort.template import build_template

        template = build_template(
            files,
            out_dir,
            initial=None if initial is None else find_input("initial", initial),
            further=[list(kind) for kind in zip(*more)],
            weights=weights,
            rounds=rounds,
            average=average,
            sharpen=sharpen,
            voxel_size=voxel_size,
            prealign=None if prealign == "none" else prealign,
            n_jobs=n_jobs,
            scheduler=scheduler,
            loss=loss,
            smoothness=smoothness,
            level_iters=level_iters,
            **of_each,
        )
        page = template.path.with_name(PAGE)
        logger.info(f"Page for a browser: {printable(page)}")
