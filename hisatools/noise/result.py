"""NoiseResult: a map or a cube of sigma with where it came from, kept as FITS."""

from dataclasses import dataclass, field
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.wcs import WCS

from hisatools.errors import InputError
from hisatools.io.same_axes import SAME_PLACE, sky_offset_pix, velocity_offset_chan
from hisatools.io.writing import _printable, image_header, write_image, writing_file

__all__ = ["NoiseResult"]

PARAMETER_CARD, NOTE_CARD, ROUND_CARD = "NPAR", "NINF", "NRND"


@dataclass(frozen=True, eq=False)
class NoiseResult:
    """The noise of a cube.

    Parameters
    ----------
    sigma : `~astropy.units.Quantity`, shape (n_y, n_x) or (n_v, n_y, n_x), K
        Standard deviation of the noise of a sight line or of a voxel; NaN where the cube is blank, or
        where nothing can be said.
    strategy : str
        Name of the strategy that measured it.
    wcs : `~astropy.wcs.WCS`
        Of the same axes.
    meta : dict
        ``"parameters"``, ``"citation"``, ``"rounds"`` of an automatic mask, and what the strategy found.

    Examples
    --------
    >>> from hisatools.noise import NoiseEstimator, NoiseResult
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(48, 40, 40), n_pucks=3, n_components=50), seed=101)
    >>> noise = NoiseEstimator("mad-difference").estimate(model.cube)
    >>> noise.write("noise.fits")
    >>> again = NoiseResult.read("noise.fits")
    >>> again.strategy, again.sigma.shape, str(again.sigma.unit)
    ('mad-difference', (40, 40), 'K')
    """

    sigma: u.Quantity
    strategy: str
    wcs: WCS
    meta: dict = field(default_factory=dict)

    def at(self, index, shape):
        """The noise of some voxels.

        Parameters
        ----------
        index : array_like of int, shape (n,)
            Places in the flattened cube.
        shape : tuple of int
            (n_v, n_y, n_x) of the cube.

        Returns
        -------
        `~numpy.ndarray` of float64, shape (n,)
            sigma in K; NaN where it is not known.

        Raises
        ------
        InputError
            If this noise is not that of a cube of this shape.

        Examples
        --------
        >>> import numpy as np
        >>> from hisatools import NoiseEstimator
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> small = ModelParameters(shape=(48, 40, 40), n_pucks=3, n_components=50)
        >>> cube = simulate_cube(small, seed=101).cube
        >>> noise = NoiseEstimator("mad-difference").estimate(cube)
        >>> index = np.ravel_multi_index(([0, 47], [20, 20], [20, 20]), cube.shape)
        >>> noise.at(index, cube.shape).round(1)  # of one sight line, and so the same in all channels
        array([6., 6.])
        """
        if self.sigma.shape != tuple(shape)[-self.sigma.ndim :] or len(shape) != 3:
            raise InputError(
                f"noise of shape {self.sigma.shape} does not fit a cube of shape {tuple(shape)}; "
                "give the noise that was measured on this cube"
            )
        return self.sigma.value.reshape(-1)[np.asarray(index) % self.sigma.size].astype(float)

    def check_axes(self, cube):
        """Refuse a cube on which this noise was not measured: another shape, field or velocity axis.

        Corners and centre of the map, and the first and last channel if the noise has channels, must be the
        cube's to a hundredth of a pixel and of a channel.

        Parameters
        ----------
        cube : `~hisatools.HISACube`

        Raises
        ------
        InputError
            If they differ; the message says in what.

        Examples
        --------
        >>> from hisatools.noise import NoiseEstimator
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> model = simulate_cube(ModelParameters(shape=(48, 40, 40), n_pucks=3, n_components=50), seed=101)
        >>> noise = NoiseEstimator("mesh").estimate(model.cube)
        >>> noise.check_axes(model.cube)
        >>> noise.check_axes(model.cube.cutout((slice(0, 40), slice(None), slice(None))))
        Traceback (most recent call last):
            ...
        hisatools.errors.InputError: noise of shape (48, 40, 40) does not fit ...
        """
        if self.sigma.ndim not in (2, 3) or self.sigma.shape != cube.shape[-self.sigma.ndim :]:
            raise _other_axes(f"noise of shape {self.sigma.shape} does not fit a cube of shape {cube.shape}")
        off_pix = sky_offset_pix(self.wcs, cube.wcs, cube.shape)
        if not off_pix < SAME_PLACE:
            raise _other_axes(
                f"the noise is of another part of the sky than the cube, {off_pix:.3g} pixels off"
            )
        if self.sigma.ndim == 3:
            off_chan = velocity_offset_chan(self.wcs, cube.wcs, cube.shape[0])
            if not off_chan < SAME_PLACE:
                raise _other_axes(
                    f"the noise has other velocities than the cube, {off_chan:.3g} channels off at an end"
                )

    def write(self, path, *, overwrite=False):
        """Write a FITS image, whole or not at all.

        STRATEGY names the strategy, NPARnn hold its parameters and NINFnn what it found, each as
        ``name=value``; NRNDnn are the rounds of an automatic mask.

        Parameters
        ----------
        path : path-like
        overwrite : bool
            Whether a file of that name may be replaced.

        Raises
        ------
        OutputError
            If the file exists or cannot be written.

        Examples
        --------
        >>> from astropy.io import fits
        >>> from hisatools import NoiseEstimator
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> small = ModelParameters(shape=(48, 40, 40), n_pucks=3, n_components=50)
        >>> NoiseEstimator("thirds").estimate(simulate_cube(small, seed=101).cube).write("noise.fits")
        >>> header = fits.getheader("noise.fits")
        >>> header["STRATEGY"], header["BUNIT"], header["NAXIS"]
        ('thirds', 'K', 2)
        """
        header = image_header(self.wcs, unit=u.K)
        header["BTYPE"] = "noise", "standard deviation"
        header["STRATEGY"] = self.strategy, "how the noise was measured"
        _add_cards(header, PARAMETER_CARD, self.meta.get("parameters", {}))
        notes = {name: value for name, value in self.meta.items() if isinstance(value, str | int | float)}
        _add_cards(header, NOTE_CARD, notes)
        if "rounds" in self.meta:
            # HISTORY would cut long lines in two.
            rounds = dict(enumerate(self.meta["rounds"], start=1))
            header[ROUND_CARD] = len(rounds), "rounds of the automatic mask"
            _add_cards(header, ROUND_CARD, rounds)
        with writing_file(path, overwrite=overwrite) as part:
            write_image(part, self.sigma.astype(np.float32), header)

    def plot(self, channel=None, *, ax=None):
        """Draw the noise on the sky.

        Parameters
        ----------
        channel : int, optional
            Of a cube of noise, from 0 in file order; by default the median over the channels is drawn.
        ax : `~astropy.visualization.wcsaxes.WCSAxes`, optional
            Where to draw; by default in a new figure.

        Returns
        -------
        `~astropy.visualization.wcsaxes.WCSAxes`
            Its ``figure`` can be shown and saved.

        Examples
        --------
        >>> from hisatools import NoiseEstimator
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> small = ModelParameters(shape=(48, 40, 40), n_pucks=3, n_components=50)
        >>> ax = NoiseEstimator("thirds").estimate(simulate_cube(small, seed=101).cube).plot()
        >>> ax.figure.savefig("noise.png")
        >>> ax.get_xlabel()
        'Galactic longitude'
        """
        from hisatools.plotting.maps import draw_map, label_sky
        from hisatools.plotting.style import color_limits, new_figure

        sigma = self.sigma.to_value(u.K)
        if sigma.ndim == 3:
            sigma = _median_of_channels(sigma) if channel is None else sigma[channel]
        if ax is None:
            ax = new_figure(6.4, 5.4).add_subplot(projection=self.wcs.celestial)
        image = draw_map(ax, sigma, "sigma", color_limits("sigma", sigma))
        ax.figure.colorbar(image, ax=ax, label=r"$\sigma$ (K)")
        label_sky(ax, self.wcs)
        return ax

    @classmethod
    def read(cls, path):
        """Read what `write` wrote.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        NoiseResult
            Parameters and findings in ``meta`` are texts.

        Raises
        ------
        InputError
            If the file cannot be read or holds no noise.

        Examples
        --------
        >>> from hisatools import NoiseEstimator, NoiseResult
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> small = ModelParameters(shape=(48, 40, 40), n_pucks=3, n_components=50)
        >>> NoiseEstimator("thirds").estimate(simulate_cube(small, seed=101).cube).write("noise.fits")
        >>> noise = NoiseResult.read("noise.fits")
        >>> noise.strategy, noise.meta["parameters"]["smoothing_beams"]
        ('thirds', '6.0')
        """
        from hisatools.io.files import opened

        with opened(Path(path)) as hdus:
            header, values = hdus[0].header, hdus[0].data
        if "STRATEGY" not in header or values is None or values.ndim not in (2, 3):
            raise InputError(f"{path}: holds no noise that hisatools wrote (no STRATEGY); give such a file")
        meta = _cards(header, NOTE_CARD)
        meta["parameters"] = _cards(header, PARAMETER_CARD)
        if ROUND_CARD in header:
            meta["rounds"] = list(_cards(header, ROUND_CARD).values())
        sigma = values.astype(np.float32) << u.Unit(header["BUNIT"])
        return cls(sigma, header["STRATEGY"], WCS(header), meta)


def _median_of_channels(sigma_kelvin):
    """Median over the channels of each sight line; NaN for one that is blank in all."""
    median = np.full(sigma_kelvin.shape[1:], np.nan)
    known = np.isfinite(sigma_kelvin).any(axis=0)
    median[known] = np.nanmedian(sigma_kelvin[:, known], axis=0)
    return median


def _add_cards(header, card, values):
    for number, (name, value) in enumerate(values.items(), start=1):
        header[f"{card}{number:02d}"] = _printable(f"{name}={value}")


def _cards(header, card):
    texts = [header[name] for name in header if name.startswith(card) and name != card]
    return dict(text.split("=", 1) for text in texts)


def _other_axes(what):
    return InputError(f"{what}; give the noise that was measured on this cube")
