"""T_U from the second derivative of spectra, for narrow self-absorption that a molecule gives away.

In a dark cloud the cold H I has the velocity and the turbulence of its molecules (Li & Goldsmith 2003,
ApJ 585, 823). With centre and width known, only the optical depth tau0 at the centre is left, and it is
the one for which the recovered emission is smoothest: for which the sum of its squared second derivatives
over the line is least (Krco, Goldsmith, Brown & Li 2008, ApJ 689, 276).
"""

from dataclasses import dataclass

import astropy.constants as const
import astropy.units as u
import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma

from hisatools.errors import InputError, ParameterError
from hisatools.io.sky import pixels_of_places, places_of_pixels
from hisatools.noise.correlation import DIFFERENCE_LAG, MIN_CHANNELS_IN_THIRD
from hisatools.parameters import _number, _Parameters, _quantity
from hisatools.search.base import run_blocks
from hisatools.unabsorbed.asymmetric_baselines import difference_noise
from hisatools.unabsorbed.asymmetric_least_squares import SightLines
from hisatools.unabsorbed.line_depth import LineFitter
from hisatools.unabsorbed.low_resolution import check_frames, check_is_cube, check_overlap, check_position
from hisatools.unabsorbed.protocols import VoxelEstimate

LINES_PER_BLOCK = 32
# Fewer channels of a tracer do not show its noise.
LEAST_TRACER_CHANNELS = 3 * DIFFERENCE_LAG + MIN_CHANNELS_IN_THIRD


@dataclass(frozen=True, kw_only=True)
class SecondDerivativeParameters(_Parameters):
    """The "second-derivative" estimate of T_U.

    Parameters
    ----------
    spin_temperature : Quantity, temperature
        T_S of the cold gas, also taken as its kinetic temperature.
    continuum : Quantity, temperature
        T_C, brightness of the continuum behind, the microwave background included.
    background_fraction : float
        p, the share of the emission that comes from behind the cloud.
    tracer_mass : float
        Mass of the tracer's molecule in units of that of the hydrogen atom (13CO: 29).
    tracer_significance : float
        Peak of the tracer's line over its noise, below which nothing is said.
    window : float
        The second derivatives are summed so many FWHM to either side of the centre.
    smoothing : Quantity, velocity
        FWHM of the Gaussian by which the recovered spectrum is smoothed before it is differentiated: the
        second derivative amplifies noise.
    max_tau : float
        Largest optical depth that is tried.
    max_amplification : float
        At the centre of the line T_U is 1 / (1 - p (1 - exp(-tau0))) times what a change of T_ON makes of it,
        noise and other errors alike. Where the tau0 that is found makes this larger, the line is saturated:
        little of the emission behind comes through, and nothing is said. At 5 (tau0 = 1.6 for p = 1) the
        2 to 3 K of noise of a survey have become the 10 to 15 K by which cold clouds absorb.
    n_resamples : int
        Realisations of noise and emission from which the uncertainty follows.
    seed : int
        Of the random numbers of these; the same seed gives the same uncertainty.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.unabsorbed.second_derivative import SecondDerivativeParameters
    >>> parameters = SecondDerivativeParameters(spin_temperature=15 * u.K, background_fraction=0.8)
    >>> parameters.spin_temperature, parameters.continuum
    (<Quantity 15. K>, <Quantity 2.7 K>)
    """

    _section = "second-derivative"

    spin_temperature: u.Quantity = _quantity(10.0 * u.K)
    continuum: u.Quantity = _quantity(2.7 * u.K, inclusive=True)
    background_fraction: float = _number(1.0, at_most=1)
    tracer_mass: float = _number(29.0)
    tracer_significance: float = _number(5.0, inclusive=True)
    window: float = _number(2.5)
    smoothing: u.Quantity = _quantity(1.5 * u.km / u.s, inclusive=True)
    max_tau: float = _number(5.0)
    max_amplification: float = _number(5.0, above=1.0)
    n_resamples: int = _number(100, integer=True)
    seed: int = _number(1, inclusive=True, integer=True)


