import os
import signal
import sys
import threading
import time
import weakref

import pytest

from dipy_nn_reg.io import signals


@pytest.mark.parametrize("number", signals.ENDING)
def test_signals_raise_exceptions_and_handlers_are_restored(number):
    before = {n: signal.getsignal(n) for n in signals.ENDING}
    signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt) as caught, signals.heard():
            assert signals.first() is None
            os.kill(os.getpid(), number)
        assert signals.first() == number
        is_terminated = isinstance(caught.value, signals.Terminated)
        assert is_terminated == (number != signal.SIGINT)
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.heard():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signals.first() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_is_held_back_until_the_end_of_the_block():
    done = []
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(signals.Terminated), signals.heard():
            with signals.held_back():
                os.kill(os.getpid(), signal.SIGTERM)
                done.append("block")
            done.append("never")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done == ["block"]


def test_holding_back_works_in_threads():
    def hold():
        with signals.held_back():
            result.append(True)

    result = []
    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert result == [True]


class _Noted:
    pass


def _lose_exception(_):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)  # Python calls its handler here, within the callback.


@pytest.mark.parametrize("seconds", [0, 5])
@pytest.mark.parametrize("kind", ["weak reference", "finalizer"])
def test_a_signal_whose_exception_was_lost_is_raised_again(kind, seconds):
    """Python ignores exceptions of such callbacks, as those of its import locks."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    hook, shown = sys.unraisablehook, []
    sys.unraisablehook = shown.append
    try:
        noted = _Noted()
        if kind == "finalizer":
            _Noted.__del__ = _lose_exception
        else:
            kept = weakref.ref(noted, _lose_exception)
        with pytest.raises(KeyboardInterrupt), signals.heard():
            del noted
            time.sleep(seconds)
        assert shown == []
        assert sys.unraisablehook == shown.append
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGINT, before)
        if kind == "finalizer":
            del _Noted.__del__
        else:
            del kept


def test_other_exceptions_of_finalizers_are_shown_as_before():
    class Broken:
        def __del__(self):
            raise ValueError("broken")

    hook, shown = sys.unraisablehook, []
    sys.unraisablehook = lambda lost: shown.append(lost.exc_type)
    try:
        with signals.heard():
            Broken()
    finally:
        sys.unraisablehook = hook
    assert shown == [ValueError]
