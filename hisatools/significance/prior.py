"""SpatialPrior: where cold gas is to be expected, on the axes of a cube, and what that does to TS."""

import warnings
from dataclasses import dataclass, field

import numpy as np
from astropy.wcs import WCS

from hisatools.errors import HISAWarning, InputError, ParameterError
from hisatools.io.writing import _printable, image_header, write_image, writing_file
from hisatools.parameters import check_number
from hisatools.significance.prior_axes import check_same_axes
from hisatools.significance.prior_draws import draw_channels, draw_voxels, drawn
from hisatools.significance.prior_grid import unmasked
from hisatools.significance.prior_sources import PriorSources

__all__ = ["SpatialPrior"]


@dataclass(frozen=True, eq=False)
class SpatialPrior(PriorSources):
    r"""The probability that cold gas lies at a place.

    A scan that finds TS at each voxel (twice the logarithm of a likelihood ratio) takes a prior p into
    account by adding :math:`2 (\ln p - \ln p_\mathrm{max})`, which is 0 where the prior is largest and
    negative elsewhere. The normalisation of p does not matter.

    Parameters
    ----------
    probability : array_like, shape (n_y, n_x) or (n_v, n_y, n_x)
        0 or above, in any normalisation. What is NaN or masked is taken as 0, and a warning says so.
    wcs : `~astropy.wcs.WCS`
        The cube's: of the sky, or of all three axes if the prior has channels.
    name : str
        For messages and figures.
    meta : dict
        Where it came from; JSON can hold it.

    Raises
    ------
    ParameterError
        If a value is negative or infinite, or array and WCS do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance.prior import SpatialPrior
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> cube = simulate_cube(ModelParameters(shape=(8, 30, 40), n_pucks=1, n_components=50), seed=101).cube
    >>> prior = SpatialPrior.from_function(lambda sky: np.exp(-abs(sky.b.deg) / 0.02), cube, floor=0.01)
    >>> prior
    <SpatialPrior 'function' 30 x 40 pixels>
    >>> term = prior.term()
    >>> float(term.max()), round(float(term.min()), 2)
    (0.0, -7.0)
    """

    probability: np.ndarray
    wcs: WCS
    name: str = "prior"
    meta: dict = field(default_factory=dict)

    def __post_init__(self):
        try:
            probability = np.asarray(unmasked(self.probability), float)
        except (TypeError, ValueError):
            raise ParameterError(
                f"probability must be an array of numbers, got {type(self.probability).__name__}"
            ) from None
        if probability.ndim not in (2, 3) or not probability.size:
            raise ParameterError(
                f"probability must have the shape (n_y, n_x) or (n_v, n_y, n_x), got {probability.shape}"
            )
        if not isinstance(self.wcs, WCS) or not self.wcs.has_celestial or self.wcs.naxis < probability.ndim:
            raise ParameterError(
                f"wcs must be that of the cube, with {probability.ndim} axes or more for this prior, "
                f"got {type(self.wcs).__name__}; write for example wcs=cube.wcs"
            )
        low, high = np.fmin.reduce(probability, axis=None), np.fmax.reduce(probability, axis=None)
        if low < 0 or np.isinf(high):
            raise ParameterError(f"probability must be 0 or above and finite, got {low:g} to {high:g}")
        unknown = np.isnan(probability)
        if unknown.any():
            warnings.warn(
                f"{unknown.mean():.1%} of the prior {self.name!r} is NaN or masked and taken as 0: "
                "nothing is found there",
                HISAWarning,
                stacklevel=3,
            )
            probability = np.where(unknown, 0.0, probability)
        object.__setattr__(self, "probability", probability)
        if probability.ndim == 2 and self.wcs.naxis > 2:
            object.__setattr__(self, "wcs", self.wcs.celestial)

    # --- several as one -------------------------------------------------------------------------

    @classmethod
    def product(cls, *priors):
        """Several priors as one: independent evidence is multiplied.

        Their terms add up, but for a constant that makes the largest sum 0 again.

        Parameters
        ----------
        *priors : SpatialPrior
            Of one field; maps and priors with channels may be mixed. ``a * b`` is the same.

        Returns
        -------
        SpatialPrior

        Raises
        ------
        InputError
            If they are of different fields.
        ParameterError
            If one is no prior, or none is given.
        """
        if not priors or not all(isinstance(one, SpatialPrior) for one in priors):
            kinds = ", ".join(type(one).__name__ for one in priors) or "none"
            raise ParameterError(f"priors must be SpatialPrior, got {kinds}; write for example dust * co")
        largest = max(priors, key=lambda one: one.probability.ndim)
        for one in priors:
            check_same_axes(one, largest.wcs, largest.probability.shape, f"the prior {largest.name!r}")
        probability = np.ones(largest.probability.shape)
        for one in priors:
            # With 1 as the largest value of each, no product overflows.
            probability *= one.probability / (one.probability.max() or 1.0)
        names = " x ".join(one.name for one in priors)
        meta = {"kind": "product", "priors": [one.meta for one in priors]}
        return cls(probability, largest.wcs, names, meta)

    def __mul__(self, other):
        """The product of two priors."""
        return SpatialPrior.product(self, other) if isinstance(other, SpatialPrior) else NotImplemented

    # --- what it does ---------------------------------------------------------------------------

    def term(self, allowed=None):
        r"""What is added to TS: :math:`2 (\ln p - \ln p_\mathrm{max})`.

        Parameters
        ----------
        allowed : array_like of bool, shape (n_y, n_x) or (n_v, n_y, n_x), optional
            Where something may be found: not blank, and within what is searched. The largest p is
            taken there.

        Returns
        -------
        `~numpy.ndarray` of float32, shape of the prior
            0 or below; -inf where p is 0 or nothing is allowed. That of a map is added to every channel.

        Raises
        ------
        ParameterError
            If p is 0 wherever something may be found.
        InputError
            If the shape of ``allowed`` does not fit.
        """
        where = self._where(allowed)
        top = self._top(where)
        if not top > 0:
            place = "the field" if allowed is None else "what is allowed"
            raise ParameterError(
                f"the prior {self.name!r} is 0 everywhere in {place}; give one that is not, or a floor "
                "such as floor=1e-4"
            )
        term = np.empty(self.probability.shape, np.float32)
        with np.errstate(divide="ignore"):
            for out, plane, use in zip(_planes(term), _planes(self.probability), where, strict=True):
                out[:] = np.where(use, 2 * (np.log(plane) - np.log(top)), -np.inf)
        return term

    def apply(self, ts, allowed=None):
        """TS with the prior: TS' = TS + term, and 0 where that is negative or not finite.

        Parameters
        ----------
        ts : array_like, shape (n_v, n_y, n_x), or (n_y, n_x) for a map
            NaN or masked where blank; the largest p is that of a voxel that is not blank.
        allowed : array_like of bool, optional
            As in `term`; TS' is 0 elsewhere.

        Returns
        -------
        `~numpy.ndarray`, shape of ``ts``
            float32, or float64 if ``ts`` is. NaN where ``ts`` is NaN.

        Raises
        ------
        ParameterError
            If p is 0 wherever something may be found.
        InputError
            If a shape does not fit.

        Examples
        --------
        >>> import numpy as np
        >>> from astropy.wcs import WCS
        >>> from hisatools.significance.prior import SpatialPrior
        >>> wcs = WCS({"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR"})
        >>> prior = SpatialPrior([[1.0, 0.1, 0.0, 1.0]], wcs)
        >>> prior.apply(np.array([[9, 9, 9, np.nan]], np.float32)).round(2)
        array([[9.  , 4.39, 0.  ,  nan]], dtype=float32)
        """
        ts = np.asarray(unmasked(ts))
        ts = ts if ts.dtype == np.float64 else ts.astype(np.float32)
        shape = self.probability.shape
        if ts.ndim not in (2, 3) or ts.ndim < len(shape) or ts.shape[-len(shape) :] != shape:
            raise InputError(f"TS of shape {ts.shape} does not fit the prior {self.name!r} of shape {shape}")
        blank = np.isnan(ts)
        use = ~blank if allowed is None else ~blank & self._checked(allowed, ts.shape)
        if not use.any():
            return np.where(blank, ts, 0).astype(ts.dtype)
        with np.errstate(invalid="ignore"):  # infinite TS where p is 0
            with_prior = ts + self.term(use)
        with_prior[~(use & np.isfinite(with_prior) & (with_prior > 0))] = 0
        with_prior[blank] = np.nan
        return with_prior

    def draw(self, n, rng, allowed=None, *, n_channels=None):
        """Places at random, as often as the prior says.

        Parameters
        ----------
        n : int
            How many.
        rng : `~numpy.random.Generator`
            The same state gives the same places.
        allowed : array_like of bool, shape (n_y, n_x) or (n_v, n_y, n_x), optional
            Where a place may be.
        n_channels : int, optional
            Needed by a prior without channels if ``allowed`` has none either.

        Returns
        -------
        `~numpy.ndarray` of int, shape (n, 3)
            Voxels (v, y, x). With a prior without channels, sight lines are drawn by it, and then one of the
            allowed channels of each, all alike.

        Raises
        ------
        ParameterError
            If p is 0 wherever a place may be, or the number of channels is not known.
        """
        check_number("n", n, inclusive=True, integer=True)
        if not isinstance(rng, np.random.Generator):
            raise ParameterError(
                f"rng must be a numpy Generator, got {rng!r}; write for example np.random.default_rng(6000)"
            )
        where = self._where(allowed)
        if not self._top(where) > 0:
            raise ParameterError(f"the prior {self.name!r} is 0 wherever a place may be drawn")
        shares = rng.random((2, n))
        if self.probability.ndim == 3:
            return draw_voxels(self.probability, where, shares)
        y, x = np.unravel_index(
            drawn(np.where(where[0], self.probability, 0.0), shares[0]), self.probability.shape
        )
        return np.stack([draw_channels(allowed, n_channels, y, x, shares[1]), y, x], axis=1)

    def plot(self, channel=None, *, log=True, ax=None):
        """Draw the prior on the sky, in units of its largest value; grey where it is 0.

        Parameters
        ----------
        channel : int, optional
            Of a prior with channels, from 0 in file order; by default the largest over the channels.
        log : bool
            Whether the colours are logarithmic.
        ax : `~astropy.visualization.wcsaxes.WCSAxes`, optional
            Where to draw; by default in a new figure.

        Returns
        -------
        `~astropy.visualization.wcsaxes.WCSAxes`
            Its ``figure`` can be shown and saved.

        Raises
        ------
        ParameterError
            If there is no such channel.
        """
        from hisatools.significance.prior_figures import plot_prior

        return plot_prior(self, channel, log=log, ax=ax)

    def check_axes(self, cube):
        """Refuse a cube for which this prior was not made: another shape, field or velocity axis.

        Corners and centre of the map, and the first and last channel if the prior has channels, must be
        the cube's to a hundredth of a pixel and of a channel.

        Parameters
        ----------
        cube : `~hisatools.HISACube`

        Raises
        ------
        InputError
            If they differ; the message says in what.
        """
        check_same_axes(self, cube.wcs, cube.shape, "the cube")

    def write(self, path, *, overwrite=False):
        """Write a FITS image, whole or not at all; `read` and `from_map` read it.

        Parameters
        ----------
        path : path-like
        overwrite : bool
            Whether a file of that name may be replaced.

        Raises
        ------
        OutputError
            If the file exists or cannot be written.
        """
        header = image_header(self.wcs, comments=[f"{name} = {value}" for name, value in self.meta.items()])
        header["BTYPE"] = "prior", "probability of cold gas, any normalisation"
        header["PRIOR"] = _printable(self.name)
        with writing_file(path, overwrite=overwrite) as part:
            write_image(part, self.probability, header)

    def __repr__(self):
        n_y, n_x = self.probability.shape[-2:]
        channels = f"{len(self.probability)} channels x " if self.probability.ndim == 3 else ""
        return f"<SpatialPrior {self.name!r} {channels}{n_y} x {n_x} pixels>"

    def _checked(self, allowed, shape):
        """``allowed`` as bool, of a shape that goes with ``shape``."""
        allowed = np.ma.filled(allowed, False)
        fits = allowed.ndim in (2, 3) and allowed.shape == tuple(shape)[-allowed.ndim :]
        if not fits or allowed.dtype != bool:
            raise InputError(
                f"allowed must be True or False for each voxel or sight line of {tuple(shape)}, "
                f"got {allowed.dtype} of shape {allowed.shape}"
            )
        return allowed

    def _where(self, allowed):
        """Where something may be found, in as many planes as the prior has."""
        shape = self.probability.shape
        if allowed is None:
            return np.broadcast_to(True, (1, *shape)[-3:])
        if len(shape) == 2:
            allowed = np.ma.filled(allowed, False)
            allowed = self._checked(allowed, (*allowed.shape[:-2], *shape))
            return (allowed.any(axis=0) if allowed.ndim == 3 else allowed)[None]
        return np.broadcast_to(self._checked(allowed, shape), shape)

    def _top(self, where):
        planes = zip(_planes(self.probability), where, strict=True)
        return max(plane.max(where=use, initial=0.0) for plane, use in planes)


def _planes(values):
    return values if values.ndim == 3 else values[None]
