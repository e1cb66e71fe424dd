"""`UnabsorbedEstimator`: from a mask to T_U, with the strategy chosen by name."""

import warnings

import astropy.units as u
import numpy as np

from hisatools.errors import HISAWarning, InputError
from hisatools.features import label_features
from hisatools.results import UnabsorbedResult
from hisatools.strategies import make
from hisatools.unabsorbed.uncertainty import measure_errors


class UnabsorbedEstimator:
    """Estimate the emission that would be seen without the absorption of a mask.

    Parameters
    ----------
    strategy : str
        Name of the way it is done: ``"shell"`` is that of Gibson et al. (2005, section 2.4.1), from the
        voxels that border each feature. ``hisatools.strategies.available("unabsorbed")`` has them all.
    parameters : optional
        Parameters of the strategy, for example `~hisatools.ShellParameters`; its defaults if not given.
    **settings
        Fields of the parameters, to be set without making these first, and what else the strategy works
        with, such as a cube of a molecule.

    Raises
    ------
    ParameterError
        If the strategy is unknown (the message lists those that are known), or cannot do with what it
        is given.

    Examples
    --------
    >>> from hisatools import UnabsorbedEstimator
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=1)
    >>> estimate = UnabsorbedEstimator("shell").estimate(model.cube, model.mask)
    >>> (estimate.t_unabsorbed - model.t_unabsorbed)[model.mask].mean().round(1)  # how far off on average
    <Quantity 0.6 K>
    >>> estimate.sigma_t_unabsorbed[model.mask].mean().round(1)
    <Quantity 4.7 K>
    """

    def __init__(self, strategy="shell", parameters=None, **settings):
        self.strategy = strategy
        self.interpolator = make("unabsorbed", strategy, parameters, **settings)

    @property
    def parameters(self):
        """Parameters of the strategy."""
        return self.interpolator.parameters

    def estimate(self, cube, mask, *, noise=None, uncertainty=True, workers=1, progress=False):
        """Estimate T_U in every feature of a mask.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
            The original brightness; T_OFF is taken from it.
        mask : array_like of bool, shape (n_v, n_y, n_x)
            Voxels that may be absorbed: they are interpolated over and never serve as T_OFF. Of numbers,
            what is neither 0 nor NaN is masked.
        noise : `~hisatools.noise.NoiseResult` or Quantity, temperature, optional
            For the uncertainty: one value, or a map or cube on the cube's axes. Measured if not given.
        uncertainty : bool
            Whether the uncertainty of T_U is wanted, which takes some time.
        workers : int
            Number of threads; never changes the result.
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        `~hisatools.UnabsorbedResult`

        Raises
        ------
        InputError
            If the mask has another shape than the cube.

        Warns
        -----
        HISAWarning
            If there are features about which nothing can be said: they keep T_U = T_ON, and the
            uncertainty is infinite.

        Examples
        --------
        With noise that is known, and not measured on the cube:

        >>> import astropy.units as u
        >>> from hisatools import UnabsorbedEstimator
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=35)
        >>> mask = model.delta_t < -2 * u.K
        >>> estimate = UnabsorbedEstimator().estimate(model.cube, mask, noise=6 * u.K)
        >>> estimate.t_unabsorbed[mask].mean().round(1), model.t_unabsorbed[mask].mean().round(1)
        (<Quantity 73.7 K>, <Quantity 79.1 K>)
        >>> estimate.sigma_t_unabsorbed[mask].mean().round(1)
        <Quantity 3.5 K>
        """
        mask = np.nan_to_num(np.asarray(mask)).astype(bool)
        if mask.shape != cube.shape:
            raise InputError(
                f"mask has the shape {mask.shape}, the cube {cube.shape}; pass a mask made for this cube"
            )
        labels, n_features = label_features(mask & np.isfinite(cube.kelvin))
        features, index = np.arange(1, n_features + 1), np.flatnonzero(labels)
        errors = None
        if uncertainty and n_features:
            errors = measure_errors(cube, labels, noise=noise, workers=workers)
        found = self.at_voxels(
            cube, labels, features, index, errors=errors, workers=workers, progress=progress
        )
        _warn_of_silence(found.n_off, self.strategy)
        t_unabsorbed = cube.kelvin.copy()
        t_unabsorbed.reshape(-1)[index] = found.kelvin
        return UnabsorbedResult(
            t_unabsorbed=u.Quantity(t_unabsorbed, u.K, copy=False),
            delta_t=u.Quantity(cube.kelvin - t_unabsorbed, u.K, copy=False),
            labels=labels,
            n_off=found.n_off,
            sigma_t_unabsorbed=_sigma_cube(cube, index, found.sigma_kelvin) if uncertainty else None,
        )

    def at_voxels(self, cube, labels, features, index, *, errors=None, workers=1, progress=False):
        """T_U at some voxels of labelled features, with little memory.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
        labels : `~numpy.ndarray` of int32, shape (n_v, n_y, n_x)
            0 outside features, where T_OFF is taken from; no labelled voxel is blank.
        features : `~numpy.ndarray` of int
            Labels of the features that are worked on, ascending.
        index : `~numpy.ndarray` of int64, shape (n,)
            Voxels of these features for which T_U is wanted: places in the flattened cube, ascending.
        errors : `~hisatools.unabsorbed.uncertainty.ErrorModel`, optional
            Without it the uncertainty is not worked out.
        workers : int
        progress : bool

        Returns
        -------
        `~hisatools.unabsorbed.protocols.VoxelEstimate`

        Examples
        --------
        >>> import numpy as np
        >>> from hisatools import UnabsorbedEstimator
        >>> from hisatools.features import label_features
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=1)
        >>> labels, n_features = label_features(model.mask)
        >>> index = np.flatnonzero(labels == 1)
        >>> found = UnabsorbedEstimator().at_voxels(model.cube, labels, np.array([1]), index)
        >>> found.kelvin.shape, int(found.n_off[0])
        ((530,), 334)
        """
        return self.interpolator.estimate(
            cube, labels, features, index, errors=errors, workers=workers, progress=progress
        )


def _sigma_cube(cube, index, sigma_kelvin):
    """The uncertainty on the axes of the cube: 0 outside features, NaN where the input is blank."""
    sigma = np.where(np.isnan(cube.kelvin), np.float32(np.nan), np.float32(0))
    if index.size:
        sigma.reshape(-1)[index] = sigma_kelvin
    return u.Quantity(sigma, u.K, copy=False)


def _warn_of_silence(n_off, strategy):
    n_silent = int(np.count_nonzero(n_off == 0))
    if n_silent:
        warnings.warn(
            f"{n_silent} of {n_off.size} features have no T_OFF that {strategy!r} could use: T_U stays T_ON "
            "there, and its uncertainty is infinite; use a larger cube, or look at the mask",
            HISAWarning,
            stacklevel=3,
        )
