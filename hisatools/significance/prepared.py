"""A scan made ready for cubes of one shape, noise and pattern of blanks."""

from dataclasses import dataclass, field
from itertools import pairwise, product

import numpy as np

from hisatools.noise import NoiseCorrelation
from hisatools.search.base import run_blocks
from hisatools.significance.chance import BestOfBank, bank_correlations
from hisatools.significance.matched import TileBank, make_filters
from hisatools.significance.parameters import ScanParameters

# Sides of the tiles that are filtered at a time: fixed, so that results hang on nothing but the cube.
TILE_PIX = 256
# More are made anew each time they are needed.
MAX_KEPT_TILES = 4
# The scatter counts as if this many independent values had shown what the model of the noise says.
MODEL_VALUES = 100
MAX_SAMPLE = 50_000
SEED = 20_050_202


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """Filters, tiles and the distribution of the best of the bank; made by `SignificanceScan.prepare`.

    Parameters
    ----------
    parameters : `ScanParameters`
    usable : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x)
        False where blank.
    correlation : `~hisatools.noise.NoiseCorrelation`
    sky, lines : list
        Filters of the bank, on the sky and along velocity.
    chance : `~hisatools.significance.chance.BestOfBank`
        Of signal to noise in pure noise.

    Examples
    --------
    >>> from hisatools.significance import Residual, SignificanceScan
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(24, 32, 32), n_pucks=2, n_components=60), seed=104)
    >>> residual = Residual.of(model.cube, model.t_unabsorbed, known=model.mask)
    >>> prepared = SignificanceScan().prepare(residual)
    >>> len(prepared.parameters.templates), prepared.shape
    (12, (24, 32, 32))
    """

    parameters: ScanParameters
    usable: np.ndarray
    correlation: NoiseCorrelation
    sky: list
    lines: list
    chance: BestOfBank
    _kept: dict = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, parameters, residual):
        """For a residual, and all others on its axes with its noise."""
        widths_pix = (parameters.widths / residual.pixel_scale).to_value("")
        linewidths_chan = (parameters.linewidths / residual.channel_width).to_value("")
        usable = residual.usable
        sky, lines = make_filters(
            widths_pix,
            linewidths_chan,
            residual.beam_pix,
            residual.correlation,
            usable.any(axis=(1, 2)),
            parameters.noise_floor,
            one_spectrum=usable[0].size == 1,
        )
        chance = BestOfBank.of(bank_correlations(sky, lines, residual.correlation))
        return cls(parameters, usable, residual.correlation, sky, lines, chance)

    @property
    def shape(self):
        """(n_v, n_y, n_x)."""
        return self.usable.shape

    @property
    def tiles(self):
        """Slices (rows, columns) that cover the sky without overlap."""
        rows, columns = (_parts(n) for n in self.shape[1:])
        return [(row, column) for row in rows for column in columns]

    def bank(self, tile):
        """The filters on a tile and what they reach about it; also the tile's place there.

        Returns
        -------
        `~hisatools.significance.matched.TileBank`
        outer : tuple of slice
            Of the cube.
        inner : tuple of slice
            Of the tile in what the bank gives.
        """
        number = self.tiles.index(tile)
        if number in self._kept:
            return self._kept[number]
        reach = max(one.reach for one in self.sky)
        outer = tuple(
            slice(max(part.start - reach, 0), min(part.stop + reach, n))
            for part, n in zip(tile, self.shape[1:], strict=True)
        )
        inner = tuple(
            slice(part.start - whole.start, part.stop - whole.start)
            for part, whole in zip(tile, outer, strict=True)
        )
        bank = TileBank(
            self.usable[:, *outer],
            self.sky,
            self.lines,
            self.parameters.min_coverage,
            self.correlation,
            inner,
        )
        made = bank, (slice(None), *outer), (slice(None), *inner)
        if len(self.tiles) <= MAX_KEPT_TILES:
            self._kept[number] = made
        return made

    def largest(self, standardised, factors=None, *, workers=1):
        """Signal to noise of the best template at each voxel; as `best`, without telling which."""
        found = np.empty(self.shape, np.float32)

        def scan(tile):
            bank, outer, inner = self.bank(tile)
            found[:, *tile] = bank.largest(standardised[outer], factors)[inner]

        run_blocks(scan, self.tiles, workers=workers)
        return self._where_usable(found)

    def calibrated(self, standardised, known=None):
        """As `largest`, with each template divided by its own `scatter`.

        Parameters
        ----------
        standardised : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
        known : `~numpy.ndarray` of bool, same shape, optional
            As for `scatter`.

        Returns
        -------
        signal_to_noise : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
        factors : `~numpy.ndarray`, shape (n,)
        """
        if len(self.tiles) > 1:
            factors = self.scatter(standardised, known)
            return self.largest(standardised, factors), factors
        ((found, factors),) = run_blocks(lambda data: self._calibrated(data, known), [standardised])
        return self._where_usable(found), factors

    def _calibrated(self, standardised, known):
        """Of a cube of one tile: each channel is filtered once for each width."""
        use = self.usable if known is None else self.usable & ~known
        bank, _, _ = self.bank(self.tiles[0])
        factors, n_lines = np.ones(bank.n_templates), len(self.lines)
        found = np.full((len(use), use[0].size), np.nan, np.float32)
        at, n_voxels = _sampled(use), np.count_nonzero(use)
        wanted = use.reshape(found.shape)[:, at]
        for i, planes in bank.planes(standardised):
            for k, values in enumerate(bank.templates(i, planes, at)):
                factors[i * n_lines + k] = self._scatter(values[wanted], i, k, n_voxels)
            bank.raise_to(found, i, planes, factors)
        return found.reshape(self.shape), factors

    def best(self, standardised, factors=None, *, workers=1, progress=False):
        """The best template at each voxel.

        Parameters
        ----------
        standardised : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
            Depth over the rms of its noise, see `Residual.standardised`.
        factors : sequence of float, optional
            What each template's signal to noise is divided by.
        workers : int
        progress : bool

        Returns
        -------
        signal_to_noise : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
            NaN where blank, and where no template is known.
        template : `~numpy.ndarray` of uint8, same shape
        sigma : `~numpy.ndarray` of float32, same shape
            Rms of the amplitude for noise of rms 1.
        """
        found, sigma = (np.empty(self.shape, np.float32) for _ in range(2))
        template = np.empty(self.shape, np.uint8)

        def scan(tile):
            bank, outer, inner = self.bank(tile)
            largest, number = bank.best(standardised[outer], factors)
            found[:, *tile], template[:, *tile] = largest[inner], number[inner]
            of_amplitude = bank.sigma(number)
            if factors is not None:
                of_amplitude *= np.asarray(factors, np.float32)[number]
            sigma[:, *tile] = of_amplitude[inner]

        run_blocks(scan, self.tiles, workers=workers, progress=progress, description="significance")
        return self._where_usable(found), template, sigma

    def _where_usable(self, found):
        found[~self.usable] = np.nan
        return found

    def scatter(self, standardised, known=None, *, workers=1):
        """How much wider than noise each template's signal to noise is scattered.

        Measured on the emission side of the median, where no absorption is; where a cube holds few
        independent values, the answer is drawn towards 1.

        Parameters
        ----------
        standardised : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
        known : `~numpy.ndarray` of bool, same shape, optional
            True where absorption is: left out.
        workers : int

        Returns
        -------
        `~numpy.ndarray`, shape (n,)
        """
        use = self.usable if known is None else self.usable & ~known
        # Some of a large cube, here and there, tell the scatter as well as all.
        chosen_tiles = np.random.default_rng(SEED).permutation(len(self.tiles))
        tiles = [self.tiles[number] for number in chosen_tiles[: max(len(self.tiles) // 4, MAX_KEPT_TILES)]]

        def sample(tile):
            bank, outer, inner = self.bank(tile)
            sight_lines = np.arange(bank.usable[0].size).reshape(bank.shape[1:])[inner[1:]].reshape(-1)
            chosen = _sampled(use[:, *tile])
            wanted = use[:, *tile].reshape(len(use), -1)[:, chosen]
            return [
                values[wanted]
                for i, planes in bank.planes(standardised[outer])
                for values in bank.templates(i, planes, sight_lines[chosen])
            ]

        samples = run_blocks(sample, tiles, workers=workers)
        values = [np.concatenate(parts) for parts in zip(*samples, strict=True)]
        templates, n_voxels = product(range(len(self.sky)), range(len(self.lines))), np.count_nonzero(use)
        return np.array(
            [self._scatter(z, i, k, n_voxels) for z, (i, k) in zip(values, templates, strict=True)]
        )

    def _scatter(self, signal_to_noise, i, k, n_voxels):
        values = signal_to_noise[np.isfinite(signal_to_noise)]
        if values.size == 0:
            return 1.0
        n_values = n_voxels / self._volume(i, k)
        middle, lower = np.percentile(values, [50, 15.866])
        return float(np.sqrt((n_values * (middle - lower) ** 2 + MODEL_VALUES) / (n_values + MODEL_VALUES)))

    def _volume(self, i, k):
        """Voxels that count as one independent value of a template's signal to noise."""
        sky, line = self.sky[i], self.lines[k]
        usable = np.flatnonzero(np.isfinite(line.sigma))
        middle = usable[usable.size // 2]
        area, length = (
            np.abs(part).sum() ** 2 / max((part**2).sum(), np.finfo(float).tiny)
            for part in (sky.weights, line.weights[middle].astype(float))
        )
        return max(2 * area, 1.0) * max(np.sqrt(2) * length, 1.0)


def _sampled(use):
    """Some of the sight lines that have anything to use, evenly."""
    there = np.flatnonzero(use.any(axis=0))
    # An odd step: an even one would take the same few columns of every row.
    return there[:: max(np.count_nonzero(use) // MAX_SAMPLE, 1) | 1]


def _parts(n):
    """Equal parts of an axis, none longer than `TILE_PIX`."""
    n_parts = -(-n // TILE_PIX)
    edges = [round(n * part / n_parts) for part in range(n_parts + 1)]
    return [slice(first, stop) for first, stop in pairwise(edges)]
