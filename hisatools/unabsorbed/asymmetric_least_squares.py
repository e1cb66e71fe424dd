"""T_U as a smooth curve that leans on the upper side of each spectrum: asymmetric least squares.

The curve z through a spectrum y minimises sum w (y - z)^2 + lam sum (second difference of z)^2, where w
is the asymmetry p for channels above the curve and 1 - p for those below (Eilers 2004, Anal. Chem. 76,
404). A first curve, with its own lam, is smoothed again and again until it rests (astroSABER; Syed et al.
2023, arXiv:2310.02077): narrow dips are left behind. The spectra alone decide; the mask says where T_U is
used.
"""

from dataclasses import dataclass, field

import astropy.units as u
import numpy as np

from hisatools.errors import InputError, ParameterError, ParameterUnitsError
from hisatools.parameters import _number, _Parameters, _quantity
from hisatools.search.base import run_blocks
from hisatools.unabsorbed.asymmetric_baselines import find_baselines
from hisatools.unabsorbed.protocols import VoxelEstimate

SPECTRA_PER_BLOCK = 1024
SPECTRA_PER_BLOCK_WITH_ERRORS = 128
# Variance of an even distribution from 0 to a, about 0, in units of a^2.
RECTANGULAR = 1 / 3
RESIDUALS = ("none", "signed", "absolute")
OFFSETS = ("none", "noise", "unmasked")


@dataclass(frozen=True, kw_only=True)
class AsymmetricLeastSquaresParameters(_Parameters):
    """The "asymmetric-least-squares" estimate of T_U.

    A smoothing scale s stands for lam = (s / channel width)^4: a wave of wavelength 2 pi s is halved by a
    smoothing with weights 1, whatever the width of the channels. The default scales are what
    `~hisatools.unabsorbed.smoothing_training.train_smoothing` finds on model cubes of the Canadian Galactic
    Plane Survey. Three defaults differ from the published program, whose choices are ``gate_sigma=6``,
    ``residual="absolute"`` and ``offset="noise"``: there T_U is 3 to 6 K too high on these models, since the
    curve rides on the noise where there is signal, and the absolute value only adds to that.

    Parameters
    ----------
    first_scale, second_scale : Quantity, velocity
        Smoothing scales of the first baseline, and of all that follow.
    asymmetry : float
        p, the weight of channels above the baseline; those below have 1 - p.
    n_minor : int
        Solves of one baseline, each with the weights that follow from the one before.
    n_major : int
        Major loops go on for at most one more than this.
    convergence : float
        The baseline rests where no channel moves by this many times the noise.
    n_stable : int
        It is done when it has rested for more than so many loops in a row.
    run_probability : float
        Runs of channels of one sign are signal, if pure noise has so long a run with less than this
        probability. Elsewhere both sides have a weight of one half.
    run_margin : int
        Channels that are added to signal on either side.
    gate_sigma, gate_width
        A spectrum is worked on if it is above this many times the noise over more than this velocity
        (Quantity); 0 times lets all pass.
    residual : str
        What is added to the last baseline: ``"none"``, its difference from the first (``"signed"``), or the
        ``"absolute"`` value of that.
    offset : str
        What is taken off: ``"none"``, the mean of the baseline where there is no signal (``"noise"``), or the
        mean by which it lies above the spectrum in channels without mask (``"unmasked"``).
    use_mask : bool
        Whether masked channels have no weight. Without it only the dips' asymmetry keeps them out.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import UnabsorbedEstimator
    >>> estimator = UnabsorbedEstimator("asymmetric-least-squares", second_scale=1.5 * u.km / u.s)
    >>> estimator.parameters.second_scale, estimator.parameters.asymmetry
    (<Quantity 1.5 km / s>, 0.9)
    """

    _section = "asymmetric-least-squares"

    first_scale: u.Quantity = _quantity(2.0 * u.km / u.s)
    second_scale: u.Quantity = _quantity(1.2 * u.km / u.s)
    asymmetry: float = _number(0.9, at_most=1)
    n_minor: int = _number(3, integer=True)
    n_major: int = _number(20, inclusive=True, integer=True)
    convergence: float = _number(1.0, inclusive=True)
    n_stable: int = _number(3, inclusive=True, integer=True)
    run_probability: float = _number(0.02, at_most=1)
    run_margin: int = _number(3, inclusive=True, integer=True)
    gate_sigma: float = _number(0.0, inclusive=True)
    gate_width: u.Quantity = _quantity(15.0 * u.km / u.s, inclusive=True)
    residual: str = field(default="none")
    offset: str = field(default="unmasked")
    use_mask: bool = field(default=False)

    def __post_init__(self):
        super().__post_init__()
        if self.asymmetry == 1:
            raise ParameterError("asymmetry must be below 1, got 1: channels below would have no weight")
        for name, known in (("residual", RESIDUALS), ("offset", OFFSETS), ("use_mask", (False, True))):
            if getattr(self, name) not in known:
                raise ParameterError(
                    f"{name} must be one of {', '.join(map(repr, known))}, got {getattr(self, name)!r}"
                )

    def lam(self, channel_width):
        """Smoothing weights of the first and of the later baselines on channels of this width."""
        scales = self.first_scale, self.second_scale
        return np.array([(scale / channel_width).to_value(u.one) ** 4 for scale in scales])


