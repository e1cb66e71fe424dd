"""Absorption put into a real cube, on sky that is free of it.

What is known of the sky is the cube with all absorption that was found replaced by T_U. Its noise has
to be drawn anew if false detections are to be counted: the noise peaks that look like absorption
have been taken away together with the absorption. The box mean of the spectral search divides the
two: what it leaves stays as it was observed, and what it takes away is replaced by Gaussian noise of
the level (by place and channel) and of the correlation that were measured in the cube. At each scale
as much power is drawn as the box mean takes away, so that the noise of the box mean, in which both
searches look, is that of the cube.
"""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from scipy.fft import fftfreq, irfft2, rfft2, rfftfreq

from hisatools.cube import HISACube
from hisatools.errors import InputError, ParameterError
from hisatools.noise import NoiseCorrelation, expand_noise
from hisatools.parameters import check_number
from hisatools.simulate import TRUTH_LEVEL_KELVIN, ModelParameters, correlated_noise, put_pucks
from hisatools.smoothing import box_mean, odd_pixels

NOISES = ("drawn", "own")
# Where pixels are coarse the spectral search has none; the noise must be told from the sky all the same.
MIN_BOX_PIX = 3


@dataclass(frozen=True, eq=False)
class InjectedCube:
    """A cube with absorption put in, and its truth.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
        What is to be searched.
    delta_t, t_unabsorbed : `~astropy.units.Quantity`, shape (n_v, n_y, n_x), K
        The absorption put in (0 or negative), and the emission without it.

    Examples
    --------
    >>> from hisatools.datasets import example_model
    >>> from hisatools.performance.injection import InjectedCube
    >>> model = example_model()
    >>> injected = InjectedCube(model.cube, model.delta_t, model.t_unabsorbed)
    >>> int(injected.mask.sum()), injected.pixel_scale.round(1)
    (93620, <Quantity 0.3 arcmin>)
    """

    cube: HISACube
    delta_t: u.Quantity
    t_unabsorbed: u.Quantity

    @property
    def mask(self):
        """True where the absorption put in is deeper than 0.005 K, and the cube is not blank."""
        return (self.delta_t.value < -TRUTH_LEVEL_KELVIN) & np.isfinite(self.t_unabsorbed.value)

    @property
    def pixel_scale(self):
        """Side of a pixel; scalar Quantity, arcmin."""
        return self.cube.pixel_scale

    @property
    def channel_width(self):
        """Width of a channel; scalar Quantity, km/s."""
        return self.cube.channel_width


@dataclass(frozen=True, eq=False)
class Sky:
    """Sky without absorption, ready for pucks.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
        The cube without the absorption that was found.
    smooth_kelvin : `~numpy.ndarray`, shape (n_v, n_y, n_x), K
        Its box mean; NaN where blank.
    occupied : `~numpy.ndarray` of bool, same shape
        Where no puck may be.
    box_pix : int
        Side of the box, odd and at least 3.
    sigma_kelvin : `~numpy.ndarray`, shape (n_v, g_y, g_x), K, or None
        Noise of the cube on a coarse grid, to be drawn anew; None leaves the cube's own.
    correlation : `~hisatools.noise.NoiseCorrelation`
    parameters : `~hisatools.simulate.ModelParameters`
        Of the pucks.

    Examples
    --------
    >>> from hisatools import HISAExtractor
    >>> from hisatools.performance.injection import measure_sky
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> cube = simulate_cube(ModelParameters(shape=(16, 72, 72), n_pucks=8, n_components=60), seed=3).cube
    >>> sky = measure_sky(cube, HISAExtractor(n_passes=1), n_pucks=20)  # doctest: +IGNORE_WARNINGS
    >>> injected = sky.inject(1)
    >>> injected.cube.shape, injected.delta_t.min().round()
    ((16, 72, 72), <Quantity -7. K>)
    """

    cube: HISACube
    smooth_kelvin: np.ndarray
    occupied: np.ndarray
    box_pix: int
    sigma_kelvin: np.ndarray | None
    correlation: NoiseCorrelation
    parameters: ModelParameters

    def inject(self, seed):
        """Put pucks in.

        Parameters
        ----------
        seed : int
            The same seed gives the same cube.

        Returns
        -------
        InjectedCube
        """
        puck_rng, noise_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
        absorption, _ = put_pucks(self.parameters, puck_rng, self.occupied.copy())
        kelvin = self._with_noise(noise_rng)
        return InjectedCube(
            cube=self.cube.with_brightness(kelvin + absorption),
            delta_t=u.Quantity(absorption, u.K, copy=False),
            t_unabsorbed=u.Quantity(self.smooth_kelvin, u.K, copy=False),
        )

    def _with_noise(self, rng):
        if self.sigma_kelvin is None:
            return self.cube.kelvin
        correlation = self.correlation
        noise = correlated_noise(self.cube.shape, correlation.beam_pix, correlation.line_chan, rng)
        taken_away = np.sqrt(1 - _box_transfer(self.cube.shape[1:], self.box_pix) ** 2).astype(np.float32)
        for plane, sigma in zip(noise, self.sigma_kelvin, strict=True):
            plane[:] = irfft2(rfft2(plane) * taken_away, plane.shape)
            plane *= expand_noise(sigma, plane.shape)
        return self.smooth_kelvin + noise


