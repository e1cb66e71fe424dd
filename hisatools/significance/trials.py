"""TrialRunner: cubes without absorption, or with some that is known, scanned as the data are."""

import copy
from dataclasses import dataclass, replace
from functools import cached_property

import astropy.units as u
import numpy as np
from astropy.table import QTable

from hisatools.errors import ParameterError
from hisatools.parameters import _number, _Parameters, check_number, check_quantity
from hisatools.significance.backgrounds import draw_noise, resample
from hisatools.significance.injected import Signal, add_feature, drawn_places, feature_table
from hisatools.significance.prepared import PreparedScan
from hisatools.significance.prior import SpatialPrior
from hisatools.significance.residual import Residual
from hisatools.significance.scan import SignificanceScan, _allowed
from hisatools.significance.trial_fits import fit_features, fit_hottest, fit_table
from hisatools.significance.windows import Window

__all__ = ["Trial", "TrialParameters", "TrialRunner"]

BACKGROUNDS = ("noise", "sign-flip", "shuffle")


@dataclass(frozen=True, kw_only=True)
class TrialParameters(_Parameters):
    """What trials are made of.

    Parameters
    ----------
    background : {"noise", "sign-flip", "shuffle"}
        "noise": drawn with the level and the correlation of the cube's noise. The other two resample the
        residual itself in blocks; known absorption and blanks are filled with drawn noise before.
        "sign-flip": blocks stay where they are, each turned about its centre and given a sign at random.
        "shuffle": blocks change places, are mirrored at random, and keep their sign.
    block_width : `~astropy.units.Quantity`, angle, optional
        Side of the blocks on the sky. By default twice the widest template in the beam. No block is
        larger than half the cube.
    block_linewidth : `~astropy.units.Quantity`, velocity, optional
        Length of the blocks along velocity. By default four times the widest line, and at most half the
        band.
    n_copies : int
        How many resampled copies are added up for a trial. A feature of the residual that nobody knew
        stands in a trial with a signal to noise that is smaller by the root of this number.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.significance.trials import TrialParameters
    >>> TrialParameters(background="sign-flip", block_width=10 * u.arcmin).n_copies
    8
    """

    background: str = "noise"
    block_width: u.Quantity | None = None
    block_linewidth: u.Quantity | None = None
    n_copies: int = _number(8, integer=True)

    def __post_init__(self):
        super().__post_init__()
        if self.background not in BACKGROUNDS:
            raise ParameterError(
                f"unknown background {self.background!r}; known: {', '.join(map(repr, BACKGROUNDS))}"
            )
        for name, unit in (("block_width", u.arcmin), ("block_linewidth", u.km / u.s)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_quantity(name, getattr(self, name), unit))


@dataclass(frozen=True, eq=False)
class Trial:
    """One trial: a residual that can be scanned anywhere, and what was put into it.

    Parameters
    ----------
    residual : `Residual`
        On the axes of the data, with their noise and blanks.
    features : `~astropy.table.QTable`
        A row for each feature that was put in: ``v``, ``y``, ``x``, ``lon``, ``lat``, ``velocity``,
        ``width``, ``linewidth``, ``delta_t`` and ``n_sigma``.
    n, seed : int
        Number of features and seed; they and the runner's settings tell all of it.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.significance import Residual, Signal, TrialRunner
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(24, 32, 32), n_pucks=2, n_components=60), seed=104)
    >>> residual = Residual.of(model.cube, model.t_unabsorbed, known=model.mask)
    >>> trial = TrialRunner(residual, signal=Signal(delta_t=-40 * u.K)).get_one_trial(n=2, seed=6300)
    >>> trial.residual.shape, trial.features["delta_t"]
    ((24, 32, 32), <Quantity [-40., -40.] K>)
    """

    residual: Residual
    features: QTable
    n: int
    seed: int


