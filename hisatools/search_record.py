"""What the searches of an extraction did, pass by pass: CLEAN loops, why they ended, and the noise used."""

from dataclasses import dataclass, fields

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

__all__ = ["SearchRecord"]

COMMENTS = {
    "spectral_loops": "CLEAN loops of each sight line; first axis: pass",
    "spectral_stop": "0 not cleaned, 1 fraction of peak, 2 noise, 3 limit of loops",
    "spectral_noise_kelvin": "sigma of T_ON that the spectral search used",
    "spatial_loops": "CLEAN loops of each channel map; first axis: pass",
    "spatial_stop": "0 not cleaned, 1 fraction of peak, 2 noise, 3 limit of loops",
    "spatial_noise_kelvin": "sigma of T_ON that the spatial search used, mean of each channel map",
}


@dataclass(frozen=True, eq=False)
class SearchRecord:
    """Loops, stops and noise of both searches.

    Parameters
    ----------
    spectral_loops, spectral_stop : `~numpy.ndarray` of int32 and int16, shape (n_passes, n_y, n_x)
        CLEAN loops of each sight line, and the `~hisatools.results.StopReason`.
    spectral_noise_kelvin : `~numpy.ndarray` of float32, shape (n_y, n_x), K
        1-sigma noise of T_ON that the spectral search used; NaN where blank or not known.
    spatial_loops, spatial_stop : `~numpy.ndarray` of int32 and int16, shape (n_passes, n_v)
        The same of each channel map, in the last search of a pass; all 0 for a single sight line.
    spatial_noise_kelvin : `~numpy.ndarray` of float32, shape (n_v,), K
        1-sigma noise that the spatial search used, mean over each channel map; NaN where not known.

    Examples
    --------
    >>> from hisatools.datasets import example_result
    >>> record = example_result().searches
    >>> record.spectral_loops.shape, record.spatial_loops.shape
    ((1, 208, 208), (1, 32))
    """

    spectral_loops: np.ndarray
    spectral_stop: np.ndarray
    spectral_noise_kelvin: np.ndarray
    spatial_loops: np.ndarray
    spatial_stop: np.ndarray
    spatial_noise_kelvin: np.ndarray

    def write(self, path, header):
        """Write a FITS file with an image extension for each array.

        Parameters
        ----------
        path : path
            The file; it must not exist.
        header : `~astropy.io.fits.Header`
            Of a cube on the axes of the result; its sky axes go into the maps, with frame and projection.
        """
        sky = WCS(header).celestial.to_header()
        # Some of the arrays have an axis more, of the passes.
        del sky["WCSAXES"]
        hdus = [fits.PrimaryHDU()]
        for item in fields(self):
            hdu = fits.ImageHDU(getattr(self, item.name), name=item.name)
            hdu.header.add_comment(COMMENTS[item.name])
            if item.name.endswith("_kelvin"):
                hdu.header["BUNIT"] = "K"
            if item.name.startswith("spectral"):
                hdu.header.update(sky)
            hdus.append(hdu)
        fits.HDUList(hdus).writeto(path, checksum=True)

    @classmethod
    def read(cls, path):
        """Read what `write` wrote.

        Parameters
        ----------
        path : path

        Returns
        -------
        SearchRecord

        Raises
        ------
        OSError, KeyError
            If the file is missing or damaged, or has not all the images.
        """
        with path.open("rb") as file, fits.open(file, memmap=False) as hdus:
            arrays = [np.array(hdus[item.name].data) for item in fields(cls)]
        return cls(*(array.astype(array.dtype.newbyteorder("=")) for array in arrays))

    def check_shape(self, shape):
        """Raise ValueError if the arrays are not those of a cube of this shape (n_v, n_y, n_x)."""
        n_passes = len(self.spectral_loops)
        wanted = {
            "spectral_loops": (n_passes, *shape[1:]),
            "spectral_stop": (n_passes, *shape[1:]),
            "spectral_noise_kelvin": shape[1:],
            "spatial_loops": (n_passes, shape[0]),
            "spatial_stop": (n_passes, shape[0]),
            "spatial_noise_kelvin": shape[:1],
        }
        for name, shape_wanted in wanted.items():
            if getattr(self, name).shape != shape_wanted:
                raise ValueError(f"{name} has the shape {getattr(self, name).shape}, not {shape_wanted}")
