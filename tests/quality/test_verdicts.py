import re

import numpy as np
import pytest

from dipy_nn_reg.quality.verdicts import VERDICTS, judge

GOOD = {
    "ncc_before": 0.5,
    "ncc_after": 0.95,
    "nmi_before": 1.1,
    "nmi_after": 1.3,
    "misplaced_before": 0.7,
    "misplaced_after": 0.02,
    "covered": 1.0,
    "voxel_mm": 2.0,
    "folding": 0.0,
    "mean_displacement_mm": 2.0,
    "inverse_error_mm": 0.1,
    "information": 0.7,
    "rival": 0.7,
    "scale_smallest": 1.0,
    "scale_largest": 1.1,
    "turned_degrees": 2.0,
}


def test_a_good_registration_needs_no_advice():
    findings = judge(GOOD)
    assert {finding.title for finding in findings} == {"Good"}
    assert {finding.level for finding in findings} == {"good"}
    assert not any(finding.advice for finding in findings)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"folding": 0.01}, "Look closely"),
        ({"folding": 0.2}, "Folded"),
        ({"misplaced_after": 0.3}, "Look closely"),
        ({"misplaced_after": 0.6}, "Misaligned"),
        ({"inverse_error_mm": 2.1}, "Look closely"),
        ({"inverse_error_mm": 2.1, "inverse_error_object_mm": 0.1}, "Good"),
        ({"inverse_error_object_mm": 2.1}, "Look closely"),
        ({"inverse_error_mm": np.nan}, "Look closely"),
        ({"covered": 0.9}, "Look closely"),
        ({"covered": 0.4}, "Look closely"),
        ({"covered": 0.4, "information": 0.2}, "Failed"),
        ({"shown": 0.6}, "Good"),
        ({"shown": 0.4}, "Look closely"),
        ({"rival": 0.95}, "Good"),  # as the headers have it
        ({"rival": 0.95, "turned_degrees": 30}, "Look closely"),
        ({"rival": 0.95, "information": 0.3}, "Failed"),
        ({"rival": 1.5}, "Failed"),
        ({"information": 0.1}, "Look closely"),
        ({"scale_smallest": 0.5}, "Look closely"),
        ({"scale_largest": 1.8}, "Look closely"),
        ({"ncc_after": np.nan, "misplaced_after": np.nan}, "Failed"),
        ({"nmi_after": 1.05, "misplaced_after": 0.8}, "Failed"),
        ({"dice_before": 0.6, "dice_after": 0.8}, "Good"),
        ({"dice_before": 0.6, "dice_after": 0.5}, "Misaligned"),
        ({"dice_before": 0.0, "dice_after": 0.01}, "Look closely"),
        ({"folding": 3.0, "misplaced_after": 0.6}, "Folded"),
        ({"dice_before": np.nan, "dice_after": np.nan}, "Look closely"),
        ({"dice_before": 0.6, "dice_after": np.nan}, "Look closely"),
        (
            {
                "dice_before": 0.6,
                "dice_after": 0.8,
                "lost_labels_before": 1,
                "lost_labels_after": 3,
            },
            "Look closely",
        ),
    ],
)
def test_the_worst_finding_comes_first_with_advice(changes, verdict):
    findings = judge(GOOD | changes)
    assert findings[0].title == verdict
    order = [list(VERDICTS).index(finding.title) for finding in findings]
    assert order == sorted(order)
    assert all(bool(f.advice) == (f.level != "good") for f in findings)


def test_measures_without_the_start_are_judged_by_the_rest():
    """As those of a page that an earlier version wrote."""
    old = {n: v for n, v in GOOD.items() if n not in ("information", "rival")}
    assert judge(old)[0].title == "Good"
    assert judge(old | {"covered": 0.4})[0].title == "Failed"


def test_findings_state_the_numbers():
    texts = " ".join(f.text for f in judge(GOOD | {"folding": 0.1234}))
    assert "0.12340 %" in texts and "0.10 mm" in texts and "2 %" in texts


@pytest.mark.parametrize("name", [*GOOD, "largest_displacement_mm"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_measures_that_are_not_finite_are_never_good(name, value):
    findings = judge(GOOD | {name: value})
    assert findings[0].title in ("Failed", "Look closely")
    assert not any(re.search(r"\b(nan|inf)\b", f.text) for f in findings)


def test_a_missing_sd_log_jacobian_of_few_slices_is_ignored():
    assert judge(GOOD | {"sd_log_jacobian": np.nan})[0].title == "Good"


def test_labels_that_were_missing_before_do_not_count_as_lost():
    lost = {"lost_labels_before": 2, "lost_labels_after": 2}
    dice = {"dice_before": 0.6, "dice_after": 0.8}
    assert judge(GOOD | dice | lost)[0].title == "Good"


def test_missing_measures_are_an_error():
    with pytest.raises(ValueError, match="Expected all measures .*'folding'"):
        judge({name: value for name, value in GOOD.items() if name != "folding"})
