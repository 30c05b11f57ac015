import os
import signal
import threading

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
