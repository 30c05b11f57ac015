import errno

import pytest

from dipy_nn_reg.cohort.failures import Failures
from dipy_nn_reg.io import signals


def run(errors, failures):
    """Run blocks that raise errors or nothing; return reasons and finished blocks."""
    recorded, done = [], []
    for i, error in enumerate(errors):
        with failures.caught(f"pair {i}", recorded.append):
            if error is not None:
                raise error
            done.append(i)
    return recorded, done


def test_other_inputs_are_done_and_the_final_error_lists_failures(dipy_log):
    failures = Failures(4)
    errors = [ValueError("Expected a.\n"), None, MemoryError(), None]
    recorded, done = run(errors, failures)
    assert recorded == ["Expected a.", "MemoryError: "]
    assert done == [1, 3]
    assert "Failed: pair 0: Expected a." in dipy_log.text
    with pytest.raises(ValueError, match=r"^2 of 4 failed. pair 0: Expected a\.; pair"):
        failures.finish()


def test_no_failure_is_no_error():
    failures = Failures(2)
    assert run([None, None], failures) == ([], [0, 1])
    failures.finish()


def test_the_final_error_counts_failures():
    failures = Failures(9)
    run([ValueError(str(i)) for i in range(9)], failures)
    with pytest.raises(ValueError, match="9 of 9.*pair 2: 2; and 6 more, see above$"):
        failures.finish()


def test_the_error_of_a_single_input_is_raised():
    with pytest.raises(KeyError):
        run([KeyError()], Failures(1))


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")]
)
def test_interruptions_and_full_disks_are_raised(error):
    with pytest.raises(type(error)):
        run([error, None], Failures(2))


def test_an_interruption_disguised_as_another_error_is_raised(monkeypatch):
    monkeypatch.setattr(signals, "_first", 2)
    with pytest.raises(AttributeError):
        run([AttributeError("_type_spec"), None], Failures(2))
