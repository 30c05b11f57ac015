"""Text that can be shown and written, whatever the names of files hold."""

import re


def printable(text, *, keep=""):
    r"""Return text with what is not printable as Python writes it, such as ``\x1b``.

    Parameters
    ----------
    text : object
        Its str is taken.
    keep : str, optional
        Characters that stay.

    Examples
    --------
    >>> printable("a\nb")
    'a\\nb'
    """
    return "".join(
        c if c.isprintable() or c in keep else repr(c)[1:-1] for c in str(text)
    )


def describe(error):
    """Return what an error says in one line; if it is not meant for users, its name."""
    text = printable(" ".join(str(error).split()))
    if isinstance(error, (ValueError, OSError)) and text:
        return text
    return f"{type(error).__name__}: {text}"


def readable(text):
    """Return a text that can be written in UTF-8.

    A file name is bytes. Those that Python could not decode, since the locale is
    another or the name is no UTF-8, come as surrogates: what they are in UTF-8 is put
    in their place, and the replacement character where they are nothing.

    Examples
    --------
    >>> readable("M\\udcc3\\udcbcller, M\\udcfcller")
    'Müller, M\ufffdller'
    """
    text = re.sub("[\ud800-\udc7f\udd00-\udfff]", "\ufffd", str(text))
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
