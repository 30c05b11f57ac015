"""Verdicts on registrations from their measures, in plain words."""

from typing import NamedTuple

import numpy as np

# Level of each verdict, the worst verdict first.
VERDICTS = {
    "Failed": "bad",
    "Folded": "bad",
    "Misaligned": "bad",
    "Look closely": "check",
    "Good": "good",
}
# Smallest fraction of misplaced structure for "Look closely" and for "Misaligned".
# Brains registered well have 0.00, a T1 and a T2 image of one person 0.32, brains
# after an affine alone 0.7 (doc/report.rst).
LOOK_CLOSELY, MISALIGNED = 0.25, 0.5
# Percentage of folded voxels above which the verdict is "Look closely" and "Folded".
SOME_FOLDING, MUCH_FOLDING = 0.001, 0.1
# Fraction of the static image within the moving one, below which the verdict is "Look
# closely" and "Failed".
MIN_COVERED_GOOD, MIN_COVERED = 0.95, 0.5
# Fraction of the moving image within the static one, below which a start may have found
# another part that looks alike: 4 of 39 small boxes of a brain were put elsewhere.
MIN_SHOWN = 0.5
# Information of the best alignment that differs from the affine, as a fraction of that
# of the affine, from which the alignment is uncertain, and from which it is worse.
# Brains, hippocampi and slices aligned well have 0.8 at most; wrong ones of brains 1.9
# or more; images that have nothing in common 0.7 to 1.02 (doc/verdicts.csv).
UNCERTAIN_RIVAL, BETTER_RIVAL = 0.9, 1.2
# Angle in degrees up to which the headers support an affine, although the object looks
# alike after another turn.
MAX_TURN_OF_HEADERS = 20
# Mutual information in nats below which images have little in common: whole images
# aligned well have 0.38 or more, blobs and brains 0.36 at most. For parts of images, in
# which a slab has 0.36 or more, and other parts of the body 0.19 at most.
LITTLE_INFORMATION, LITTLE_IN_PART = 0.37, 0.27
# Mutual information in nats below which images have almost nothing in common.
NO_INFORMATION = 0.16
# Mean Dice below which two label maps are unlikely to show the same structures.
MIN_PLAUSIBLE_DICE = 0.3
# Smallest and largest scale of an affine between two people.
MIN_SCALE, MAX_SCALE = 0.7, 1.4
# Advice on each finding.
ADVICE = {
    "failed": (
        "Look at both images in one viewer: do they overlap and show the same part of "
        "the body? Does the field belong to this pair, in this direction? If so, "
        "register again with the affine of another program as --prealign."
    ),
    "wrong start": (
        "The affine that was given, or the headers, are probably wrong: register again "
        "with --prealign auto."
    ),
    "uncertain start": (
        "Is the object nearly symmetric, or do the images show different objects? Look "
        "whether left, right, front and back are where they belong."
    ),
    "implausible": "Do both images show the whole of the same kind of object?",
    "outside": "Do not use the result there: the warped image is background only.",
    "small part": (
        "Look at both images in one viewer: is it the same part? Other parts of the "
        "moving image may look alike."
    ),
    "folded": (
        "Raise the smoothness, or use a velocity. Do not use volumes, Jacobians or "
        "streamlines of this result."
    ),
    "some folding": "The map of the Jacobian shows where; a higher smoothness helps.",
    "misaligned": (
        "Press Flicker: if shapes jump, register again, with a "
        "lower smoothness, or --loss mi for images of different contrast."
    ),
    "some misplaced": (
        "This much is common for images of different contrast. For images of the same "
        "contrast, look for shapes that jump with Flicker."
    ),
    "labels": (
        "Structures fit worse than after the affine alone: look at the contours."
    ),
    "few labels": (
        "Do the labels mean the same structures in both maps? Look at the contours."
    ),
    "lost labels": "Look where they were: these structures cannot be measured.",
    "not a number": "Something could not be measured: look at everything with care.",
    "inverse": (
        "Do not use the inverse of the map, nor streamlines and points of the moving "
        "image that were moved by it: their positions are inaccurate."
    ),
}


class Finding(NamedTuple):
    """One finding on a registration.

    Attributes
    ----------
    title : str
        One of :data:`VERDICTS`.
    text : str
        The finding in one sentence.
    advice : str
        What to do about it; empty if all is well.
    """

    title: str
    text: str
    advice: str = ""

    @property
    def level(self):
        """Level of the finding: "good", "check" or "bad"."""
        return VERDICTS[self.title]


