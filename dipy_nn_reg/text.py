"""Text that is safe to show, whatever the names of files hold."""


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
