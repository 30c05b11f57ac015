"""Signals that ask a program to end, raised as exceptions or held back."""

from contextlib import contextmanager
import signal
import threading

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
# Signals that ask a program to end, as far as the system has them.
ENDING = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
_first = None


class Terminated(KeyboardInterrupt):
    """A request of another process to end.

    As a kind of KeyboardInterrupt, it starts the same cleaning up, also in libraries.
    """


@contextmanager
def heard():
    """Raise exceptions for the signals that ask a program to end.

    Signals that are ignored from the start, as by ``nohup``, stay ignored.
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
    """Return the first signal that was received, or None.

    During the import of a library, its exception may have become another one.
    """
    return _first


@contextmanager
def held_back():
    """Hold signals back until the end of a block, which has to be short."""
    waiting, before = [], {}
    try:
        # Python delivers signals only to its main thread.
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