def judge(measures):
    """Return the findings on a registration, the worst one first.

    Parameters
    ----------
    measures : dict of float
        As :func:`~dipy_nn_reg.quality.measures.measure` returns them.

    Returns
    -------
    findings : list of Finding
        The first one is the verdict.

    Raises
    ------
    ValueError
        If a measure is missing.
    """
    kinds = (
        _judge_failure,
        _judge_start,
        _judge_folding,
        _judge_alignment,
        _judge_labels,
        _judge_inverse,
        _judge_numbers,
    )
    try:
        findings = [finding for kind in kinds for finding in kind(measures)]
    except KeyError as error:
        raise ValueError(
            f"Expected all measures that measure() returns. Received none of the name "
            f"{error}."
        ) from None
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
        text = "The result contains values that are not finite."
        return [Finding("Failed", text, ADVICE["failed"])]
    outside = 100 * (1 - measures["covered"])
    apart = f"{outside:.0f} % of the static structure lies outside the moving image."
    if measures["covered"] < MIN_COVERED and not _is_certain(measures):
        return [Finding("Failed", apart, ADVICE["failed"])]
    gain = measures["nmi_after"] - measures["nmi_before"]
    if gain < -0.01 and measures["misplaced_after"] > measures["misplaced_before"]:
        text = "The images are less alike after the registration than before it."
        return [Finding("Failed", text, ADVICE["failed"])]
    if measures["covered"] < MIN_COVERED_GOOD:
        return [Finding("Look closely", apart, ADVICE["outside"])]
    shown = measures.get("shown", 1.0)
    if shown < MIN_SHOWN:
        text = f"The static image shows {100 * shown:.0f} % of the moving structure."
        return [Finding("Look closely", text, ADVICE["small part"])]
    return []


def _judge_start(measures):
    """Return findings on the affine, beside those that other starts lead to."""
    information, rival = _rating(measures)
    if not np.isfinite([information, rival]).all():
        return []
    text = (
        f"Another alignment, turned or shifted, has {100 * rival:.0f} % of the "
        f"information of this one ({information:.2f} nats)."
    )
    if rival >= BETTER_RIVAL:
        return [Finding("Failed", text, ADVICE["wrong start"])]
    uncertain, little = rival >= UNCERTAIN_RIVAL, information < LITTLE_INFORMATION
    if uncertain and little:
        text = "The images have little in common, wherever they are put. " + text
        return [Finding("Failed", text, ADVICE["failed"])]
    is_turned = measures.get("turned_degrees", 0) > MAX_TURN_OF_HEADERS
    if (uncertain and is_turned) or information < NO_INFORMATION:
        return [Finding("Look closely", text, ADVICE["uncertain start"])]
    scales = measures["scale_smallest"], measures["scale_largest"]
    if np.isfinite(scales).all() and (scales[0] < MIN_SCALE or scales[1] > MAX_SCALE):
        return [Finding("Look closely", _scales(measures), ADVICE["implausible"])]
    return [Finding("Good", text)]


def _rating(measures):
    """Return the information of the affine and of its rival; NaN if unknown."""
    return [measures.get(name, np.nan) for name in ("information", "rival")]


def _is_certain(measures):
    """Return whether the images have much in common, in this position only."""
    information, rival = _rating(measures)
    return information >= LITTLE_IN_PART and rival < UNCERTAIN_RIVAL


def _scales(measures):
    return (
        f"The affine scales by {measures['scale_smallest']:.2f} to "
        f"{measures['scale_largest']:.2f} along the axes."
    )


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
    after = 100 * measures["misplaced_after"]
    before = 100 * measures.get("misplaced_before", np.nan)  # left out of brief ones
    text = f"{after:.0f} % of the structure is misplaced"
    text += f"; before, it was {before:.0f} %." if np.isfinite(before) else "."
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
    if after < MIN_PLAUSIBLE_DICE:
        return [Finding("Look closely", text, ADVICE["few labels"])]
    lost = measures.get("lost_labels_after", 0) - measures.get("lost_labels_before", 0)
    if lost > 0:
        labels = "label" if lost == 1 else "labels"
        text = f"The registration lost {lost:.0f} {labels} of the moving map."
        return [Finding("Look closely", text, ADVICE["lost labels"])]
    return [Finding("Good", text)]


def _judge_inverse(measures):
    # Fields in air, where nothing is known, may lead out of the images.
    error = measures.get("inverse_error_object_mm", measures["inverse_error_mm"])
    text = f"Points moved there and back are {error:.2f} mm off on average."
    if not np.isfinite(error):
        text = "Points moved there and back have no finite position."
    if not error <= measures["voxel_mm"]:
        return [Finding("Look closely", text, ADVICE["inverse"])]
    return [Finding("Good", text)]


def _judge_numbers(measures):
    """Return a finding on measures that are not finite.

    SDlogJ is excepted, since it does not exist for few slices.
    """
    names = [n for n, v in measures.items() if not np.isfinite(v)]
    names = [name for name in names if name != "sd_log_jacobian"]
    if not names:
        return []
    text = f"Not a number: {', '.join(names)}."
    return [Finding("Look closely", text, ADVICE["not a number"])]
