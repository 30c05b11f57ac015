"""Standard streams that may be closed or full without ending a command."""

import errno
import io
import logging
import os
import sys

# Streams that replace the standard ones, by name.
_streams = {}


def open_streams():
    """Replace the standard streams by ones that ignore output that cannot be written.

    Closed streams are opened to the null device. Otherwise the next file to be opened
    would take their number, and receive what libraries write to the stream. Python's
    standard error has a number of its own, so that what libraries write to theirs can
    be hidden while other threads report.
    """
    _open_closed_streams()
    logging.raiseExceptions = False  # no traceback for a line that is lost
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):  # not redirected within Python
            own = os.dup(number) if number == 2 else number
            _streams[name] = _ForgivingStream(own, "w", closefd=False)
            text = io.TextIOWrapper(
                io.BufferedWriter(_streams[name]),
                encoding=getattr(stream, "encoding", None),
                errors="backslashreplace",
                line_buffering=number == 2 or _streams[name].isatty(),
            )
            setattr(sys, name, text)


def report_lost_output(name):
    """Print one line if output was lost, unless its reader closed a pipe."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    error = getattr(_streams.get("stdout"), "error", None)
    if error is not None and error.errno != errno.EPIPE:
        print(f"{name}: the output is incomplete: {error}", file=sys.stderr)


class _ForgivingStream(io.FileIO):
    """Stream that ignores output that cannot be written, and keeps the first error."""

    error = None

    def write(self, data):
        try:
            return super().write(data)
        except OSError as error:
            self.error = self.error or error
            return len(data)


def _open_closed_streams():
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The system returns the lowest free number; child processes inherit it.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
