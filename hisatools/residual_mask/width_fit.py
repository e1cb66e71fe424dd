"""Mask and velocity width in turn, each from the other, until the range stays where it is."""

import warnings
from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.table import QTable

from hisatools.errors import HISAWarning
from hisatools.parameters import check_number, check_quantity
from hisatools.residual_mask.gas import gas_column, planes_of
from hisatools.residual_mask.likelihood import checked_centre, checked_widths, width_likelihood
from hisatools.residual_mask.masker import ResidualMasker
from hisatools.residual_mask.posterior import WidthLikelihood
from hisatools.residual_mask.result import ResidualMaskResult

__all__ = ["VelocityWidthFit", "fit_velocity_width"]


@dataclass(frozen=True, eq=False)
class VelocityWidthFit:
    """Mask and likelihood that agree on the velocity range.

    Parameters
    ----------
    mask : `~hisatools.residual_mask.ResidualMaskResult`
        Made with N(HI) of the range of the round before.
    likelihood : `~hisatools.residual_mask.WidthLikelihood`
        Of the pixels that the mask leaves.
    rounds : `~astropy.table.QTable`
        Width that each round started from, the one it found, and how many pixels it masked.
    converged : bool
        Whether both ends of the range moved by less than the tolerance in the last round.

    Examples
    --------
    >>> import astropy.units as u, numpy as np
    >>> from hisatools.residual_mask import fit_velocity_width
    >>> from hisatools.residual_mask.simulated import DustModelParameters, simulate_dust
    >>> small = DustModelParameters(shape=(48, 48), extra_share=0.1)
    >>> model = simulate_dust(small, seed=6200, velocity_width=18 * u.km / u.s, n_channels=40)
    >>> widths = np.arange(14, 22.1, 0.1) * u.km / u.s
    >>> found = fit_velocity_width(model.cube, model.tracer, centre=0 * u.km / u.s, widths=widths)
    >>> found.converged, len(found.rounds), int(found.mask.mask.sum())
    (True, 2, 109)
    """

    mask: ResidualMaskResult
    likelihood: WidthLikelihood
    rounds: QTable
    converged: bool


def fit_velocity_width(
    source,
    tracer,
    *,
    centre,
    widths,
    start_width=None,
    error=None,
    mask=None,
    parameters=None,
    wcs=None,
    tolerance=None,
    max_rounds=10,
    workers=1,
):
    """Find the velocity width whose N(HI) the tracer follows, and the mask of what exceeds it.

    Parameters
    ----------
    source : `~hisatools.HISAResult` or `~hisatools.HISACube`
        See `gas_column`.
    tracer : `~astropy.units.Quantity`, shape (n_y, n_x)
    centre : `~astropy.units.Quantity`, velocity
    widths : `~astropy.units.Quantity`, shape (n_w,), velocity
        Ascending; see `width_likelihood`.
    start_width : `~astropy.units.Quantity`, velocity, optional
        By default the widest.
    error : `~astropy.units.Quantity`, shape (n_y, n_x) or scalar, optional
    mask : `~numpy.ndarray` of bool, shape (n_y, n_x), optional
        True in pixels that are left out from the start.
    parameters : `ResidualMaskParameters`, optional
    wcs : `~astropy.wcs.WCS`, optional
    tolerance : `~astropy.units.Quantity`, velocity, optional
        The search ends when both ends of the range move by less; by default half a channel.
    max_rounds : int
    workers : int
        Threads; they change no bit of the result.

    Returns
    -------
    VelocityWidthFit

    Raises
    ------
    ParameterError, InputError
        As `ResidualMasker.run` and `width_likelihood`.

    Warns
    -----
    HISAWarning
        If ``max_rounds`` end the search.

    Examples
    --------
    >>> import astropy.units as u, numpy as np
    >>> from hisatools.residual_mask import fit_velocity_width
    >>> from hisatools.residual_mask.simulated import DustModelParameters, simulate_dust
    >>> small = DustModelParameters(shape=(48, 48), extra_share=0.1)
    >>> model = simulate_dust(small, seed=6200, velocity_width=18 * u.km / u.s, n_channels=40)
    >>> widths = np.arange(14, 22.1, 0.1) * u.km / u.s
    >>> found = fit_velocity_width(model.cube, model.tracer, centre=0 * u.km / u.s, widths=widths)
    >>> found.likelihood.interval("width", 0.95).round(1)  # 18 km/s were put in
    <Quantity [17.9, 18.5] km / s>
    """
    kms = u.km / u.s
    max_rounds = check_number("max_rounds", max_rounds, integer=True)
    *_, channel_width = planes_of(source)
    tolerance = channel_width / 2 * kms if tolerance is None else tolerance
    tolerance = check_quantity("tolerance", tolerance, kms)
    centre, widths = checked_centre(centre) * kms, checked_widths(widths) * kms
    width = widths[-1] if start_width is None else check_quantity("start_width", start_width, kms)
    masker, rows, converged = ResidualMasker(parameters), [], False
    pixels_per_beam = masker.parameters.pixels_per_beam
    while len(rows) < max_rounds and not converged:
        column = gas_column(source, u.Quantity([centre - width / 2, centre + width / 2]))
        found = masker.run(tracer, column, error=error, mask=mask, wcs=wcs, workers=workers)
        likelihood = width_likelihood(
            source,
            tracer,
            centre=centre,
            widths=widths,
            error=error,
            mask=found.unfitted,
            pixels_per_beam=pixels_per_beam,
            workers=workers,
        )
        best = likelihood.best["width"]
        rows.append((width.to_value(kms), best.to_value(kms), int(np.count_nonzero(found.mask))))
        converged = bool(abs(best - width) / 2 < tolerance)
        width = best
    if not converged:
        warnings.warn(
            f"the velocity width did not settle within {max_rounds} rounds, the last ones were "
            f"{', '.join(f'{row[1]:g}' for row in rows[-3:])} km/s; take finer widths, or set tolerance "
            "larger",
            HISAWarning,
            stacklevel=2,
        )
    table = QTable(rows=rows, names=("start_width", "best_width", "n_masked"))
    table["start_width"].unit = table["best_width"].unit = kms
    return VelocityWidthFit(found, likelihood, QTable(table), converged)