class AsymmetricLeastSquaresStrategy:
    """Baselines of the sight lines that cross features; each spectrum by itself.

    The uncertainty has the noise and the structure of `~hisatools.unabsorbed.uncertainty.ErrorModel`: with
    the weights as they were in the end T_U is a linear sum over the spectrum. Absorption that the sum still
    takes in pulls T_U down, and the asymmetry pushes it up again by an unknown part of that: the variance of
    an even distribution from nothing to the whole is added. Where a feature is as broad in velocity as
    the emission about it, no curve through one spectrum can tell, and the uncertainty is too small.

    Parameters
    ----------
    parameters : `AsymmetricLeastSquaresParameters`, optional
    noise : Quantity, scalar or shape (n_y, n_x), optional
        Noise of the spectra, for the gate and the convergence; measured on each spectrum if not given.

    Raises
    ------
    InputError, ParameterUnitsError
        From ``estimate``, if ``noise`` does not fit the cube, or has no unit of temperature.

    Examples
    --------
    >>> from hisatools import UnabsorbedEstimator
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(64, 24, 24), n_pucks=3, n_components=50), seed=101)
    >>> found = UnabsorbedEstimator("asymmetric-least-squares").estimate(model.cube, model.mask)
    >>> bool((found.delta_t.value[~model.mask] == 0).all())
    True
    """

    Parameters = AsymmetricLeastSquaresParameters
    citation = "Syed et al. 2023, arXiv:2310.02077; Eilers 2004, Anal. Chem. 76, 404"

    def __init__(self, parameters=None, *, noise=None):
        self.parameters = AsymmetricLeastSquaresParameters() if parameters is None else parameters
        self.noise = noise

    def check(self, cube):
        """Raise at once what ``estimate`` would raise of ``noise`` that does not fit a cube."""
        _given_noise(self.noise, cube)

    def estimate(self, cube, labels, features, index, *, errors=None, workers=1, progress=False):
        """T_U at some voxels; see `~hisatools.unabsorbed.protocols.UnabsorbedStrategy.estimate`.

        ``n_off`` counts the unflagged channels of the sight lines that have voxels in ``index``; sight lines
        without any keep T_ON.
        """
        lines = SightLines(cube, labels, index)
        noise = _given_noise(self.noise, cube)
        lam = self.parameters.lam(cube.channel_width)
        gate_chan = (self.parameters.gate_width / cube.channel_width).to_value(u.one)
        kelvin = cube.kelvin.reshape(-1)[index]
        sigma = None if errors is None else np.full(len(index), np.inf, np.float32)
        variance = None if errors is None else LineVariance(errors, cube.shape[0])
        n_off_of_line = np.zeros(len(lines.pixels), np.int64)

        def estimate_lines(block):
            spectra, masked = lines.spectra(block)
            given = None if noise is None else noise[lines.pixels[block]]
            found = find_baselines(
                spectra,
                masked,
                lam,
                self.parameters,
                gate_chan=gate_chan,
                sigma_kelvin=given,
                weights=errors is not None,
            )
            unmasked = (np.isfinite(spectra) & ~masked).sum(axis=0)
            n_off_of_line[block] = np.where(found.is_found, unmasked, 0)
            places, channels, members = lines.wanted(block, n_off_of_line[block] > 0)
            kelvin[places] = found.kelvin[channels, members]
            if errors is not None:
                weights = found.weights(channels, members)
                depth = np.where(masked, spectra - found.kelvin, 0)
                leak = np.einsum("tk,tk->t", weights, depth[:, members].T)
                noise_kelvin = errors.sigma_kelvin(lines.voxels(block).reshape(-1)).reshape(spectra.shape)
                total = variance(weights, channels, noise_kelvin[:, members].T) + leak**2 * RECTANGULAR
                sigma[places] = np.sqrt(total)

        size = SPECTRA_PER_BLOCK if errors is None else SPECTRA_PER_BLOCK_WITH_ERRORS
        blocks = lines.blocks(size)
        run_blocks(
            estimate_lines, blocks, workers=workers, progress=progress, description="unabsorbed emission"
        )
        return VoxelEstimate(kelvin, lines.sum_over_features(labels, features, n_off_of_line), sigma)


