"""Command that registers many pairs, and goes on where it was stopped."""

from pathlib import Path
import re

from dipy.utils.logging import logger
from dipy.workflows.workflow import Workflow

from dipy_nn_reg.cohort.failures import Failures
from dipy_nn_reg.cohort.inputs import is_table
from dipy_nn_reg.cohort.state import read_table, table_of
from dipy_nn_reg.text import printable
from dipy_nn_reg.workflows.output_checks import check_no_force
from dipy_nn_reg.workflows.pair_files import read_prealign
from dipy_nn_reg.workflows.paths import find_input, find_inputs, find_model


class CohortFlow(Workflow):
    """Register many pairs of images, or many images to one."""

    @classmethod
    def get_short_name(cls):
        return "nn_reg_cohort"

    def run(
        self,
        pairs,
        static_file=None,
        suffix="T1w",
        participant_label=None,
        space=None,
        n_jobs=1,
        scheduler=None,
        part=None,
        retry_failed=False,
        reports=False,
        model_file=None,
        prealign="auto",
        voxel_size=None,
        transform=None,
        loss=None,
        penalty=None,
        smoothness=None,
        level_iters=None,
        symmetric=False,
        field_format=None,
        fill=None,
        inverse=False,
        out_dir="cohort",
    ):
        """Register many pairs; the same command again does what is missing.

        Each pair that has ended has a row in cohort.tsv, and cohort.html shows a small
        picture of each, the worst ones first. A pair that fails is a row that says why,
        and the others are registered. If the command is stopped or killed, no more than
        the pairs in flight are lost.

        Parameters
        ----------
        pairs : variable string
            Moving images, to be registered to --static_file; or a table (.csv or .tsv)
            with the columns moving, static, id, mask, moving_mask, static_labels and
            moving_labels, of which the first is needed and paths are relative to the
            table, and moving_2 and static_2 for a second image of each person; or a
            folder in BIDS.
        static_file : string or Path, optional
            Path of the static image of all pairs that name none.
        suffix : string, optional
            Suffix of the images of a folder in BIDS.
        participant_label : variable string, optional
            Labels of the people in a folder in BIDS. By default all of them.
        space : string, optional
            Name of the space of the static image in names of BIDS. By default that in
            the name of its file.
        n_jobs : int, optional
            Number of processes, which share the processors of this machine.
        scheduler : string, optional
            Address of a Dask scheduler, such as tcp://host:8786, or the file that it
            has written; its workers register the pairs.
        part : string, optional
            3/20 registers the third of twenty parts of the pairs, as one task of a job
            array. Parts may run at the same time; the command without this option then
            gathers their rows.
        retry_failed : bool, optional
            Register the pairs that failed again.
        reports : bool, optional
            Write a page on the quality of each pair as well.
        model_file : string or Path, optional
            Model to start from, which dipy_nn_reg_fit has written; or "pretrained" for
            the one that comes with this package.
        prealign : string, optional
            As for dipy_nn_reg_register: "auto", "rigid", "similarity" or "affine", the
            path of a file with an affine, or "none".
        voxel_size : float, optional
            Size in mm of the voxels of the images that are compared. By default that of
            the static image; without a model, of cubic voxels of the same volume if its
            slices are thick.
        transform : string, optional
            Field that is optimised: "displacement", "velocity" or "bspline_velocity".
            By default "displacement", or "velocity" if a penalty is named.
        loss : string, optional
            Dissimilarity of the images: "ncc", "mse", "lncc", "mi", "mind" or
            "robust_lncc". By default chosen for each pair.
        penalty : string, optional
            Penalty of a velocity: "gradient", "tv", "bending", "folding" or
            "inverse_consistency".
        smoothness : float, optional
            Factor of the smoothing of a displacement, 1 by default; for a velocity, the
            weight of the penalty.
        level_iters : variable int, optional
            Largest number of iterations of each level, from coarse to fine.
        symmetric : bool, optional
            Register both directions to the end.
        field_format : string, optional
            Format: "dipy", "itk", "itk_h5", "afni", "fsl" or "mrtrix". By default
            "dipy", and "itk_h5" for a folder in BIDS.
        fill : float, optional
            Value outside of the moving images. By default their background.
        inverse : bool, optional
            Also write the map from moving to static.
        out_dir : string or Path, optional
            Folder of the results: a folder for each pair, or derivatives in BIDS.
        """
        check_no_force(self)
        options = {
            "model": find_model(model_file) if model_file else None,
            "prealign": read_prealign(prealign)[0],
            "voxel_size": voxel_size,
            "transform": transform,
            "level_iters": level_iters,
            "symmetric": symmetric,
            "loss": loss,
            "penalty": penalty,
            "smoothness": smoothness,
        }
        from dipy_nn_reg.cohort.register_cohort import PAGE, register_cohort

        part = _part_of(part)
        rows = register_cohort(
            _pairs_of(pairs),
            out_dir,
            static=find_input("static_file", static_file) if static_file else None,
            suffix=suffix,
            participants=participant_label or (),
            space=space,
            n_jobs=n_jobs,
            scheduler=scheduler,
            part=part,
            retry_failed=retry_failed,
            reports=reports,
            field_format=field_format,
            inverse=inverse,
            fill=fill,
            **options,
        )
        folder = Path(out_dir).expanduser()
        if part is not None:
            mine = {row["id"] for row in read_table(table_of(folder, part))}
            rows = [row for row in rows if row["id"] in mine]
        else:
            page = folder / PAGE
            logger.info(f"Page for a browser: {printable(page)}")
        _finish(rows)


def _pairs_of(paths):
    """Return a table, a folder or a list of images, as ``register_cohort`` takes it."""
    if len(paths) == 1 and Path(paths[0]).is_dir():
        return paths[0]
    files = find_inputs(paths)
    tables = [path for path in files if is_table(path)]
    if tables and len(files) > 1:
        raise ValueError(
            f"Expected one table, or images. Received {len(files)} files, of which "
            f"{str(tables[0])!r} is a table."
        )
    return tables[0] if tables else files


def _part_of(text):
    """Return the number of a part, and the number of parts."""
    if text is None:
        return None
    numbers = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if not numbers or int(numbers[1]) > int(numbers[2]):
        raise ValueError(f"Expected a part such as 3/20. Received part={text!r}.")
    return int(numbers[1]), int(numbers[2])


def _finish(rows):
    """Say how many pairs are done; raise ValueError if one failed."""
    failures = Failures(len(rows))
    failures.reasons = [
        (row["id"], row["error"]) for row in rows if row["status"] == "failed"
    ]
    logger.info(f"{len(rows) - len(failures.reasons)} pairs are registered.")
    failures.finish(place="the table")
