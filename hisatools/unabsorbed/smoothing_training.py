"""Smoothing scales for asymmetric least squares, learnt from absorption put into the user's own cube.

Lines of known depth and width are taken off spectra of the cube where nothing is flagged. What was
observed before is the truth: it is not made by the smoother that is to be trained, as in the training of
astroSABER (Syed et al. 2023, arXiv:2310.02077), and has the cube's own noise, line profile and channels.
"""

from dataclasses import dataclass, replace

import astropy.units as u
import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from astropy.table import QTable
from scipy.optimize import minimize

from hisatools.errors import InputError, ParameterError
from hisatools.parameters import _number, _Parameters, _quantity, check_number
from hisatools.search.base import run_blocks
from hisatools.unabsorbed.asymmetric_baselines import difference_noise, find_baselines
from hisatools.unabsorbed.asymmetric_least_squares import AsymmetricLeastSquaresParameters

LEAST_SPECTRA = 8
# In no channel may a line reach closer to 0 K than this many times the noise.
LEAST_LEFT = 3.0
# A line is put in, and judged, within this many FWHM of its centre.
REACH_FWHM = 1.0
# Sight lines that are looked at for each one that is wanted.
MOST_LOOKED_AT = 20
# Scales that are tried, in channels; at most this part of the band.
LEAST_SCALE_CHAN = 0.5
LARGEST_SCALE = 0.25
GRID = np.linspace(0, 1, 5)
SPECTRA_PER_BLOCK = 64


@dataclass(frozen=True, kw_only=True)
class TrainingParameters(_Parameters):
    """Lines that are put in, and how the scales are sought.

    Parameters
    ----------
    n_spectra : int
        Number of spectra; half of them train, half are held out.
    n_lines : int
        Lines in each.
    min_depth, max_depth : Quantity, temperature
        Between which depths are drawn, evenly.
    min_linewidth, max_linewidth : Quantity, velocity
        Between which FWHM are drawn, evenly in the logarithm.
    tolerance : float
        The search ends when the logarithms of the scales change by less.
    max_evaluations : int
        Of the cost, after the first grid.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.unabsorbed.smoothing_training import TrainingParameters
    >>> training = TrainingParameters(n_spectra=100, max_linewidth=4 * u.km / u.s)
    >>> training.min_linewidth, training.max_linewidth
    (<Quantity 2. km / s>, <Quantity 4. km / s>)
    """

    _section = "smoothing-training"

    n_spectra: int = _number(200, integer=True)
    n_lines: int = _number(2, integer=True)
    min_depth: u.Quantity = _quantity(10.0 * u.K)
    max_depth: u.Quantity = _quantity(40.0 * u.K)
    min_linewidth: u.Quantity = _quantity(2.0 * u.km / u.s)
    max_linewidth: u.Quantity = _quantity(6.0 * u.km / u.s)
    tolerance: float = _number(0.02)
    max_evaluations: int = _number(60, integer=True)

    def __post_init__(self):
        super().__post_init__()
        for kind in ("depth", "linewidth"):
            low, high = getattr(self, f"min_{kind}"), getattr(self, f"max_{kind}")
            if low > high:
                raise ParameterError(f"min_{kind} ({low}) must not exceed max_{kind} ({high})")


@dataclass(frozen=True, eq=False)
class SmoothingTraining:
    """What the training found.

    Parameters
    ----------
    parameters : `~hisatools.unabsorbed.asymmetric_least_squares.AsymmetricLeastSquaresParameters`
        Those given, with the trained scales.
    evaluations : `~astropy.table.QTable`
        Scales and cost of each trial, in order.
    cost_before, cost_after : float
        Of the given and of the trained scales, on the spectra held out: the median over the spectra of the
        mean squared error in the lines, in units of the noise's variance.
    n_spectra : int
        Number of spectra held out.

    Examples
    --------
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> from hisatools.unabsorbed.smoothing_training import TrainingParameters, train_smoothing
    >>> model = simulate_cube(ModelParameters(shape=(64, 24, 24), n_pucks=3, n_components=50), seed=101)
    >>> short = TrainingParameters(n_spectra=20, max_evaluations=5)
    >>> trained = train_smoothing(model.cube, model.mask, training=short)
    >>> trained.n_spectra, trained.evaluations.colnames
    (10, ['first_scale', 'second_scale', 'cost'])
    """

    parameters: AsymmetricLeastSquaresParameters
    evaluations: QTable
    cost_before: float
    cost_after: float
    n_spectra: int

    @property
    def gain(self):
        """Share of the cost that the training saved; negative if it made things worse."""
        return 1 - self.cost_after / self.cost_before


