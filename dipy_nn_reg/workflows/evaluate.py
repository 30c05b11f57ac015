"""The command that measures how well images are registered."""

from dipy.utils.logging import logger
from dipy.workflows.workflow import Workflow
from nibabel.affines import voxel_sizes
import numpy as np

from dipy_nn_reg import metrics
from dipy_nn_reg.label_metrics import dice_of_labels, hausdorff95_of_labels
from dipy_nn_reg.labels_on_grid import read_labels_on
from dipy_nn_reg.map_metrics import measure_field
from dipy_nn_reg.nifti import read_image
from dipy_nn_reg.progress import progress_bar
from dipy_nn_reg.resampling import to_moving, warp_image
from dipy_nn_reg.tables import format_rows, write_csv
from dipy_nn_reg.workflows.inputs import read_map, read_points
from dipy_nn_reg.workflows.paths import (
    both,
    find_inputs,
    one_for_each,
    pair_inputs,
    plan_outputs,
)


class EvaluateFlow(Workflow):
    @classmethod
    def get_short_name(cls):
        return "nn_reg_evaluate"

    def run(
        self,
        static_files,
        moving_files,
        field_files=None,
        static_labels=None,
        moving_labels=None,
        static_points=None,
        moving_points=None,
        absolute=False,
        out_dir="",
        out_metrics="metrics.csv",
    ):
        """Measure how well images are registered.

        Correlation of the images; folding in percent of the voxels, the standard
        deviation of the logarithm of the Jacobian determinant (as in Learn2Reg) and the
        inverse-consistency error in mm of the fields; Dice overlap and 95th percentile
        of the Hausdorff distance (mm) of each label; target registration error (mm) of
        landmarks.

        Parameters
        ----------
        static_files : string or Path
            Path of the static image, or of several, one for each moving image.
        moving_files : variable string
            Paths of the moving images.
        field_files : variable string, optional
            Paths of the fields from static to moving, one for each moving image. By
            default the images are compared through the affines in their headers, as
            they are to be if they were warped before.
        static_labels : variable string, optional
            Paths of the label maps of the static images: one for each, or one for all.
        moving_labels : variable string, optional
            Paths of the label maps of the moving images.
        static_points : variable string, optional
            Paths of landmarks of the static images (.csv or .txt: x, y and z in mm).
        moving_points : variable string, optional
            Paths of landmarks of the moving images, in the same order.
        absolute : bool, optional
            Fields of FSL hold positions, as applywarp has it with --abs. By default
            their values tell.
        out_dir : string or Path, optional
            Output directory.
        out_metrics : string, optional
            Name of the table: a row for each pair, and one of their means.
        """
        static, moving = pair_inputs(
            find_inputs(static_files), find_inputs(moving_files)
        )
        n = len(moving)
        fields = one_for_each("field_files", field_files, n)
        labels = both("labels", static_labels, moving_labels, n)
        points = both("points", static_points, moving_points, n)
        inputs = [*static, *moving, *filter(None, fields)]
        paths = plan_outputs(
            self, [inputs[:1]], out_dir, {"out_metrics": out_metrics}, kept=inputs
        )
        rows = []
        for i in progress_bar(range(n), desc="Pairs"):
            static_image, moving_image = read_image(static[i]), read_image(moving[i])
            maps, row = [], {}
            if fields[i] is not None:
                mapping = read_map(
                    fields[i], static_image, moving_image, absolute=absolute
                )
                maps, row = [mapping], measure_field(mapping)
            warped = warp_image(moving_image, static_image, maps)
            row = {"ncc": metrics.ncc(static_image.data, warped), **row}
            if labels[i] is not None:
                label_maps = (
                    image._replace(data=read_labels_on(path, image))
                    for path, image in zip(labels[i], (static_image, moving_image))
                )
                row |= _measure_labels(*label_maps, maps)
            if points[i] is not None:
                row["tre_mm"] = _measure_points(*map(read_points, points[i]), maps)
            names = {"static": static[i].name, "moving": moving[i].name}
            rows.append({**names, **row})
        means = _means(rows)
        write_csv([*rows, means], paths[0]["out_metrics"])
        shown = [name for name in means if "_label_" not in name and name != "static"]
        logger.info("Measured:\n" + format_rows([*rows, means], shown))


def _measure_labels(static, moving, maps):
    warped = warp_image(moving, static, maps, interpolation="nearest")
    dice = dice_of_labels(static.data, warped)
    distances = hausdorff95_of_labels(
        static.data, warped, spacing=voxel_sizes(static.affine)
    )
    return {
        "dice": float(np.nanmean(list(dice.values()))),
        "hd95_mm": float(np.nanmean(list(distances.values()))),
        **{f"dice_label_{label}": value for label, value in dice.items()},
        **{f"hd95_mm_label_{label}": value for label, value in distances.items()},
    }


def _measure_points(static, moving, maps):
    if static.shape != moving.shape:
        raise ValueError(
            f"Expected as many static as moving points. Received {len(static)} and "
            f"{len(moving)}."
        )
    return metrics.target_registration_error(moving, to_moving(static, maps))


def _means(rows):
    """Return the mean of each column, of the rows that have a number there."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    means = {"static": "mean", "moving": "mean"}
    for name in columns[2:]:
        values = [row[name] for row in rows if name in row]
        values = [value for value in values if not np.isnan(value)]
        means[name] = float(np.mean(values)) if values else np.nan
    return means
