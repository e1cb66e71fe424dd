"""SpatialPrior: where cold gas is to be expected, on the axes of a cube, and what that does to TS."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.wcs import WCS

from hisatools.errors import HISAWarning, InputError, ParameterError
from hisatools.io.files import opened
from hisatools.io.writing import _printable, image_header, write_image, writing_file
from hisatools.parameters import check_number
from hisatools.significance.prior_axes import check_same_axes
from hisatools.significance.prior_draws import draw_channels, draw_voxels, drawn
from hisatools.significance.prior_grid import finished, sky_grid

__all__ = ["SpatialPrior"]

# First bytes of gzip, bzip2 and xz.
COMPRESSED = b"\x1f\x8b", b"BZh", b"\xfd7zXZ"


@dataclass(frozen=True, eq=False)
class SpatialPrior:
    r"""The probability that cold gas lies at a place.

    A scan that finds TS at each voxel (twice the logarithm of a likelihood ratio) takes a prior p into
    account by adding :math:`2 (\ln p - \ln p_\mathrm{max})`, which is 0 where the prior is largest and
    negative elsewhere. The normalisation of p does not matter.

    Parameters
    ----------
    probability : array_like, shape (n_y, n_x) or (n_v, n_y, n_x)
        0 or above, in any normalisation. What is NaN is taken as 0, and a warning says so.
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
        probability = np.asarray(self.probability, float)
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
                f"{unknown.mean():.1%} of the prior {self.name!r} is NaN and taken as 0: "
                "nothing is found there",
                HISAWarning,
                stacklevel=3,
            )
            probability = np.where(unknown, 0.0, probability)
        object.__setattr__(self, "probability", probability)
        if probability.ndim == 2 and self.wcs.naxis > 2:
            object.__setattr__(self, "wcs", self.wcs.celestial)

    # --- ways to make one -----------------------------------------------------------------------

    @classmethod
    def from_healpix(
        cls, source, cube, *, nested=None, frame=None, column=None, floor=0.0, smoothing=None, name=None
    ):
        """A prior from a HEALPix map, interpolated between the four nearest pixels.

        Parameters
        ----------
        source : path, or array_like, shape (12 nside^2,)
            A path is a FITS file of the whole sky, or of numbered pixels. NaN and UNSEEN are not known.
        cube : `~hisatools.HISACube`
            On whose sky the prior is wanted.
        nested : bool, optional
            The order of the pixels; wins over ORDERING. An array is in ring order if it is not given.
        frame : str or frame, optional
            "galactic", "icrs", "ecliptic" ...; wins over COORDSYS. An array is Galactic if it is not given.
        column : int or str, optional
            Of a file, by default the first (0), not counting pixel numbers.
        floor : float
            Least value, as a share of the largest in the field; also where nothing is known.
        smoothing : Quantity, angle, optional
            FWHM of a Gaussian on the sky; what lies beside the field is smoothed into it.
        name : str, optional

        Returns
        -------
        SpatialPrior
            Of shape (n_y, n_x).

        Raises
        ------
        InputError
            If the map cannot be read, or says nothing about the field.
        ParameterError
            If an argument is not of the kind that is needed, or astropy-healpix is not installed.

        Examples
        --------
        >>> import numpy as np
        >>> from hisatools.significance.prior import SpatialPrior
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> small = ModelParameters(shape=(8, 30, 40), n_pucks=1, n_components=50)
        >>> cube = simulate_cube(small, seed=101).cube
        >>> SpatialPrior.from_healpix(np.arange(12 * 64**2), cube, frame="galactic")
        <SpatialPrior 'healpix' 30 x 40 pixels>
        """
        from hisatools.significance.prior_healpix import read_healpix

        healpix = read_healpix(source, nested=nested, frame=frame, column=column)
        grid = sky_grid(cube, smoothing, source_deg=healpix.pixel_deg / 2)
        found = finished([healpix.at(grid.sky)], grid, _source_name(source, "the HEALPix map"), floor=floor)
        notes = {"nside": healpix.nside, "nested": healpix.nested, "frame": healpix.frame.name}
        return cls._made(found, cube, "healpix", source, name, smoothing, notes)

    @classmethod
    def from_map(cls, source, cube, *, hdu=None, rest_frequency=None, floor=0.0, smoothing=None, name=None):
        """A prior from a map or a cube with a WCS: CO, dust, a column density.

        It is interpolated between the four nearest pixels; pixels and channels finer than the cube's are
        averaged. What is negative, as noise is, becomes 0 after the smoothing.

        Parameters
        ----------
        source : path, image HDU, `~hisatools.HISACube`, or pair of array and `~astropy.wcs.WCS`
            A map gives a prior of shape (n_y, n_x), a cube one of shape (n_v, n_y, n_x). The frame of the
            sky, the order of the axes and the units do not matter.
        cube : `~hisatools.HISACube`
        hdu : int or str, optional
            Of a file; by default the first image.
        rest_frequency : Quantity, frequency, optional
            Of a cube in frequency; wins over RESTFRQ.
        floor, smoothing, name
            As in `from_healpix`.

        Returns
        -------
        SpatialPrior

        Raises
        ------
        InputError
            If the map cannot be read, or says nothing about the field.
        ParameterError
            If an argument is not of the kind that is needed.
        """
        from hisatools.significance.prior_maps import read_map

        found = read_map(source, hdu=hdu, rest_frequency=rest_frequency)
        grid = sky_grid(cube, smoothing, source_deg=found.pixel_deg)
        n_channels = cube.shape[0] if found.values.ndim == 3 else None
        planes = found.binned(grid.sample_deg).planes(grid, cube)
        values = finished(planes, grid, found.source, floor=floor, n_channels=n_channels)
        return cls._made(values, cube, "map", source, name, smoothing, {"mends": list(found.mends)})

    @classmethod
    def from_catalog(cls, table, cube, *, in_velocity=True, floor=0.0, smoothing=None, name=None):
        """A prior that is 1 where an earlier catalogue has features, and 0 elsewhere.

        Each feature is a disc of its ``solid_angle``, over its ``velocity_fwhm``; at least the pixel and
        the channel of its centre.

        Parameters
        ----------
        table : path or `~astropy.table.Table`
            As `~hisatools.HISAResult` holds it, or the path of ``catalog.ecsv`` or of its folder.
        cube : `~hisatools.HISACube`
        in_velocity : bool
            Whether the prior has channels; without, features count at all velocities.
        floor, smoothing, name
            As in `from_healpix`.

        Returns
        -------
        SpatialPrior

        Raises
        ------
        InputError
            If the table is no such catalogue, is empty, or has no feature in the field.
        """
        from hisatools.significance.prior_shapes import catalog_discs

        discs, source = catalog_discs(table, cube)
        grid = sky_grid(cube, smoothing)
        n_channels = cube.shape[0] if in_velocity else None
        planes = discs.planes(grid, cube, in_velocity=in_velocity)
        found = finished(planes, grid, source, floor=floor, n_channels=n_channels)
        if not found[0].any():
            raise InputError(f"{source}: none of its {discs.radius_deg.size} features lies in the cube")
        return cls._made(found, cube, "catalog", source, name, smoothing, {"features": discs.radius_deg.size})

    @classmethod
    def from_regions(cls, regions, cube, *, inside=1.0, outside=0.0, floor=0.0, smoothing=None, name=None):
        """A prior with one value inside regions and another outside.

        Parameters
        ----------
        regions : path, `~regions.SkyRegion`, `~regions.PixelRegion`, `~regions.Regions` or list
            A path is a DS9 region file. Regions marked as excluded are taken out of the others; pixels are
            those of the cube.
        cube : `~hisatools.HISACube`
        inside, outside : float
            The two values; 0 excludes.
        floor, smoothing, name
            As in `from_healpix`.

        Returns
        -------
        SpatialPrior
            Of shape (n_y, n_x).

        Raises
        ------
        InputError
            If no pixel lies in the regions, or the file cannot be read.
        ParameterError
            If a value is negative, or what is given is no region.
        """
        from hisatools.significance.prior_shapes import region_plane

        check_number("inside", inside, inclusive=True)
        check_number("outside", outside, inclusive=True)
        grid = sky_grid(cube, smoothing)
        plane = region_plane(regions, grid, cube, inside, outside)
        found = finished([plane], grid, _source_name(regions, "the regions"), floor=floor)
        notes = {"inside": inside, "outside": outside}
        return cls._made(found, cube, "regions", regions, name, smoothing, notes)

    @classmethod
    def from_function(cls, function, cube, *, floor=0.0, smoothing=None, name=None):
        """A prior from a function of the position, or of position and velocity.

        Parameters
        ----------
        function : callable
            ``function(sky)`` gets a `~astropy.coordinates.SkyCoord` of shape (n_y, n_x) in the frame of
            the cube; ``function(sky, velocity)`` is called for each channel with a scalar velocity, too. It
            returns numbers of 0 or above in the shape of ``sky``, NaN where it knows nothing.
        cube : `~hisatools.HISACube`
        floor, smoothing, name
            As in `from_healpix`.

        Returns
        -------
        SpatialPrior
            Of shape (n_y, n_x), or (n_v, n_y, n_x) for a function of two arguments.

        Raises
        ------
        ParameterError
            If the function returns anything else.
        InputError
            If it knows nothing anywhere.
        """
        from hisatools.significance.prior_shapes import function_planes, n_arguments

        n_channels = cube.shape[0] if n_arguments(function) == 2 else None
        grid = sky_grid(cube, smoothing)
        planes = function_planes(function, grid, cube)
        found = finished(planes, grid, "the function", floor=floor, n_channels=n_channels)
        return cls._made(found, cube, "function", getattr(function, "__name__", ""), name, smoothing, {})

    @classmethod
    def read(cls, path, cube, **settings):
        """A prior from a file of any kind, which its content tells.

        A FITS table is a HEALPix map, a FITS image a map or a cube, a table in ECSV format (or a folder
        with ``catalog.ecsv``) a catalogue, and any other text a DS9 region file.

        Parameters
        ----------
        path : path-like
        cube : `~hisatools.HISACube`
        **settings
            As the constructor of that kind takes them; all take ``floor``, ``smoothing`` and ``name``.

        Returns
        -------
        SpatialPrior

        Raises
        ------
        InputError
            If the file cannot be read, or says nothing about the field.
        ParameterError
            If a setting is not one of this kind.
        """
        from inspect import signature

        make = getattr(cls, f"from_{_kind_of_file(Path(path))}")
        known = list(signature(make).parameters)[2:]
        unknown = sorted(set(settings) - set(known))
        if unknown:
            raise ParameterError(
                f"{path}: a prior by {make.__name__} does not take {', '.join(unknown)}; "
                f"it takes {', '.join(known)}"
            )
        return make(path, cube, **settings)

    @classmethod
    def product(cls, *priors):
        """Several priors as one: independent evidence is multiplied, so their terms add up.

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
            NaN where blank; the largest p is that of a voxel that is not blank.
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
        ts = np.asarray(ts)
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

    @classmethod
    def _made(cls, found, cube, kind, source, name, smoothing, notes):
        probability, shares = found
        text = str(source) if isinstance(source, str | Path) else None
        meta = {"kind": kind, "source": text, "smoothing": None if smoothing is None else str(smoothing)}
        wcs = cube.wcs if probability.ndim == 3 else cube.wcs.celestial
        own_name = Path(text).name if isinstance(text, str) and kind != "function" else kind
        return cls(probability, wcs, str(name or own_name), meta | shares | notes)

    def _checked(self, allowed, shape):
        """``allowed`` as bool, of a shape that goes with ``shape``."""
        allowed = np.asarray(allowed)
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
            allowed = np.asarray(allowed)
            allowed = self._checked(allowed, (*allowed.shape[:-2], *shape))
            return (allowed.any(axis=0) if allowed.ndim == 3 else allowed)[None]
        return np.broadcast_to(self._checked(allowed, shape), shape)

    def _top(self, where):
        planes = zip(_planes(self.probability), where, strict=True)
        return max(plane.max(where=use, initial=0.0) for plane, use in planes)


def _planes(values):
    return values if values.ndim == 3 else values[None]


def _source_name(source, otherwise):
    return str(source) if isinstance(source, str | Path) else otherwise


def _kind_of_file(path):
    """healpix, map, catalog or regions."""
    if path.is_dir():
        return "catalog"
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a HEALPix map, an image, a catalogue or a region file")
    with open(path, "rb") as stream:
        start = stream.read(16)
    if start.startswith(b"# %ECSV"):
        return "catalog"
    if not start.startswith((b"SIMPLE", *COMPRESSED)):
        return "regions"
    from hisatools.significance.prior_healpix import is_healpix

    with opened(path) as hdus:
        has_image = any(hdu.is_image and len(hdu.shape) > 1 for hdu in hdus)
        return "healpix" if any(map(is_healpix, hdus)) or not has_image else "map"