class SecondDerivativeStrategy:
    """The smoothest recovered spectrum, sight line by sight line.

    The uncertainty is resampled: noise, and emission as the cube has it beside its features, are added to
    the spectrum, which is fitted again; see `~hisatools.unabsorbed.uncertainty.ErrorModel`. It is what
    68.3 % of the fits deviate by, since a few that saturate would rule a mean of squares. Sight lines where
    the fit itself saturates keep T_ON; see ``max_amplification``.

    Parameters
    ----------
    parameters : `SecondDerivativeParameters`, optional
    tracer : `~hisatools.HISACube`, optional
        A molecule's line on velocities of the same frame; its pixels and channels may be others. The
        strongest line within a feature's velocities gives the feature's centre and width there.
    centre, width : Quantity, velocity, scalar or shape (n_y, n_x), optional
        Centre and FWHM of the absorption where there is no tracer; NaN where not known.

    Raises
    ------
    ParameterError
        If the tracer is no `~hisatools.HISACube`, or centre or width are given beside it; from ``estimate``,
        if neither a tracer nor centre and width are given.
    InputError
        From ``estimate``, if the tracer's velocities have another frame, it lies elsewhere on the sky or in
        velocity, has no position, or too few channels to show its noise.

    Examples
    --------
    >>> import astropy.units as u, numpy as np
    >>> from hisatools import HISACube, UnabsorbedEstimator
    >>> v = np.arange(-30, 31) * 0.5
    >>> emission = 80 * np.exp(-0.5 * (v / 8) ** 2)
    >>> share = 1 - np.exp(-0.5 * np.exp(-0.5 * (v / 0.6) ** 2))
    >>> cube = HISACube.from_spectrum((emission + (7.3 - emission) * share) * u.K, v * u.km / u.s)
    >>> mask = (np.abs(v) < 2)[:, None, None]
    >>> known = {"centre": 0 * u.km / u.s, "width": 1.41 * u.km / u.s}
    >>> found = UnabsorbedEstimator("second-derivative", **known).estimate(cube, mask, uncertainty=False)
    >>> bool(abs(found.t_unabsorbed.value[30, 0, 0] - 80) < 2)
    True
    """

    Parameters = SecondDerivativeParameters
    citation = "Krco et al. 2008, ApJ 689, 276; Li & Goldsmith 2003, ApJ 585, 823"
    required_inputs = ("tracer",)

    def __init__(self, parameters=None, *, tracer=None, centre=None, width=None):
        self.parameters = SecondDerivativeParameters() if parameters is None else parameters
        self.tracer, self.centre, self.width = check_is_cube("tracer", tracer), centre, width
        if tracer is not None and not (centre is None and width is None):
            raise ParameterError(
                "centre and width cannot be given beside tracer, which tells them; leave out either"
            )

    def check(self, cube):
        """Raise at once what ``estimate`` would raise of the tracer, or of centre and width, for a cube."""
        self._guide(cube)

    def estimate(self, cube, labels, features, index, *, errors=None, workers=1, progress=False):
        """T_U at some voxels; see `~hisatools.unabsorbed.protocols.UnabsorbedStrategy.estimate`.

        ``n_off`` counts the unflagged channels of the windows; T_ON stays where it has none.
        """
        guide = self._guide(cube)
        fitter = LineFitter(cube, self.parameters, errors)
        lines = SightLines(cube, labels, index)
        kelvin = cube.kelvin.reshape(-1)[index]
        sigma = None if errors is None else np.full(len(index), np.inf, np.float32)
        n_off = np.zeros(len(features), np.int64)

        def estimate_lines(block):
            spectra, _ = lines.spectra(block)
            noise = difference_noise(spectra)
            counted = []
            for i in range(spectra.shape[1]):
                one = slice(block.start + i, block.start + i + 1)
                places, channels, _ = lines.wanted(one, np.array([True]))
                pixel = int(lines.pixels[one][0])
                flags = lines.labels[:, pixel]
                for label in np.unique(flags[channels]):
                    line = guide(pixel, np.flatnonzero(flags == label))
                    usable = np.isfinite(spectra[:, i]) & ((flags == 0) | (flags == label))
                    fit = fitter.fit(spectra[:, i], usable, flags == 0, line, noise[i])
                    counted.append((label, fit.n_off))
                    if fit.n_off == 0:
                        continue
                    here = flags[channels] == label
                    at = channels[here]
                    kelvin[places[here]] = fit.kelvin[at]
                    if errors is not None:
                        sigma[places[here]] = fitter.sigma(fit, pixel)[at]
            return counted

        found = run_blocks(
            estimate_lines,
            lines.blocks(LINES_PER_BLOCK),
            workers=workers,
            progress=progress,
            description="unabsorbed emission",
        )
        for label, count in (item for counted in found for item in counted):
            n_off[np.searchsorted(features, label)] += count
        return VoxelEstimate(kelvin, n_off, sigma)

    def _guide(self, cube):
        """Function from pixel and channels of a feature to centre and FWHM of its line in km/s, or None."""
        if self.tracer is not None:
            return TracerGuide(cube, self.tracer, self.parameters)
        if self.centre is None or self.width is None:
            raise ParameterError(
                "the strategy 'second-derivative' needs to know the line: give "
                "tracer=HISACube.read('13co.fits'), or centre=-5 * u.km / u.s and width=1 * u.km / u.s "
                "(FWHM of the absorption; one value or a map)"
            )
        centre, width = (
            _as_map(name, value, cube.shape[1:])
            for name, value in (("centre", self.centre), ("width", self.width))
        )

        def given(pixel, _):
            line = centre[pixel], width[pixel]
            return line if np.isfinite(line).all() and line[1] > 0 else None

        return given


