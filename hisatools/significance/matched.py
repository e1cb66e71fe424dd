"""The bank of matched filters on one tile of a cube: arrays only, prepared once and used for many cubes."""

import numpy as np

from hisatools.noise.correlation import correlation_at
from hisatools.significance.filters import PlaneConvolver, line_filter, point_filter, sky_filter

CHANNELS_PER_BLOCK = 64
CHANNELS_AT_A_TIME = 8
SIGHT_LINES_AT_A_TIME = 1024
# Windows whose variance is worked out at a time.
WINDOWS_PER_BLOCK = 256
# Of the transforms: a filter that lies on blanks alone must not see a rest of them.
ROUNDING = 1e-5
LEAST_CORRELATION = 1e-4


class TileBank:
    """All filters on one tile, with what its blanks and borders make of them.

    On the sky the variance of the filtered noise is exact in each channel. Where channels differ in what is
    blank, what is left of the covariances between channels is taken as that of whole channels.

    Parameters
    ----------
    usable : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x)
        False where the cube is blank.
    sky : sequence of `~hisatools.significance.filters.SkyFilter`
    lines : sequence of `~hisatools.significance.filters.LineFilter`
        For the channels that are usable anywhere in the cube, in this tile or another.
    min_coverage : float
        Share of a filter that must lie on usable voxels.
    correlation : `~hisatools.noise.NoiseCorrelation`
    inner : tuple of slice, optional
        Rows and columns that are asked for; the others are there for what the filters reach.
    """

    def __init__(self, usable, sky, lines, min_coverage, correlation, inner=(slice(None), slice(None))):
        self.sky, self.lines = sky, lines
        self.shape = usable.shape
        self.usable = usable
        self.min_coverage, self.correlation = min_coverage, correlation
        in_cube = np.flatnonzero(np.isfinite(lines[0].sigma))
        patterns, pattern = _patterns(usable[in_cube])
        # Channels that are blank in the whole cube have no weight: any pattern will do.
        self.pattern = np.zeros(len(usable), np.intp)
        self.pattern[in_cube] = pattern
        self.convolver = PlaneConvolver(self.shape[1:], [one.weights for one in sky])
        self.norms = [self._norm(one, patterns, inner) for one in sky]
        self.uneven = [(scale != scale[0]).any(axis=0).reshape(-1) for scale, _ in self.norms]

    def _norm(self, sky, patterns, inner):
        """For each pattern, 1 / rms of the filtered noise and of the amplitude; 0 where little is covered."""
        covered, kept = (
            _correlated(patterns, weights)
            for weights in (sky.weights * sky.template / sky.response, _normalised(sky.weights**2))
        )
        enough = (covered >= self.min_coverage) & (kept > 0)
        kept = _kept_variances(patterns, sky, self.correlation.beam_pix, kept, enough, inner)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where(enough, 1 / (sky.noise * np.sqrt(kept)), 0)
        return scale.astype(np.float32), (scale * sky.response * covered).astype(np.float32)

    @property
    def n_templates(self):
        """Number of templates: each line for each width, the lines running faster."""
        return len(self.sky) * len(self.lines)

    def planes(self, standardised):
        """What the filters on the sky make of each channel.

        Parameters
        ----------
        standardised : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
            Depth over the rms of its noise; anything where the cube is blank.

        Yields
        ------
        number : int
            Of the width.
        planes : `~numpy.ndarray` of float32, shape (n_v, n_y n_x)
            Of rms 1; 0 where too little of the filter lies on usable pixels.
        """
        transformed = self.convolver.transform(np.where(self.usable, standardised, np.float32(0)))
        for i, (scale, _) in enumerate(self.norms):
            planes = np.empty(self.shape, np.float32)
            for first in range(0, len(planes), CHANNELS_AT_A_TIME):
                block = slice(first, first + CHANNELS_AT_A_TIME)
                filtered = self.convolver.filtered(transformed[block], i)
                # One pattern for all channels is the rule, and needs no copy of it.
                there = scale if len(scale) == 1 else scale[self.pattern[block]]
                np.multiply(filtered, there, out=planes[block])
            yield i, planes.reshape(len(planes), -1)

    def template(self, i, k, planes, at=slice(None)):
        """Signal to noise of one template on some sight lines.

        Parameters
        ----------
        i, k : int
            Numbers of its width and its line.
        planes : `~numpy.ndarray` of float32, shape (n_v, n_y n_x)
            Of that width, see `planes`.
        at : slice or `~numpy.ndarray` of int
            The sight lines, in C order.

        Returns
        -------
        `~numpy.ndarray` of float32, shape (n_v, n)
            Positive for absorption; NaN where too little of the template lies on usable voxels.
        """
        line, scale = self.lines[k], self.norms[i][0]
        both = line.weights @ planes[:, at]
        even = np.isfinite(line.sigma)[:, None] & (scale[0].reshape(-1)[at] > 0)
        uneven = self.uneven[i][at]
        if uneven.any():
            rms = self._uneven(i, line, at)[0]
            both[:, uneven] /= rms
            even[:, uneven] = np.isfinite(rms)
        if not even.all():
            both[~even] = np.nan
        return both

    def signal_to_noise(self, standardised):
        """Signal to noise of each template at each voxel.

        Parameters
        ----------
        standardised : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
            As for `planes`.

        Yields
        ------
        number : int
            Of the template.
        signal_to_noise : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
            As `template` gives it.
        """
        for i, planes in self.planes(standardised):
            for k in range(len(self.lines)):
                yield i * len(self.lines) + k, self.template(i, k, planes).reshape(self.shape)

    def _uneven(self, number, line, at=slice(None)):
        """Where channels differ in what is blank: rms of what else is of rms 1, and of the amplitude.

        Both have the shape (n_v, n), for those of the sight lines ``at`` that are ``uneven``, and are
        infinite where too little of the line is left.
        """
        uneven = self.uneven[number][at]
        scale, response = (
            part.reshape(len(part), -1)[:, at][:, uneven][self.pattern] for part in self.norms[number]
        )
        there = (scale > 0).astype(np.float32)
        n_v = len(there)
        variance = np.zeros(there.shape, np.float32)
        for lag in range(n_v):
            correlation = correlation_at(np.array(float(lag)), self.correlation.line_chan)
            if correlation < LEAST_CORRELATION:
                break
            weights = line.weights[:, : n_v - lag] * line.weights[:, lag:]
            twice = 1 if lag == 0 else 2
            variance += np.float32(twice * correlation) * (weights @ (there[: n_v - lag] * there[lag:]))
        # Blank channels have no response and an infinite sigma.
        whole = np.where(np.isfinite(line.sigma), line.sigma, 0).astype(np.float32)
        share = (line.responses @ there) * whole[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            rms = np.where((share >= self.min_coverage) & (variance > 0), np.sqrt(variance), np.inf)
            return rms, rms / (line.responses @ response)

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
        found = np.full((len(self.usable), self.usable[0].size), np.nan, np.float32)
        factors = np.ones(self.n_templates) if factors is None else np.asarray(factors)
        for i, planes in self.planes(standardised):
            self.raise_to(found, i, planes, factors.reshape(len(self.sky), -1)[i])
        return found.reshape(self.shape)

    def raise_to(self, found, i, planes, factors):
        """Raise ``found``, in place, to the signal to noise of the templates of one width.

        Parameters
        ----------
        found : `~numpy.ndarray` of float32, shape (n_v, n_y n_x)
            NaN where nothing is known yet.
        i : int
            Number of the width.
        planes : `~numpy.ndarray` of float32, same shape
            See `planes`.
        factors : sequence of float
            What the signal to noise of each line is divided by.
        """
        # Sight lines that a processor's own memory holds: all of the bank costs little more than one template.
        for first in range(0, planes.shape[1], SIGHT_LINES_AT_A_TIME):
            at = slice(first, first + SIGHT_LINES_AT_A_TIME)
            for k, factor in enumerate(factors):
                values = self.template(i, k, planes, at)
                values *= np.float32(1 / factor)
                np.fmax(found[:, at], values, out=found[:, at])

    def sigma(self, template):
        """Rms of the amplitude for noise of rms 1, of the template at each voxel; float32."""
        sigma = np.empty(self.shape, np.float32)
        for number in np.unique(template):
            chosen = template == number
            sigma[chosen] = self.sigma_of(int(number))[chosen]
        return sigma

    def sigma_of(self, number):
        """Rms of the amplitude of one template for noise of rms 1; infinite where it is not known.

        Parameters
        ----------
        number : int

        Returns
        -------
        `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
        """
        i, k = divmod(number, len(self.lines))
        line = self.lines[k]
        with np.errstate(divide="ignore"):
            on_sky = 1 / self.norms[i][1][0].ravel()
        sigma = line.sigma.astype(np.float32)[:, None] * on_sky
        sigma[:, self.uneven[i]] = self._uneven(i, line)[1]
        return sigma.reshape(self.shape)


def _patterns(usable):
    """Maps of what is usable that differ, the most frequent first, and the number of each channel's."""
    if not len(usable):
        return np.zeros((1, *usable.shape[1:]), bool), np.zeros(0, np.intp)
    packed = np.packbits(usable.reshape(len(usable), -1), axis=1)
    _, first, number, count = np.unique(
        packed, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(-count, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    return usable[first[order]], rank[number.reshape(-1)]


def _kept_variances(patterns, sky, beam_pix, kept, enough, inner):
    """Share of the filtered noise's variance that borders and blanks leave, for each pattern.

    Worked out for the first, and for the others where they differ from it.
    """
    partly = np.zeros(patterns.shape, bool)
    partly[:, *inner] = (enough & (kept < 1 - ROUNDING))[:, *inner]
    exact = kept.copy()
    exact[0] = _kept_variance(patterns[0], sky, beam_pix, kept[0], partly[0])
    for number in range(1, len(patterns)):
        same = partly[number] & (np.abs(kept[number] - kept[0]) < ROUNDING) & enough[0]
        exact[number] = _kept_variance(patterns[number], sky, beam_pix, kept[number], partly[number] & ~same)
        exact[number][same] = exact[0][same]
    return exact


def _kept_variance(footprint, sky, beam_pix, kept, partly):
    """The share of one pattern, exactly where ``partly`` is True.

    With A the weights that lie on usable pixels and C the correlation along an axis, which is the same
    along both, the variance is the sum of A times C A C.
    """
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
    found[found < ROUNDING] = 0
    return found


def make_filters(
    widths_pix, linewidths_chan, beam_pix, correlation, usable_channels, floor, *, one_spectrum=False
):
    """The filters of a bank.

    Parameters
    ----------
    widths_pix, linewidths_chan : sequence of float
    beam_pix : float
        FWHM of the beam that discs are seen with.
    correlation : `~hisatools.noise.NoiseCorrelation`
    usable_channels : `~numpy.ndarray` of bool, shape (n_v,)
    floor : float
    one_spectrum : bool
        Whether there is but one sight line, which knows no widths.

    Returns
    -------
    sky : list of `~hisatools.significance.filters.SkyFilter`
    lines : list of `~hisatools.significance.filters.LineFilter`
    """
    if one_spectrum:
        sky = [point_filter() for _ in widths_pix]
    else:
        sky = [sky_filter(width, beam_pix, correlation.beam_pix, floor) for width in widths_pix]
    lines = [line_filter(width, correlation.line_chan, usable_channels, floor) for width in linewidths_chan]
    return sky, lines
