"""What a search and an extraction return: arrays, WCS and provenance together."""

import warnings
from dataclasses import dataclass, field
from enum import IntFlag
from functools import cached_property
from itertools import pairwise

import astropy.units as u
import numpy as np
from astropy.utils.exceptions import AstropyPendingDeprecationWarning
from astropy.wcs import WCS

from hisatools.backends.protocols import StopReason
from hisatools.catalog import HISACatalog
from hisatools.errors import InputError, ParameterError
from hisatools.features import angular_widths, catalog_rows, voxel_velocity_widths
from hisatools.io.checks import check_sky

__all__ = ["HISAResult", "MaskBit", "SearchResult", "StopReason", "UnabsorbedResult"]

IMAGE_FILES = ("delta_t.fits", "t_unabsorbed.fits", "mask.fits", "labels.fits", "first_pass.fits")
RESULT_FILES = (*IMAGE_FILES, "catalog.ecsv", "provenance.json", "summary.png")
TRUE_FRACTION_FILE = "true_fraction.fits"
SEARCHES_FILE = "searches.fits"
REPORT_FILE = "report.html"
BRIGHTNESS = ("delta_t", "t_unabsorbed", "t_on")
# Attribute with the values of the accepted voxels, and the cube that is made of them.
SIGMAS = {"sigma_delta_t": "sigma_delta_kelvin", "sigma_t_unabsorbed": "sigma_unabsorbed_kelvin"}
SIGMA_FILES = tuple(f"{name}.fits" for name in SIGMAS)


class MaskBit(IntFlag):
    """Bits of the ``flags`` of a `HISAResult` and of ``mask.fits``.

    Examples
    --------
    >>> from hisatools import MaskBit
    >>> from hisatools.datasets import example_result
    >>> flags = example_result().flags
    >>> print(MaskBit.ACCEPTED, MaskBit(7))
    4 7
    >>> int(((flags & MaskBit.SPATIAL) > 0).sum()), int(((flags & MaskBit.ACCEPTED) > 0).sum())
    (119564, 1456)
    """

    SPECTRAL = 1  #: The spectral search suspects absorption, in any pass.
    SPATIAL = 2  #: The spatial search suspects absorption, in any pass.
    ACCEPTED = 4  #: Both do, and the voxel passed the filters.


def flagged(flags, bits):
    """Whether all of some bits are set.

    Parameters
    ----------
    flags : `~numpy.ndarray` of uint8
    bits : `MaskBit`

    Returns
    -------
    `~numpy.ndarray` of bool, same shape
        Made with no more memory than it takes.
    """
    # With a MaskBit itself numpy would reckon in int64: eight times the memory of the flags.
    bits = np.uint8(bits)
    common = np.bitwise_and(flags, bits)
    return np.equal(common, bits, out=common.view(bool))


# eq=False: arrays have no single truth value, so that == would fail.
@dataclass(frozen=True, eq=False)
class SearchResult:
    """Suspected absorption from one search.

    Parameters
    ----------
    amplitude : `~astropy.units.Quantity`, shape (n_v, n_y, n_x), K
        Smoothed amplitude of the suspected absorption, 0 or positive; 0 where the input is blank.
    n_iterations : `~numpy.ndarray` of int
        CLEAN loops, shape (n_y, n_x) for the spectral search and (n_v,) for the spatial one.
    stop_reason : `~numpy.ndarray` of int8
        `StopReason`, same shape as ``n_iterations``.
    wcs : `~astropy.wcs.WCS`
        Of the cube that was searched.
    meta : dict
        Search, parameters and backends.

    Examples
    --------
    >>> from hisatools import SpectralSearcher
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(64, 32, 32), n_pucks=3, n_components=50), seed=2)
    >>> found = SpectralSearcher().search(model.cube)
    >>> found.amplitude.shape, found.amplitude.max().round()
    ((64, 32, 32), <Quantity 11. K>)
    >>> int(found.mask.sum()), found.n_iterations.shape
    (3226, (32, 32))
    """

    amplitude: u.Quantity
    n_iterations: np.ndarray
    stop_reason: np.ndarray
    wcs: WCS
    meta: dict = field(default_factory=dict)

    @property
    def mask(self):
        """True where absorption is suspected; bool, shape of ``amplitude``."""
        return self.amplitude.value > 0


