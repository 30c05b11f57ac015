"""Signals that ask a program to end: exceptions, but never in the midst of a move."""

from contextlib import contextmanager
import signal
import threading

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
ENDING = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
_first = None


class Terminated(KeyboardInterrupt):
    """A request to end from another process.

    What cleans up after an interruption from the keyboard does so after this one, in
    libraries as well.
    """


@contextmanager
def heard():
    """Make exceptions of the signals that ask a program to end.

    Those that were ignored from the start, as by ``nohup``, stay ignored.
    """
    global _first
    _first, before = None, {}
    try:
        for number in ENDING:
            handler = signal.getsignal(number)
            if handler in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = handler
                signal.signal(number, _raise)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def first():
    """Return the first signal that came, or None.

    Where it comes in the import of a library, another exception may be made of it.
    """
    return _first


@contextmanager
def held_back():
    """Let signals wait for the end of a block, which has to be short."""
    waiting, before = [], {}
    try:
        # Python tells its main thread alone.
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
                handler = signal.getsignal(number)
                if handler not in (None, signal.SIG_IGN):
                    before[number] = handler
                    signal.signal(number, lambda number, _: waiting.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in waiting:
            signal.raise_signal(number)


def _raise(number, frame):
    global _first
    _first = _first or signal.Signals(number)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated
