"""What a search and an extraction return: arrays, WCS and provenance together."""

import json
import warnings
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from functools import cached_property
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.table import QTable
from astropy.utils.exceptions import AstropyPendingDeprecationWarning, AstropyWarning
from astropy.wcs import WCS, FITSFixedWarning
from radio_beam import Beam

from hisatools.errors import HISAWarning, InputError, ParameterError
from hisatools.features import angular_widths, velocity_widths
from hisatools.io.checks import check_sky
from hisatools.io.writing import image_header, write_image, write_json, writing_folder

__all__ = ["HISAResult", "MaskBit", "SearchResult", "StopReason", "UnabsorbedResult"]

IMAGE_FILES = ("delta_t.fits", "t_unabsorbed.fits", "mask.fits", "labels.fits", "first_pass.fits")
RESULT_FILES = (*IMAGE_FILES, "catalog.ecsv", "provenance.json", "summary.png")
TRUE_FRACTION_FILE = "true_fraction.fits"
BRIGHTNESS = ("delta_t", "t_unabsorbed", "t_on")
MASK_COMMENTS = (
    "spectral, spatial: suspected by that search, in any pass",
    "accepted: by both, with dT < 0, T_U and weight above their limits",
)


class MaskBit(IntFlag):
    """Bits of `HISAResult.flags` and of ``mask.fits``."""

    SPECTRAL = 1
    SPATIAL = 2
    ACCEPTED = 4


class StopReason(IntEnum):
    """Which of the three stops ended a CLEAN (the paper, sections 2.2 and 2.3)."""

    NOT_CLEANED = 0
    FRACTION = 1
    NOISE = 2
    MAX_ITERATIONS = 3


