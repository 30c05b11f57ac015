"""Command that writes pages on the quality of registrations."""

from dipy.utils.logging import logger
from dipy.workflows.workflow import Workflow
import numpy as np

from dipy_nn_reg.annotations import PLACES
from dipy_nn_reg.cohort.failures import Failures
from dipy_nn_reg.cohort.naming import distinct_names, pair_name
from dipy_nn_reg.cohort.pages import apply_to_images, write_cohort, write_report
from dipy_nn_reg.io.labels import read_labels_on, read_mask_on
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.io.points import read_map
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.progress import progress_bar
from dipy_nn_reg.quality.bundles import with_bundles
from dipy_nn_reg.text import printable
from dipy_nn_reg.workflows.bundle_files import find_bundles, read_bundles
from dipy_nn_reg.workflows.paths import (
    find_fields,
    find_inputs,
    one_for_each,
    pair_inputs,
    paths_of_both,
    plan_cohort,
    plan_outputs,
)

# Largest number of labels in a map; an image of integers, given by mistake, has more.
MAX_LABELS = 1000


class ReportFlow(Workflow):
    """Write pages on the quality of registrations."""

    @classmethod
    def get_short_name(cls):
        return "nn_reg_report"

    def run(
        self,
        static_files,
        moving_files,
        field_files=None,
        static_labels=None,
        moving_labels=None,
        static_bundles=None,
        moving_bundles=None,
        mask_files=None,
        moving_mask_files=None,
        absolute=False,
        out_dir="",
        out_report="report.html",
        out_cohort="cohort.html",
    ):
        """Write pages on the quality of registrations, to be opened in a browser.

        A page is one file and needs no network. It shows both images under a slider,
        contours of labels, the field and its Jacobian, and measures before and after,
        with their meaning. Fields of any program whose format is known can be used.

        Parameters
        ----------
        static_files : string or Path
            Path of the static image, or of several, one for each moving image.
        moving_files : variable string
            Paths of the moving images.
        field_files : variable string, optional
            Paths of the fields from static to moving, one for each moving image. By
            default the images are compared through the affines in their headers.
        static_labels : variable string, optional
            Paths of the label maps of the static images: one for each, or one for all.
        moving_labels : variable string, optional
            Paths of the label maps of the moving images.
        static_bundles : variable string, optional
            Paths of bundles of streamlines of the static images (.trk, .trx or .tck):
            one for each, or one for all.
        moving_bundles : variable string, optional
            Paths of the same bundles in the space of the moving images.
        mask_files : variable string, optional
            Paths of masks in the space of the static images, one for each or one for
            all: where a mask is not above 0, images are not compared.
        moving_mask_files : variable string, optional
            The same in the space of the moving images.
        absolute : bool, optional
            Fields of FSL hold positions, as with --abs of applywarp. By default this is
            found from their values.
        out_dir : string or Path, optional
            Output directory.
        out_report : string, optional
            Name of the page. With several pairs, it is prefixed by the names of both
            images.
        out_cohort : string, optional
            Name of the page on several pairs, the worst ones first.
        """
        static, moving = pair_inputs(
            find_inputs(static_files), find_inputs(moving_files)
        )
        n = len(moving)
        fields = find_fields(field_files, n, absolute=absolute)
        labels = paths_of_both("labels", static_labels, moving_labels, n)
        bundles = find_bundles(static_bundles, moving_bundles, n)
        masks = [
            one_for_each("mask_files", mask_files, n),
            one_for_each("moving_mask_files", moving_mask_files, n),
        ]
        annotations = [_by_name(*of_pair) for of_pair in zip(labels, *masks)]
        kept = [path for path in fields if path is not None]
        kept += [path for paths in annotations for path in paths.values()]
        kept += [path for both in bundles if both for path in both]
        names = {"out_report": out_report}
        outputs = plan_outputs(self, [static, moving], out_dir, names, kept=kept)
        cohort = plan_cohort(self, out_cohort, outputs, [*static, *moving, *kept])
        names = distinct_names([*static, *moving])
        subjects, failures = [], Failures(n)
        for i in progress_bar(range(n), desc="Pairs"):
            pair_names = {"static": names[i], "moving": names[n + i]}
            page = outputs[i]["out_report"]
            with failures.caught(pair_name(pair_names)):
                images = {
                    "static": read_image(static[i]),
                    "moving": read_image(moving[i]),
                }
                mapping = _read_map(fields[i], images, absolute)
                known = _read_annotations(annotations[i], images)
                pair = apply_to_images(mapping, images, known)
                if bundles[i] is not None:
                    pair = with_bundles(pair, *read_bundles(bundles[i], **images))
                subject = write_report(page, pair, images, pair_names, field=fields[i])
                subjects.append(subject)
                logger.info(f"{subject['verdict']}: {printable(page)}")
        if cohort is not None and subjects:
            write_cohort(cohort, subjects, failures.reasons)
        failures.finish()


def _by_name(labels, mask, moving_mask):
    """Return the paths of the annotations of a pair by name, without those missing."""
    static_labels, moving_labels = labels or (None, None)
    paths = {
        "static_labels": static_labels,
        "moving_labels": moving_labels,
        "mask": mask,
        "moving_mask": moving_mask,
    }
    return {name: path for name, path in paths.items() if path is not None}


def _read_annotations(paths, images):
    """Read label maps and masks on the grids of their images."""
    read = {"labels": _read_labels, "mask": read_mask_on}
    return {
        name: read[PLACES[name].kind](path, images[PLACES[name].image])
        for name, path in paths.items()
    }


def _read_labels(path, image):
    """Read a label map on the grid of its image."""
    labels = read_labels_on(path, image)
    number = len(np.unique(labels))
    if number > MAX_LABELS:
        raise ValueError(
            f"Expected a label map, of {MAX_LABELS} labels at most. Received "
            f"{str(path)!r} with {number} values."
        )
    return labels


def _read_map(path, images, absolute):
    """Return the map of a field, or a map without displacement if there is none."""
    if path is not None:
        return read_map(path, **images, absolute=absolute)
    static, moving = images["static"], images["moving"]
    still = np.zeros((*static.data.shape, 3), np.float32)
    return displacement_to_mapping(
        still,
        inverse=still,
        static_affine=static.affine,
        moving_affine=moving.affine,
        moving_shape=moving.data.shape,
    )