@dataclass(frozen=True, eq=False)
class UnabsorbedResult:
    """The unabsorbed emission across every feature of a mask.

    Parameters
    ----------
    t_unabsorbed : `~astropy.units.Quantity`, shape (n_v, n_y, n_x), K
        T_U inside features, T_ON outside them; NaN where the input is blank.
    delta_t : `~astropy.units.Quantity`, same shape, K
        T_ON - T_U: 0 outside features, NaN where the input is blank.
    labels : `~numpy.ndarray` of int32, same shape
        0 outside features, then 1, 2, ...
    n_off : `~numpy.ndarray` of int
        Number of T_OFF voxels of each feature, one entry a label from 1; features without any
        keep T_U = T_ON.
    sigma_t_unabsorbed : `~astropy.units.Quantity`, same shape, K, optional
        1-sigma uncertainty of T_U: 0 outside features, infinite in features without T_OFF, NaN where the
        input is blank; None if it was not asked for.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import UnabsorbedEstimator
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=35)
    >>> estimate = UnabsorbedEstimator().estimate(model.cube, model.delta_t < -2 * u.K)
    >>> deep = model.delta_t < -10 * u.K
    >>> estimate.delta_t[deep].mean().round(), model.delta_t[deep].mean().round()
    (<Quantity -11. K>, <Quantity -16. K>)
    >>> estimate.sigma_t_unabsorbed[deep].mean().round(1), estimate.n_off.size
    (<Quantity 4.2 K>, 1)
    """

    t_unabsorbed: u.Quantity
    delta_t: u.Quantity
    labels: np.ndarray
    n_off: np.ndarray
    sigma_t_unabsorbed: u.Quantity | None = None


