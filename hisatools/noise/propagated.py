"""Errors of different origin added up, each by its name."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from hisatools.errors import InputError, ParameterError
from hisatools.noise.fields import brightness, source
from hisatools.noise.protocols import NoiseMeasurement
from hisatools.noise.radiometer import RadiometerParameters, RadiometerStrategy, as_kelvin
from hisatools.parameters import _number, _Parameters

__all__ = ["PropagatedParameters", "PropagatedStrategy"]


@dataclass(frozen=True, kw_only=True)
class PropagatedParameters(_Parameters):
    """Terms that need no array.

    Parameters
    ----------
    measure_radiometer : bool
        Whether the radiometer's noise is measured on the cube where it is not given.
    calibration : float
        Uncertainty of the brightness scale as a fraction, 0 for none.
    radiometer : `~hisatools.noise.radiometer.RadiometerParameters`, optional
        For the noise that is measured.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.noise import PropagatedParameters, RadiometerParameters
    >>> parameters = PropagatedParameters(calibration=0.05, radiometer=RadiometerParameters(t_sys=100 * u.K))
    >>> parameters.to_dict()["calibration"], parameters.to_dict()["radiometer.t_sys"]
    (0.05, '100.0 K')
    """

    _section = "propagated"

    measure_radiometer: bool = True
    calibration: float = _number(0.0, inclusive=True, at_most=1)
    radiometer: RadiometerParameters | None = None

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.radiometer, RadiometerParameters | None):
            raise ParameterError(
                f"radiometer must be RadiometerParameters or None, got {self.radiometer!r}; noise that is "
                "known goes to NoiseEstimator('propagated', radiometer=3 * u.K)"
            )
        if not isinstance(self.measure_radiometer, bool):
            raise ParameterError(f"measure_radiometer must be True or False, got {self.measure_radiometer!r}")

    def to_dict(self):
        """Field names and values; those of the radiometer by names such as ``radiometer.t_sys``."""
        values = super().to_dict()
        if self.radiometer is not None:
            del values["radiometer"]
            values |= {f"radiometer.{name}": value for name, value in self.radiometer.to_dict().items()}
        return values


class PropagatedStrategy:
    """Square root of a sum of variances: radiometer, continuum subtraction, calibration, T_U, and others.

    Each term is kept by its name in ``meta["terms"]`` of the result. The terms are taken as independent of
    each other; within a term the errors may go together, as those of the calibration do, which an average
    does not make smaller. It measures the total error of each voxel's brightness.

    Parameters
    ----------
    parameters : `PropagatedParameters`, optional
    radiometer : `~astropy.units.Quantity` or `~hisatools.noise.NoiseResult`, K, optional
        Noise of each voxel or sight line; measured by `~hisatools.noise.radiometer.RadiometerStrategy` if
        not given. Where it is NaN the sum is NaN: no brightness is without noise.
    continuum, unabsorbed : `~astropy.units.Quantity` or `~hisatools.noise.NoiseResult`, K, optional
        Uncertainty of the continuum that was subtracted, and of T_U.
    **others
        Further terms by name, likewise. Each is one value, (n_y, n_x) or (n_v, n_y, n_x); where any but the
        radiometer's is NaN it adds nothing.

    Raises
    ------
    ParameterError
        If a term is called ``calibration`` while the parameters ask for a calibration term too.

    References
    ----------
    Bevington, P. R. & Robinson, D. K. 2003, Data Reduction and Error Analysis, section 3.2.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.noise import NoiseEstimator, PropagatedParameters
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(16, 40, 40), n_pucks=3, n_components=50), seed=101)
    >>> estimator = NoiseEstimator("propagated", radiometer=3 * u.K, continuum=4 * u.K)
    >>> result = estimator.estimate(model.cube)
    >>> float(result.sigma.value[0, 0, 0]), list(result.meta["terms"])
    (5.0, ['radiometer', 'continuum'])
    """

    Parameters = PropagatedParameters
    citation = "Bevington & Robinson 2003, section 3.2"

    def __init__(self, parameters=None, *, radiometer=None, continuum=None, unabsorbed=None, **others):
        self.parameters = PropagatedParameters() if parameters is None else parameters
        given = {"radiometer": radiometer, "continuum": continuum, "unabsorbed": unabsorbed, **others}
        self.terms = {name: value for name, value in given.items() if value is not None}
        if "calibration" in self.terms and self.parameters.calibration > 0:
            raise ParameterError(
                f"two terms are called calibration: {self.terms['calibration']!r}, and "
                f"PropagatedParameters(calibration={self.parameters.calibration:g}); give one of them, or "
                "the first another name"
            )

    def estimate(self, cube, mask, workers, progress):
        """Noise of each voxel: shape (n_v, n_y, n_x); see `~hisatools.noise.protocols.NoiseStrategy`."""
        parameters, meta = self.parameters, {}
        terms = {name: as_kelvin(name, value, cube) for name, value in self.terms.items()}
        if parameters.measure_radiometer and "radiometer" not in terms:
            strategy = RadiometerStrategy(parameters.radiometer)
            measured = strategy.estimate(cube, mask, workers, progress)
            terms = {"radiometer": measured.sigma_kelvin, **terms}
            meta.update(measured.meta)
        if parameters.calibration > 0:
            smooth_kelvin = brightness(cube, workers=workers)
            terms["calibration"] = np.float32(parameters.calibration) * smooth_kelvin
        if not terms:
            raise InputError(
                f"{source(cube)}: no term to add up; give radiometer=, continuum=, unabsorbed= or "
                "calibration="
            )
        variance = np.zeros(cube.shape, np.float32)
        for name, kelvin in terms.items():
            unknown = np.nan if name == "radiometer" else 0
            variance += np.square(np.where(np.isnan(kelvin), unknown, kelvin))
        meta["terms"] = {name: kelvin << u.K for name, kelvin in terms.items()}
        for name, kelvin in terms.items():
            known = kelvin[np.isfinite(kelvin)] if np.ndim(kelvin) else kelvin
            meta[f"{name}_median_kelvin"] = round(float(np.median(known)), 4) if np.size(known) else "none"
        return NoiseMeasurement(np.sqrt(variance).astype(np.float32), meta)
