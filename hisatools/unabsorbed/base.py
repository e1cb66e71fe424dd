"""`UnabsorbedEstimator`: from a mask to T_U, with the strategy chosen by name."""

import astropy.units as u
import numpy as np

from hisatools.errors import InputError, ParameterError
from hisatools.features import label_features
from hisatools.results import UnabsorbedResult
from hisatools.unabsorbed.shell import ShellStrategy

STRATEGIES = {"shell": ShellStrategy}


class UnabsorbedEstimator:
    """Estimate the emission that would be seen without the absorption of a mask.

    Parameters
    ----------
    strategy : str
        ``"shell"``: interpolation from the voxels that border each feature (Gibson et al. 2005,
        section 2.4.1).
    parameters : `~hisatools.ShellParameters`, optional
        Parameters of the strategy.

    Raises
    ------
    ParameterError
        If the strategy is unknown; the message lists those that are known.

    Examples
    --------
    >>> from hisatools import UnabsorbedEstimator
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=1)
    >>> estimate = UnabsorbedEstimator("shell").estimate(model.cube, model.mask)
    >>> bool((estimate.delta_t.value[~model.mask] == 0).all())
    True
    """

    def __init__(self, strategy="shell", parameters=None):
        if strategy not in STRATEGIES:
            raise ParameterError(
                f"unknown strategy {strategy!r} for the unabsorbed emission; known: {', '.join(STRATEGIES)}"
            )
        self.strategy = strategy
        self.interpolator = STRATEGIES[strategy](parameters)

    @property
    def parameters(self):
        """Parameters of the strategy."""
        return self.interpolator.parameters

    def estimate(self, cube, mask, *, workers=1, progress=False):
        """Estimate T_U in every feature of a mask.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
            The original brightness; T_OFF is taken from it.
        mask : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x)
            Voxels that may be absorbed: they are interpolated over and never serve as T_OFF.
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
        """
        if mask.shape != cube.shape:
            raise InputError(
                f"mask has the shape {mask.shape}, the cube {cube.shape}; pass a mask made for this cube"
            )
        labels, n_features = label_features(mask & np.isfinite(cube.kelvin))
        features, index = np.arange(1, n_features + 1), np.flatnonzero(labels)
        values, n_off = self.at_voxels(cube, labels, features, index, workers=workers, progress=progress)
        t_unabsorbed = cube.kelvin.copy()
        t_unabsorbed.reshape(-1)[index] = values
        return UnabsorbedResult(
            t_unabsorbed=u.Quantity(t_unabsorbed, u.K, copy=False),
            delta_t=u.Quantity(cube.kelvin - t_unabsorbed, u.K, copy=False),
            labels=labels,
            n_off=n_off,
        )

    def at_voxels(self, cube, labels, features, index, *, workers=1, progress=False):
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
        workers : int
        progress : bool

        Returns
        -------
        t_unabsorbed_kelvin : `~numpy.ndarray` of float32, shape (n,)
        n_off : `~numpy.ndarray` of int64, shape of ``features``
        """
        return self.interpolator.estimate(cube, labels, features, index, workers=workers, progress=progress)
