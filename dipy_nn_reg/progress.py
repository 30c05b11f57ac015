"""Progress bars: on a terminal alone, and not at all if they were turned off."""

from tqdm import tqdm

_quiet = False


def be_quiet():
    """Turn off all bars of this process, those of trainings by a command included."""
    global _quiet
    _quiet = True


def progress_bar(iterable=None, **options):
    """Return tqdm's bar, which goes away when it is done.

    Parameters
    ----------
    iterable : iterable, optional
    **options
        Of tqdm.
    """
    return tqdm(iterable, disable=True if _quiet else None, leave=False, **options)


def keras_verbosity(is_terminal):
    """Return how Keras is to show a training: as a bar, a line an epoch, or not."""
    if _quiet:
        return 0
    return 1 if is_terminal else 2