@dataclass(frozen=True, eq=False)
class InjectedSpectra:
    """Spectra with lines put in: observed before and after, and where; shape (n_v, n), K.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.unabsorbed.smoothing_training import InjectedSpectra
    >>> truth = np.full((64, 10), 80.0)
    >>> in_line = np.zeros((64, 10), bool)
    >>> in_line[30:34] = True
    >>> spectra = InjectedSpectra(truth, truth - 20 * in_line, in_line, np.full(10, 2.0))
    >>> spectra.part(np.arange(5)).kelvin.shape
    (64, 5)
    """

    truth_kelvin: np.ndarray
    kelvin: np.ndarray
    in_line: np.ndarray
    sigma_kelvin: np.ndarray

    def part(self, members):
        """Some of the spectra."""
        return InjectedSpectra(
            self.truth_kelvin[:, members],
            self.kelvin[:, members],
            self.in_line[:, members],
            self.sigma_kelvin[members],
        )


def train_smoothing(cube, mask=None, *, parameters=None, training=None, seed=0, workers=1):
    """Find the smoothing scales that best restore lines put into a cube.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
    mask : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x), optional
        Where absorption may be; no line is put there. Without it all of the cube is used.
    parameters : `~hisatools.unabsorbed.asymmetric_least_squares.AsymmetricLeastSquaresParameters`, optional
        From which the search starts; all but the scales stays as it is.
    training : `TrainingParameters`, optional
    seed : int
        The same seed gives the same result.
    workers : int
        Number of threads; never changes the result.

    Returns
    -------
    `SmoothingTraining`

    Raises
    ------
    InputError
        If the mask does not fit the cube, or too few spectra are bright enough for the lines.

    Examples
    --------
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(64, 24, 24), n_pucks=3, n_components=50), seed=101)
    >>> trained = train_smoothing(model.cube, model.mask, training=TrainingParameters(n_spectra=40))
    >>> trained.cost_after <= trained.cost_before
    True
    >>> trained.evaluations.colnames
    ['first_scale', 'second_scale', 'cost']
    """
    parameters = AsymmetricLeastSquaresParameters() if parameters is None else parameters
    training = TrainingParameters() if training is None else training
    check_number("seed", seed, inclusive=True, integer=True)
    if mask is not None and mask.shape != cube.shape:
        raise InputError(f"mask has the shape {mask.shape}, the cube {cube.shape}; pass a mask for this cube")
    spectra = inject_lines(cube, mask, training, np.random.default_rng(seed))
    n = spectra.kelvin.shape[1]
    learnt, held_out = spectra.part(np.arange(0, n, 2)), spectra.part(np.arange(1, n, 2))
    evaluations = []

    def cost(log_scales):
        trial = _with_scales(parameters, np.exp(log_scales))
        value = restoration_cost(learnt, trial, cube.channel_width, workers=workers)
        evaluations.append((trial.first_scale, trial.second_scale, value))
        return value

    best = _with_scales(parameters, np.exp(_search(cost, parameters, training, cube)))
    before, after = (
        restoration_cost(held_out, trial, cube.channel_width, workers=workers) for trial in (parameters, best)
    )
    first, second, costs = zip(*evaluations, strict=True)
    record = QTable(
        [u.Quantity(first), u.Quantity(second), costs], names=["first_scale", "second_scale", "cost"]
    )
    record.meta.update(seed=seed, n_trained=learnt.kelvin.shape[1], **training.to_dict())
    return SmoothingTraining(best, record, before, after, held_out.kelvin.shape[1])


def _with_scales(parameters, scales_kms):
    first, second = scales_kms * u.km / u.s
    return replace(parameters, first_scale=first, second_scale=second)


def _search(cost, parameters, training, cube):
    """Logarithms of the best scales in km/s: the best of a grid and the start, then downhill from there."""
    channel_kms = cube.channel_width.to_value(u.km / u.s)
    largest = max(LARGEST_SCALE * cube.shape[0], 2 * LEAST_SCALE_CHAN)
    low, high = np.log(LEAST_SCALE_CHAN * channel_kms), np.log(largest * channel_kms)
    axis = low + GRID * (high - low)
    start = np.log([parameters.first_scale.value, parameters.second_scale.value])
    trials = [np.clip(start, low, high), *(np.array([one, two]) for one in axis for two in axis)]
    best = trials[np.argmin([cost(trial) for trial in trials])]
    step = (axis[1] - axis[0]) / 2
    # Away from the border, where a simplex would be flat.
    away = np.where(best > (low + high) / 2, -step, step)
    simplex = best + np.array([[0, 0], [away[0], 0], [0, away[1]]])
    options = {
        "initial_simplex": simplex,
        "xatol": training.tolerance,
        "fatol": 1e-4,
        "maxfev": training.max_evaluations,
    }
    return minimize(cost, best, method="Nelder-Mead", bounds=[(low, high)] * 2, options=options).x


