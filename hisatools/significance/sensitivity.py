"""Sensitivity: how deep absorption must be to be found, averaged over where the prior expects it."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import astropy.units as u
import numpy as np

from hisatools.errors import ParameterError, ParameterUnitsError
from hisatools.significance.detection import DetectionCurve
from hisatools.significance.global_chance import GlobalChance

__all__ = ["Sensitivity", "measure_sensitivity"]

# Depths of the default grid, in units of what stands as high as the larger of the usual thresholds.
GRID = np.linspace(0.3, 1.7, 8)
# Places whose noise tells the scale of that grid; a narrow prior may leave next to nothing of TS.
N_PLACES, LEAST_TS = 32, 9.0


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Largest TS of trials with features of several depths, and of background trials.

    All that follows from them can be had for any threshold, without further trials.

    Parameters
    ----------
    depth_kelvin : `~numpy.ndarray`, shape (n,)
        abs(dT) of the features, rising.
    ts : `~numpy.ndarray`, shape (n, n_trials)
        Largest TS, with the prior if there is one.
    background : `~hisatools.significance.global_chance.GlobalChance`
    meta : dict
        What the features were.

    Examples
    --------
    Fifty trials at each of three depths, and their largest TS; noise alone reaches 14 or so:

    >>> import numpy as np
    >>> from hisatools.significance import GlobalChance, Sensitivity
    >>> rng = np.random.default_rng(6300)
    >>> depth = np.array([5.0, 10.0, 20.0])
    >>> background = GlobalChance(14 + rng.gumbel(scale=2, size=200))
    >>> of_noise = 14 + rng.gumbel(scale=2, size=(3, 50))
    >>> ts = np.maximum(of_noise, (depth[:, None] / 2.5 + rng.normal(size=(3, 50))) ** 2)
    >>> limits = Sensitivity(depth, ts, background)
    >>> limits.sensitivity.round(1), limits.discovery(p=0.01).round(1)
    (<Quantity -11.8 K>, <Quantity -11. K>)
    >>> limits.upper_limit(30.0).round(1), limits.curve(30.0).fraction
    (<Quantity -12.5 K>, array([0.  , 0.08, 1.  ]))
    """

    depth_kelvin: np.ndarray
    ts: np.ndarray
    background: GlobalChance
    meta: dict = field(default_factory=dict)

    def curve(self, threshold):
        """The share of features above a TS.

        Parameters
        ----------
        threshold : float

        Returns
        -------
        `DetectionCurve`
        """
        n_trials = np.full(len(self.depth_kelvin), self.ts.shape[1])
        chance = float(np.mean(self.background.ts > threshold))
        return DetectionCurve(
            self.depth_kelvin, n_trials, np.sum(self.ts > threshold, axis=1), chance, float(threshold)
        )

    @property
    def sensitivity(self):
        """The dT of which 90 % exceed the median of the background; Quantity, K."""
        return self.upper_limit(-np.inf)

    def discovery(self, p=0.00135, fraction=0.5):
        """The dT of which a share reaches a global p-value.

        Parameters
        ----------
        p : float
            By default that of 3 sigma, one-sided. Below 1 / (1 + N) of N background trials the threshold is
            extrapolated with their tail.
        fraction : float

        Returns
        -------
        `~astropy.units.Quantity`
            K; NaN where the depths that were tried do not show it, or the trials are too few for p.
        """
        return self.curve(self.background.ts_at(p)[0]).delta_t_at(fraction)

    def upper_limit(self, ts, confidence=0.9):
        """The dT that would have given more than an observed TS, had it been there.

        Parameters
        ----------
        ts : float
            Largest TS of the data, with the prior if there is one. Below the median of the background
            that median is taken: no limit is better than the sensitivity.
        confidence : float

        Returns
        -------
        `~astropy.units.Quantity`
            K: a share ``confidence`` of the features of this dT exceeds TS.
        """
        threshold = max(float(ts), float(np.median(self.background.ts)))
        return self.curve(threshold).delta_t_at(confidence)

    def plot(self, *, p=0.00135, ax=None, label=None):
        """Draw the curves of sensitivity and discovery.

        Parameters
        ----------
        p : float
            Global p-value of a discovery.
        ax : `~matplotlib.axes.Axes`, optional
        label : str, optional

        Returns
        -------
        `~matplotlib.axes.Axes`
        """
        from hisatools.significance.trial_figures import plot_sensitivity

        return plot_sensitivity(self, p=p, ax=ax, label=label)


