"""What measures of a registration mean, in plain words."""

from typing import NamedTuple

import numpy as np

# The worst one first, and how grave each is.
VERDICTS = {
    "Failed": "bad",
    "Folded": "bad",
    "Misaligned": "bad",
    "Look closely": "check",
    "Good": "good",
}
# Shares of misplaced structure. Brains registered well have 0.00, a T1 and a T2 image
# of one person 0.32, brains after an affine alone 0.7 (doc/report.rst).
LOOK_CLOSELY, MISALIGNED = 0.25, 0.5
# In percent of the voxels.
SOME_FOLDING, MUCH_FOLDING = 0.001, 0.1
# Smallest share of the static image that lies within the moving one.
COVERED, HALF_COVERED = 0.95, 0.5
# Mean Dice that does not look like two maps of the same structures.
HARDLY = 0.3
# What to do.
ADVICE = {
    "failed": (
        "Look at both images in one viewer: do they show the same part of the body, "
        "and overlap? Is the field for this pair, and not that of the other direction? "
        "Else register again, with --prealign affine or rigid."
    ),
    "outside": "There, nothing of the result is real.",
    "folded": (
        "Raise the smoothness, or use a velocity. Do not use volumes, Jacobians or "
        "streamlines of this result."
    ),
    "some folding": "The map of the Jacobian shows where; a higher smoothness helps.",
    "misaligned": (
        "Move the slider: if shapes jump, register again, with --prealign affine, a "
        "lower smoothness, or --loss mi for images of different contrast."
    ),
    "some misplaced": (
        "Images of different contrast may well have this much; of the same contrast, "
        "look at where shapes jump when the slider moves."
    ),
    "labels": "Structures fit worse than after the affine alone: look at contours.",
    "few labels": "Do labels stand for the same in both maps? Look at their contours.",
    "lost labels": "Look where they were: nothing can be measured of these structures.",
    "not a number": "Something could not be measured: look at all else with care.",
    "inverse": (
        "Do not use the inverse, and with it streamlines and points of the moving "
        "image: they do not come out where they should."
    ),
}


class Finding(NamedTuple):
    """One thing that is to be known of a result.

    Attributes
    ----------
    title : str
        Of :data:`VERDICTS`.
    text : str
    advice : str
        What to do; nothing if all is well.
    """

    title: str
    text: str
    advice: str = ""

    @property
    def level(self):
        """How grave it is: "good", "check" or "bad"."""
        return VERDICTS[self.title]


def judge(measures):
    """Return what is to be known of a registration, the worst of it first.

    Parameters
    ----------
    measures : dict of float
        As of :func:`measure`.

    Returns
    -------
    findings : list of Finding
        The first one is the verdict.
    """
    findings = [
        *_judge_failure(measures),
        *_judge_folding(measures),
        *_judge_alignment(measures),
        *_judge_labels(measures),
        *_judge_inverse(measures),
        *_judge_numbers(measures),
    ]
    order = list(VERDICTS)
    return sorted(findings, key=lambda finding: order.index(finding.title))


def _judge_failure(measures):
    numbers = (
        "ncc_after",
        "nmi_after",
        "misplaced_after",
        "mean_displacement_mm",
        "folding",
        "covered",
    )
    if not all(np.isfinite(measures[name]) for name in numbers):
        text = "The result holds values that are not finite."
        return [Finding("Failed", text, ADVICE["failed"])]
    outside = 100 * (1 - measures["covered"])
    apart = f"{outside:.0f} % of what the static image shows is outside the moving one."
    if measures["covered"] < HALF_COVERED:
        return [Finding("Failed", apart, ADVICE["failed"])]
    gain = measures["nmi_after"] - measures["nmi_before"]
    if gain < -0.01 and measures["misplaced_after"] > measures["misplaced_before"]:
        text = "The images are less alike after the registration than before it."
        return [Finding("Failed", text, ADVICE["failed"])]
    if measures["covered"] < COVERED:
        return [Finding("Look closely", apart, ADVICE["outside"])]
    return []


def _judge_folding(measures):
    folding = measures["folding"]
    if not np.isfinite(folding):
        return []
    text = f"The field folds at {folding:.5f} % of the voxels."
    if folding > MUCH_FOLDING:
        return [Finding("Folded", text, ADVICE["folded"])]
    if folding > SOME_FOLDING:
        return [Finding("Look closely", text, ADVICE["some folding"])]
    return [Finding("Good", text if folding else "The field does not fold.")]


def _judge_alignment(measures):
    if not np.isfinite(measures["misplaced_after"]):
        return []
    before, after = (100 * measures[f"misplaced_{n}"] for n in ("before", "after"))
    text = f"{after:.0f} % of the structure is misplaced"
    text += f"; {before:.0f} % was before." if np.isfinite(before) else "."
    if after >= 100 * MISALIGNED:
        return [Finding("Misaligned", text, ADVICE["misaligned"])]
    if after >= 100 * LOOK_CLOSELY:
        return [Finding("Look closely", text, ADVICE["some misplaced"])]
    return [Finding("Good", text)]


def _judge_labels(measures):
    if "dice_after" not in measures:
        return []
    before, after = measures["dice_before"], measures["dice_after"]
    if not np.isfinite([before, after]).all():
        text = "The overlap of structures (Dice) is not a number."
        return [Finding("Look closely", text, ADVICE["few labels"])]
    text = f"The overlap of structures (Dice) goes from {before:.3f} to {after:.3f}."
    if after < before - 0.01:
        return [Finding("Misaligned", text, ADVICE["labels"])]
    if after < HARDLY:
        return [Finding("Look closely", text, ADVICE["few labels"])]
    lost = measures.get("lost_labels_after", 0) - measures.get("lost_labels_before", 0)
    if lost > 0:
        text = f"After the registration {lost:.0f} labels are gone from the moving map."
        return [Finding("Look closely", text, ADVICE["lost labels"])]
    return [Finding("Good", text)]


def _judge_inverse(measures):
    error = measures["inverse_error_mm"]
    text = f"There and back, points are {error:.2f} mm off on average."
    if not np.isfinite(error):
        text = "There and back, points do not come to a place."
    if not error <= measures["voxel_mm"]:
        return [Finding("Look closely", text, ADVICE["inverse"])]
    return [Finding("Good", text)]


def _judge_numbers(measures):
    """Look for what is not a number; SDlogJ may be none, of few slices."""
    names = [n for n, v in measures.items() if not np.isfinite(v)]
    names = [name for name in names if name != "sd_log_jacobian"]
    if not names:
        return []
    text = f"Not a number: {', '.join(names)}."
    return [Finding("Look closely", text, ADVICE["not a number"])]
