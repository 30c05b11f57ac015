import pytest

from dipy_nn_reg import progress


@pytest.fixture
def terminal(monkeypatch):
    """Return a stream that claims to be a terminal; undo be_quiet afterwards."""
    monkeypatch.setattr(progress, "_quiet", False)

    class Terminal:
        text = ""

        def write(self, text):
            self.text += text

        def flush(self):
            pass

        def isatty(self):
            return True

    return Terminal()


def test_a_terminal_shows_a_bar(terminal):
    assert list(progress.progress_bar([1, 2], desc="Pairs", file=terminal)) == [1, 2]
    assert "Pairs" in terminal.text


def test_other_streams_show_no_bar(terminal):
    terminal.isatty = lambda: False
    list(progress.progress_bar([1], file=terminal))
    assert terminal.text == ""


def test_be_quiet_turns_all_bars_off(terminal):
    assert [progress.keras_verbosity(t) for t in (True, False)] == [1, 2]
    progress.be_quiet()
    list(progress.progress_bar([1], file=terminal))
    assert terminal.text == ""
    assert [progress.keras_verbosity(t) for t in (True, False)] == [0, 0]
