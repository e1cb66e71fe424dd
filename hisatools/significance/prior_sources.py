"""Ways to make a prior: from maps, catalogues, regions and functions, and from files of any of these."""

from inspect import signature
from pathlib import Path

from hisatools.errors import InputError, ParameterError
from hisatools.io.files import opened
from hisatools.parameters import check_number
from hisatools.significance.prior_grid import finished, sky_grid

__all__ = ["PriorSources", "kind_of_file"]

# First bytes of gzip, bzip2 and xz.
COMPRESSED = b"\x1f\x8b", b"BZh", b"\xfd7zXZ"


class PriorSources:
    """The constructors of `~hisatools.significance.prior.SpatialPrior`, which inherits them.

    Examples
    --------
    A circle, a catalogue and a function are priors alike, and priors of one field are multiplied:

    >>> import numpy as np
    >>> from hisatools.datasets import example_model, example_result
    >>> from hisatools.significance import SpatialPrior
    >>> cube = example_model().cube
    >>> plane = SpatialPrior.from_function(lambda sky: np.exp(-abs(sky.b.deg)), cube, name="plane")
    >>> known = SpatialPrior.from_catalog(example_result().catalog, cube, floor=0.01, name="known")
    >>> plane * known
    <SpatialPrior 'plane x known' 32 channels x 208 x 208 pixels>
    """

    @classmethod
    def from_healpix(
        cls, source, cube, *, nested=None, frame=None, column=None, floor=0.0, smoothing=None, name=None
    ):
        """A prior from a HEALPix map, interpolated between the four nearest pixels.

        Pixels finer than the cube's are averaged first, over those that are known.

        Parameters
        ----------
        source : path, or array_like, shape (12 nside^2,)
            A path is a FITS file of the whole sky, or of numbered pixels. NaN, UNSEEN and what is masked are
            not known.
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
        plane = healpix.binned(grid.sample_deg).at(grid.sky)
        found = finished([plane], grid, _source_name(source, "the HEALPix map"), floor=floor)
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
        make = getattr(cls, f"from_{kind_of_file(Path(path))}")
        known = list(signature(make).parameters)[2:]
        unknown = sorted(set(settings) - set(known))
        if unknown:
            raise ParameterError(
                f"{path}: a prior by {make.__name__} does not take {', '.join(unknown)}; "
                f"it takes {', '.join(known)}"
            )
        return make(path, cube, **settings)

    @classmethod
    def _made(cls, found, cube, kind, source, name, smoothing, notes):
        probability, shares = found
        text = str(source) if isinstance(source, str | Path) else None
        meta = {"kind": kind, "source": text, "smoothing": None if smoothing is None else str(smoothing)}
        wcs = cube.wcs if probability.ndim == 3 else cube.wcs.celestial
        own_name = Path(text).name if isinstance(text, str) and kind != "function" else kind
        return cls(probability, wcs, str(name or own_name), meta | shares | notes)


def kind_of_file(path):
    """What a file holds, by its content.

    Parameters
    ----------
    path : `~pathlib.Path`

    Returns
    -------
    str
        "healpix", "map", "catalog" or "regions": the end of the name of the constructor that reads it.

    Raises
    ------
    InputError
        If there is no such file.

    Examples
    --------
    >>> from pathlib import Path
    >>> from hisatools.significance.prior_sources import kind_of_file
    >>> path = Path("clouds.reg")
    >>> _ = path.write_text("galactic; circle(140, 0, 0.1)")
    >>> kind_of_file(path)
    'regions'
    """
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


def _source_name(source, otherwise):
    return str(source) if isinstance(source, str | Path) else otherwise
