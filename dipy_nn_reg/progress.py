"""Progress bars, shown only on a terminal and unless they are turned off."""

from tqdm import tqdm

_quiet = False


def be_quiet():
    """Turn off all progress bars of this process, including those of Keras."""
    global _quiet
    _quiet = True


def progress_bar(iterable=None, **options):
    """Return a progress bar of tqdm that disappears when it is done.

    Parameters
    ----------
    iterable : iterable, optional
    **options
        Options of tqdm.

    Returns
    -------
    bar : tqdm.tqdm
    """
    return tqdm(iterable, disable=True if _quiet else None, leave=False, **options)


def keras_verbosity(is_terminal):
    """Return Keras's ``verbose``: 0 for nothing, 1 for a bar, 2 for a line an epoch."""
    if _quiet:
        return 0
    return 1 if is_terminal else 2