def measure_sensitivity(
    runner,
    depths=None,
    *,
    n_trials=100,
    n_background=500,
    background=None,
    seed=0,
    workers=1,
    progress=False,
    folder=None,
    resume=False,
):
    """Put features of several depths into trials, one in each, and see how large TS becomes.

    Their places are drawn from the prior of the runner, so that all that follows is averaged over it; or they
    are those of the runner's signal, if it has any.

    Parameters
    ----------
    runner : `TrialRunner`
        With a signal, of which width, linewidth and places are used.
    depths : `~astropy.units.Quantity`, K, optional
        dT of the features, negative; two or more. By default eight about what reaches the usual
        thresholds.
    n_trials, n_background : int
        Trials for each depth, and without features.
    background : `~hisatools.significance.global_chance.GlobalChance`, optional
        Instead of ``n_background`` further trials.
    seed : int
        Of the first trial.
    workers : int
        Number of threads; never changes the result.
    progress : bool
    folder : str or path, optional
        For what is done; each depth has a folder in it.
    resume : bool
        Whether to go on with it.

    Returns
    -------
    `Sensitivity`

    Raises
    ------
    ParameterError
        If the runner has no signal, or a depth is impossible.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import HISACube
    >>> from hisatools.significance import Residual
    >>> from hisatools.significance.injected import Signal
    >>> from hisatools.significance.sensitivity import measure_sensitivity
    >>> from hisatools.significance.trials import TrialRunner
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(24, 32, 32), n_pucks=0, n_components=60), seed=104)
    >>> runner = TrialRunner(Residual.of(model.cube, model.t_unabsorbed), signal=Signal(n_sigma=5))
    >>> limits = measure_sensitivity(runner, n_trials=20, n_background=50, seed=6300)
    >>> bool(limits.discovery(p=0.02) < 0 * u.K)
    True
    """
    if runner.signal is None:
        raise ParameterError(
            "the runner has no signal; give TrialRunner one, for example signal=Signal(n_sigma=5)"
        )
    depth_kelvin = None if depths is None else _checked_depths(depths)
    keep = {"workers": workers, "progress": progress, "resume": resume}
    if background is None:
        fits = runner.get_many_fits(n_background, seed=seed, folder=_inside(folder, "background"), **keep)
        background = GlobalChance.of(fits)
    if depth_kelvin is None:
        depth_kelvin = _default_depths(runner, background, seed)
    ts = []
    for depth in depth_kelvin:
        signal = replace(runner.signal, delta_t=-depth * u.K, n_sigma=None)
        name = f"depth_{depth:.6g}_K"
        fits = runner.with_signal(signal).get_many_fits(
            n_trials, n=1, seed=seed, folder=_inside(folder, name), **keep
        )
        ts.append(np.asarray(fits["ts_prior"]))
    signal = {
        name: value for name, value in runner.signal.to_dict().items() if name not in ("delta_t", "n_sigma")
    }
    prior = None if runner.prior is None else runner.prior.name
    return Sensitivity(depth_kelvin, np.array(ts), background, {"signal": signal, "prior": prior})


def _default_depths(runner, background, seed):
    """Depths about what reaches the usual thresholds, from the rms of amplitudes at drawn places."""
    signal = replace(runner.signal, delta_t=-1 * u.K, n_sigma=None)
    trial = runner.with_signal(signal).get_one_trial(N_PLACES, seed)
    sigma_kelvin = 1 / np.asarray(trial.features["n_sigma"])
    threshold = np.quantile(background.ts, 1 - max(0.00135, 1 / (1 + background.n_trials)))
    return GRID * np.sqrt(max(threshold, LEAST_TS)) * np.median(sigma_kelvin[np.isfinite(sigma_kelvin)])


def _checked_depths(depths):
    """abs(dT) in K, rising."""
    if not isinstance(depths, u.Quantity) or not depths.unit.is_equivalent(u.K):
        raise ParameterUnitsError(f"depths needs a unit of K, got {depths!r}; write depths=[-10, -20] * u.K")
    kelvin = np.unique(np.atleast_1d(-depths.to_value(u.K)))
    if kelvin.size < 2 or not np.isfinite(kelvin).all() or kelvin[0] < 0:
        raise ParameterError(
            f"depths must be two or more values of 0 K or below, since absorption is negative; got {depths}"
        )
    return kelvin


def _inside(folder, name):
    return None if folder is None else Path(folder) / name
