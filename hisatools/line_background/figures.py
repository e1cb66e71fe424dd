"""Figures of a spectrum with fit, mask and ranges, and of a template."""

import astropy.units as u
import numpy as np

from hisatools.errors import ParameterError
from hisatools.plotting.maps import label_sky
from hisatools.plotting.style import BLANK, EMISSION_MAP, REJECTED, SPATIAL, SPECTRAL, new_figure

MASK_COLOR = "0.75"
# Beyond this ratio of highest to lowest the axis is logarithmic.
LOG_RATIO = 20


def plot_spectrum(background, fit=None, prediction=None, *, ax=None):
    """Draw the spectrum, the fitted model, the mask, and source and side ranges.

    Parameters
    ----------
    background : `~hisatools.line_background.LineBackground`
    fit : `~hisatools.line_background.LineFit`, optional
        Below, in a figure of its own, the residuals are shown in units of their error.
    prediction : `~hisatools.line_background.LinePrediction`, optional
        Whose ranges are shown, as they were used.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw, then without residuals; by default in a new figure.

    Returns
    -------
    `~matplotlib.axes.Axes`
        Its ``figure`` can be shown and saved.

    Examples
    --------
    >>> import numpy as np
    >>> import astropy.units as u
    >>> from astropy.modeling.models import Polynomial1D
    >>> from hisatools import LineBackground
    >>> from hisatools.line_background.figures import plot_spectrum
    >>> edges = np.linspace(0, 50, 51) * u.keV
    >>> counts = np.random.default_rng(1).poisson(400, 50)
    >>> background = LineBackground(counts, edges).with_mask((20, 30) * u.keV)
    >>> fit = background.fit(Polynomial1D(1, c0=300.0))
    >>> prediction = background.predict(fit, (24, 26) * u.keV, [(10, 20) * u.keV, (30, 40) * u.keV])
    >>> ax = plot_spectrum(background, fit, prediction)
    >>> ax.figure.savefig("spectrum.png")
    """
    below = None
    if ax is None:
        figure = new_figure(8, 5.2 if fit is not None else 4)
        if fit is None:
            ax = figure.add_subplot()
        else:
            ax, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _draw_ranges(ax, background, prediction, labelled=True)
    _draw_values(ax, background, fit)
    if below is not None:
        _draw_ranges(below, background, prediction, labelled=False)
        _draw_residuals(below, background, fit)
    (below or ax).set_xlabel(_axis_label(background))
    ax.legend(fontsize="small", ncols=2)
    return ax


def plot_template(prediction, *, ax=None):
    """Draw a template as a map with a colour bar, summed over all axes before the sky.

    Parameters
    ----------
    prediction : `~hisatools.line_background.LinePrediction`
    ax : `~matplotlib.axes.Axes`, optional
        By default in a new figure, on sky coordinates where the background has a WCS.

    Returns
    -------
    `~matplotlib.axes.Axes`

    Raises
    ------
    ParameterError
        If the template has no sky.

    Examples
    --------
    >>> import numpy as np
    >>> import astropy.units as u
    >>> from astropy.modeling.models import Polynomial1D
    >>> from hisatools import LineBackground
    >>> from hisatools.line_background.figures import plot_template
    >>> edges = np.linspace(0, 50, 51) * u.keV
    >>> counts = np.random.default_rng(1).poisson(40, (50, 8, 8))
    >>> background = LineBackground(counts, edges).with_mask((20, 30) * u.keV)
    >>> fit = background.fit(Polynomial1D(1, c0=2500.0))
    >>> prediction = background.predict(fit, (24, 26) * u.keV, [(10, 20) * u.keV, (30, 40) * u.keV])
    >>> ax = plot_template(prediction)
    >>> ax.figure.savefig("template.png")
    """
    values = prediction.template
    is_brightness = isinstance(values, u.Quantity)
    plain = values.to_value(u.K) if is_brightness else values
    if plain.ndim < 2:
        raise ParameterError(f"the template has the shape {plain.shape} and no sky; there is no map to draw")
    image = plain.reshape(-1, *plain.shape[-2:]).sum(axis=0)
    if ax is None:
        figure = new_figure(6.4, 5.4)
        ax = figure.add_subplot(projection=prediction.wcs)
    ax.set_facecolor(BLANK)
    drawn = ax.imshow(image, cmap=EMISSION_MAP, origin="lower", interpolation="nearest")
    ax.figure.colorbar(
        drawn, ax=ax, label="Mean of the side channels (K)" if is_brightness else "Counts in the side ranges"
    )
    if prediction.wcs is not None:
        label_sky(ax, prediction.wcs)
    return ax


def _draw_values(ax, background, fit):
    edges, values = background.edges, background.spectrum
    centre = (edges[1:] + edges[:-1]) / 2
    error = np.sqrt(np.maximum(values, 0)) if background.is_counts else background.sigma
    ax.stairs(values, edges, baseline=None, color="black", linewidth=1, label="observed")
    ax.errorbar(centre, values, error, fmt="none", ecolor="black", elinewidth=0.8)
    if fit is not None:
        ax.stairs(
            _expected(background, fit), edges, baseline=None, color=SPATIAL, linewidth=1.4, label="model"
        )
    known = values[np.isfinite(values)]
    if known.min() > 0 and known.max() > LOG_RATIO * known.min():
        ax.set_yscale("log")
    ax.set_ylabel("Counts" if background.is_counts else "Mean brightness temperature (K)")
    ax.set_xlim(edges[0], edges[-1])
    _tick(ax)


def _draw_residuals(ax, background, fit):
    expected = _expected(background, fit)
    error = np.sqrt(np.maximum(expected, 1)) if background.is_counts else background.sigma
    centre = (background.edges[1:] + background.edges[:-1]) / 2
    residual = (background.spectrum - expected) / error
    for chosen, color in ((~background.mask, "black"), (background.mask, REJECTED)):
        ax.plot(centre[chosen], residual[chosen], ".", color=color, markersize=4)
    ax.axhline(0, color="0.6", linewidth=0.8)
    # Masked bins may stand far off, and would hide how good the fit is.
    reach = 1.2 * max(np.max(np.abs(residual[~background.mask]), initial=0), 4)
    ax.set_ylim(-reach, reach)
    ax.set_ylabel(r"Residual ($\sigma$)")
    _tick(ax)


def _expected(background, fit):
    low, high = background.edges[:-1], background.edges[1:]
    return fit.expected(low, high) / (1.0 if background.is_counts else high - low)


def _draw_ranges(ax, background, prediction, *, labelled):
    spans = [(pair, MASK_COLOR, "mask") for pair in background.mask_ranges]
    if prediction is not None:
        unit = background.x_unit
        spans += [(pair.to_value(unit), SPECTRAL, "side ranges") for pair in prediction.side_ranges]
        spans += [(prediction.source_range.to_value(unit), SPATIAL, "source range")]
    named = set()
    for (low, high), color, name in spans:
        label = name if labelled and name not in named else None
        named.add(name)
        ax.axvspan(low, high, color=color, alpha=0.5 if name == "mask" else 0.25, linewidth=0, label=label)


def _axis_label(background):
    kinds = {"length": "Wavelength", "frequency": "Frequency", "energy": "Energy", "speed": "Velocity"}
    kind = next((name for key, name in kinds.items() if key in str(background.x_unit.physical_type)), "")
    return f"{kind} ({background.x_unit.to_string('latex_inline')})".strip()


def _tick(ax):
    ax.tick_params(which="both", direction="in", top=True, right=True)
    ax.minorticks_on()
