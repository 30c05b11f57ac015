from dataclasses import FrozenInstanceError, replace

import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import metrics
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.mapping.parts import Parts
from dipy_nn_reg.pairwise.outcome import Outcome
from dipy_nn_reg.pairwise.safeguard import Candidate

AFFINE = {"loss": 0.75, "ncc": 0.8125}
BEST = {"loss": 0.5, "ncc": 0.9375}


def outcome_of(displacement, *, inverse=None, affine=None, used="optimized"):
    parts = Parts(displacement, lambda: inverse)
    mapping = displacement_to_mapping(
        displacement, inverse=inverse, static_affine=affine, moving_affine=affine
    )
    candidates = Candidate("affine", parts, AFFINE), Candidate(used, parts, BEST)
    return Outcome.of(*candidates, mapping, seconds=12.34)


@pytest.mark.parametrize("used", ["affine", "model", "optimized", "model, optimized"])
def test_measures_are_those_of_the_candidates(used):
    outcome = outcome_of(np.zeros((6, 7, 2), np.float32), used=used)
    assert outcome.used == used
    assert (outcome.loss_before, outcome.loss_after) == (0.75, 0.5)
    assert (outcome.ncc_before, outcome.ncc_after) == (0.8125, 0.9375)
    assert outcome.seconds == 12.34
    assert outcome.folding == outcome.mean_displacement_mm == 0
    assert outcome.inverse_error_mm == 0


@pytest.mark.parametrize("shape", [(14, 15), (9, 10, 8)])
def test_displacements_are_measured_in_mm(shape, rng):
    displacement = rng.normal(0, 0.6, (*shape, len(shape))).astype(np.float32)
    sizes = [2.0, 1.5, 3.0][: len(shape)]
    # Without an inverse, points come back displaced.
    outcome = outcome_of(
        displacement, inverse=0 * displacement, affine=np.diag([*sizes, 1])
    )
    lengths = np.linalg.norm(displacement * sizes, axis=-1)
    npt.assert_allclose(outcome.mean_displacement_mm, lengths.mean(), rtol=1e-5)
    npt.assert_allclose(outcome.largest_displacement_mm, lengths.max(), rtol=1e-5)
    npt.assert_allclose(outcome.inverse_error_mm, lengths.mean(), rtol=1e-4)
    assert outcome.folding == metrics.folding(displacement) > 0


def test_an_outcome_is_printed_with_its_units():
    outcome = Outcome("model", 0.75, 0.5, 0.25, 0.875, 0.125, 1.5, 4.25, 0.0625, 12.34)
    assert str(outcome) == (
        "Registered (model) in 12.3 s: NCC 0.250 to 0.875, loss 0.7500 to 0.5000, "
        "folding 0.1250 %, displacement 1.5 mm on average and 4.2 mm at most, "
        "inverse error 0.062 mm"
    )
    with_skull = replace(outcome, skull="static")
    assert str(with_skull) == f"{outcome}, skull in the static image alone"


def test_an_outcome_cannot_be_changed():
    outcome = outcome_of(np.zeros((6, 7, 2), np.float32))
    with pytest.raises(FrozenInstanceError):
        outcome.used = "model"
