"""Optical depth and column density for all spin temperatures and shares behind that are in question."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from hisatools.errors import ParameterError
from hisatools.physics.gas import Gas, GasModel
from hisatools.physics.transfer import NO_CONTINUUM
from hisatools.physics.units import plain, plain_fraction

__all__ = ["GasGrid", "gas_grid"]

# Of the optical depth, for lines in the picture.
LEVELS = (0.01, 0.03, 0.1, 0.3, 1, 3)


@dataclass(frozen=True, eq=False)
class GasGrid:
    """One absorption, and the gas that could make it.

    Parameters
    ----------
    t_spin : `~astropy.units.Quantity`, shape (n_t,), K
    p : `~numpy.ndarray`, shape (n_p,)
    gas : `Gas`
        Of shape (n_p, n_t); NaN where no cloud is possible.
    column_density : `~astropy.units.Quantity`, shape (n_p, n_t), cm^-2

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import gas_grid
    >>> grid = gas_grid(-42 * u.K, 104 * u.K, 2.5 * u.km / u.s, t_spin=[10, 20] * u.K, p=[0.4, 1])
    >>> print(grid.gas.tau.round(2))
    [[ nan  nan]
     [0.59 0.69]]
    """

    t_spin: u.Quantity
    p: np.ndarray
    gas: Gas
    column_density: u.Quantity

    def plot(self, *, ax=None):
        """Draw the column density, with lines of equal optical depth.

        Parameters
        ----------
        ax : `~matplotlib.axes.Axes`, optional
            By default those of a new figure.

        Returns
        -------
        `~matplotlib.axes.Axes`

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools.physics import gas_grid
        >>> grid = gas_grid(-42 * u.K, 104 * u.K, 2.5 * u.km / u.s, t_spin=[10, 20] * u.K, p=[0.6, 1])
        >>> grid.plot().figure.savefig("grid.png")
        """
        from matplotlib.colors import LogNorm

        from hisatools.plotting.style import new_figure

        ax = new_figure(6, 4.5).add_subplot() if ax is None else ax
        ax.set_facecolor("0.85")
        ax.set(xlabel=r"$T_\mathrm{S}$ (K)", ylabel="p, share of $T_\\mathrm{U}$ behind the gas")
        ax.set_title("Column density; lines: optical depth; grey: not possible")
        if not np.isfinite(self.gas.tau).any():
            ax.text(0.5, 0.5, "no gas can make this absorption", ha="center", transform=ax.transAxes)
            return ax
        place, column = (self.t_spin.value, self.p), self.column_density.value
        drawn = ax.pcolormesh(*place, column, norm=LogNorm(), cmap="viridis", rasterized=True)
        ax.figure.colorbar(drawn, ax=ax, label=r"N of cold H I (cm$^{-2}$)")
        low, high = np.nanmin(self.gas.tau), np.nanmax(self.gas.tau)
        levels = [level for level in LEVELS if low < level < high]
        if levels:
            depths = ax.contour(*place, self.gas.tau, levels=levels, colors="white", linewidths=1)
            ax.clabel(depths, fmt="%g")
        return ax


def gas_grid(delta_t, t_unabsorbed, linewidth, *, t_spin, p, t_continuum=NO_CONTINUUM, line="gaussian"):
    """The gas that could make one absorption, for spin temperatures and shares behind on a grid.

    Parameters
    ----------
    delta_t, t_unabsorbed, t_continuum : `~astropy.units.Quantity`, scalar, K
    linewidth : `~astropy.units.Quantity`, scalar, velocity
        As for `column_density`.
    t_spin : `~astropy.units.Quantity`, shape (n_t,), K
        At least two, ascending.
    p : array_like, shape (n_p,)
        At least two, ascending.
    line : {"gaussian", "channel"}

    Returns
    -------
    `GasGrid`

    Raises
    ------
    ParameterError
        If ``t_spin`` or ``p`` is no ascending row of two values or more.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from hisatools.physics import gas_grid
    >>> shares = np.linspace(0.5, 1, 6)
    >>> grid = gas_grid(-42 * u.K, 104 * u.K, 2.5 * u.km / u.s, t_spin=[10, 20, 40] * u.K, p=shares)
    >>> print(np.round(grid.gas.tau[-1], 2))
    [0.59 0.69 1.07]
    """
    spin, share = np.atleast_1d(plain("t_spin", t_spin, u.K), plain_fraction("p", p))
    for name, values in (("t_spin", spin), ("p", share)):
        if values.ndim != 1 or values.size < 2 or not (np.diff(values) > 0).all():
            raise ParameterError(f"{name} must be two ascending values or more, got {values}")
    gas = GasModel(t_spin=spin * u.K, p=share[:, None]).solve(delta_t, t_unabsorbed, t_continuum=t_continuum)
    return GasGrid(spin * u.K, share, gas, gas.column_density(linewidth, line=line))
