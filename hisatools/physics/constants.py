"""Numbers of the 21 cm line and of gas, with where they come from."""

import astropy.constants as const
import astropy.units as u
import numpy as np

__all__ = ["ATOM_MASS", "COLUMN_PER_KELVIN_KMS", "GAUSSIAN_AREA", "KELVIN_PER_KMS2", "PARSEC_CM", "T_CMB"]

# Column density of H I, cm^-2, for an integral of T_S tau of 1 K km/s.
COLUMN_PER_KELVIN_KMS = 1.823e18
# Area of a Gaussian over peak times FWHM.
GAUSSIAN_AREA = np.sqrt(np.pi / (4 * np.log(2)))
PARSEC_CM = const.pc.to_value(u.cm)
# Of hydrogen: the electron's share is 5e-4, and binding nothing.
ATOM_MASS = const.m_p + const.m_e
# Kinetic temperature of atoms whose thermal motion alone makes a line of 1 km/s FWHM: 21.9 K, which is 121 K
# for a standard deviation of 1 km/s.
KELVIN_PER_KMS2 = (ATOM_MASS * (u.km / u.s) ** 2 / (8 * np.log(2) * const.k_B)).to_value(u.K)
# Nothing is colder: temperature of the cosmic background, as in table 1 of Gibson et al. (2005).
T_CMB = 2.7 * u.K