def _as_map(name, value, sky):
    if not isinstance(value, u.Quantity) or not value.unit.is_equivalent(u.km / u.s):
        raise ParameterError(
            f"{name} needs a unit of km/s, got {value!r}; write for example {name}=1 * u.km / u.s"
        )
    values = value.to_value(u.km / u.s)
    if values.shape not in ((), sky):
        raise InputError(
            f"{name} has the shape {values.shape}, the cube's sky {sky}; give one value or a map"
        )
    return np.broadcast_to(values, sky).reshape(-1)


class TracerGuide:
    """Centre and width of the absorption from a molecule's line in the nearest pixel.

    The line is the run of channels about the highest one, within the feature's velocities, that are above
    half of it; its width is the integral over the peak. What is not thermal in it is turbulence, which the
    hydrogen shares; its own thermal width is added.
    """

    def __init__(self, cube, tracer, parameters):
        check_frames("tracer", tracer, cube)
        check_position("tracer", tracer, cube)
        check_overlap("tracer", tracer, cube)
        self.significance = parameters.tracer_significance
        if self.significance > 0 and tracer.shape[0] < LEAST_TRACER_CHANNELS:
            raise InputError(
                f"tracer: its noise cannot be measured on {tracer.shape[0]} channels, "
                f"{LEAST_TRACER_CHANNELS} are needed; take a cube with more, or set tracer_significance=0"
            )
        self.velocity_kms = cube.velocity.to_value(u.km / u.s)
        self.channel_kms = cube.channel_width.to_value(u.km / u.s)
        self.tracer_kms = tracer.velocity.to_value(u.km / u.s)
        self.tracer_channel_kms = tracer.channel_width.to_value(u.km / u.s)
        self.spectra = tracer.kelvin.reshape(len(self.tracer_kms), -1)
        self.nearest = _nearest_pixels(cube, tracer)
        thermal = (const.k_B * parameters.spin_temperature / const.m_p).to_value(u.km**2 / u.s**2)
        self.hydrogen, self.molecule = thermal, thermal / parameters.tracer_mass

    def __call__(self, pixel, channels):
        """Centre and FWHM in km/s; None where there is no line."""
        if self.nearest[pixel] < 0:
            return None
        spectrum = self.spectra[:, self.nearest[pixel]].astype(float)
        least = self.significance * difference_noise(spectrum[:, None])[0] if self.significance > 0 else 0.0
        spectrum = np.where(np.isfinite(spectrum), spectrum, 0)
        own = self.velocity_kms[channels]
        allowed = (self.tracer_kms >= own.min() - self.channel_kms) & (
            self.tracer_kms <= own.max() + self.channel_kms
        )
        if not allowed.any():
            return None
        peak = np.flatnonzero(allowed)[np.argmax(spectrum[allowed])]
        # Nor where so much is blank that the noise is not known, and the limit NaN.
        if not (spectrum[peak] > least and spectrum[peak] > 0):
            return None
        return self._measure(spectrum, peak)

    def _measure(self, spectrum, peak):
        below = np.flatnonzero(spectrum <= spectrum[peak] / 2)
        first = below[below < peak].max(initial=-1) + 1
        stop = below[below > peak].min(initial=len(spectrum))
        core = slice(first, stop)
        centre = np.average(self.tracer_kms[core], weights=spectrum[core])
        # The integral takes in the wings, as far again to either side.
        wide = slice(max(first - (stop - first), 0), stop + (stop - first))
        area = spectrum[wide].sum() * self.tracer_channel_kms
        sigma = area / spectrum[peak] / np.sqrt(2 * np.pi)
        turbulent = max(sigma**2 - self.molecule - self.tracer_channel_kms**2 / 12, 0)
        return centre, np.sqrt(turbulent + self.hydrogen) / gaussian_fwhm_to_sigma


def _nearest_pixels(cube, tracer):
    """Flat pixel of the tracer nearest to each pixel of the cube, -1 beyond its map; shape (n_y * n_x,)."""
    y, x = np.indices(cube.shape[1:])
    sky = places_of_pixels(cube.wcs, x.reshape(-1), y.reshape(-1))
    at_x, at_y = (np.rint(place) for place in pixels_of_places(tracer.wcs, sky))
    n_y, n_x = tracer.shape[1:]
    inside = (at_x >= 0) & (at_x < n_x) & (at_y >= 0) & (at_y < n_y)
    return np.where(inside, np.where(inside, at_y, 0) * n_x + np.where(inside, at_x, 0), -1).astype(np.int64)
