"""Command that measures how well images are registered."""

from functools import partial

from dipy.utils.logging import logger
from dipy.workflows.workflow import Workflow
from nibabel.affines import voxel_sizes
import numpy as np

from dipy_nn_reg import metrics
from dipy_nn_reg.cohort.failures import Failures
from dipy_nn_reg.cohort.naming import distinct_names, pair_name
from dipy_nn_reg.io.labels import read_labels_on
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.io.point_tables import read_points
from dipy_nn_reg.io.points import read_map
from dipy_nn_reg.io.tables import format_rows, write_csv
from dipy_nn_reg.mapping.bundles import bundle_to_static
from dipy_nn_reg.mapping.measures import measure_field
from dipy_nn_reg.mapping.points import to_moving
from dipy_nn_reg.mapping.resampling import warp_image
from dipy_nn_reg.metrics.labels import (
    dice_of_labels,
    hausdorff95_of_labels,
    summarise_labels,
)
from dipy_nn_reg.progress import progress_bar
from dipy_nn_reg.workflows.bundle_files import find_bundles, read_bundles
from dipy_nn_reg.workflows.channel_files import find_channels_of_pairs, paths_of
from dipy_nn_reg.workflows.paths import (
    find_fields,
    find_inputs,
    pair_inputs,
    paths_of_both,
    plan_outputs,
)


class EvaluateFlow(Workflow):
    """Measure how well images are registered."""

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
        static_bundles=None,
        moving_bundles=None,
        static_channels=None,
        moving_channels=None,
        absolute=False,
        out_dir="",
        out_metrics="metrics.csv",
    ):
        """Measure how well images are registered.

        The measures are: correlation of the images; for fields, folding in percent of
        the voxels, the standard deviation of the logarithm of the Jacobian determinant
        (as in Learn2Reg) and the inverse-consistency error in mm; for label maps, the
        Dice overlap and the 95th percentile of the Hausdorff distance (mm) of each
        label, their means, and the number of labels that were lost, each of which
        counts as the diagonal of the static image in the mean distance; for landmarks,
        the target registration error (mm); for bundles of streamlines, the Dice overlap
        of the voxels that they pass through, the same weighted by the fraction of the
        streamlines, and the mean distance (mm) of the streamlines to the closest one
        (MDF).

        Parameters
        ----------
        static_files : string or Path
            Path of the static image, or of several, one for each moving image.
        moving_files : variable string
            Paths of the moving images.
        field_files : variable string, optional
            Paths of the fields from static to moving, one for each moving image. By
            default the images are compared through the affines in their headers, which
            is right for images that were warped before.
        static_labels : variable string, optional
            Paths of the label maps of the static images: one for each, or one for all.
        moving_labels : variable string, optional
            Paths of the label maps of the moving images.
        static_points : variable string, optional
            Paths of landmarks of the static images (.csv, .tsv or .txt: x, y and z in
            mm, or columns named as l, p and s).
        moving_points : variable string, optional
            Paths of landmarks of the moving images, in the same order.
        static_bundles : variable string, optional
            Paths of bundles of streamlines of the static images (.trk, .trx or .tck):
            one for each, or one for all.
        moving_bundles : variable string, optional
            Paths of the same bundles in the space of the moving images. The field
            brings their streamlines to the static images.
        static_channels : variable string, optional
            Paths of further images of the static people, such as FA beside T1: the
            second images of all, then the third ones. Their correlation is measured.
        moving_channels : variable string, optional
            Paths of those of the moving people, in the same order.
        absolute : bool, optional
            Fields of FSL hold positions, as with --abs of applywarp. By default this is
            found from their values.
        out_dir : string or Path, optional
            Output directory.
        out_metrics : string, optional
            Name of the table, with a row for each pair and a row of their means.
        """
        static, moving = pair_inputs(
            find_inputs(static_files), find_inputs(moving_files)
        )
        n = len(moving)
        fields = find_fields(field_files, n, absolute=absolute)
        labels = paths_of_both("labels", static_labels, moving_labels, n)
        points = paths_of_both("points", static_points, moving_points, n)
        bundles = find_bundles(static_bundles, moving_bundles, n)
        both = list(zip(labels, points, bundles))
        channels, _ = find_channels_of_pairs(
            static_files, moving_files, static_channels, moving_channels
        )
        kept = [*static, *moving, *filter(None, fields), *paths_of(channels)]
        kept += [path for of in both for files in of if files for path in files]
        names = {"out_metrics": out_metrics}
        paths = plan_outputs(self, [static[:1]], out_dir, names, kept=kept)
        names = distinct_names([*static, *moving])
        failures = Failures(n)
        rows = []
        for i in progress_bar(range(n), desc="Pairs"):
            row = {"static": names[i], "moving": names[n + i]}
            rows.append(row)
            with failures.caught(pair_name(row), partial(row.__setitem__, "error")):
                images = read_image(static[i]), read_image(moving[i])
                files = fields[i], *both[i]
                more = (
                    []
                    if channels is None
                    else [channels["static"][static[i]], channels["moving"][moving[i]]]
                )
                row.update(_measure(images, more, *files, absolute=absolute))
        means = _means(rows)
        write_csv([*rows, means], paths[0]["out_metrics"])
        shown = [name for name in means if "_label_" not in name and name != "static"]
        shown += ["error"] if failures.reasons else []
        logger.info("Measured:\n" + format_rows([*rows, means], shown))
        failures.finish()


