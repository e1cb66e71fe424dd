"""Numbers of the 21 cm line and of gas, with where they come from."""

import astropy.constants as const
import astropy.units as u
import numpy as np

__all__ = ["COLUMN_PER_KELVIN_KMS", "GAUSSIAN_AREA", "PARSEC_CM", "T_CMB"]

# Column density of H I, cm^-2, for an integral of T_S tau of 1 K km/s.
COLUMN_PER_KELVIN_KMS = 1.823e18
# Area of a Gaussian over peak times FWHM.
GAUSSIAN_AREA = np.sqrt(np.pi / (4 * np.log(2)))
PARSEC_CM = const.pc.to_value(u.cm)
# Nothing is colder: temperature of the cosmic background, as in table 1 of Gibson et al. (2005).
T_CMB = 2.7 * u.K
