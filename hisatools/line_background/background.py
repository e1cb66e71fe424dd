"""`LineBackground`: what lies under a line, from the bins beside it."""

import astropy.units as u
import numpy as np

from hisatools.errors import InputError
from hisatools.line_background.curves import as_curve
from hisatools.line_background.fit import fit_spectrum
from hisatools.line_background.prediction import chosen_filter, predict
from hisatools.line_background.ranges import check_edges, check_range, touched_bins
from hisatools.line_background.spectra import (
    channel_edges,
    checked_sigma,
    count_spectrum,
    mean_spectrum,
    measured_sigma,
)
from hisatools.parameters import check_quantity


class LineBackground:
    """Background under a line, estimated from adjacent bins.

    The sky is taken from bins beside the line, the amount from a model of the spectrum that is fitted
    with the line masked. What hides under the line itself is not seen: a background line there makes
    the prediction low by as much, however small the stated error is. The scheme is that of the
    line-background tutorial of cosipy (Yoneda & Mittal); for brightness cubes channels take the place
    of energies.

    Parameters
    ----------
    values : array_like, shape (n_bins, ...)
        Counts of events in each bin; the last two axes are the sky, if there are any. With ``sigma``:
        brightness, in K unless it has a unit. In counts, a cell that is NaN in some bin is left out of
        all; a bin that is NaN in all cells is masked. In brightness, the mean of each
        channel is over the same sight lines: where one is NaN, the mean spectrum times its level, fitted to
        the channels that it is known in and that are not masked, stands for it.
    edges : Quantity, shape (n_bins + 1,)
        Edges of the bins, rising or falling.
    sigma : Quantity or array_like, optional
        1-sigma error of the *mean spectrum*, for all bins or each; it makes the likelihood Gaussian.
        Without it the values are counts, with the Poisson likelihood ``mu - n ln mu``.
    pixel_scale : Quantity, angle, optional
        Side of a pixel; spatial filters need it.
    wcs : `~astropy.wcs.WCS`, optional
        Of the sky axes, for figures.

    Raises
    ------
    InputError
        If the two do not fit each other, or nothing is left to work on.
    ParameterUnitsError
        If the edges have no unit.

    Examples
    --------
    400 counts in each keV, and a line between 20 and 30 keV that is masked:

    >>> import numpy as np
    >>> import astropy.units as u
    >>> from astropy.modeling.models import Polynomial1D
    >>> from hisatools import LineBackground
    >>> edges = np.linspace(0, 50, 51) * u.keV
    >>> counts = np.random.default_rng(1).poisson(400, 50)
    >>> background = LineBackground(counts, edges).with_mask((20, 30) * u.keV)
    >>> fit = background.fit(Polynomial1D(1, c0=300.0))
    >>> prediction = background.predict(fit, (24, 26) * u.keV, [(10, 20) * u.keV, (30, 40) * u.keV])
    >>> round(prediction.expected), round(prediction.expected_sigma)
    (815, 9)
    """

    def __init__(self, values, edges, *, sigma=None, pixel_scale=None, wcs=None):
        self.edges, self.x_unit, self.is_reversed = check_edges(edges)
        self.value_unit = u.K if sigma is not None else u.dimensionless_unscaled
        plain = values.to_value(self.value_unit) if isinstance(values, u.Quantity) else np.asarray(values)
        if plain.ndim < 1 or len(plain) != len(self.edges) - 1:
            raise InputError(
                f"values of shape {plain.shape} need {len(plain) + 1 if plain.ndim else 'some'} edges along "
                f"the first axis, got {len(self.edges)}"
            )
        self.values = plain[::-1] if self.is_reversed else plain
        self.pixel_scale = None if pixel_scale is None else check_quantity("pixel_scale", pixel_scale, u.deg)
        self.wcs = wcs
        self.is_counts = sigma is None
        if self.is_counts:
            self.values, self.spectrum, known = count_spectrum(self.values)
            self.sigma = None
        else:
            self.spectrum, known = mean_spectrum(self.values)
            if not known.any():
                raise InputError("no channel has a finite value; nothing can be fitted")
            self.sigma = self.as_given(checked_sigma(sigma, self.as_given(known), self.value_unit))
        self._blank = ~known
        self.mask_ranges, self.mask = (), self._blank

    @classmethod
    def from_cube(cls, cube, *, sigma=None, sight_lines=None, exclude=None):
        """The same for an H I cube: velocity takes the place of energy.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
        sigma : Quantity, scalar or shape (n_v,), optional
            1-sigma error of the mean spectrum; measured from third differences of that spectrum if not
            given.
        sight_lines : `~numpy.ndarray` of bool, shape (n_y, n_x), optional
            Those to work on; by default all.
        exclude : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x), optional
            Voxels to leave out, such as absorption.

        Returns
        -------
        LineBackground

        Raises
        ------
        InputError
            If the noise cannot be measured, or an array has another shape than the cube.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astropy.modeling.models import Polynomial1D
        >>> from hisatools import LineBackground
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=35)
        >>> background = LineBackground.from_cube(model.cube, sigma=0.5 * u.K)
        >>> background = background.with_mask((-42, -38) * u.km / u.s)
        >>> fit = background.fit(Polynomial1D(3, c0=70.0))
        >>> fit(-40 * u.km / u.s).round()  # mean brightness that is expected in the masked channels
        <Quantity 82. K>
        """
        for name, array, shape in (
            ("sight_lines", sight_lines, cube.shape[1:]),
            ("exclude", exclude, cube.shape),
        ):
            if array is not None and np.shape(array) != shape:
                raise InputError(f"{name} has the shape {np.shape(array)}, the cube needs {shape}")
        left_out = np.zeros(cube.shape, bool) if exclude is None else np.asarray(exclude, bool)
        if sight_lines is not None:
            left_out = left_out | ~np.asarray(sight_lines, bool)
        kelvin = np.where(left_out, np.nan, cube.kelvin)
        sigma = measured_sigma(kelvin) if sigma is None else sigma
        return cls(
            kelvin, channel_edges(cube), sigma=sigma, pixel_scale=cube.pixel_scale, wcs=cube.wcs.celestial
        )

    @property
    def unmasked(self):
        """Bins that are fitted; bool, in the order of the input."""
        return self.as_given(~self.mask)

    def with_mask(self, *ranges):
        """The same spectrum with these ranges masked, and no others: an earlier mask is replaced.

        Parameters
        ----------
        *ranges : pair of Quantity
            Each (low, high); a bin of which any part lies in one is masked.

        Returns
        -------
        LineBackground

        Examples
        --------
        >>> import numpy as np
        >>> import astropy.units as u
        >>> from hisatools import LineBackground
        >>> background = LineBackground(np.full(50, 400), np.linspace(0, 50, 51) * u.keV)
        >>> int(background.with_mask((20, 30) * u.keV).unmasked.sum())
        40
        >>> int(background.with_mask((0, 5) * u.keV, (20.5, 30) * u.keV).unmasked.sum())
        35
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        limits = [check_range(f"mask range {i + 1}", pair, self.x_unit) for i, pair in enumerate(ranges)]
        touched = [touched_bins(pair, self.edges) for pair in limits]
        other.mask_ranges = tuple(limits)
        other.mask = np.any([self._blank, *touched], axis=0)
        if not self.is_counts:
            # What a sight line has under the line must not count for its level elsewhere.
            other.spectrum, _ = mean_spectrum(self.values, ~other.mask)
        return other

    def fit(self, model, *, start=None, limits=None, fixed=None, steps=None, integral=None):
        """Fit a model of the spectrum to the bins that are not masked.

        Parameters
        ----------
        model : `~astropy.modeling.Model` or callable
            Density per unit of the axis (counts), or brightness. An astropy model brings start values,
            ``bounds``, ``fixed`` and ``tied``; a function is called as ``f(x, a, b, ...)`` with an array.
        start : sequence or dict
            Start values of a function.
        limits : dict, optional
            Name, or place from 0, of a parameter to (low, high); None is no limit.
        fixed : sequence, optional
            Names or places of parameters that keep their start value.
        steps : dict, optional
            Name or place to the size of the first step.
        integral : callable, optional
            ``integral(low, high, a, b, ...)``, where it is known.

        Returns
        -------
        `~hisatools.line_background.LineFit`

        Raises
        ------
        InputError
            If too few bins are left, or the model is not finite at the start values.
        ParameterError
            If parameters and start values do not fit each other.
        BackendUnavailableError
            If iminuit is not installed.

        Warns
        -----
        HISAWarning
            If the fit did not converge; see ``LineFit.is_valid``.

        Examples
        --------
        A function in place of an astropy model, with a start value and a limit for each parameter:

        >>> import numpy as np
        >>> import astropy.units as u
        >>> from hisatools import LineBackground
        >>> edges = np.linspace(0, 50, 51) * u.keV
        >>> counts = np.random.default_rng(1).poisson(400, 50)
        >>> background = LineBackground(counts, edges)
        >>> fit = background.fit(lambda x, a, b: a + b * x, start={"a": 300, "b": 0}, limits={"a": (0, None)})
        >>> fit.table["name", "low", "fixed"].pprint()
        name low fixed
        ---- --- -----
           a 0.0 False
           b nan False
        >>> round(fit["a"][0], -1)
        400.0
        """
        y_unit = 1 / self.x_unit if self.is_counts else self.value_unit
        curve = as_curve(
            model,
            x_unit=self.x_unit,
            y_unit=y_unit,
            start=start,
            limits=limits,
            fixed=fixed,
            steps=steps,
            integral=integral,
        )
        used = ~self.mask
        sigma = None if self.is_counts else self.sigma[used]
        low, high = self.edges[:-1][used], self.edges[1:][used]
        return fit_spectrum(curve, low, high, self.spectrum[used], sigma, x_unit=self.x_unit, y_unit=y_unit)

    def predict(
        self,
        fit,
        source_range,
        side_ranges,
        *,
        smoothing_fwhm=None,
        l_cut=None,
        angular_scale=None,
        rebin=None,
    ):
        """Expected counts or brightness in a source range.

        The template, the sum over the side ranges, is multiplied by the model's integral over the source
        range and divided by its integral over the side ranges.

        Parameters
        ----------
        fit : `~hisatools.line_background.LineFit`
        source_range : pair of Quantity
            Taken as it is for counts, snapped to whole channels for brightness.
        side_ranges : sequence of pairs of Quantity
            Each is snapped to the whole bins inside it. Bins that are masked, or touch the source range,
            are left out.
        smoothing_fwhm : Quantity, angle, optional
            FWHM of a Gaussian that smooths the template.
        l_cut : float, optional
            Multipole above which the template has no structure.
        angular_scale : Quantity, angle, optional
            The same as a scale of 180 deg / l_cut: half of the shortest wave that is kept.
        rebin : int, optional
            Number of neighbouring bins along the axis before the sky (such as a scatter angle) that
            share a filtered pattern; each keeps its own total.

        Returns
        -------
        `LinePrediction`

        Raises
        ------
        InputError
            If a side range holds no bin that can be used.
        ParameterError
            If both filters are asked for, or one where there is no sky.

        Examples
        --------
        The sky of the side ranges, smoothed, stands for that under the line:

        >>> import numpy as np
        >>> import astropy.units as u
        >>> from astropy.modeling.models import Polynomial1D
        >>> from hisatools import LineBackground
        >>> edges = np.linspace(0, 50, 51) * u.keV
        >>> counts = np.random.default_rng(1).poisson(40, (50, 8, 8))
        >>> background = LineBackground(counts, edges, pixel_scale=2 * u.deg).with_mask((20, 30) * u.keV)
        >>> fit = background.fit(Polynomial1D(1, c0=2500.0))
        >>> sides = [(10, 20) * u.keV, (30, 40) * u.keV]
        >>> sharp = background.predict(fit, (24, 26) * u.keV, sides)
        >>> smooth = background.predict(fit, (24, 26) * u.keV, sides, smoothing_fwhm=6 * u.deg)
        >>> round(float(sharp.values.std()), 1), round(float(smooth.values.std()), 1)
        (2.7, 0.7)
        >>> round(sharp.expected), round(float(smooth.values.sum()))
        (5125, 5125)
        """
        given = {"smoothing_fwhm": smoothing_fwhm, "l_cut": l_cut, "angular_scale": angular_scale}
        spatial_filter = chosen_filter(self, rebin, given)
        return predict(self, fit, source_range, side_ranges, spatial_filter=spatial_filter, rebin=rebin)

    def plot_spectrum(self, fit=None, prediction=None, *, ax=None):
        """Draw spectrum, fit, mask and ranges; see `hisatools.line_background.figures.plot_spectrum`.

        Examples
        --------
        >>> import numpy as np
        >>> import astropy.units as u
        >>> from astropy.modeling.models import Polynomial1D
        >>> from hisatools import LineBackground
        >>> edges = np.linspace(0, 50, 51) * u.keV
        >>> counts = np.random.default_rng(1).poisson(400, 50)
        >>> background = LineBackground(counts, edges).with_mask((20, 30) * u.keV)
        >>> ax = background.plot_spectrum(background.fit(Polynomial1D(1, c0=300.0)))
        >>> ax.figure.savefig("spectrum.png")
        >>> ax.get_ylabel()
        'Counts'
        """
        from hisatools.line_background.figures import plot_spectrum

        return plot_spectrum(self, fit, prediction, ax=ax)

    def as_given(self, values):
        """An array over bins in the order of the input; inside, axes rise.

        Examples
        --------
        >>> import numpy as np
        >>> import astropy.units as u
        >>> from hisatools import LineBackground
        >>> background = LineBackground(np.arange(4), np.array([4, 3, 2, 1, 0]) * u.keV)
        >>> background.values, background.as_given(background.values)
        (array([3, 2, 1, 0]), array([0, 1, 2, 3]))
        """
        return values[::-1] if self.is_reversed else values

    def per_bin(self, low, high):
        """What an integral over a bin is divided by: nothing for counts, the width for brightness.

        Examples
        --------
        >>> import numpy as np
        >>> import astropy.units as u
        >>> from hisatools import LineBackground
        >>> background = LineBackground(np.full(4, 9.0), np.arange(5) * 2 * u.km / u.s, sigma=1 * u.K)
        >>> background.per_bin(background.edges[:-1], background.edges[1:])
        array([2., 2., 2., 2.])
        """
        return 1.0 if self.is_counts else high - low
