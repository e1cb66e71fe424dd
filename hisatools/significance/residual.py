"""Residual: O - T_U everywhere in a cube, with what its noise is like."""

from dataclasses import dataclass, field
from functools import cached_property

import astropy.units as u
import numpy as np
from astropy.wcs import WCS

from hisatools.errors import InputError, ParameterUnitsError
from hisatools.filling import FilledCube, VoxelValues
from hisatools.io.checks import check_sky
from hisatools.io.reading import channel_velocity
from hisatools.io.same_axes import SAME_PLACE, sky_offset_pix, velocity_offset_chan
from hisatools.noise import NoiseCorrelation, NoiseEstimator, noise_correlation
from hisatools.noise.differences import difference_line_chan
from hisatools.noise.fields import beam_of, box_of, source, wide
from hisatools.parameters import check_number, check_quantity
from hisatools.results import MaskBit
from hisatools.significance.background import smooth_background
from hisatools.unabsorbed.uncertainty import told_noise

__all__ = ["Residual"]

# Compared on model cubes: a smaller one takes more of what was not found, a larger one leaves emission.
BACKGROUND_FWHM = 20 * u.arcmin


@dataclass(frozen=True, eq=False)
class Residual:
    """O - T_U of a cube and its noise: what is scanned for absorption.

    Parameters
    ----------
    kelvin : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x), K
        O - T_U, negative in absorption; NaN where blank.
    sigma_kelvin : `~numpy.ndarray` of float32, shape (), (n_y, n_x) or (n_v, n_y, n_x), K
        Rms of the noise.
    correlation : `~hisatools.noise.NoiseCorrelation`
        Beam and line profile over which the noise is correlated.
    wcs : `~astropy.wcs.WCS`
        Longitude, latitude, velocity.
    beam_pix : float
        FWHM of the beam that features are seen with.
    known : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x), or None
        True where absorption was found already: left out where noise is measured or drawn.
    meta : dict
        Provenance.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance import Residual
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 64, 64), n_pucks=8, n_components=60), seed=104)
    >>> residual = Residual.of(model.cube, model.t_unabsorbed, known=model.mask)
    >>> residual.shape, round(float(np.mean(residual.sigma_kelvin)), 1)  # 6 K were put in
    ((32, 64, 64), 5.9)
    >>> round(residual.beam_pix, 2), round(float(residual.standardised().max()), 1)
    (3.33, 5.3)
    """

    kelvin: np.ndarray
    sigma_kelvin: np.ndarray
    correlation: NoiseCorrelation
    wcs: WCS
    beam_pix: float
    known: np.ndarray | None = None
    meta: dict = field(default_factory=dict)

    @classmethod
    def of(cls, cube, t_unabsorbed, *, noise=None, known=None, workers=1):
        """From a cube and T_U everywhere.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
        t_unabsorbed : `~astropy.units.Quantity`, shape (n_v, n_y, n_x) or scalar, K
            For example the truth of a model, or a smooth estimate; 0 K for a cube of noise.
        noise : `~hisatools.noise.NoiseResult` or `~astropy.units.Quantity`, optional
            One value, a map or a cube; measured with the strategy "mad-difference" if not given.
        known : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x), optional
            True where absorption is known.
        workers : int
            Number of threads; never changes the result.

        Returns
        -------
        Residual

        Raises
        ------
        InputError
            If an array does not fit the cube, or the noise cannot be measured.
        ParameterUnitsError
            If T_U or the noise is no temperature.

        Examples
        --------
        >>> from hisatools.significance import Residual
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> model = simulate_cube(ModelParameters(shape=(48, 40, 40), n_pucks=3, n_components=50), seed=101)
        >>> residual = Residual.of(model.cube, model.t_unabsorbed)
        >>> 5 < float(residual.sigma_kelvin.mean()) < 7
        True
        """
        workers = check_number("workers", workers, integer=True)
        unabsorbed_kelvin = _kelvin_of("t_unabsorbed", t_unabsorbed, cube)
        known = None if known is None else np.asarray(known)
        if known is not None and (known.shape != cube.shape or known.dtype != bool):
            raise InputError(
                f"known has the shape {known.shape} and the type {known.dtype}; give True and False on the "
                f"cube's axes {cube.shape}"
            )
        kelvin = (cube.kelvin - unabsorbed_kelvin).astype(np.float32, copy=False)
        return cls._of_kelvin(kelvin, cube, noise, known, workers, {})

    @classmethod
    def from_result(cls, cube, result, *, background_fwhm=BACKGROUND_FWHM, noise=None, workers=1):
        """From a cube and what was extracted of it.

        T_U is that of the result in accepted voxels. Elsewhere the result has none, and a smooth map of
        each channel stands for it, made with T_U filled in: see
        `hisatools.significance.background.smooth_background`. Absorption that was not found and is not
        small against ``background_fwhm`` goes partly into it: its amplitude is a lower limit.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
        result : `~hisatools.HISAResult`
            Of this cube.
        background_fwhm : `~astropy.units.Quantity`, angle
            FWHM of the Gaussian that the background is smoothed with.
        noise : optional
            As for `of`.
        workers : int
            Number of threads; never changes the result.

        Returns
        -------
        Residual

        Raises
        ------
        InputError
            If the result is not on the cube's axes, or the noise cannot be measured.
        """
        workers = check_number("workers", workers, integer=True)
        _check_result(result, cube)
        index = np.flatnonzero(result.mask)
        filled = FilledCube(cube, VoxelValues(index, result.unabsorbed_kelvin))
        unabsorbed, meta = _background(cube, filled.block, background_fwhm, workers)
        unabsorbed.reshape(-1)[index] = result.unabsorbed_kelvin
        kelvin = cube.kelvin - unabsorbed
        known = (result.flags & np.uint8(MaskBit.ACCEPTED)) > 0
        return cls._of_kelvin(kelvin, cube, noise, known, workers, meta)

    @classmethod
    def from_cube(cls, cube, *, background_fwhm=BACKGROUND_FWHM, noise=None, workers=1):
        """From a cube alone, with a smooth map of each channel for T_U.

        Absorption that is not small against ``background_fwhm`` goes partly into T_U: amplitudes are lower
        limits. An extraction knows better, see `from_result`.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
        background_fwhm, noise, workers
            As for `from_result`.

        Returns
        -------
        Residual

        Raises
        ------
        InputError
            If the noise cannot be measured.

        Examples
        --------
        >>> from hisatools.significance import Residual
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> model = simulate_cube(ModelParameters(shape=(48, 40, 40), n_pucks=3, n_components=50), seed=101)
        >>> Residual.from_cube(model.cube).kelvin.shape
        (48, 40, 40)
        """
        workers = check_number("workers", workers, integer=True)
        unabsorbed, meta = _background(cube, cube.block, background_fwhm, workers)
        return cls._of_kelvin(cube.kelvin - unabsorbed, cube, noise, None, workers, meta)

    @classmethod
    def _of_kelvin(cls, kelvin, cube, noise, known, workers, meta):
        if noise is None:
            noise = NoiseEstimator("mad-difference").estimate(cube, mask=known, workers=workers)
            meta = meta | {"noise": noise.strategy}
        sigma_kelvin = np.asarray(told_noise(cube, noise), np.float32)
        usable = kelvin if known is None else np.where(known, np.float32(np.nan), kelvin)
        return cls(
            kelvin=kelvin,
            sigma_kelvin=sigma_kelvin,
            correlation=_correlation(usable, cube, workers),
            wcs=cube.wcs,
            beam_pix=beam_of(cube),
            known=known,
            meta=meta | {"input": {name: value for name, value in cube.meta.items() if name != "mends"}},
        )

    @property
    def shape(self):
        """(n_v, n_y, n_x)."""
        return self.kelvin.shape

    @cached_property
    def pixel_scale(self):
        """Side of a pixel; scalar Quantity, arcmin."""
        return check_sky(self.wcs, self.shape, "the residual")

    @cached_property
    def velocity(self):
        """Velocity of the channels in file order; Quantity, shape (n_v,), km/s."""
        return channel_velocity(self.wcs, self.shape[0])

    @cached_property
    def channel_width(self):
        """Width of a channel; positive scalar Quantity, km/s."""
        return abs(float(self.wcs.wcs.cdelt[2])) * u.Unit(self.wcs.wcs.cunit[2]).to(u.km / u.s) * u.km / u.s

    @cached_property
    def usable(self):
        """True where neither the residual nor its noise is blank; bool, shape (n_v, n_y, n_x)."""
        known = np.isfinite(self.sigma_kelvin) & (self.sigma_kelvin > 0)
        return np.isfinite(self.kelvin) & np.broadcast_to(known, self.shape)

    def standardised(self):
        """Depth over the rms of the noise: positive in absorption, 0 where blank; float32."""
        usable = self.usable
        depth = np.zeros(self.shape, np.float32)
        np.divide(-self.kelvin, self.sigma_kelvin, out=depth, where=usable)
        return depth


