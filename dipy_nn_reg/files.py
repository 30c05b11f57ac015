"""Write files whole or not at all."""

from contextlib import contextmanager
import os
from pathlib import Path


@contextmanager
def whole_file(path):
    """Give a temporary path, and move it to its final name on success.

    Parameters
    ----------
    path : string or Path
        Final name. Its folder must exist.

    Yields
    ------
    partial : Path
        Beside ``path`` and with the same ending. It is removed when the block ends
        with an exception, an interruption included.
    """
    path = Path(path)
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
