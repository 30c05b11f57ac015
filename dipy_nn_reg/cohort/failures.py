"""Failures of single inputs of a command, after which it goes on with the others."""

from contextlib import contextmanager
import errno

from dipy.utils.logging import logger

from dipy_nn_reg.io import signals
from dipy_nn_reg.text import describe, printable

# Numbers of errors that would occur for all following inputs as well.
_FATAL = {errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}
# Largest number of reasons in the final error.
_MAX_REASONS = 3


def is_fatal(error):
    """Return whether an error, or a signal, ends a command that has further inputs."""
    is_of_disk = isinstance(error, OSError) and error.errno in _FATAL
    return is_of_disk or signals.first() is not None


class Failures:
    """Reasons for which inputs of a command failed.

    Parameters
    ----------
    number : int
        Number of inputs. If there is only one, its error is raised unchanged.

    Attributes
    ----------
    reasons : list of tuple of str
        Name of each failed input, and the reason of its failure.
    """

    def __init__(self, number):
        self.number, self.reasons = number, []

    @contextmanager
    def caught(self, name, record=None):
        """Record an error in a block instead of raising it.

        A full disk or a signal is raised all the same.

        Parameters
        ----------
        name : str
            Name of the input.
        record : callable, optional
            Called with the reason, as text.
        """
        try:
            yield
        except Exception as error:
            if self.number == 1 or is_fatal(error):
                raise
            name, reason = printable(name), describe(error)
            self.reasons.append((name, reason))
            logger.error(f"Failed: {name}: {reason}")
            if record is not None:
                record(reason)

    def finish(self, *, place="above"):
        """Raise ValueError if an input failed, after all others are done.

        Parameters
        ----------
        place : str, optional
            Where all reasons stand.
        """
        if not self.reasons:
            return
        shown = [f"{name}: {reason}" for name, reason in self.reasons[:_MAX_REASONS]]
        more = len(self.reasons) - len(shown)
        raise ValueError(
            f"{len(self.reasons)} of {self.number} failed. {'; '.join(shown)}"
            f"{f'; and {more} more, see {place}' if more else ''}"
        )
