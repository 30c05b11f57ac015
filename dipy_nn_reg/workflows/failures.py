"""Several inputs of a command, of which some may fail: the others are done."""

from contextlib import contextmanager
import errno

from dipy.utils.logging import logger

from dipy_nn_reg.io import signals
from dipy_nn_reg.text import describe, printable

# What fails for one, and would for all that follow.
_FATAL = {errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}
_MAX_TOLD = 3


class Failures:
    """What went wrong, input by input.

    Parameters
    ----------
    number : int
        How many inputs there are. One alone fails as if this were not there.

    Attributes
    ----------
    reasons : list of tuple of str
        What each is called, and why it failed.
    """

    def __init__(self, number):
        self.number, self.reasons = number, []

    @contextmanager
    def caught(self, name, record=None):
        """Note what goes wrong in a block, so that what follows it is done.

        A full disk ends all, as a signal does.

        Parameters
        ----------
        name : str
            What to call the input.
        record : callable, optional
            Takes the reason, as text.
        """
        try:
            yield
        except Exception as error:
            fatal = isinstance(error, OSError) and error.errno in _FATAL
            if self.number == 1 or fatal or signals.first() is not None:
                raise
            name, reason = printable(name), describe(error)
            self.reasons.append((name, reason))
            logger.error(f"Failed: {name}: {reason}")
            if record is not None:
                record(reason)

    def finish(self):
        """Raise ValueError if something failed, now that the others are done."""
        if not self.reasons:
            return
        told = [f"{name}: {reason}" for name, reason in self.reasons[:_MAX_TOLD]]
        more = len(self.reasons) - len(told)
        raise ValueError(
            f"{len(self.reasons)} of {self.number} failed. {'; '.join(told)}"
            f"{f'; and {more} more, see above' if more else ''}"
        )
