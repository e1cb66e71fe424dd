"""The bank of matched filters on one tile of a cube: arrays only, prepared once and used for many cubes."""

import numpy as np

from hisatools.noise.correlation import correlation_at
from hisatools.significance.filters import PlaneConvolver, line_filter, sky_filter

CHANNELS_PER_BLOCK = 64
# Windows whose variance is worked out at a time.
WINDOWS_PER_BLOCK = 256


class TileBank:
    """All filters on one tile, with what its blanks and borders make of them.

    Parameters
    ----------
    usable : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x)
        False where the cube is blank.
    sky : sequence of `~hisatools.significance.filters.SkyFilter`
    lines : sequence of `~hisatools.significance.filters.LineFilter`
    min_coverage : float
        Share of a filter that must lie on usable pixels.
    beam_pix : float
        FWHM of the beam that the noise is correlated over; 0 for white noise.
    inner : tuple of slice, optional
        Rows and columns that are asked for; the others are there for what the filters reach.
    """

    def __init__(self, usable, sky, lines, min_coverage, beam_pix, inner=(slice(None), slice(None))):
        self.sky, self.lines = sky, lines
        self.shape = usable.shape
        self.usable = usable
        in_channels = usable.any(axis=(1, 2))
        footprint = usable[in_channels].any(axis=0) if in_channels.any() else usable.any(axis=0)
        # Blanks that are the same in all channels that are not blank as a whole: one map will do.
        self.separable = bool((usable[in_channels] == footprint).all())
        self.maps = footprint[None] if self.separable else usable
        self.convolver = PlaneConvolver(self.shape[1:], [one.weights for one in sky])
        self.norms = [self._norm(one, min_coverage, beam_pix, inner) for one in sky]

    def _norm(self, sky, min_coverage, beam_pix, inner):
        """1 / rms of the filtered noise, and rms of the amplitude; 0 and infinite where little is covered."""
        covered, kept = (
            _correlated(self.maps, weights)
            for weights in (sky.weights * sky.template / sky.response, _normalised(sky.weights**2))
        )
        enough = (covered >= min_coverage) & (kept > 0)
        if self.separable:
            kept[0] = _kept_variance(self.maps[0], sky, beam_pix, kept[0], enough[0], inner)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where(enough, 1 / (sky.noise * np.sqrt(kept)), 0)
            sigma = np.where(enough, sky.noise * np.sqrt(kept) / (sky.response * covered), np.inf)
        return scale.astype(np.float32), sigma.astype(np.float32)

    @property
    def n_templates(self):
        """Number of templates: each line for each width, the lines running faster."""
        return len(self.sky) * len(self.lines)

    def signal_to_noise(self, standardised):
        """Signal to noise of each template at each voxel.

        Parameters
        ----------
        standardised : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
            Depth over the rms of its noise; anything where the cube is blank.

        Yields
        ------
        number : int
            Of the template.
        signal_to_noise : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
            Positive for absorption; NaN where too little of the template lies on usable voxels.
        """
        n_v = self.shape[0]
        transformed = self.convolver.transform(np.where(self.usable, standardised, np.float32(0)))
        for i, (scale, _) in enumerate(self.norms):
            filtered = self.convolver.filtered(transformed, i) * scale
            for k, line in enumerate(self.lines):
                both = (line.weights @ filtered.reshape(n_v, -1)).reshape(self.shape)
                yield i * len(self.lines) + k, self._without_unknown(both, scale, line)

    def _without_unknown(self, signal_to_noise, scale, line):
        known = (scale > 0) & np.isfinite(line.sigma)[:, None, None]
        if not self.separable:
            # The variance that the channels which are there leave of 1.
            there = (scale > 0).astype(np.float32).reshape(self.shape[0], -1)
            variance = (line.covariances @ there).reshape(self.shape)
            known &= variance > 0.25
            signal_to_noise /= np.sqrt(np.where(known, variance, 1))
        signal_to_noise[~np.broadcast_to(known, self.shape)] = np.nan
        return signal_to_noise

    def best(self, standardised, factors=None):
        """The template that fits best at each voxel.

        Parameters
        ----------
        standardised : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
        factors : sequence of float, optional
            What each template's signal to noise is divided by.

        Returns
        -------
        signal_to_noise : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
            The largest; NaN where no template is known.
        template : `~numpy.ndarray` of uint8, same shape
        """
        largest = np.full(self.shape, np.nan, np.float32)
        template = np.zeros(self.shape, np.uint8)
        for number, values in self.signal_to_noise(standardised):
            if factors is not None:
                values *= np.float32(1 / factors[number])
            better = ~(values <= largest) & ~np.isnan(values)
            largest[better] = values[better]
            template[better] = number
        return largest, template

    def largest(self, standardised, factors=None):
        """As `best`, without telling which; NaN where no template is known."""
        largest = np.full(self.shape, np.nan, np.float32)
        for number, values in self.signal_to_noise(standardised):
            if factors is not None:
                values *= np.float32(1 / factors[number])
            np.fmax(largest, values, out=largest)
        return largest

    def sigma(self, template):
        """Rms of the amplitude for noise of rms 1, of the template at each voxel; float32."""
        sigma = np.empty(self.shape, np.float32)
        for number in range(self.n_templates):
            chosen = template == number
            on_sky = self.norms[number // len(self.lines)][1]
            line = self.lines[number % len(self.lines)]
            both = np.broadcast_to(on_sky * line.sigma.astype(np.float32)[:, None, None], self.shape)
            sigma[chosen] = both[chosen]
        return sigma


def _kept_variance(footprint, sky, beam_pix, kept, enough, inner):
    """Share of the filtered noise's variance that borders and blanks leave, exactly where they are near.

    With A the weights that lie on usable pixels and C the correlation along an axis, which is the same
    along both, the variance is the sum of A times C A C.
    """
    partly = np.zeros(footprint.shape, bool)
    partly[inner] = (enough & (kept < 1 - 1e-5))[inner]
    reach = sky.reach
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(footprint, reach).astype(np.float32), sky.weights.shape
    )
    places = np.arange(2 * reach + 1)
    correlation = correlation_at(np.subtract.outer(places, places), beam_pix).astype(np.float32)
    exact, (rows, columns) = kept.copy(), np.nonzero(partly)
    weights = (sky.weights / sky.noise).astype(np.float32)
    for first in range(0, rows.size, WINDOWS_PER_BLOCK):
        at = rows[first : first + WINDOWS_PER_BLOCK], columns[first : first + WINDOWS_PER_BLOCK]
        on_usable = windows[at] * weights
        filtered = correlation @ on_usable @ correlation
        exact[at] = np.einsum("nij,nij->n", on_usable, filtered)
    return exact