class TrialRunner:
    """Make trials of a residual and fit them.

    Parameters
    ----------
    residual : `Residual`
        The data.
    scan : `SignificanceScan`, optional
        With the parameters that the data are scanned with.
    prior : `SpatialPrior` or sequence of them, optional
        Several are multiplied. It is added to TS, and features are drawn from it.
    within : `~numpy.ndarray` of bool, shape (n_y, n_x) or (n_v, n_y, n_x), optional
        True where the scan is wanted. Features are put nowhere else.
    parameters : `TrialParameters`, optional
    signal : `~hisatools.significance.injected.Signal`, optional
        What is put into trials with n > 0.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.significance import Residual
    >>> from hisatools.significance.injected import Signal
    >>> from hisatools.significance.trials import TrialRunner
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(24, 32, 32), n_pucks=2, n_components=60), seed=104)
    >>> residual = Residual.of(model.cube, model.t_unabsorbed, known=model.mask)
    >>> runner = TrialRunner(residual, signal=Signal(n_sigma=15))
    >>> trial = runner.get_one_trial(n=1, seed=6300)
    >>> fit = runner.fit(trial)
    >>> bool(abs(fit["velocity"] - trial.features["velocity"][0]) < 1 * u.km / u.s)
    True
    >>> background = runner.get_many_fits(20, seed=6300)
    >>> bool(fit["ts_prior"] > background["ts_prior"].max())
    True
    """

    def __init__(self, residual, *, scan=None, prior=None, within=None, parameters=None, signal=None):
        self.residual = residual
        self.scanner = SignificanceScan() if scan is None else scan
        self.prior = (
            prior if prior is None or isinstance(prior, SpatialPrior) else SpatialPrior.product(*prior)
        )
        self.within = within
        self.parameters = TrialParameters() if parameters is None else parameters
        self.signal = signal

    def with_signal(self, signal):
        """The same runner, for trials with another signal.

        Parameters
        ----------
        signal : `~hisatools.significance.injected.Signal`

        Returns
        -------
        TrialRunner
        """
        self._prepare()
        other = copy.copy(self)
        for name in ("_signal_scan", "_signal_factor", "_injectable"):
            other.__dict__.pop(name, None)
        other.signal = signal
        return other

    # --- trials -------------------------------------------------------------------------------------

    def get_one_trial(self, n=0, seed=0):
        """Make one trial.

        Parameters
        ----------
        n : int
            Number of features that are put in.
        seed : int
            The same ``n`` and ``seed`` give the same trial, to the bit, alone or as one of many.

        Returns
        -------
        `Trial`

        Raises
        ------
        ParameterError
            If features are wanted and there is no ``signal``, or they can lie nowhere.
        """
        n = check_number("n", n, inclusive=True, integer=True)
        seed = check_number("seed", seed, inclusive=True, integer=True)
        if n and self.signal is None:
            raise ParameterError(
                f"n={n} features are wanted, and the runner has no signal; give TrialRunner one, for example "
                "signal=Signal(n_sigma=5)"
            )
        background, injected = (np.random.default_rng([seed, n, part]) for part in (0, 1))
        kelvin = self._background(background)
        features = self._inject(kelvin, n, seed, injected)
        meta = self.residual.meta | {
            "trial": {"background": self.parameters.background, "n": n, "seed": seed}
        }
        return Trial(replace(self.residual, kelvin=kelvin, known=None, meta=meta), features, n, seed)

    def _background(self, rng):
        """A residual without absorption in K; NaN where blank."""
        parameters = self.parameters
        if parameters.background == "noise":
            depth = draw_noise(self.residual.shape, self.residual.correlation, rng)
        else:
            depth = resample(
                self._filled(rng),
                self.block,
                parameters.n_copies,
                rng,
                flip=parameters.background == "sign-flip",
            )
        depth *= -self.residual.sigma_kelvin
        depth[~self._usable] = np.nan
        return depth

    def _filled(self, rng):
        """The residual's depth over its noise; noise where it is blank or absorption is known."""
        depth = self.residual.standardised()
        unwanted = ~self._usable
        if self.residual.known is not None:
            unwanted |= self.residual.known
        if unwanted.any():
            depth[unwanted] = draw_noise(depth.shape, self.residual.correlation, rng)[unwanted]
        return depth

    @property
    def block(self):
        """Largest sides (v, y, x) of the blocks that a residual is resampled in."""
        residual, bank = self.residual, self.scanner.parameters
        width, length = self.parameters.block_width, self.parameters.block_linewidth
        pixels = 2 * ((bank.widths.max() / residual.pixel_scale).to_value("") + residual.beam_pix)
        if width is not None:
            pixels = (width / residual.pixel_scale).to_value("")
        length = 4 * bank.linewidths.max() if length is None else length
        channels = (length / residual.channel_width).to_value("")
        return tuple(
            max(min(round(float(side)), -(-n // 2)), 1)
            for side, n in zip((channels, pixels, pixels), residual.shape, strict=True)
        )

    def _inject(self, kelvin, n, seed, rng):
        """Put ``n`` features into a cube, in place; returns their table."""
        if n == 0:
            return self._no_features.copy()
        if self.signal.positions is None:
            places = drawn_places(n, self.residual, self.prior, self._injectable, rng)
        else:
            places = self.signal.given_places(n, seed, self.residual)
        sigma_kelvin = np.array([self._signal_sigma(place) for place in places])
        if self.signal.delta_t is None:
            if not np.isfinite(sigma_kelvin).all():
                raise ParameterError(
                    "n_sigma: a feature is to lie where too little of it is on voxels that are not blank; "
                    "choose other positions, or give delta_t"
                )
            depths = -self.signal.n_sigma * sigma_kelvin
        else:
            depths = np.full(n, self.signal.delta_t.value)
        for place, depth in zip(places, depths, strict=True):
            add_feature(kelvin, place, self.signal, depth, self.residual)
        return feature_table(places, self.signal, depths, -depths / sigma_kelvin, self.residual)

    def _signal_sigma(self, place):
        """Rms in K of an amplitude of the signal's width and linewidth, at the nearest voxel."""
        voxel = np.clip(np.rint(place).astype(int), 0, np.array(self.residual.shape) - 1)
        window = Window(self._signal_scan, voxel, 0)
        noise = np.broadcast_to(self.residual.sigma_kelvin, self.residual.shape)[tuple(voxel)]
        return float(window.sigma(0)[voxel[0], 0, 0] * noise * self._signal_factor)

    # --- fits ---------------------------------------------------------------------------------------

    def get_one_fit(self, n=0, seed=0):
        """Make one trial and fit its hottest place; see `fit`."""
        return self.fit(self.get_one_trial(n, seed))

    def fit(self, trial):
        """The hottest place of a trial, the prior taken into account.

        Parameters
        ----------
        trial : `Trial`

        Returns
        -------
        `~astropy.table.Row`
            ``ts_prior`` is TS with the prior, ``ts`` that of the same place without it, and ``max_ts`` the
            largest without it anywhere. ``separation`` and ``velocity_offset`` are from the feature that
            lies nearest, NaN without one; the other columns are those of
            `~hisatools.significance.fits.fit_places`.
        """
        return fit_table([self._fit_values(trial)])[0]

    def fit_data(self):
        """The hottest place of the data themselves, fitted as trials are.

        Returns
        -------
        `~astropy.table.Row`
        """
        return fit_table([fit_hottest(self, self.residual)])[0]

    def fit_features(self, trial):
        """Fits at the local maxima of TS about the features of a trial, hottest or not.

        Parameters
        ----------
        trial : `Trial`

        Returns
        -------
        `~astropy.table.QTable`
            A row for each feature, with the columns of `~hisatools.significance.fits.fit_places`, with
            ``true_delta_t``, ``separation`` and ``velocity_offset``, and with ``recovered``: whether the
            maximum lies within half a beam and one channel of the truth.
        """
        return fit_features(self, trial)

    def scan(self, trial=None, *, workers=1, progress=False):
        """Scan a trial or the data, as fits do.

        Parameters
        ----------
        trial : `Trial`, optional
            The data by default.
        workers : int
        progress : bool

        Returns
        -------
        `ScanResult`
        """
        residual = self.residual if trial is None else trial.residual
        return self.scanner.run(
            residual,
            prepared=self.prepared,
            within=self.within,
            workers=workers,
            progress=progress,
        )

    def get_many_fits(self, n_trials, *, n=0, seed=0, workers=1, progress=False, folder=None, resume=False):
        """Make many trials and fit the hottest place of each.

        Parameters
        ----------
        n_trials : int
        n : int
            Number of features in each.
        seed : int
            Of the first trial; row i is the trial with ``seed + i``.
        workers : int
            Number of threads; never changes the result.
        progress : bool
            Whether to show a progress bar.
        folder : str or path, optional
            For what is done: files of some trials each, whole or not at all.
        resume : bool
            Whether fits that ``folder`` holds are taken from it. Those in damaged files are made again.

        Returns
        -------
        `~astropy.table.QTable`
            Columns as in `fit`, and ``seed`` and ``n``.

        Raises
        ------
        ParameterError
            If the files in ``folder`` are of trials with other settings.
        OutputError
            If ``folder`` holds fits and ``resume`` is False, or cannot be written.
        """
        from hisatools.significance.trial_files import collect

        n_trials = check_number("n_trials", n_trials, integer=True)
        n = check_number("n", n, inclusive=True, integer=True)
        seed = check_number("seed", seed, inclusive=True, integer=True)
        workers = check_number("workers", workers, integer=True)
        self._prepare()
        return collect(
            self,
            range(seed, seed + n_trials),
            n,
            workers=workers,
            progress=progress,
            folder=folder,
            resume=resume,
        )

    def _fit_values(self, trial):
        return fit_hottest(self, trial.residual, trial)

    def _fit_seed(self, n, seed):
        return self._fit_values(self.get_one_trial(n, seed))

    # --- what all trials share ----------------------------------------------------------------------

    def _prepare(self):
        """Compute what all trials share, before threads would do it side by side."""
        names = ["prepared", "allowed", "_usable", "_no_features", "term"]
        if self.signal is not None:
            names += ["_signal_scan", "_signal_factor"]
            names += ["_injectable"] if self.signal.positions is None else []
        for name in names:
            getattr(self, name)

    @cached_property
    def _no_features(self):
        return feature_table(np.empty((0, 3)), Signal(n_sigma=0), np.empty(0), np.empty(0), self.residual)

    @cached_property
    def prepared(self):
        """The filters, ready for the data and all trials."""
        return self.scanner.prepare(self.residual)

    @cached_property
    def _usable(self):
        return self.residual.usable

    @cached_property
    def allowed(self):
        """True where a maximum may lie: wanted, not blank, and enough of a template on the map; bool."""
        return _known(self.prepared) & _allowed(self.within, self.residual)

    @cached_property
    def term(self):
        """What the prior adds to TS; None without one."""
        return None if self.prior is None else self.prior.term(self.allowed)

    @cached_property
    def _signal_scan(self):
        parameters = replace(
            self.scanner.parameters, widths=self.signal.width, linewidths=self.signal.linewidth
        )
        return PreparedScan.of(parameters, self.residual)

    @cached_property
    def _signal_factor(self):
        if self.parameters.background == "noise":
            return 1.0
        return float(
            SignificanceScan(self._signal_scan.parameters).factors(self.residual, self._signal_scan)[0]
        )

    @cached_property
    def _injectable(self):
        places = self.allowed & _known(self._signal_scan)
        if not places.any():
            raise ParameterError(
                f"signal: no place holds enough of a feature of {self.signal.width:g}; give a smaller width, "
                "or positions and delta_t"
            )
        return places


def _known(prepared):
    """Where enough of a template lies on voxels that are not blank."""
    return np.isfinite(prepared.largest(np.zeros(prepared.shape, np.float32)))