def restoration_cost(spectra, parameters, channel_width, *, workers=1):
    """Median over the spectra of their reduced chi^2 in the lines.

    Parameters
    ----------
    spectra : `InjectedSpectra`
    parameters : `~hisatools.unabsorbed.asymmetric_least_squares.AsymmetricLeastSquaresParameters`
        The gate is left open.
    channel_width : Quantity, velocity
    workers : int

    Returns
    -------
    float

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> from hisatools.unabsorbed.asymmetric_least_squares import AsymmetricLeastSquaresParameters
    >>> from hisatools.unabsorbed.smoothing_training import TrainingParameters, inject_lines, restoration_cost
    >>> model = simulate_cube(ModelParameters(shape=(64, 24, 24), n_pucks=3, n_components=50), seed=101)
    >>> rng = np.random.default_rng(1)
    >>> spectra = inject_lines(model.cube, model.mask, TrainingParameters(n_spectra=20), rng)
    >>> cost = restoration_cost(spectra, AsymmetricLeastSquaresParameters(), model.cube.channel_width)
    >>> round(cost, 1)
    2.8
    """
    lam, opened = parameters.lam(channel_width), replace(parameters, gate_sigma=0.0)

    def chi_squared(block):
        part = spectra.part(block)
        found = find_baselines(
            part.kelvin, part.in_line, lam, opened, gate_chan=0.0, sigma_kelvin=part.sigma_kelvin
        )
        squared = np.where(part.in_line, found.kelvin - part.truth_kelvin, 0) ** 2
        return squared.sum(axis=0) / part.in_line.sum(axis=0) / part.sigma_kelvin**2

    n = spectra.kelvin.shape[1]
    blocks = [slice(first, first + SPECTRA_PER_BLOCK) for first in range(0, n, SPECTRA_PER_BLOCK)]
    return float(np.median(np.concatenate(run_blocks(chi_squared, blocks, workers=workers))))


def inject_lines(cube, mask, training, rng):
    """Draw spectra and put lines into them.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
    mask : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x), or None
    training : `TrainingParameters`
    rng : `~numpy.random.Generator`

    Returns
    -------
    `InjectedSpectra`
        Those that took at least one line.

    Raises
    ------
    InputError
        If they are fewer than 8.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> from hisatools.unabsorbed.smoothing_training import TrainingParameters, inject_lines
    >>> model = simulate_cube(ModelParameters(shape=(64, 24, 24), n_pucks=3, n_components=50), seed=101)
    >>> rng = np.random.default_rng(1)
    >>> spectra = inject_lines(model.cube, model.mask, TrainingParameters(n_spectra=20), rng)
    >>> spectra.kelvin.shape[0], round(float((spectra.truth_kelvin - spectra.kelvin).max()))  # deepest, K
    (64, 38)
    """
    n_v = cube.shape[0]
    spectra = cube.kelvin.reshape(n_v, -1)
    flagged = np.zeros((n_v, 1), bool) if mask is None else mask.reshape(n_v, -1)
    channel_kms = cube.channel_width.to_value(u.km / u.s)
    taken = []
    for line in rng.permutation(spectra.shape[1])[: MOST_LOOKED_AT * training.n_spectra]:
        truth = spectra[:, line].astype(float)
        sigma = difference_noise(truth[:, None])[0]
        if not sigma > 0:
            continue
        free = np.isfinite(truth) & ~flagged[:, line % flagged.shape[1]]
        absorption, in_line = _draw_lines(truth, free, sigma, training, channel_kms, rng)
        if in_line.any():
            taken.append((truth, truth - absorption, in_line, sigma))
        if len(taken) == training.n_spectra:
            break
    if len(taken) < LEAST_SPECTRA:
        raise InputError(
            f"only {len(taken)} spectra have room for lines of {training.min_depth:g} and more, and "
            f"{LEAST_SPECTRA} are needed; lower min_depth or max_linewidth, or use a larger or brighter cube"
        )
    truth, kelvin, in_line, sigma = (np.stack(items, axis=-1) for items in zip(*taken, strict=True))
    return InjectedSpectra(truth, kelvin, in_line, sigma)


def _draw_lines(truth, free, sigma, training, channel_kms, rng):
    """Absorption of one spectrum in K, 0 or above, and the channels that are judged."""
    absorption, in_line = np.zeros_like(truth), np.zeros(truth.shape, bool)
    for _ in range(training.n_lines):
        depth = rng.uniform(training.min_depth.value, training.max_depth.value)
        low, high = np.log([training.min_linewidth.value, training.max_linewidth.value])
        fwhm_chan = np.exp(rng.uniform(low, high)) / channel_kms
        share = rng.random()
        reach = int(np.ceil(REACH_FWHM * fwhm_chan))
        offset = np.arange(-reach, reach + 1)
        profile = depth * np.exp(-0.5 * (offset / (fwhm_chan * gaussian_fwhm_to_sigma)) ** 2)
        centres = _possible_centres(truth, free & ~in_line, profile, LEAST_LEFT * sigma)
        if len(centres) == 0:
            continue
        within = centres[int(share * len(centres))] + offset
        absorption[within] += profile
        in_line[within] = True
    return absorption, in_line


def _possible_centres(truth, free, profile, least_kelvin):
    """Channels about which all is free, and bright enough for the line in each channel."""
    size = len(profile)
    if len(truth) < size:
        return np.array([], int)
    windows = np.lib.stride_tricks.sliding_window_view(np.where(free, truth, 0), size)
    all_free = np.lib.stride_tricks.sliding_window_view(free, size).all(axis=1)
    return np.flatnonzero(all_free & ((windows - profile).min(axis=1) >= least_kelvin)) + size // 2
