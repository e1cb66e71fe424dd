"""The record of what was assumed about an input."""

import warnings

from hisatools.errors import MendWarning


class MendLog:
    """Says each assumption once, as a `~hisatools.errors.MendWarning`, and keeps it.

    Parameters
    ----------
    source : str
        The name of the input; every message starts with it.
    quiet : bool
        Keep the record but do not warn, for inputs that are only looked at.
    """

    def __init__(self, source, *, quiet=False):
        self.source = str(source)
        self.texts = []
        self._quiet = quiet

    def add(self, text):
        """Record one assumption and warn about it."""
        self.texts.append(text)
        if not self._quiet:
            warnings.warn(f"{self.source}: {text}", MendWarning, stacklevel=3)