@dataclass(frozen=True, eq=False)
class HISAResult:
    """The extracted absorption of a cube.

    Absorption fills a small part of a cube, so T_U is kept for the accepted voxels alone. The full
    cubes `delta_t` and `t_unabsorbed` are made when they are first asked for, and kept; `plane_kelvin`
    and `at_voxels` take what they show without making them.

    Parameters
    ----------
    t_on : `~astropy.units.Quantity` of float32, shape (n_v, n_y, n_x), K
        The observed brightness temperature; NaN where the input is blank. It shares the array of the
        cube that was searched, which must not be changed after.
    unabsorbed_kelvin : `~numpy.ndarray` of float32, shape (n,), K
        T_U of the accepted voxels, in the order of the array.
    flags : `~numpy.ndarray` of uint8, shape (n_v, n_y, n_x)
        Sum of `MaskBit`.
    labels : `~numpy.ndarray` of int32, same shape
        0, or the ``id`` of the catalogue row the accepted voxel belongs to.
    first_pass : `~numpy.ndarray` of uint8, same shape
        The pass in which an accepted voxel was first accepted, 0 elsewhere.
    catalog : `~hisatools.HISACatalog`
        One row a feature.
    wcs : `~astropy.wcs.WCS`
        Three axes: longitude, latitude, velocity.
    beam : `~radio_beam.Beam` or None
    meta : dict
        Provenance; JSON can hold it.
    true_fraction : `~numpy.ndarray` of float32, same shape, or None
        The likelihood that an accepted voxel is real absorption, NaN elsewhere and where it is not
        known; set by `hisatools.PerformanceModel.assess`.
    sigma_unabsorbed_kelvin, sigma_delta_kelvin : `~numpy.ndarray` of float32, shape (n,), K, or None
        1-sigma uncertainties of T_U and of dT at the accepted voxels; None where they were not
        worked out.
    searches : `~hisatools.search_record.SearchRecord` or None
        CLEAN loops, stop reasons and noise of both searches; None where they were not kept.

    Raises
    ------
    InputError
        If ``flags`` are not uint8, or an array has not one value for each accepted voxel.

    Examples
    --------
    >>> from hisatools.datasets import example_result
    >>> result = example_result()
    >>> len(result.catalog), result.n_accepted
    (5, 1456)
    >>> result.delta_t.shape, result.delta_t.min().round()
    ((32, 208, 208), <Quantity -46. K>)
    >>> int(result.union.sum()), int(result.mask.sum())
    (128071, 1456)
    >>> result.t_unabsorbed[result.mask].mean().round(1)
    <Quantity 120.5 K>
    >>> result.velocity_width[result.mask].mean().round(1), result.angular_width.max().round(1)
    (<Quantity 2. km / s>, <Quantity 4. arcmin>)
    """

    t_on: u.Quantity
    unabsorbed_kelvin: np.ndarray
    flags: np.ndarray
    labels: np.ndarray
    first_pass: np.ndarray
    catalog: HISACatalog
    wcs: WCS
    beam: object = None
    meta: dict = field(default_factory=dict)
    true_fraction: np.ndarray | None = None
    sigma_unabsorbed_kelvin: np.ndarray | None = None
    sigma_delta_kelvin: np.ndarray | None = None
    searches: object = None

    def __post_init__(self):
        if self.flags.dtype != np.uint8:
            raise InputError(f"flags are of the type {self.flags.dtype}; give a sum of MaskBit as uint8")
        for name in ("unabsorbed_kelvin", *SIGMAS.values()):
            values = getattr(self, name)
            if values is not None and values.shape != (self._first_voxel[-1],):
                raise InputError(
                    f"{name} has the shape {values.shape}, and flags accept {self._first_voxel[-1]} voxels; "
                    "give one value for each, in the order of the array"
                )

    @property
    def mask(self):
        """True in accepted voxels."""
        return flagged(self.flags, MaskBit.ACCEPTED)

    @property
    def union(self):
        """True where either search found something in any pass."""
        return flagged(self.flags, MaskBit.SPECTRAL) | flagged(self.flags, MaskBit.SPATIAL)

    def __repr__(self):
        n_v, n_y, n_x = self.flags.shape
        return (
            f"<HISAResult {n_v} channels x {n_y} x {n_x} pixels, {len(self.catalog)} features "
            f"in {self.n_accepted} accepted voxels>"
        )

    @property
    def n_accepted(self):
        """Number of accepted voxels."""
        return self.unabsorbed_kelvin.size

    @cached_property
    def delta_t(self):
        """T_ON - T_U, negative in accepted voxels, 0 elsewhere, NaN where blank; Quantity, K.

        A full cube of shape (n_v, n_y, n_x), made at first use and kept.
        """
        return self._cube("delta_t")

    @cached_property
    def t_unabsorbed(self):
        """T_U in accepted voxels, T_ON elsewhere, NaN where blank; Quantity, K.

        A full cube of shape (n_v, n_y, n_x), made at first use and kept.
        """
        return self._cube("t_unabsorbed")

    @cached_property
    def sigma_delta_t(self):
        """1-sigma uncertainty of dT, from the noise and from T_U; Quantity, K, or None.

        0 outside accepted voxels, NaN where blank; see `hisatools.unabsorbed.uncertainty`. A full cube,
        made at first use and kept.
        """
        return None if self.sigma_delta_kelvin is None else self._cube("sigma_delta_t")

    @cached_property
    def sigma_t_unabsorbed(self):
        """1-sigma uncertainty of T_U; Quantity, K, or None; otherwise as `sigma_delta_t`."""
        return None if self.sigma_unabsorbed_kelvin is None else self._cube("sigma_t_unabsorbed")

    @property
    def voxel_delta_t_kelvin(self):
        """T_ON - T_U of the accepted voxels, in the order of the array; shape (n,), K, negative."""
        return self.at_voxels(self._t_on_kelvin) - self.unabsorbed_kelvin

    def plane_kelvin(self, name, channel):
        """One channel of a brightness cube, without making the cube.

        Parameters
        ----------
        name : {"delta_t", "t_unabsorbed", "t_on", "sigma_delta_t", "sigma_t_unabsorbed"}
            Which cube.
        channel : int
            From 0 in file order; negative numbers count from the end.

        Returns
        -------
        `~numpy.ndarray` of float32, shape (n_y, n_x), K
            A copy; NaN where blank.

        Raises
        ------
        ParameterError
            For any other name, and for an uncertainty that is not known.
        IndexError
            If there is no such channel.

        Examples
        --------
        The channel with most absorption:

        >>> from hisatools.datasets import example_result
        >>> result = example_result()
        >>> channel = result.mask.sum(axis=(1, 2)).argmax()
        >>> plane = result.plane_kelvin("delta_t", channel)
        >>> plane.shape, round(float(plane.min()))
        ((208, 208), -38)
        """
        self._check_name(name)
        channel = range(self.flags.shape[0])[channel]
        t_on = self._t_on_kelvin[channel]
        voxels = slice(*self._first_voxel[channel : channel + 2])
        if name in SIGMAS:
            plane = np.where(np.isnan(t_on), t_on, np.zeros_like(t_on))
            plane[self._accepted(channel)] = getattr(self, SIGMAS[name])[voxels]
            return plane
        plane = t_on.copy()
        if name != "t_on" and voxels.start < voxels.stop:
            plane[self._accepted(channel)] = self.unabsorbed_kelvin[voxels]
        return np.subtract(t_on, plane, out=plane) if name == "delta_t" else plane

    def at_voxels(self, cube):
        """Values of a cube at the accepted voxels.

        Parameters
        ----------
        cube : `~numpy.ndarray`, shape (n_v, n_y, n_x)
            On the axes of the result, for example its ``labels``.

        Returns
        -------
        `~numpy.ndarray`, shape (n,)
            In the order of the array, as ``cube[result.mask]``, but with little memory.

        Examples
        --------
        >>> from hisatools.datasets import example_result
        >>> result = example_result()
        >>> feature = result.at_voxels(result.labels)
        >>> feature.shape, int(feature.max())
        ((1456,), 5)
        >>> round(float(result.voxel_delta_t_kelvin[feature == 1].mean()))
        -38
        """
        values = np.empty(self.n_accepted, cube.dtype)
        for channel, (start, stop) in enumerate(pairwise(self._first_voxel)):
            if start < stop:
                values[start:stop] = cube[channel][self._accepted(channel)]
        return values

    @property
    def voxel_rows(self):
        """Row of the catalogue that each accepted voxel belongs to, from 0; shape (n,), int.

        In the order of the array, whatever the order of the rows; an `InputError` if the catalogue has no row
        for one of them.
        """
        return catalog_rows(self.at_voxels(self.labels), self.catalog["id"])

    @property
    def velocity(self):
        """Velocity of the channels in file order; Quantity, shape (n_v,), km/s."""
        axis = self.wcs.sub([3])
        (value,) = axis.wcs_pix2world(np.arange(self.flags.shape[0], dtype=float), 0)
        return (value * axis.wcs.cunit[0]).to(u.km / u.s)

    @property
    def channel_width(self):
        """Width of a channel; positive scalar Quantity, km/s."""
        return abs(float(self.wcs.wcs.cdelt[2])) * u.Unit(self.wcs.wcs.cunit[2]).to(u.km / u.s) * u.km / u.s

    @property
    def pixel_scale(self):
        """Side of a pixel on the sky at the centre of the field; scalar Quantity, arcmin."""
        return check_sky(self.wcs, self.flags.shape, "the result")

    @cached_property
    def angular_width(self):
        """Local angular width of the absorption (section 3.3.1); Quantity, arcmin, 0 elsewhere.

        See `hisatools.features.angular_widths`.
        """
        return angular_widths(self.mask) * self.pixel_scale.astype(np.float32)

    @cached_property
    def velocity_width(self):
        """FWHM of the absorption line at each voxel (section 3.3.1); Quantity, km/s, 0 elsewhere.

        See `hisatools.features.velocity_widths`.
        """
        mask = self.mask
        widths = np.zeros(mask.shape, np.float32)
        widths[mask] = voxel_velocity_widths(-self.voxel_delta_t_kelvin, np.flatnonzero(mask), mask.shape)
        return widths * self.channel_width.astype(np.float32)

    def spectral_cube(self, name):
        """One of the brightness cubes, for everything that takes a SpectralCube.

        Parameters
        ----------
        name : {"delta_t", "t_unabsorbed", "t_on", "sigma_delta_t", "sigma_t_unabsorbed"}
            Which one.

        Returns
        -------
        `~spectral_cube.SpectralCube`
            In K, with WCS and beam; blank voxels are masked.

        Raises
        ------
        ParameterError
            For any other name.

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools.datasets import example_result
        >>> cube = example_result().spectral_cube("delta_t")
        >>> cube.shape, str(cube.unit)
        ((32, 208, 208), 'K')
        >>> cube.spectral_slab(-45 * u.km / u.s, -40 * u.km / u.s).shape
        (8, 208, 208)
        """
        with warnings.catch_warnings():
            # spectral-cube 0.7 names on import what astropy 8 is going to drop; users can do nothing.
            warnings.simplefilter("ignore", AstropyPendingDeprecationWarning)
            from spectral_cube import SpectralCube

        self._check_name(name)
        meta = {"BUNIT": "K"} | ({"OBJECT": self._object_name} if self._object_name else {})
        return SpectralCube(getattr(self, name), self.wcs, meta=meta, beam=self.beam)

    def write(self, folder, *, overwrite=False):
        """Write everything to a folder, completely or not at all.

        The files are ``delta_t.fits`` and ``t_unabsorbed.fits`` (K), ``mask.fits`` (`MaskBit`),
        ``labels.fits``, ``first_pass.fits``, ``catalog.ecsv``, ``provenance.json`` and ``summary.png``;
        ``sigma_delta_t.fits``, ``sigma_t_unabsorbed.fits`` (K), ``searches.fits`` and
        ``true_fraction.fits`` if these are known. A ``report.html`` of an older result goes with it.

        Parameters
        ----------
        folder : str or path
            Made if it does not exist, with the folders above it.
        overwrite : bool
            Whether the files of an older result may be replaced. Files of other names stay, but the record of
            an older run (``run.toml``) goes: it is not of this result.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        OutputError
            If the folder holds files and ``overwrite`` is False, or if it cannot be written.

        Warns
        -----
        HISAWarning
            If the picture cannot be drawn; the other files are written nevertheless.

        Examples
        --------
        >>> from hisatools.datasets import example_result
        >>> folder = example_result().write("out")
        >>> sorted(path.name for path in folder.iterdir())[:4]
        ['catalog.ecsv', 'delta_t.fits', 'first_pass.fits', 'labels.fits']
        """
        from hisatools.result_files import write_result

        return write_result(self, folder, overwrite=overwrite)

    @classmethod
    def read(cls, folder):
        """Read what `write` wrote.

        Parameters
        ----------
        folder : str or path
            A folder with a result.

        Returns
        -------
        HISAResult
            With the same values as the one that was written; T_ON of accepted voxels is T_U + dT, and
            so the observed one but for rounding.

        Raises
        ------
        InputError
            If a file is missing or damaged, or if the files are not of one result.

        Examples
        --------
        Of one spectrum, as the files are small then:

        >>> from hisatools import HISACube, HISAExtractor, HISAResult
        >>> from hisatools.datasets import load_lab_profiles
        >>> lab = load_lab_profiles()
        >>> found = HISAExtractor().run(HISACube.from_spectrum(lab["t_l5"], lab["velocity"]))
        >>> result = HISAResult.read(found.write("out"))
        >>> result.n_accepted, result.delta_t.min().round(), result.meta["parameters"]["n_passes"]
        (6, <Quantity -68. K>, 3)
        """
        from hisatools.result_files import read_result

        return cls(**read_result(folder))

    def plot_channel(self, velocity=None, *, ax=None, what="delta_t", outlines=False):
        """Draw one channel map; see `hisatools.plotting.plot_channel`.

        Examples
        --------
        >>> from hisatools.datasets import example_result
        >>> ax = example_result().plot_channel(-40 * u.km / u.s, what="t_on", outlines=True)
        """
        from hisatools.plotting import plot_channel

        return plot_channel(self, velocity, ax=ax, what=what, outlines=outlines)

    def plot_spectrum(self, position=None, *, ax=None, stages=None):
        """Draw the spectra of one sight line; see `hisatools.plotting.plot_spectrum`.

        Examples
        --------
        >>> from hisatools.datasets import example_result
        >>> ax = example_result().plot_spectrum()
        """
        from hisatools.plotting import plot_spectrum

        return plot_spectrum(self, position, ax=ax, stages=stages)

    def plot_slice(self, velocity=None, position=None, *, along="latitude", ax=None, stages=None):
        """Draw a cut through one channel; see `hisatools.plotting.plot_slice`.

        Examples
        --------
        >>> from hisatools.datasets import example_result
        >>> ax = example_result().plot_slice(along="longitude")
        """
        from hisatools.plotting import plot_slice

        return plot_slice(self, velocity, position, along=along, ax=ax, stages=stages)

    def plot_longitude_velocity(self, latitude=None, *, ax=None, what="delta_t"):
        """Draw one row of the maps against velocity; see `hisatools.plotting.plot_longitude_velocity`.

        Examples
        --------
        >>> from hisatools.datasets import example_result
        >>> ax = example_result().plot_longitude_velocity()
        """
        from hisatools.plotting import plot_longitude_velocity

        return plot_longitude_velocity(self, latitude, ax=ax, what=what)

    def plot_passes(self, velocity=None, *, ax=None):
        """Draw which pass first accepted each voxel of a channel; see `hisatools.plotting.plot_passes`.

        Examples
        --------
        >>> from hisatools.datasets import example_result
        >>> ax = example_result().plot_passes()
        """
        from hisatools.plotting import plot_passes

        return plot_passes(self, velocity, ax=ax)

    def plot_catalog(self, x="velocity", y="delta_t_peak", *, color=None, size=None, ax=None):
        """Draw columns of the catalogue against each other; see `hisatools.plotting.plot_catalog`.

        Examples
        --------
        >>> from hisatools.datasets import example_result
        >>> ax = example_result().plot_catalog("lon", "lat", color="velocity")
        """
        from hisatools.plotting import plot_catalog

        return plot_catalog(self, x, y, color=color, size=size, ax=ax)

    def plot_summary(self, path=None, *, overwrite=False):
        """Draw the panels of the paper's figures 4 and 6; see `hisatools.summary.plot_summary`.

        Examples
        --------
        >>> from hisatools.datasets import example_result
        >>> figure = example_result().plot_summary()
        """
        from hisatools.summary import plot_summary

        return plot_summary(self, path, overwrite=overwrite)

    def write_report(self, path, *, cube=None, overwrite=False):
        """Write an HTML page to look through the result; see `hisatools.report.write_report`.

        Examples
        --------
        >>> from hisatools.datasets import example_result
        >>> page = example_result().write_report("example.html")
        >>> page.name
        'example.html'
        """
        from hisatools.report import write_report

        return write_report(self, path, cube=cube, overwrite=overwrite)

    def _check_name(self, name):
        known = [*BRIGHTNESS, *(cube for cube, values in SIGMAS.items() if getattr(self, values) is not None)]
        if name not in known:
            raise ParameterError(f"unknown cube {name!r}; known: {', '.join(known)}")

    @property
    def _object_name(self):
        return self.meta.get("input", {}).get("object")

    @property
    def _t_on_kelvin(self):
        return self.t_on.to_value(u.K)

    @cached_property
    def _first_voxel(self):
        """Number of accepted voxels before each channel, and of all: shape (n_v + 1,)."""
        counts = [np.count_nonzero(self._accepted(channel)) for channel in range(self.flags.shape[0])]
        return np.cumsum([0, *counts])

    def _accepted(self, channel):
        """True in the accepted voxels of a channel."""
        return flagged(self.flags[channel], MaskBit.ACCEPTED)

    def _cube(self, name):
        cube = np.empty(self.t_on.shape, self.t_on.dtype)
        for channel, plane in enumerate(cube):
            plane[:] = self.plane_kelvin(name, channel)
        return cube << u.K
