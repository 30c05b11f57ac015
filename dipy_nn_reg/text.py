"""Text made safe for terminals and files, whatever characters file names contain."""

import re


def printable(text, *, keep=""):
    r"""Return text with escape sequences, such as ``\x1b``, for unprintable characters.

    Parameters
    ----------
    text : object
        Converted by ``str``.
    keep : str, optional
        Unprintable characters that are kept.

    Returns
    -------
    text : str

    Examples
    --------
    >>> printable("a\nb")
    'a\\nb'
    """
    return "".join(
        c if c.isprintable() or c in keep else repr(c)[1:-1] for c in str(text)
    )


def describe(error):
    """Return the message of an error in one line.

    The name of its type is added unless it is a ValueError or an OSError, whose
    messages are written for users.
    """
    text = printable(" ".join(str(error).split()))
    if isinstance(error, (ValueError, OSError)) and text:
        return text
    return f"{type(error).__name__}: {text}"


def readable(text):
    r"""Return text that can be written in UTF-8.

    A file name consists of bytes. Python decodes those that do not fit the locale as
    surrogates. They are decoded again as UTF-8; those that are not valid UTF-8 become
    the replacement character.

    Examples
    --------
    >>> readable("M\udcc3\udcbcller, M\udcfcller")
    'Müller, M�ller'
    """
    text = re.sub("[\ud800-\udc7f\udd00-\udfff]", "\ufffd", str(text))
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
