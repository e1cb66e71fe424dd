"""Absorption that is put into trials: what it looks like, how deep it is and where it lies."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.stats import gaussian_fwhm_to_sigma
from astropy.table import QTable

from hisatools.catalog import sky_frame
from hisatools.errors import ParameterError, ParameterUnitsError
from hisatools.parameters import _Parameters, _quantity, check_number
from hisatools.significance.filters import LEAST_BEAM_PIX, LEAST_WIDTH_PIX
from hisatools.significance.fits import world
from hisatools.simulate import blurred_disc, channel_average

__all__ = ["Signal"]

KMS = u.km / u.s
# A feature is cut off this many FWHM of beam and line from where its disc, or its centre, is.
REACH_FWHM = 3
COLUMNS = {
    "v": "Channel of the centre, from 0 in file order; between channels too",
    "y": "Pixel of the centre in latitude, from 0",
    "x": "Pixel of the centre in longitude, from 0",
    "lon": "Longitude (or right ascension) of the centre",
    "lat": "Latitude (or declination) of the centre",
    "velocity": "Velocity of the centre",
    "width": "Diameter of the disc, before the beam",
    "linewidth": "FWHM of the line",
    "delta_t": "dT of the disc before the beam, negative",
    "n_sigma": "-delta_t over the rms of a fitted amplitude at the nearest voxel",
}


@dataclass(frozen=True, kw_only=True)
class Signal(_Parameters):
    """The absorption that is put into trials: a disc of one dT in the beam, with a Gaussian line.

    Parameters
    ----------
    width : `~astropy.units.Quantity`, angle
        Diameter of the disc, before the beam.
    linewidth : `~astropy.units.Quantity`, velocity
        FWHM of the line.
    delta_t : `~astropy.units.Quantity`, temperature, optional
        dT of the disc before the beam: negative.
    n_sigma : float, optional
        Instead of ``delta_t``: depth in units of the rms of a fitted amplitude of this width and
        linewidth, at the place.
    positions : `~astropy.coordinates.SkyCoord`, one or several, optional
        Where features are put, in this order and around again if there are fewer than are wanted. Trial
        follows trial: that of ``seed`` begins with number ``seed``. Drawn from the prior by default.
    velocities : `~astropy.units.Quantity`, one or as many as ``positions``, optional
        Needed with ``positions``.

    Raises
    ------
    ParameterError
        If an argument is impossible, or not one of ``delta_t`` and ``n_sigma`` is given.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.significance.injected import Signal
    >>> Signal(width=2 * u.arcmin, linewidth=3 * u.km / u.s, n_sigma=5).strength
    '5 sigma'
    >>> Signal(delta_t=-20 * u.K).strength
    '-20 K'
    """

    width: u.Quantity = _quantity(2.0 * u.arcmin)
    linewidth: u.Quantity = _quantity(3.0 * u.km / u.s)
    delta_t: u.Quantity | None = None
    n_sigma: float | None = None
    positions: SkyCoord | None = None
    velocities: u.Quantity | None = None

    def __post_init__(self):
        super().__post_init__()
        if (self.delta_t is None) == (self.n_sigma is None):
            raise ParameterError(
                f"give one of delta_t and n_sigma, got delta_t={self.delta_t} and n_sigma={self.n_sigma}; "
                "for example delta_t=-20 * u.K, or n_sigma=5"
            )
        if self.n_sigma is not None:
            object.__setattr__(self, "n_sigma", check_number("n_sigma", self.n_sigma, inclusive=True))
        else:
            object.__setattr__(self, "delta_t", _checked_depth(self.delta_t))
        if (self.positions is None) != (self.velocities is None):
            raise ParameterError(
                "positions and velocities belong together; give for example "
                "positions=SkyCoord(140, 0, unit='deg', frame='galactic'), velocities=-40 * u.km / u.s"
            )
        if self.positions is not None:
            self._check_places()

    def _check_places(self):
        if not isinstance(self.positions, SkyCoord) or self.positions.size == 0 or self.positions.ndim > 1:
            raise ParameterError(f"positions must be one or several SkyCoord, got {self.positions!r:.80}")
        velocities = self.velocities
        if not isinstance(velocities, u.Quantity) or not velocities.unit.is_equivalent(KMS):
            raise ParameterUnitsError(
                f"velocities needs a unit of km / s, got {velocities!r}; write for example "
                "velocities=-40 * u.km / u.s"
            )
        if velocities.size not in (1, self.positions.size) or not np.isfinite(velocities).all():
            raise ParameterError(
                f"velocities must be one finite value, or one for each of {self.positions.size} positions; "
                f"got {velocities}"
            )

    @property
    def strength(self):
        """Text of how deep it is."""
        return f"{self.n_sigma:g} sigma" if self.delta_t is None else f"{self.delta_t:g}"

    def to_dict(self):
        """Field names and values as text and numbers, for the provenance."""
        places = None
        if self.positions is not None:
            frame = self.positions.frame.name
            places = [frame, np.atleast_1d(self.positions).to_string("decimal", precision=7)]
        return {
            "width": str(self.width),
            "linewidth": str(self.linewidth),
            "delta_t": None if self.delta_t is None else str(self.delta_t),
            "n_sigma": self.n_sigma,
            "positions": places,
            "velocities": None if self.velocities is None else str(self.velocities),
        }

    def given_places(self, n, first, residual):
        """Of the given places ``n``, from number ``first``, as voxel coordinates (v, y, x), shape (n, 3).

        Raises
        ------
        ParameterError
            If one of them lies outside the cube.
        """
        sky = np.atleast_1d(self.positions).transform_to(sky_frame(residual.wcs)).spherical
        x, y = residual.wcs.celestial.wcs_world2pix(sky.lon.deg, sky.lat.deg, 0)
        speed = self.velocities.to_value(u.Unit(residual.wcs.wcs.cunit[2]))
        (v,) = residual.wcs.sub([3]).wcs_world2pix(np.broadcast_to(speed, x.shape), 0)
        places = np.stack([v, y, x], axis=1)[(first + np.arange(n)) % x.size]
        inside = np.all((places > -0.5) & (places < np.array(residual.shape) - 0.5), axis=1)
        if not inside.all():
            number = (first + int(np.flatnonzero(~inside)[0])) % x.size
            raise ParameterError(
                f"positions: {np.atleast_1d(self.positions)[number].to_string('decimal')} at "
                f"{np.broadcast_to(self.velocities, x.shape, subok=True)[number]:g} is not in the cube "
                f"(voxel {places[~inside][0].round(1).tolist()} of {list(residual.shape)})"
            )
        return places


def _checked_depth(delta_t):
    """Absorption dT in K, 0 or below."""
    if not isinstance(delta_t, u.Quantity) or not delta_t.unit.is_equivalent(u.K):
        raise ParameterUnitsError(f"delta_t needs a unit of K, got {delta_t!r}; write delta_t=-20 * u.K")
    if not delta_t.isscalar or not np.isfinite(delta_t) or delta_t > 0:
        raise ParameterError(
            f"delta_t must be one finite value of 0 K or below, since absorption is negative; got {delta_t}"
        )
    return delta_t.to(u.K)


def drawn_places(n, residual, prior, allowed, rng):
    """Places (v, y, x) from a prior, or alike everywhere without one, anywhere within their voxels."""
    if prior is None:
        index = np.flatnonzero(allowed)
        voxels = np.stack(np.unravel_index(rng.choice(index, n), allowed.shape), axis=1)
    else:
        voxels = prior.draw(n, rng, allowed)
    within = rng.uniform(-0.5, 0.5, size=(n, 3))
    # Along an axis of one pixel there is no telling where in it.
    return voxels + np.where(np.array(residual.shape) > 1, within, 0)


def add_feature(kelvin, place, signal, depth_kelvin, residual):
    """Add one feature to a cube in place.

    Parameters
    ----------
    kelvin : `~numpy.ndarray`, shape (n_v, n_y, n_x), K
    place : sequence of float
        (v, y, x).
    signal : `Signal`
    depth_kelvin : float
        dT of the disc before the beam.
    residual : `Residual`
        For pixels, channels and beam.
    """
    v, y, x = place
    width_pix = max(float((signal.width / residual.pixel_scale).to_value("")), LEAST_WIDTH_PIX)
    line_chan = float((signal.linewidth / residual.channel_width).to_value(""))
    beam_pix = max(residual.beam_pix, LEAST_BEAM_PIX)
    reach = (REACH_FWHM * line_chan + 1, *(width_pix / 2 + REACH_FWHM * beam_pix + 1,) * 2)
    box = tuple(
        slice(max(int(at - far), 0), min(int(at + far) + 1, n))
        for at, far, n in zip(place, reach, kelvin.shape, strict=True)
    )
    channels, rows, columns = (np.arange(part.start, part.stop) for part in box)
    disc = blurred_disc(
        np.hypot(rows[:, None] - y, columns - x), width_pix / 2, beam_pix * gaussian_fwhm_to_sigma
    )
    line = channel_average(channels - v, line_chan * gaussian_fwhm_to_sigma)
    kelvin[box] += (depth_kelvin * line[:, None, None] * disc).astype(np.float32)


def feature_table(places, signal, depths_kelvin, n_sigma, residual):
    """The truth of a trial: a row for each feature.

    Parameters
    ----------
    places : `~numpy.ndarray`, shape (n, 3)
    signal : `Signal`
    depths_kelvin, n_sigma : `~numpy.ndarray`, shape (n,)
    residual : `Residual`

    Returns
    -------
    `~astropy.table.QTable`
    """
    lon, lat, velocity = world(residual.wcs, places)
    ones = np.ones(len(places))
    table = QTable(
        {
            **dict(zip("vyx", places.T, strict=True)),
            "lon": lon,
            "lat": lat,
            "velocity": velocity,
            "width": ones * signal.width,
            "linewidth": ones * signal.linewidth,
            "delta_t": depths_kelvin * u.K,
            "n_sigma": n_sigma,
        }
    )
    for name, description in COLUMNS.items():
        table[name].info.description = description
    return table