def _normalised(weights):
    return weights / weights.sum()


def _correlated(maps, weights):
    """What share of a filter lies on True, channel by channel."""
    convolver = PlaneConvolver(maps.shape[1:], [weights])
    found = np.empty(maps.shape, np.float32)
    for first in range(0, len(maps), CHANNELS_PER_BLOCK):
        block = slice(first, first + CHANNELS_PER_BLOCK)
        found[block] = convolver.filtered(convolver.transform(maps[block]), 0)
    # Rounding of the transform: a filter that lies on blanks alone must not see a rest of them.
    found[found < 1e-5] = 0
    return found


def make_filters(widths_pix, linewidths_chan, beam_pix, correlation, usable_channels, floor):
    """The filters of a bank.

    Parameters
    ----------
    widths_pix, linewidths_chan : sequence of float
    beam_pix : float
        FWHM of the beam that discs are seen with.
    correlation : `~hisatools.noise.NoiseCorrelation`
    usable_channels : `~numpy.ndarray` of bool, shape (n_v,)
    floor : float

    Returns
    -------
    sky : list of `~hisatools.significance.filters.SkyFilter`
    lines : list of `~hisatools.significance.filters.LineFilter`
    """
    sky = [sky_filter(width, beam_pix, correlation.beam_pix, floor) for width in widths_pix]
    lines = [line_filter(width, correlation.line_chan, usable_channels, floor) for width in linewidths_chan]
    return sky, lines
