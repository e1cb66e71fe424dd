"""What is assumed, for each row of a catalogue: numbers for all, arrays, or columns of the catalogue."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from hisatools.errors import InputError, ParameterError
from hisatools.physics.amounts import intrinsic_linewidth
from hisatools.physics.assumptions import ERRORS, PER_FEATURE
from hisatools.physics.gas import GasFlag, raise_flag
from hisatools.physics.units import column_values, plain, with_unit

__all__ = ["FeatureAssumptions"]

# What is left of a width no larger than the beam is mostly the beam's, and too small where a threshold has
# cut the feature's rim.
LEAST_BEAMS = 1.0
# The FWHM that the second moment of a box of two pixels gives, and a little more, for pixels that differ.
LEAST_PIXELS = 2.1 * np.sqrt(8 * np.log(2) / 12)
# The FWHM of what one channel holds is one channel, whatever the line.
LEAST_CHANNELS = 1.5


@dataclass(frozen=True, eq=False)
class FeatureAssumptions:
    """Of each feature what is known, plain: K, pc, K / cm^3 and km/s.

    Parameters
    ----------
    values, errors : dict
        By the name of the parameter, arrays of shape (n_features,); errors that are not stated are left out.
    linewidth_kms : `~numpy.ndarray`, shape (n_features,)
        Without what the channel adds; NaN for a line narrower than 1.5 channels.
    length_of_distance : bool
        True where path lengths are widths at the distance.
    flags : `~numpy.ndarray` of int16, shape (n_features,)
    about : dict
        In words what was taken from the catalogue.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from hisatools.datasets import example_result
    >>> from hisatools.physics import GasParameters
    >>> from hisatools.physics.per_feature import FeatureAssumptions
    >>> parameters = GasParameters(t_spin=20 * u.K, distance=2 * u.kpc)
    >>> assumed = FeatureAssumptions.of(parameters, example_result(), np.full(5, 8.7e-5))
    >>> print(assumed.values["path_length"].round(2))  # pc
    [ nan  nan  nan 0.58 1.47]
    """

    values: dict
    errors: dict
    linewidth_kms: np.ndarray
    length_of_distance: bool
    flags: np.ndarray
    about: dict

    @classmethod
    def of(cls, parameters, result, pixel_rad):
        """Those of a result.

        Parameters
        ----------
        parameters : `GasParameters`
        result : `~hisatools.HISAResult`
        pixel_rad : `~numpy.ndarray`, shape (n_features,)
            Side of a pixel where each feature is.
        """
        catalog = result.catalog
        flags = np.zeros(len(catalog), np.int16)
        given, about = _given(parameters, catalog)
        values = {
            name: _numbers(name, value, PER_FEATURE[name], catalog, flags)
            for name, value in given.items()
            if name in PER_FEATURE
        }
        errors = {
            name.removesuffix("_error"): _numbers(name, value, ERRORS[name], catalog, flags, of_error=True)
            for name, value in given.items()
            if name in ERRORS
        }
        of_distance = "path_length" not in values
        if of_distance and parameters.p_over_k is not None and "distance" not in values:
            raise ParameterError(
                "p_over_k needs path_length, or a distance for the width to be a length; the catalogue has "
                "no column distance either"
            )
        if of_distance:
            values["path_length"] = np.full(len(catalog), np.nan)
            if "distance" in values:
                width_rad, width_about = _width_rad(result, pixel_rad)
                values["path_length"] = width_rad * values["distance"]
                raise_flag(flags, np.isnan(width_rad), GasFlag.UNRESOLVED)
                about["path_length"] = width_about
        ones = np.ones(len(catalog))
        values["fraction"] = ones * parameters.fraction
        for name in ("p", "fraction"):
            if getattr(parameters, f"{name}_error") is not None:
                errors[name] = ones * getattr(parameters, f"{name}_error")
        if parameters.t_continuum_error is not None:
            errors["t_continuum"] = ones * parameters.t_continuum_error.to_value(u.K)
        observed = column_values(catalog, "velocity_fwhm", u.km / u.s) * u.km / u.s
        narrow = ~(observed >= LEAST_CHANNELS * result.channel_width)
        raise_flag(flags, narrow, GasFlag.NARROW_LINE)
        width = intrinsic_linewidth(np.where(narrow, np.nan, observed), result.channel_width)
        return cls(values, errors, width.value, of_distance, flags, about)


def _given(parameters, catalog):
    """What is given by name, with the distances of the catalogue if none are; and these in words."""
    names = (*PER_FEATURE, *ERRORS)
    given = {name: getattr(parameters, name) for name in names if getattr(parameters, name) is not None}
    about = {
        name: f"the catalogue's column {value}" for name, value in given.items() if isinstance(value, str)
    }
    if "distance" not in given and "distance" in catalog.colnames:
        for name in ("distance", "distance_error"):
            if name not in given and name in catalog.colnames:
                given[name] = name
                about[name] = f"the catalogue's column {name}, as none was given"
    if "distance_error" in given and "distance" not in given:
        raise ParameterError(
            "distance_error is given without distance, and the catalogue has no column distance; give both"
        )
    return given, about


def _numbers(name, value, unit, catalog, flags, *, of_error=False):
    """One number for each row; NaN, and a flag, where a column of the catalogue holds what cannot be."""
    if not isinstance(value, str):
        numbers = plain(name, with_unit(value, unit), unit)
        if numbers.ndim and numbers.size != len(catalog):
            raise InputError(
                f"{name} has {numbers.size} values, and the catalogue {len(catalog)} rows; give one for each"
            )
        return np.array(np.broadcast_to(numbers, len(catalog)))
    numbers = column_values(catalog, value, unit, parameter=name)
    bad = (numbers < 0) | np.isinf(numbers) | ((numbers == 0) & (not of_error))
    raise_flag(flags, bad, GasFlag.UNPHYSICAL)
    numbers[bad] = np.nan
    return numbers


def _width_rad(result, pixel_rad):
    """FWHM of each feature across, NaN where it is not resolved, and how it was measured.

    What the beam adds is taken away where the beam is known. No feature is as wide as a pixel or two: that is
    the pixel's size.
    """
    catalog = result.catalog
    seen_rad = column_values(catalog, "minor_fwhm", u.rad)
    with np.errstate(invalid="ignore"):
        resolved = seen_rad > LEAST_PIXELS * pixel_rad
        if result.beam is None:
            return np.where(resolved, seen_rad, np.nan), "minor_fwhm at the distance"
        own_rad = column_values(catalog, "minor_deconvolved", u.rad)
        resolved &= own_rad >= LEAST_BEAMS * result.beam.major.to_value(u.rad)
    return np.where(resolved, own_rad, np.nan), "minor_deconvolved at the distance"
