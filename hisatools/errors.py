"""Errors and warnings: each names the argument or file, shows the fault and says what to do."""

import astropy.units as u


class HISAError(Exception):
    """Anything the user can put right; the command line prints it as one line.

    Examples
    --------
    >>> from hisatools import HISACube
    >>> from hisatools.errors import HISAError
    >>> try:
    ...     HISACube.read("no_such_cube.fits")
    ... except HISAError as error:
    ...     print(type(error).__name__)
    InputError
    """


class InputError(HISAError, ValueError):
    """A file or an array that cannot be searched as it is.

    Examples
    --------
    >>> from hisatools import HISACube
    >>> HISACube.read("no_such_cube.fits")
    Traceback (most recent call last):
        ...
    hisatools.errors.InputError: no_such_cube.fits: no such file; give the path of a ...
    """


class ParameterError(HISAError, ValueError):
    """A parameter with an impossible value.

    Examples
    --------
    >>> from hisatools import SpectralParameters
    >>> SpectralParameters(clean_gain=1.5)
    Traceback (most recent call last):
        ...
    hisatools.errors.ParameterError: clean_gain must be at most 1, got 1.5
    """


class ParameterUnitsError(ParameterError, u.UnitsError):
    """A parameter without its unit, or with the wrong one.

    Examples
    --------
    >>> from hisatools import ExtractionParameters
    >>> ExtractionParameters(critical_brightness=50)
    Traceback (most recent call last):
        ...
    hisatools.errors.ParameterUnitsError: critical_brightness needs a unit of K, got ...
    """


class BackendError(HISAError, ValueError):
    """An unknown backend, or two packages that claim one name.

    Examples
    --------
    >>> from hisatools import SpectralSearcher
    >>> SpectralSearcher(clean="numbo")
    Traceback (most recent call last):
        ...
    hisatools.errors.BackendError: unknown clean backend 'numbo'; installed: numba, ...
    """


class BackendUnavailableError(BackendError, ImportError):
    """A known backend whose package is not installed or cannot be imported.

    Examples
    --------
    >>> from hisatools.errors import BackendUnavailableError
    >>> issubclass(BackendUnavailableError, ImportError)
    True
    """


class OutputError(HISAError, OSError):
    """An output that exists already or cannot be written.

    Examples
    --------
    >>> from hisatools.io.writing import writing_file
    >>> with writing_file("notes.txt") as part:
    ...     _ = part.write_text("once")
    ...
    >>> with writing_file("notes.txt") as part:
    ...     _ = part.write_text("twice")
    ...
    Traceback (most recent call last):
        ...
    hisatools.errors.OutputError: notes.txt exists already; choose another output, or ...
    """


class HISAWarning(UserWarning):
    """Something was assumed or is doubtful; the result stands.

    Examples
    --------
    >>> import warnings
    >>> from hisatools.errors import HISAWarning
    >>> from hisatools.significance.prior_maps import say_other_frame
    >>> from hisatools.datasets import example_model
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", HISAWarning)
    ...     say_other_frame("co.fits", "BARYCENT", example_model().cube)
    ...
    >>> caught[0].category.__name__
    'HISAWarning'
    """


class MendWarning(HISAWarning):
    """A header was mended; the message says what was assumed.

    Examples
    --------
    What was assumed is kept, too:

    >>> import warnings
    >>> from astropy.io import fits
    >>> from hisatools import HISACube
    >>> from hisatools.datasets import example_model
    >>> from hisatools.errors import MendWarning
    >>> example_model().write("model")
    >>> fits.delval("model/cube.fits", "BUNIT")
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", MendWarning)
    ...     cube = HISACube.read("model/cube.fits")
    ...
    >>> len(caught), cube.mends
    (1, ('BUNIT is absent: brightness temperature in K assumed; give unit= (--unit) if it is not',))
    """


class PresetWarning(HISAWarning):
    """A preset is used on a cube that is not of its survey; its scales may be wrong there.

    Examples
    --------
    Who knows the scales to be right silences it:

    >>> import warnings
    >>> from hisatools.errors import PresetWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", PresetWarning)  # and here HISAExtractor.preset("cgps").run(cube)
    ...
    """
