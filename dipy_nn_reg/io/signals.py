"""Signals that ask a program to end, raised as exceptions or held back."""

import _thread
from contextlib import contextmanager
import os
import signal
import sys
import threading

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
# Signals that ask a program to end, as far as the system has them.
ENDING = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
_first = None
# Seconds until a signal is sent again: the callback that lost its exception is over.
_DELAY = 0.05


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
        with _lost_signals_sent_again():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def first():
    """Return the first signal that was received, or None.

    It tells whether another exception stands for an interruption: a library that is
    imported may have replaced that of the signal.
    """
    return _first


def end_at_next(status):
    """End this process at the next signal, without any more cleaning up.

    It serves a process that is about to end anyway, with the same status.
    """
    for number in ENDING:
        if signal.getsignal(number) not in (None, signal.SIG_IGN):
            signal.signal(number, lambda *_: os._exit(status))


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


@contextmanager
def _lost_signals_sent_again():
    """Send the first signal once more if Python ignored an exception of ours.

    It ignores those of finalizers and of callbacks of weak references, and each import
    runs such a callback. At the end of the block, an exception that is still lost is
    raised.
    """
    timers, hook = [], sys.unraisablehook

    def tell(lost):
        if issubclass(lost.exc_type, KeyboardInterrupt) and _first is not None:
            timers.append(threading.Timer(_DELAY, _send, [_first]))
            timers[-1].start()
        else:
            hook(lost)

    sys.unraisablehook = tell
    try:
        yield
        if timers:
            _raise(_first, None)
    finally:
        sys.unraisablehook = hook
        for timer in timers:
            timer.cancel()
            timer.join()  # None sends its signal after the block.


def _send(number):
    if hasattr(signal, "pthread_kill"):  # Wakes the main thread if it waits.
        signal.pthread_kill(threading.main_thread().ident, number)
    else:
        _thread.interrupt_main(number)
