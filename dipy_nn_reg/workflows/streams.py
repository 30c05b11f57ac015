"""The standard streams: a command works without them as well."""

import errno
import io
import logging
import os
import sys

_streams = {}


def open_streams():
    """See to it that output which nobody takes ends no command.

    Closed streams are opened onto nothing: the next file that is opened would take
    their place, and what libraries write there would go into it.
    """
    _open_closed_ones()
    logging.raiseExceptions = False  # else a line that is lost is a traceback
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):  # nobody has redirected it in Python
            _streams[name] = _Forgiving(number, "w", closefd=False)
            text = io.TextIOWrapper(
                io.BufferedWriter(_streams[name]),
                encoding=getattr(stream, "encoding", None),
                errors="backslashreplace",
                line_buffering=number == 2 or _streams[name].isatty(),
            )
            setattr(sys, name, text)


def report_lost_output(name):
    """Say in a line if a stream was full; a reader who went away had enough."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    error = getattr(_streams.get("stdout"), "error", None)
    if error is not None and error.errno != errno.EPIPE:
        print(f"{name}: what was to be shown is lost: {error}", file=sys.stderr)


class _Forgiving(io.FileIO):
    """A stream that takes what cannot be written, and keeps the first error."""

    error = None

    def write(self, data):
        try:
            return super().write(data)
        except OSError as error:
            self.error = self.error or error
            return len(data)


def _open_closed_ones():
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free; processes that are started share it.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
