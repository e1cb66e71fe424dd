"""Errors and warnings: each names the argument or file, shows the fault and says what to do."""

import astropy.units as u


class HISAError(Exception):
    """Anything the user can put right; the command line prints it as one line."""


class InputError(HISAError, ValueError):
    """A file or an array that cannot be searched as it is."""


class ParameterError(HISAError, ValueError):
    """A parameter with an impossible value."""


class ParameterUnitsError(ParameterError, u.UnitsError):
    """A parameter without its unit, or with the wrong one."""


class BackendError(HISAError, ValueError):
    """An unknown backend, or two packages that claim one name."""


class BackendUnavailableError(BackendError, ImportError):
    """A known backend whose package is not installed or cannot be imported."""


class OutputError(HISAError, OSError):
    """An output that exists already or cannot be written."""


class HISAWarning(UserWarning):
    """Something was assumed or is doubtful; the result stands."""


class MendWarning(HISAWarning):
    """A header was mended; the message says what was assumed."""


class PresetWarning(HISAWarning):
    """A preset is used on a cube that is not of its survey; its scales may be wrong there."""