def measure_sky(cube, extractor, *, n_pucks=None, noise="drawn", workers=1, progress=False):
    """Extract a cube, and take away what was found.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
    extractor : `~hisatools.HISAExtractor`
    n_pucks : int, optional
        As many as in the paper's models for the same area and velocity range by default.
    noise : {"drawn", "own"}
        See `hisatools.performance.run_injections`.
    workers : int
    progress : bool

    Returns
    -------
    Sky

    Raises
    ------
    ParameterError
        If ``noise`` or ``n_pucks`` is impossible.
    InputError
        If the cube is a single spectrum, or too small for its noise to be measured.

    Examples
    --------
    >>> from hisatools import HISAExtractor
    >>> from hisatools.performance.injection import measure_sky
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> cube = simulate_cube(ModelParameters(shape=(16, 72, 72), n_pucks=8, n_components=60), seed=3).cube
    >>> sky = measure_sky(cube, HISAExtractor(n_passes=1), noise="own")  # doctest: +IGNORE_WARNINGS
    >>> sky.parameters.n_pucks, sky.box_pix, sky.occupied.shape
    (5, 7, (16, 72, 72))
    """
    if noise not in NOISES:
        raise ParameterError(f"noise must be one of {', '.join(NOISES)}, got {noise!r}")
    if n_pucks is not None:
        check_number("n_pucks", n_pucks, integer=True)
    cube = cube.cutout(cube.filled_box())
    if cube.is_spectrum:
        raise InputError("one sight line is too little for a performance model; give a cube with a map")
    result = extractor.run(cube, workers=workers, progress=progress)
    measured = extractor.spatial.measure_noise(cube, workers=workers)
    free = cube.with_brightness(result.t_unabsorbed)
    box = extractor.spectral.parameters.smoothing_box
    box_pix = max(odd_pixels((box / cube.pixel_scale).to_value("")), MIN_BOX_PIX)
    smooth = np.stack([box_mean(channel, box_pix) for channel in free.kelvin])
    return Sky(
        cube=free,
        smooth_kelvin=smooth,
        occupied=result.mask,
        box_pix=box_pix,
        sigma_kelvin=_known_noise(measured.coarse_kelvin) if noise == "drawn" else None,
        correlation=measured.correlation,
        parameters=_puck_parameters(cube, measured.correlation, n_pucks),
    )


def _known_noise(coarse_kelvin):
    """The noise, in channels with too few pixels to measure it that of the others."""
    known = np.isfinite(coarse_kelvin)
    if not known.any():
        raise InputError(
            "the noise of the cube cannot be measured (too few pixels), so that none can be drawn; give a "
            'larger cube, or noise="own"'
        )
    return np.where(known, coarse_kelvin, np.median(coarse_kelvin[known]))


def _box_transfer(map_shape, box_pix):
    """What a box mean leaves of each spatial frequency of a map, in the order of `scipy.fft.rfft2`."""
    offset = np.arange(box_pix) - box_pix // 2
    frequencies = fftfreq(map_shape[0]), rfftfreq(map_shape[1])
    along_y, along_x = (np.cos(2 * np.pi * np.outer(one, offset)).mean(axis=1) for one in frequencies)
    return np.clip(np.outer(along_y, along_x), -1, 1)


def _puck_parameters(cube, correlation, n_pucks):
    """Pucks in the cube's pixels, blurred by its beam, as dense in the sky as the paper's."""
    beam = cube.beam
    beam_fwhm = correlation.beam_pix * cube.pixel_scale if beam is None else np.sqrt(beam.major * beam.minor)
    if n_pucks is None:
        paper = ModelParameters()
        volumes = [
            np.prod(one.shape) * (one.pixel_scale**2 * one.channel_width).to_value(u.arcmin**2 * u.km / u.s)
            for one in (cube, paper)
        ]
        n_pucks = max(round(paper.n_pucks * volumes[0] / volumes[1]), 1)
    return ModelParameters(
        shape=tuple(int(n) for n in cube.shape),
        pixel_scale=cube.pixel_scale,
        channel_width=cube.channel_width,
        n_pucks=n_pucks,
        beam_fwhm=max(beam_fwhm.to(u.arcmin), 1e-3 * cube.pixel_scale),
    )
