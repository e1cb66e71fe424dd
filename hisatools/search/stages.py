"""What the searches come by on the way: the curves of the paper's figures 2 and 3."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from hisatools.search.dips import find_dips_of_each_width, next_segment

__all__ = ["SpatialStages", "SpectralStages"]


# eq=False: arrays have no single truth value, so that == would fail.
@dataclass(frozen=True, eq=False)
class SpectralStages:
    """The steps of the spectral search of one sight line (Gibson et al. 2005, section 2.2, figure 2).

    Made by `hisatools.SpectralSearcher.stages`.

    Parameters
    ----------
    observed, smoothed, unabsorbed : `~astropy.units.Quantity`, shape (n_v,), K
        O(k); its mean S(k) over N x N pixels; U(k), the emission that CLEAN fits to S. NaN where blank.
    narrow, broad : `~astropy.units.Quantity`, shape (n_v,), K
        Accepted Gaussian fits of each width, positive; 0 elsewhere.
    detected : `~astropy.units.Quantity`, shape (n_v,), K
        The larger of the two in each channel; 0 all along a sight line with continuum absorption.
    amplitude : `~astropy.units.Quantity`, shape (n_v,), K
        ``detected`` after the maps were smoothed and culled: that of the `~hisatools.SearchResult`.
    sigma_pos : `~astropy.units.Quantity`, scalar, K
        Rms of the positive residuals; NaN where all is blank.
    level : `~astropy.units.Quantity`, scalar, K
        Absorption is suspected where the residual is below this; negative.
    segments : tuple of (int, int)
        First and last channel + 1 of each run that is suspected, in file order.
    velocity : `~astropy.units.Quantity`, shape (n_v,), km/s
        In file order.
    pixel : (int, int)
        (y, x), from 0.
    position : `~astropy.coordinates.SkyCoord` or None
        Of the pixel's centre; None where it is not known.
    wcs : `~astropy.wcs.WCS`
        Of the cube.

    Examples
    --------
    >>> from hisatools import HISACube, SpectralSearcher
    >>> from hisatools.datasets import load_lab_profiles
    >>> lab = load_lab_profiles()
    >>> stages = SpectralSearcher().stages(HISACube.from_spectrum(lab["t_l5"], lab["velocity"]))
    >>> stages.velocity[stages.detected.argmax()]
    <Quantity 7. km / s>
    """

    observed: u.Quantity
    smoothed: u.Quantity
    unabsorbed: u.Quantity
    narrow: u.Quantity
    broad: u.Quantity
    detected: u.Quantity
    amplitude: u.Quantity
    sigma_pos: u.Quantity
    level: u.Quantity
    segments: tuple
    velocity: u.Quantity
    pixel: tuple
    position: SkyCoord | None
    wcs: WCS

    @property
    def residual(self):
        """R = S - U; Quantity, shape (n_v,), K."""
        return self.smoothed - self.unabsorbed

    def plot(self, *, ax=None):
        """Draw the steps as the paper's figure 2; see `hisatools.plotting.plot_spectral_stages`."""
        from hisatools.plotting import plot_spectral_stages

        return plot_spectral_stages(self, ax=ax)


@dataclass(frozen=True, eq=False)
class SpatialStages:
    """The steps of the spatial search of one channel map (Gibson et al. 2005, section 2.3, figure 3).

    Made by `hisatools.SpatialSearcher.stages`.

    Parameters
    ----------
    observed, smoothed, unabsorbed : `~astropy.units.Quantity`, shape (n_y, n_x), K
        O; its mean S over N x N pixels; U, the emission that CLEAN fits to S. NaN where blank.
    smoothed_level, observed_level : `~astropy.units.Quantity`, shape (n_y, n_x), K
        Absorption is suspected where S - U, or O - U, is below these; negative.
    suspected : `~astropy.units.Quantity`, shape (n_y, n_x), K
        U - O where absorption is suspected; 0 elsewhere.
    amplitude : `~astropy.units.Quantity`, shape (n_y, n_x), K
        ``suspected`` after smoothing and culling: that of the `~hisatools.SearchResult`.
    channel : int
        From 0 in file order.
    velocity : `~astropy.units.Quantity`, scalar, km/s
        Of the channel.
    wcs : `~astropy.wcs.WCS`
        Of the cube.

    Examples
    --------
    Where the absorption of a channel map is deepest, as (y, x), and how deep:

    >>> import astropy.units as u
    >>> import numpy as np
    >>> from hisatools import SpatialSearcher
    >>> from hisatools.datasets import example_model
    >>> stages = SpatialSearcher().stages(example_model().cube, -41 * u.km / u.s)
    >>> stages.channel, stages.velocity.round(1)
    (17, <Quantity -41.2 km / s>)
    >>> y, x = np.unravel_index(stages.amplitude.argmax(), stages.amplitude.shape)
    >>> print(y, x, f"{stages.amplitude[y, x]:.1f}")
    102 85 15.8 K
    """

    observed: u.Quantity
    smoothed: u.Quantity
    unabsorbed: u.Quantity
    smoothed_level: u.Quantity
    observed_level: u.Quantity
    suspected: u.Quantity
    amplitude: u.Quantity
    channel: int
    velocity: u.Quantity
    wcs: WCS

    def plot(self, position=None, *, along="latitude", ax=None):
        """Draw a cut as the paper's figure 3; see `hisatools.plotting.plot_spatial_stages`."""
        from hisatools.plotting import plot_spatial_stages

        return plot_spatial_stages(self, position, along=along, ax=ax)


def fitted_dips(observed, smoothed, unabsorbed, sigma_pos, rules):
    """Depth of the accepted narrow and of the accepted broad dips; float32, shape (n_v,), K."""
    narrow, broad = np.zeros((2, observed.size), np.float32)
    if np.isfinite(sigma_pos):
        find_dips_of_each_width(observed, smoothed, unabsorbed, sigma_pos, rules, narrow, broad)
    return narrow, broad


def segments_below(residual, level):
    """Runs of channels with residual < level: tuple of (first, stop)."""
    found = []
    segment = next_segment(residual, level, 0)
    while segment[0] < residual.size:
        found.append(segment)
        segment = next_segment(residual, level, segment[1])
    return tuple(found)
