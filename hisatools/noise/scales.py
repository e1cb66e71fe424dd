"""Parameters that several strategies share, with defaults that follow from the beam."""

from dataclasses import dataclass

import astropy.units as u

from hisatools.parameters import _number, _Parameters, check_quantity

__all__ = ["SkyParameters"]


@dataclass(frozen=True, kw_only=True)
class SkyParameters(_Parameters):
    """How the squares of many voxels become the noise of one sight line.

    Parameters
    ----------
    smoothing : Quantity, angle, or None
        FWHM of the Gaussian on the sky over which squares are gathered; None takes
        ``smoothing_beams`` times the beam. 0 is not allowed: give a small fraction of a pixel for none.
    smoothing_beams : float
        Six beams hold about 80 independent values in each channel, so that eight channels tell sigma
        to 3 %, while noise that doubles over a degree changes by a tenth within them.
    clip : float
        Squares beyond so many sigma are left out, as absorption and sources are; the mean is corrected for
        the tails of the noise that go with them. A large number keeps all: the plain rms.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.noise import NoiseEstimator
    >>> from hisatools.noise.thirds import ThirdsParameters
    >>> wide = NoiseEstimator("thirds", ThirdsParameters(smoothing=10 * u.arcmin, clip=4))
    >>> wide.parameters.smoothing, wide.parameters.clip
    (<Quantity 10. arcmin>, 4)
    """

    smoothing: u.Quantity | None = None
    smoothing_beams: float = _number(6.0)
    clip: float = _number(3.0)

    def __post_init__(self):
        super().__post_init__()
        keep_quantity(self, "smoothing", u.arcmin)


def keep_quantity(parameters, name, unit):
    """Check a field of frozen parameters that may be None, and keep it in ``unit``."""
    value = getattr(parameters, name)
    if value is not None:
        object.__setattr__(parameters, name, check_quantity(name, value, unit))