def _background(cube, block, fwhm, workers):
    """T_U from the surroundings on the sky, and how it was made."""
    fwhm = check_quantity("background_fwhm", fwhm, u.arcmin)
    if cube.is_spectrum:
        raise InputError(
            f"{source(cube)}: one sight line has no surroundings to take T_U from; give T_U with Residual.of"
        )
    fwhm_pix = float((fwhm / cube.pixel_scale).to_value(""))
    return smooth_background(block, cube.shape[0], fwhm_pix, workers=workers), {"background_fwhm": str(fwhm)}


def _check_result(result, cube):
    """Refuse the result of another cube."""
    if result.flags.shape != cube.shape:
        raise InputError(
            f"the result has the shape {result.flags.shape}, the cube {cube.shape}; give the result of "
            "this cube, read with the same velocity range and region"
        )
    off_pix = sky_offset_pix(result.wcs, cube.wcs, cube.shape)
    off_chan = velocity_offset_chan(result.wcs, cube.wcs, cube.shape[0])
    if not max(off_pix, off_chan) < SAME_PLACE:
        raise InputError(
            f"the result is of another cube: {off_pix:.3g} pixels and {off_chan:.3g} channels off; give the "
            "cube that was extracted"
        )


def _kelvin_of(name, value, cube):
    """A brightness on the cube's axes, or one number, in K."""
    if not isinstance(value, u.Quantity) or not value.unit.is_equivalent(u.K):
        raise ParameterUnitsError(
            f"{name} needs a unit of K, got {value!r:.60}; write for example {name}=0 * u.K"
        )
    if value.shape not in ((), cube.shape):
        raise InputError(
            f"{name} has the shape {value.shape}, the cube {cube.shape}; give one value, or a cube on the "
            "same axes"
        )
    return value.to_value(u.K)


def _correlation(kelvin, cube, workers):
    """Beam and line profile of the noise; the header's beam where the sky is too small to tell."""
    if wide(cube):
        return noise_correlation(kelvin, box_of(cube), workers=workers)
    beam_pix = 0.0 if cube.is_spectrum else beam_of(cube)
    return NoiseCorrelation(beam_pix, difference_line_chan(kelvin))
