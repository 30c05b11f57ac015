"""Names of files that Python could not decode, as text that can be written."""

import re


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