def _measure(images, further, field, labels, points, bundles, *, absolute):
    """Return the measures of one pair: the images, the field and what lies in them."""
    (static, moving), maps, row = images, [], {}
    if field is not None:
        mapping = read_map(field, static, moving, absolute=absolute)
        maps, row = [mapping], measure_field(mapping)
    warped = warp_image(moving, static, maps)
    row = {"ncc": metrics.ncc(static.data, warped), **row}
    for number, pair in enumerate(zip(*further), start=2):
        row[f"ncc_{number}"] = _correlation(*map(read_image, pair), static, maps)
    if labels is not None:
        label_maps = (
            image._replace(data=read_labels_on(path, image))
            for path, image in zip(labels, (static, moving))
        )
        row |= _measure_labels(*label_maps, maps)
    if points is not None:
        row["tre_mm"] = _measure_points(*map(read_points, points), maps)
    if bundles is not None:
        row |= _measure_bundles(*read_bundles(bundles, static, moving), static, maps)
    return row


def _correlation(static, moving, reference, maps):
    """Return the correlation of two further images on the grid of the static one."""
    static = warp_image(static, reference, [])
    return metrics.ncc(static, warp_image(moving, reference, maps))


def _measure_labels(static, moving, maps):
    warped = warp_image(moving, static, maps, interpolation="nearest")
    sizes = voxel_sizes(static.affine)
    dice = dice_of_labels(static.data, warped)
    distances = hausdorff95_of_labels(static.data, warped, spacing=sizes)
    longest = float(np.linalg.norm(sizes * static.data.shape))
    return {
        **summarise_labels(dice, distances, longest=longest),
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


def _measure_bundles(static_bundle, moving_bundle, static, maps):
    bundles = static_bundle, bundle_to_static(moving_bundle, maps)
    return metrics.measure_bundles(*bundles, static.affine, static.grid.shape)


def _means(rows):
    """Return the mean of each column over the rows that have a number.

    A distance is NaN where a label was lost. The mean of such a column is NaN as well.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    means = {"static": "mean", "moving": "mean"}
    for name in columns[2:]:
        if name == "error":
            continue
        values = [row[name] for row in rows if name in row]
        if not name.startswith("hd95"):
            values = [value for value in values if not np.isnan(value)]
        means[name] = float(np.mean(values)) if values else np.nan
    return means