# eq=False: arrays have no single truth value, so that == would fail.
@dataclass(frozen=True, eq=False)
class SearchResult:
    """Suspected absorption from one search.

    Parameters
    ----------
    amplitude : `~astropy.units.Quantity`, shape (n_v, n_y, n_x), K
        Smoothed amplitude of the suspected absorption, 0 or positive; 0 where the input is blank.
    mask : `~numpy.ndarray` of bool, same shape
        True where absorption is suspected.
    n_iterations : `~numpy.ndarray` of int
        CLEAN loops, shape (n_y, n_x) for the spectral search and (n_v,) for the spatial one.
    stop_reason : `~numpy.ndarray` of int8
        `StopReason`, same shape as ``n_iterations``.
    wcs : `~astropy.wcs.WCS`
        Of the cube that was searched.
    meta : dict
        Search, parameters and backends.
    """

    amplitude: u.Quantity
    mask: np.ndarray
    n_iterations: np.ndarray
    stop_reason: np.ndarray
    wcs: WCS
    meta: dict = field(default_factory=dict)


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
    """

    t_unabsorbed: u.Quantity
    delta_t: u.Quantity
    labels: np.ndarray
    n_off: np.ndarray


@dataclass(frozen=True, eq=False)
class HISAResult:
    """The extracted absorption of a cube.

    Parameters
    ----------
    delta_t : `~astropy.units.Quantity`, shape (n_v, n_y, n_x), K
        T_ON - T_U, negative in accepted voxels, 0 elsewhere, NaN where the input is blank.
    t_unabsorbed : `~astropy.units.Quantity`, same shape, K
        T_U in accepted voxels, T_ON elsewhere; NaN where the input is blank.
    flags : `~numpy.ndarray` of uint8, same shape
        Sum of `MaskBit`.
    labels : `~numpy.ndarray` of int32, same shape
        0, or the ``id`` of the catalogue row the accepted voxel belongs to.
    first_pass : `~numpy.ndarray` of uint8, same shape
        The pass in which an accepted voxel was first accepted, 0 elsewhere.
    catalog : `~astropy.table.QTable`
        One row a feature.
    wcs : `~astropy.wcs.WCS`
        Three axes: longitude, latitude, velocity.
    beam : `~radio_beam.Beam` or None
    meta : dict
        Provenance; JSON can hold it.
    true_fraction : `~numpy.ndarray` of float32, same shape, or None
        The likelihood that an accepted voxel is real absorption, NaN elsewhere and where it is not
        known; set by `hisatools.PerformanceModel.assess`.
    """

    delta_t: u.Quantity
    t_unabsorbed: u.Quantity
    flags: np.ndarray
    labels: np.ndarray
    first_pass: np.ndarray
    catalog: QTable
    wcs: WCS
    beam: object = None
    meta: dict = field(default_factory=dict)
    true_fraction: np.ndarray | None = None

    @property
    def mask(self):
        """True in accepted voxels."""
        return (self.flags & MaskBit.ACCEPTED) != 0

    @property
    def union(self):
        """True where either search found something in any pass."""
        return (self.flags & (MaskBit.SPECTRAL | MaskBit.SPATIAL)) != 0

    @property
    def t_on(self):
        """The observed brightness temperature, T_U + dT."""
        return self.t_unabsorbed + self.delta_t

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
        depth_kelvin = -self.delta_t.to_value(u.K)
        return velocity_widths(depth_kelvin, self.mask) * self.channel_width.astype(np.float32)

    def spectral_cube(self, name):
        """One of the brightness cubes, for everything that takes a SpectralCube.

        Parameters
        ----------
        name : {"delta_t", "t_unabsorbed", "t_on"}
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
        >>> result = HISAResult.read("out")  # doctest: +SKIP
        >>> result.spectral_cube("delta_t").moment(order=0)  # doctest: +SKIP
        """
        with warnings.catch_warnings():
            # spectral-cube 0.7 names on import what astropy 8 is going to drop; users can do nothing.
            warnings.simplefilter("ignore", AstropyPendingDeprecationWarning)
            from spectral_cube import SpectralCube

        _check_brightness_name(name)
        meta = {"BUNIT": "K"} | ({"OBJECT": self._object_name} if self._object_name else {})
        return SpectralCube(getattr(self, name), self.wcs, meta=meta, beam=self.beam)

    def write(self, folder, *, overwrite=False):
        """Write everything to a folder, completely or not at all.

        The files are ``delta_t.fits`` and ``t_unabsorbed.fits`` (K), ``mask.fits`` (`MaskBit`),
        ``labels.fits``, ``first_pass.fits``, ``catalog.ecsv``, ``provenance.json`` and ``summary.png``;
        ``true_fraction.fits`` if that is known.

        Parameters
        ----------
        folder : str or path
            Made if it does not exist, with the folders above it.
        overwrite : bool
            Whether the files of an older result may be replaced. Files of other names stay.

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
        """
        with writing_folder(folder, names=(*RESULT_FILES, TRUE_FRACTION_FILE), overwrite=overwrite) as part:
            for name, (image, unit, comments) in self._images().items():
                write_image(part / name, image, self._header(unit, comments))
            self.catalog.write(part / "catalog.ecsv")
            write_json(part / "provenance.json", self.meta)
            self._write_summary(part / "summary.png")
        return Path(folder).expanduser()

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
            With the same values as the one that was written.

        Raises
        ------
        InputError
            If a file is missing or damaged, or if the files are not of one result.
        """
        folder = Path(folder).expanduser()
        names = [*IMAGE_FILES, *([TRUE_FRACTION_FILE] if (folder / TRUE_FRACTION_FILE).exists() else [])]
        images = {name: _read_image(folder / name) for name in names}
        shapes = {image.shape for image, _ in images.values()}
        if len(shapes) > 1:
            raise InputError(f"the images in {folder} have different shapes; extract once more")
        header = images["delta_t.fits"][1]
        data = {name.removesuffix(".fits"): image for name, (image, _) in images.items()}
        return cls(
            delta_t=data["delta_t"] << u.K,
            t_unabsorbed=data["t_unabsorbed"] << u.K,
            flags=data["mask"],
            labels=data["labels"],
            first_pass=data["first_pass"],
            catalog=_read_with(QTable.read, folder / "catalog.ecsv"),
            wcs=_read_wcs(header),
            beam=Beam.from_fits_header(header) if "BMAJ" in header else None,
            meta=_read_with(
                lambda path: json.loads(path.read_text(encoding="utf-8")), folder / "provenance.json"
            ),
            true_fraction=data.get("true_fraction"),
        )

    def plot_channel(self, velocity=None, *, ax=None, what="delta_t"):
        """Draw one channel map; see `hisatools.plotting.plot_channel`."""
        from hisatools.plotting import plot_channel

        return plot_channel(self, velocity, ax=ax, what=what)

    def plot_spectrum(self, position=None, *, ax=None):
        """Draw the spectra of one sight line; see `hisatools.plotting.plot_spectrum`."""
        from hisatools.plotting import plot_spectrum

        return plot_spectrum(self, position, ax=ax)

    def plot_summary(self, path=None, *, overwrite=False):
        """Draw the panels of the paper's figures 4 and 6; see `hisatools.summary.plot_summary`."""
        from hisatools.summary import plot_summary

        return plot_summary(self, path, overwrite=overwrite)

    @property
    def _object_name(self):
        return self.meta.get("input", {}).get("object")

    def _images(self):
        """File name: (array, unit, comments)."""
        bits = [f"{bit.value} {bit.name.lower()}" for bit in MaskBit]
        images = {
            "delta_t.fits": (
                self.delta_t.to_value(u.K),
                u.K,
                ["T_ON - T_U: negative in absorption, 0 elsewhere"],
            ),
            "t_unabsorbed.fits": (
                self.t_unabsorbed.to_value(u.K),
                u.K,
                ["T_U in absorption, T_ON elsewhere"],
            ),
            "mask.fits": (self.flags, None, ["Sum of these bits: " + ", ".join(bits), *MASK_COMMENTS]),
            "labels.fits": (self.labels, None, ["id of the row in catalog.ecsv; 0 outside features"]),
            "first_pass.fits": (
                self.first_pass,
                None,
                ["Pass in which first accepted, 0 where not accepted"],
            ),
        }
        if self.true_fraction is not None:
            comments = ["Likelihood that an accepted voxel is real; NaN elsewhere and where not known"]
            images[TRUE_FRACTION_FILE] = (self.true_fraction, None, comments)
        return images

    def _header(self, unit, comments):
        source = self.meta.get("input", {}).get("path")
        passes = len(self.meta.get("passes", []))
        history = [
            f"hisatools {self.meta.get('hisatools', '')}: H I self-absorption, {passes} passes",
            "Method: Gibson et al. 2005, ApJ 626, 195; parameters: provenance.json",
            *([f"Input: {Path(source).name}"] if source else []),
        ]
        return image_header(
            self.wcs,
            unit=unit,
            beam=self.beam,
            object_name=self._object_name,
            comments=comments,
            history=history,
        )

    def _write_summary(self, path):
        """The picture must not cost the user the result: what it cannot draw is a warning."""
        try:
            self.plot_summary(path)
        except (OSError, MemoryError):
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            warnings.warn(f"summary.png could not be drawn ({reason})", HISAWarning, stacklevel=3)


def _check_brightness_name(name):
    if name not in BRIGHTNESS:
        raise ParameterError(f"unknown cube {name!r}; known: {', '.join(BRIGHTNESS)}")


def _read_with(read, path):
    """Read one file of a result, or say which one is wrong."""
    try:
        return read(path)
    except FileNotFoundError:
        raise InputError(f"{path} is missing; name a folder that hisatools wrote") from None
    except (OSError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); extract once more") from error


def _read_image(path):
    with warnings.catch_warnings():
        # A truncated file: astropy warns, and then fails with its own words.
        warnings.simplefilter("ignore", AstropyWarning)
        data, header = _read_with(lambda name: fits.getdata(name, header=True), path)
    return data.astype(data.dtype.newbyteorder("="), copy=False), header


def _read_wcs(header):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(header)
