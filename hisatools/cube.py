"""HISACube: brightness temperature, WCS, beam and weights; the science sees only this."""

import copy

import astropy.units as u
import numpy as np

from hisatools.errors import InputError, ParameterUnitsError
from hisatools.io.beams import checked_beam, solid_angle
from hisatools.io.checks import check_brightness, check_sky, check_weights
from hisatools.io.headers import clean_wcs
from hisatools.io.mends import MendLog
from hisatools.io.reading import as_float32, channel_velocity, read_image, to_kelvin
from hisatools.io.spectrum import one_pixel_wcs
from hisatools.io.units import brightness_unit
from hisatools.io.writing import image_header

__all__ = ["HISACube"]


class HISACube:
    """An H I cube that can be searched: checked, in K, with a velocity axis linear in m/s.

    Parameters
    ----------
    data : `~astropy.units.Quantity`, shape (n_v, n_y, n_x)
        Brightness: temperature, surface brightness, or flux per beam if ``beam`` is given. NaN
        where blank. Contiguous float32 in K is used without a copy.
    wcs : `~astropy.wcs.WCS`
        Longitude, latitude and velocity (or frequency), in this order; axes of length 1 may
        follow. It is mended as the header of a file is.
    beam : `~radio_beam.Beam`, optional
    weights : array_like, shape (n_y, n_x), optional
        Mosaic weight of each sight line, 0 or above; NaN means none.
    meta : dict, optional
        Provenance. ``"path"`` names the input in messages, ``"object"`` goes into headers.

    Raises
    ------
    InputError
        If the data or the WCS cannot be searched; the message names the fault and the cure.

    Examples
    --------
    One spectrum, of the Leiden/Argentine/Bonn survey at l = 10 deg:

    >>> from hisatools import HISACube
    >>> from hisatools.datasets import example_model, load_lab_profiles
    >>> lab = load_lab_profiles()
    >>> HISACube.from_spectrum(lab["t_l10"], lab["velocity"])
    <HISACube 301 channels x 1 x 1 pixels, -150.0 to 150.0 km/s in steps of 1 km/s>

    A field, and what is known about it:

    >>> cube = example_model().cube
    >>> cube
    <HISACube 32 channels x 208 x 208 pixels, -27.2 to -52.8 km/s in steps of 0.8245 km/s>
    >>> cube.data[16, 100, 100].round(1), cube.velocity[16].round(1)
    (<Quantity 148.2 K>, <Quantity -40.4 km / s>)
    >>> cube.channel_width.round(2), cube.pixel_scale.round(2)
    (<Quantity 0.82 km / s>, <Quantity 0.3 arcmin>)
    >>> print(cube.beam)
    Beam: BMAJ=60.0 arcsec BMIN=60.0 arcsec BPA=0.0 deg
    >>> cube.is_spectrum, cube.mends
    (False, ())
    """

    def __init__(self, data, wcs, *, beam=None, weights=None, meta=None):
        self.meta = dict(meta or {})
        source = self.meta.get("path", "the cube")
        mends = MendLog(source)
        if not isinstance(data, u.Quantity):
            raise ParameterUnitsError(
                f"data needs a unit of K, got {type(data).__name__}; write for example data * u.K"
            )
        self.beam = checked_beam(beam)
        self._wcs = clean_wcs(wcs, data.shape, mends)
        self.kelvin = self._in_kelvin(data, source)
        check_brightness(self.kelvin, source)
        self._pixel_scale = check_sky(self._wcs, self.kelvin.shape, source)
        self.weights = None if weights is None else check_weights(weights, self.kelvin.shape[1:], source)
        self.meta["mends"] = [*self.meta.get("mends", []), *mends.texts]

    @classmethod
    def read(
        cls,
        path,
        *,
        velocity_range=None,
        region=None,
        weights=None,
        beam=None,
        unit=None,
        hdu=None,
        rest_frequency=None,
    ):
        """Read a FITS cube, mending its header and cutting it on the way.

        Axes may be in any order; Stokes and other axes of length 1 are dropped. Each assumption
        is one `~hisatools.errors.MendWarning` and is kept in `mends`.

        Parameters
        ----------
        path : str or `~pathlib.Path`
            Of a FITS file, which may be compressed.
        velocity_range : pair of Quantity, velocity, optional
            Read the channels whose centres lie between these two velocities, ends included.
        region : `~regions.SkyRegion` or path of a DS9 region file, optional
            Read its bounding box; pixels whose centres lie outside the region become NaN.
        weights : path of a FITS map, or array_like, shape (n_y, n_x), optional
            For the whole file; cut along with the cube.
        beam : `~radio_beam.Beam`, optional
            Wins over the header's.
        unit : str or `~astropy.units.Unit`, optional
            Of the brightness; wins over BUNIT.
        hdu : int or str, optional
            Number or name of the HDU; without it the first image with three axes or more.
        rest_frequency : Quantity, frequency, optional
            Wins over RESTFRQ.

        Returns
        -------
        HISACube

        Raises
        ------
        InputError
            If the file cannot be used: one line that names it, the fault and the cure.
        ParameterError
            If an argument is not of the kind that is needed.

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools import HISACube
        >>> from hisatools.datasets import example_model
        >>> example_model().write("model")
        >>> cube = HISACube.read("model/cube.fits", velocity_range=(-50, -40) * u.km / u.s)
        >>> cube
        <HISACube 12 channels x 208 x 208 pixels, -40.4 to -49.5 km/s in steps of 0.8245 km/s>
        >>> cube.velocity.min().round(1)
        <Quantity -49.5 km / s>
        """
        image = read_image(
            path,
            velocity_range=velocity_range,
            region=region,
            weights=weights,
            beam=beam,
            unit=unit,
            hdu=hdu,
            rest_frequency=rest_frequency,
        )
        return cls(image.kelvin << u.K, image.wcs, beam=image.beam, weights=image.weights, meta=image.meta)

    @classmethod
    def from_spectral_cube(cls, cube):
        """Take over a spectral-cube cube.

        Parameters
        ----------
        cube : `~spectral_cube.SpectralCube` or `~spectral_cube.VaryingResolutionSpectralCube`
            Masked voxels become NaN. Where each channel has its own beam, each is converted to K
            with its own, and the largest stands for the cube.

        Returns
        -------
        HISACube

        Raises
        ------
        InputError
            As the constructor.

        Examples
        --------
        >>> from hisatools import HISACube
        >>> from hisatools.datasets import example_result
        >>> found = example_result().spectral_cube("t_unabsorbed")
        >>> HISACube.from_spectral_cube(found)
        <HISACube 32 channels x 208 x 208 pixels, -27.2 to -52.8 km/s in steps of 0.8245 km/s>
        """
        source = "the spectral cube"
        mends = MendLog(source)
        text = cube.meta.get("BUNIT") if cube.unit == u.one else str(cube.unit)
        unit = brightness_unit(None, text, mends)
        beam, omega = _spectral_cube_beam(cube, mends)
        values = cube.filled_data[:].value
        wcs = clean_wcs(cube.wcs, values.shape, mends)
        kelvin = np.array(values, dtype=np.float32, order="C")
        to_kelvin(kelvin, unit, wcs, omega, source)
        meta = {"object": str(cube.meta.get("OBJECT", "")), "unit": str(unit), "mends": mends.texts}
        return cls(kelvin << u.K, wcs, beam=beam, meta=meta)

    @classmethod
    def from_spectrum(cls, temperature, velocity, *, beam=None, position=None):
        """A cube of one pixel from a single spectrum; only the spectral search applies to it.

        Parameters
        ----------
        temperature : Quantity, shape (n_v,), temperature
            Brightness; NaN where blank.
        velocity : Quantity, shape (n_v,), velocity
            Ascending or descending in even steps.
        beam : `~radio_beam.Beam`, optional
        position : `~astropy.coordinates.SkyCoord`, optional
            Of the sight line; without it l = b = 0 stands in. The pixel is 1 arcmin wide.

        Returns
        -------
        HISACube
            Of shape (n_v, 1, 1).

        Raises
        ------
        InputError
            If the two do not match or the velocities are not evenly spaced.

        Examples
        --------
        >>> from astropy.coordinates import SkyCoord
        >>> from hisatools import HISACube
        >>> from hisatools.datasets import load_lab_profiles
        >>> lab = load_lab_profiles()
        >>> position = SkyCoord("10d 0d", frame="galactic")
        >>> cube = HISACube.from_spectrum(lab["t_l10"], lab["velocity"], position=position)
        >>> cube.data[157, 0, 0].round(1), cube.velocity[157]
        (<Quantity 42. K>, <Quantity 7. km / s>)
        >>> cube.wcs.celestial.pixel_to_world(0, 0).to_string("decimal")
        '10 0'
        """
        _check_units(temperature=(temperature, u.K), velocity=(velocity, u.km / u.s))
        if temperature.ndim != 1 or temperature.shape != velocity.shape:
            raise InputError(
                f"the spectrum: temperature of shape {temperature.shape} and velocity of shape "
                f"{velocity.shape}; both must be 1-D and of one length"
            )
        wcs = one_pixel_wcs(velocity.to_value(u.m / u.s), position)
        meta = {"object": "spectrum", "position": "given" if position is not None else "not known"}
        return cls(temperature.astype(np.float32)[:, None, None], wcs, beam=beam, meta=meta)

    @property
    def data(self):
        """Brightness temperature in K: a Quantity of shape (n_v, n_y, n_x) that shares ``kelvin``."""
        return self.kelvin << u.K

    @property
    def shape(self):
        """(n_v, n_y, n_x)."""
        return self.kelvin.shape

    @property
    def wcs(self):
        """Longitude, latitude and velocity: VRAD linear in m/s, with RESTFRQ and SPECSYS."""
        return self._wcs

    @property
    def velocity(self):
        """Velocities of the channels: Quantity, shape (n_v,), km/s, in file order."""
        return channel_velocity(self._wcs, self.shape[0])

    @property
    def channel_width(self):
        """Width of a channel: positive scalar Quantity, km/s."""
        return abs(self._wcs.wcs.cdelt[2]) / 1e3 * u.km / u.s

    @property
    def pixel_scale(self):
        """Side of a pixel on the sky at the centre of the field: scalar Quantity, arcmin."""
        return self._pixel_scale

    @property
    def is_spectrum(self):
        """Whether there is one sight line only."""
        return self.shape[1:] == (1, 1)

    @property
    def mends(self):
        """What was assumed about the input: tuple of str."""
        return tuple(self.meta["mends"])

    @property
    def header(self):
        """A FITS header for images on these axes: WCS, beam and OBJECT."""
        return image_header(self._wcs, beam=self.beam, object_name=self.meta.get("object"))

    def block(self, box):
        """Brightness of a box of voxels: the door through which searches and estimates see a cube.

        Parameters
        ----------
        box : int, or tuple of two slices
            A channel, counted from 0; or channels, and rows without steps.

        Returns
        -------
        `~numpy.ndarray` of float32, K
            Not to be changed: it may be a view of the cube.

        Examples
        --------
        >>> from hisatools.datasets import example_model
        >>> cube = example_model().cube
        >>> cube.block(16).shape
        (208, 208)
        >>> cube.block((slice(0, 8), slice(100, 110))).shape
        (8, 10, 208)
        """
        return self.kelvin[box]

    def with_brightness(self, kelvin):
        """The same cube with other brightness.

        Parameters
        ----------
        kelvin : array_like or Quantity, shape (n_v, n_y, n_x)
            In K; NaN where blank. It is not checked again.

        Returns
        -------
        HISACube

        Raises
        ------
        InputError
            If the shape differs.

        Examples
        --------
        The same field without its absorption and noise, which a model knows:

        >>> from hisatools.datasets import example_model
        >>> model = example_model()
        >>> smooth = model.cube.with_brightness(model.t_unabsorbed)
        >>> smooth.shape, smooth.data.mean().round(1), smooth.beam == model.cube.beam
        ((32, 208, 208), <Quantity 100.1 K>, True)
        """
        values = as_float32(kelvin.to_value(u.K) if isinstance(kelvin, u.Quantity) else kelvin)
        if values.shape != self.shape:
            raise InputError(f"brightness of shape {values.shape} does not fit the cube's shape {self.shape}")
        other = copy.copy(self)
        other.kelvin, other.meta = values, copy.deepcopy(self.meta)
        return other

    def filled_box(self):
        """The smallest box that holds all finite voxels: a slice for each of (v, y, x).

        An axis keeps at least what a box of one voxel needs; blank margins are what it leaves out.

        Examples
        --------
        >>> import numpy as np
        >>> from hisatools.datasets import example_model
        >>> cube = example_model().cube
        >>> kelvin = cube.kelvin.copy()
        >>> kelvin[:, :20] = np.nan
        >>> box = cube.with_brightness(kelvin).filled_box()
        >>> box[1]
        slice(20, 208, None)
        >>> cube.cutout(box).shape
        (32, 188, 208)
        """
        finite = np.isfinite(self.kelvin)
        others = ((1, 2), (0, 2), (0, 1))
        occupied = [np.flatnonzero(finite.any(axis=axes)) for axes in others]
        return tuple(slice(int(where[0]), int(where[-1]) + 1) for where in occupied)

    def cutout(self, box):
        """Part of the cube.

        Parameters
        ----------
        box : tuple of slice
            Voxels along (v, y, x), without steps.

        Returns
        -------
        HISACube
            With the WCS and weights of the part. It shares the brightness where that needs no copy to be
            contiguous, as for some channels of the whole field.

        Examples
        --------
        >>> from hisatools.datasets import example_model
        >>> cube = example_model().cube
        >>> cube.cutout((slice(8, 24), slice(50, 150), slice(50, 150)))
        <HISACube 16 channels x 100 x 100 pixels, -33.8 to -46.2 km/s in steps of 0.8245 km/s>
        """
        other = copy.copy(self)
        other.kelvin = np.ascontiguousarray(self.kelvin[box])
        other._wcs = self._wcs[box]
        other.weights = None if self.weights is None else self.weights[box[1:]]
        other.meta = copy.deepcopy(self.meta)
        return other

    def __repr__(self):
        n_v, n_y, n_x = self.shape
        v = self.velocity.value
        return (
            f"<HISACube {n_v} channels x {n_y} x {n_x} pixels, {v[0]:.1f} to {v[-1]:.1f} km/s "
            f"in steps of {self.channel_width.value:.4g} km/s>"
        )

    def _in_kelvin(self, data, source):
        unit = brightness_unit(data.unit, None, MendLog(source))
        values = as_float32(data.value)
        if unit != u.K:
            values = values.copy() if np.shares_memory(values, data.value) else values
            to_kelvin(values, unit, self._wcs, solid_angle(self.beam), source)
        return values


def _spectral_cube_beam(cube, mends):
    """The beam that stands for a spectral-cube cube, and the solid angle of each channel's own."""
    from spectral_cube.utils import NoBeamError  # slow to import; who has such a cube has done it

    several = getattr(cube, "beams", None)
    if several is not None:
        mends.add("each channel has its own beam: the largest stands for the cube")
        return several.largest_beam(), solid_angle(several)
    try:
        return cube.beam, solid_angle(cube.beam)
    except NoBeamError:
        return None, None


def _check_units(**quantities):
    for name, (value, unit) in quantities.items():
        if not isinstance(value, u.Quantity) or not value.unit.is_equivalent(unit):
            raise ParameterUnitsError(
                f"{name} needs a unit of {unit}, got {getattr(value, 'unit', 'none')}; "
                f"write for example {name} * u.Unit('{unit}')"
            )
