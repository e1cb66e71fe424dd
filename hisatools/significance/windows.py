"""A scan of the surroundings of one voxel, as the scan of the whole cube would find them."""

from dataclasses import replace

import numpy as np

from hisatools.io.reading import cut_wcs
from hisatools.search.base import run_blocks
from hisatools.significance.matched import TileBank
from hisatools.significance.scan import ScanResult


class Window:
    """All channels of the sight lines about one, and the filters there.

    Parameters
    ----------
    prepared : `~hisatools.significance.prepared.PreparedScan`
    voxel : sequence of int
        (v, y, x).
    half : int
        Pixels from the sight line to the window's sides; less at borders.
    """

    def __init__(self, prepared, voxel, half):
        self.prepared = prepared
        self.rows, self.columns = (
            slice(max(int(at) - half, 0), min(int(at) + half + 1, n))
            for at, n in zip(voxel[1:], prepared.shape[1:], strict=True)
        )
        reach = max(one.reach for one in prepared.sky)
        sky = (self.rows, self.columns)
        outer = tuple(
            slice(max(part.start - reach, 0), min(part.stop + reach, n))
            for part, n in zip(sky, prepared.shape[1:], strict=True)
        )
        self.outer = (slice(None), *outer)
        self.inner = (
            slice(None),
            *(
                slice(part.start - whole.start, part.stop - whole.start)
                for part, whole in zip(sky, outer, strict=True)
            ),
        )
        self.bank = TileBank(
            prepared.usable[self.outer],
            prepared.sky,
            prepared.lines,
            prepared.parameters.min_coverage,
            prepared.correlation,
            self.inner[1:],
        )

    def local(self, voxel):
        """Voxel of what `scan` gives that is this one of the cube."""
        v, y, x = (int(at) for at in voxel)
        return v, y - self.outer[1].start, x - self.outer[2].start

    def cut(self, residual):
        """The residual on the axes of what `scan` gives."""
        sigma = np.broadcast_to(residual.sigma_kelvin, residual.shape)[self.outer]
        return replace(
            residual,
            kelvin=residual.kelvin[self.outer],
            sigma_kelvin=sigma,
            known=None,
            wcs=self.wcs(residual),
        )

    def wcs(self, residual):
        """Axes of what `scan` gives."""
        return cut_wcs(residual.wcs, (slice(0, residual.shape[0]), *self.outer[1:]))

    def sigma(self, number):
        """Rms of the amplitude of one template for noise of rms 1; float32, the window's shape."""
        return self.bank.sigma_of(number)[self.inner]

    def scan(self, residual, standardised, factors):
        """The scan within the window.

        Parameters
        ----------
        residual : `Residual`
        standardised : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
            Of the whole cube.
        factors : sequence of float
            What each template's signal to noise is divided by.

        Returns
        -------
        `ScanResult`
            Of the window and what the filters reach about it, with NaN outside the window.
        """
        # Through run_blocks: the number of threads of BLAS must not change a bit.
        (found,) = run_blocks(lambda part: self._best(part, factors), [standardised[self.outer]])
        unusable = ~self.prepared.usable[self.outer][self.inner]
        found[0][unusable] = np.nan
        noise = np.broadcast_to(residual.sigma_kelvin, residual.shape)[self.outer]
        signal_to_noise, template, sigma = (
            self._embedded(part, fill) for part, fill in zip(found, (np.nan, 0, np.nan), strict=True)
        )
        return ScanResult(
            signal_to_noise=signal_to_noise,
            template=template,
            sigma_kelvin=sigma * noise,
            wcs=self.wcs(residual),
            parameters=self.prepared.parameters,
            chance=self.prepared.chance,
            factors=np.asarray(factors, float),
        )

    def _embedded(self, part, fill):
        whole = np.full(self.bank.shape, fill, part.dtype)
        whole[self.inner] = part
        return whole

    def _best(self, standardised, factors):
        """The best template at each voxel of the window, as `TileBank.best` finds it."""
        sight_lines = np.arange(self.bank.usable[0].size).reshape(self.bank.shape[1:])[self.inner[1:]]
        shape, at = (len(standardised), *sight_lines.shape), sight_lines.reshape(-1)
        found = np.full((len(standardised), at.size), np.nan, np.float32)
        template = np.zeros(found.shape, np.uint8)
        for i, planes in self.bank.planes(standardised):
            self.bank.keep_best(found, template, i, planes, at, factors)
        found, template = found.reshape(shape), template.reshape(shape)
        sigma = np.empty(found.shape, np.float32)
        for number in np.unique(template):
            chosen = template == number
            sigma[chosen] = (self.sigma(int(number)) * np.float32(factors[number]))[chosen]
        return found, template, sigma
