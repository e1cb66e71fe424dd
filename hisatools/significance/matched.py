"""The bank of matched filters on one tile of a cube: arrays only, prepared once and used for many cubes."""

import numpy as np

from hisatools.noise.correlation import correlation_at
from hisatools.significance.coverage import covered_share, find_patterns, kept_variances
from hisatools.significance.filters import PlaneConvolver, line_filter, point_filter, sky_filter

CHANNELS_AT_A_TIME = 16
SIGHT_LINES_AT_A_TIME = 4096
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
        self.weights = np.concatenate([line.weights for line in lines])
        self.shape = usable.shape
        self.usable = usable
        self.min_coverage, self.correlation = min_coverage, correlation
        in_cube = np.flatnonzero(np.isfinite(lines[0].sigma))
        patterns, pattern = find_patterns(usable[in_cube])
        # Channels that are blank in the whole cube have no weight: any pattern will do.
        self.pattern = np.zeros(len(usable), np.intp)
        self.pattern[in_cube] = pattern
        self.convolver = PlaneConvolver(self.shape[1:], [one.weights for one in sky])
        self.norms = [self._norm(one, patterns, inner) for one in sky]
        self.uneven = [(scale != scale[0]).any(axis=0).reshape(-1) for scale, _ in self.norms]

    def _norm(self, sky, patterns, inner):
        """For each pattern, 1 / rms of the filtered noise and of the amplitude; 0 where little is covered."""
        covered, kept = (
            covered_share(patterns, weights)
            for weights in (
                sky.weights * sky.template / sky.response,
                sky.weights**2 / (sky.weights**2).sum(),
            )
        )
        enough = (covered >= self.min_coverage) & (kept > 0)
        kept = kept_variances(patterns, sky, self.correlation.beam_pix, kept, enough, inner)
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

    def templates(self, i, planes, at=slice(None)):
        """Signal to noise of the templates of one width on some sight lines.

        Parameters
        ----------
        i : int
            Number of the width.
        planes : `~numpy.ndarray` of float32, shape (n_v, n_y n_x)
            Of that width, see `planes`.
        at : slice or `~numpy.ndarray` of int
            The sight lines, in C order.

        Returns
        -------
        `~numpy.ndarray` of float32, shape (n_lines, n_v, n)
            Positive for absorption; NaN where too little of the template lies on usable voxels.
        """
        found = (self.weights @ planes[:, at]).reshape(len(self.lines), len(planes), -1)
        even, uneven = self.norms[i][0][0].reshape(-1)[at] > 0, self.uneven[i][at]
        if uneven.any():
            even[uneven] = True
        for line, values in zip(self.lines, found, strict=True):
            values[~np.isfinite(line.sigma)] = np.nan
            if not even.all():
                values[:, ~even] = np.nan
            if uneven.any():
                rms = self._uneven(i, line, at)[0]
                values[:, uneven] /= np.where(np.isfinite(rms), rms, np.nan)
        return found

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
        largest = np.full((len(self.usable), self.usable[0].size), np.nan, np.float32)
        template = np.zeros(largest.shape, np.uint8)
        for i, planes in self.planes(standardised):
            for at in self._parts:
                self.keep_best(largest[:, at], template[:, at], i, planes, at, factors)
        return largest.reshape(self.shape), template.reshape(self.shape)

    def keep_best(self, largest, template, i, planes, at, factors=None):
        """Put the templates of one width in place of those that fit worse.

        Parameters
        ----------
        largest, template : `~numpy.ndarray`, shape (n_v, n)
            What is known of the sight lines ``at``, as `best` gives it; changed in place.
        i, planes, at
            As for `templates`.
        factors : sequence of float, optional
            As for `best`.
        """
        first = i * len(self.lines)
        for number, values in enumerate(self.templates(i, planes, at), start=first):
            if factors is not None:
                values *= np.float32(1 / factors[number])
            better = ~(values <= largest) & ~np.isnan(values)
            largest[better] = values[better]
            template[better] = number

    def largest(self, standardised, factors=None):
        """As `best`, without telling which; NaN where no template is known."""
        found = np.full((len(self.usable), self.usable[0].size), np.nan, np.float32)
        for i, planes in self.planes(standardised):
            self.raise_to(found, i, planes, factors)
        return found.reshape(self.shape)

    def raise_to(self, found, i, planes, factors=None):
        """Raise ``found``, in place, to the signal to noise of the templates of one width.

        Parameters
        ----------
        found : `~numpy.ndarray` of float32, shape (n_v, n_y n_x)
            NaN where nothing is known yet.
        i, planes
            As for `templates`.
        factors : sequence of float, optional
            As for `best`.
        """
        lines = slice(i * len(self.lines), (i + 1) * len(self.lines))
        factors = np.ones(len(self.lines)) if factors is None else np.asarray(factors)[lines]
        for at in self._parts:
            values = self.templates(i, planes, at)
            values *= (1 / factors).astype(np.float32)[:, None, None]
            np.fmax(found[:, at], np.fmax.reduce(values), out=found[:, at])

    @property
    def _parts(self):
        """Sight lines a few at a time, so that all lines cost little more than one."""
        n = self.usable[0].size
        return [slice(first, first + SIGHT_LINES_AT_A_TIME) for first in range(0, n, SIGHT_LINES_AT_A_TIME)]

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