class SightLines:
    """The spectra that some voxels are in.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
    labels : `~numpy.ndarray` of int, shape (n_v, n_y, n_x)
    index : `~numpy.ndarray` of int64, shape (n,)
        Places in the flattened cube.
    """

    def __init__(self, cube, labels, index):
        self.n_pixels = cube.shape[1] * cube.shape[2]
        self.kelvin = cube.kelvin.reshape(-1, self.n_pixels)
        self.labels = labels.reshape(-1, self.n_pixels)
        self.index = index
        self.pixels, self.line_of = np.unique(index % max(self.n_pixels, 1), return_inverse=True)
        self.order = np.argsort(self.line_of, kind="stable")
        self.ends = np.searchsorted(self.line_of[self.order], np.arange(len(self.pixels) + 1))

    def blocks(self, size):
        """Slices of at most ``size`` sight lines."""
        n = len(self.pixels)
        return [slice(first, min(first + size, n)) for first in range(0, n, size)]

    def spectra(self, block):
        """Brightness in K as float64 and which voxels are flagged, shape (n_v, n) both."""
        pixels = self.pixels[block]
        return self.kelvin[:, pixels].astype(float), self.labels[:, pixels] > 0

    def voxels(self, block):
        """Places in the flattened cube, shape (n_v, n)."""
        return np.arange(len(self.kelvin))[:, None] * self.n_pixels + self.pixels[block]

    def wanted(self, block, known):
        """Places in ``index``, channels and sight lines of the block's voxels, where ``known``."""
        places = self.order[self.ends[block.start] : self.ends[block.stop]]
        members = self.line_of[places] - block.start
        places, members = places[known[members]], members[known[members]]
        return places, self.index[places] // self.n_pixels, members

    def sum_over_features(self, labels, features, of_line):
        """Sum over the sight lines that each feature is on, shape of ``features``."""
        pairs = np.unique(np.stack([labels.reshape(-1)[self.index], self.line_of]), axis=1)
        totals = np.zeros(len(features), np.int64)
        np.add.at(totals, np.searchsorted(features, pairs[0]), of_line[pairs[1]])
        return totals


class LineVariance:
    """Error variance of estimates along sight lines, as `ErrorModel.variance` with fewer sums.

    All sight lines have the same channels, and with them the same two matrices of correlations.
    """

    def __init__(self, errors, n_channels):
        voxels = np.zeros((n_channels, 3))
        voxels[:, 0] = np.arange(n_channels)
        self.noise, self.structure = (
            errors.noise_correlation(voxels, voxels),
            errors.covariance(voxels, voxels),
        )

    def __call__(self, weights, channels, sigma_kelvin):
        """Variance (n,) of sums over spectra with ``weights`` (n, n_v) as T_U in ``channels`` (n,)."""
        noisy = weights * sigma_kelvin
        kept = np.einsum("tk,tk->t", noisy @ self.noise, noisy)
        weights = weights.copy()
        weights[np.arange(len(channels)), channels] -= 1
        return kept + np.maximum(np.einsum("tk,tk->t", weights @ self.structure, weights), 0)


def _given_noise(noise, cube):
    """Noise of each sight line, shape (n_y * n_x,), or None."""
    if noise is None:
        return None
    if not isinstance(noise, u.Quantity) or not noise.unit.is_equivalent(u.K):
        raise ParameterUnitsError(f"noise needs a unit of K, got {noise!r}; write for example noise=3 * u.K")
    sigma = noise.to_value(u.K)
    if sigma.shape not in ((), cube.shape[1:]):
        raise InputError(
            f"noise has the shape {sigma.shape}, the cube's sky {cube.shape[1:]}; give one value or a map"
        )
    return np.broadcast_to(sigma, cube.shape[1:]).reshape(-1)
