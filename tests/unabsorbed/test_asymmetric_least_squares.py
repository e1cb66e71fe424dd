import astropy.units as u
import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

from hisatools import HISACube
from hisatools.errors import InputError, ParameterError, ParameterUnitsError
from hisatools.features import label_features
from hisatools.noise import difference_rms
from hisatools.simulate import ModelParameters, simulate_cube
from hisatools.unabsorbed import smoothing_training
from hisatools.unabsorbed.asymmetric_baselines import (
    channel_kinds,
    difference_noise,
    find_baselines,
    has_signal,
    longest_run_of_noise,
)
from hisatools.unabsorbed.asymmetric_least_squares import (
    AsymmetricLeastSquaresParameters,
    AsymmetricLeastSquaresStrategy,
    LineVariance,
)
from hisatools.unabsorbed.pentadiagonal import BLANK, NOISE, SIGNAL
from hisatools.unabsorbed.smoothing_training import TrainingParameters, train_smoothing
from hisatools.unabsorbed.uncertainty import ErrorModel, measure_errors

KMS = u.km / u.s
CHANNEL_KMS = 0.82446
RANDOM = settings(deadline=None, derandomize=True, max_examples=12)
PEER = {"gate_sigma": 6.0, "residual": "absolute", "offset": "noise"}


def make_cube(kelvin):
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR", "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.cdelt = [-0.005, 0.005, -1e3 * CHANNEL_KMS]
    wcs.wcs.crval = [140, 0, -40e3]
    wcs.wcs.crpix = [1, 1, 1]
    wcs.wcs.specsys, wcs.wcs.restfrq = "LSRK", 1.42040575e9
    return HISACube(np.asarray(kelvin, np.float32) * u.K, wcs)


def cut_cube(kelvin):
    """A cube of few channels, as a part of a larger one."""
    n_v = len(kelvin)
    padded = np.concatenate([kelvin, np.ones((3, *kelvin.shape[1:]))])
    return make_cube(padded).cutout((slice(0, n_v), slice(None), slice(None)))


def make_spectra(n_v=100, n=12, seed=1, noise=3.0, dip=30.0):
    """Emission lines about the middle of the band, a narrow dip in each, and noise; (n_v, n)."""
    rng = np.random.default_rng(seed)
    v = np.arange(n_v)[:, None]

    def line(height, fwhm, low=0.35, high=0.65):
        return height * np.exp(-0.5 * ((v - rng.uniform(low, high, n) * n_v) / (fwhm / 2.355)) ** 2)

    return line(80, n_v / 4) + line(50, n_v / 6) - line(dip, 3) + rng.normal(0, noise, (n_v, n))


def make_parameters(lam, **changes):
    first, second = (value**0.25 * CHANNEL_KMS * KMS for value in lam)
    return AsymmetricLeastSquaresParameters(first_scale=first, second_scale=second, **changes)


def baselines(spectra, parameters, masked=None, **others):
    masked = np.zeros(spectra.shape, bool) if masked is None else masked
    lam = parameters.lam(CHANNEL_KMS * KMS)
    gate_chan = parameters.gate_width.value / CHANNEL_KMS
    return find_baselines(spectra, masked, lam, parameters, gate_chan=gate_chan, **others)


# The same algorithm, one spectrum at a time, with a direct sparse solve


def slow_smooth(y, lam, p, is_signal, weight, n_minor):
    n = len(y)
    difference = sparse.diags([1.0, -2.0, 1.0], [0, 1, 2], shape=(n - 2, n))
    penalty = lam * difference.T @ difference
    w = weight.astype(float)
    for _ in range(n_minor):
        z = spsolve((penalty + sparse.diags(w)).tocsc(), w * y)
        w = np.where(is_signal, np.where(y > z, p, 1 - p), 0.5) * weight
    return z


def slow_baseline(spectrum, parameters, sigma, least_run):
    lam1, lam2 = parameters.lam(CHANNEL_KMS * KMS)
    finite, p = np.isfinite(spectrum), parameters.asymmetry
    is_signal = slow_signal(spectrum, least_run, parameters.run_margin)
    y = np.where(finite, spectrum, 0)

    def smooth(y, lam):
        return slow_smooth(y, lam, p, is_signal, finite, parameters.n_minor)

    first = prior = smooth(y, lam1)
    in_a_row = 0
    for _ in range(parameters.n_major + 1):
        prior = smooth(prior, lam2)
        last = smooth(prior, lam2)
        at_rest = np.abs(last - prior)[finite].max() < parameters.convergence * sigma
        in_a_row = in_a_row + 1 if at_rest else 0
        if in_a_row > parameters.n_stable:
            break
    added = {"none": 0, "signed": last - first, "absolute": np.abs(last - first)}[parameters.residual]
    result = last + added
    if parameters.offset == "noise" and (finite & ~is_signal).any():
        result = result - result[finite & ~is_signal].mean()
    if parameters.offset == "unmasked":
        result = result - (result - spectrum)[finite].mean()
    return result


def slow_signal(spectrum, least_run, margin):
    """Runs of one sign, looked for among the finite channels."""
    finite = np.flatnonzero(np.isfinite(spectrum))
    is_signal = np.zeros(len(spectrum), bool)
    for sign in (1, -1):
        groups, n = ndimage.label(sign * spectrum[finite] >= 0)
        for group in range(1, n + 1):
            run = finite[groups == group]
            if len(run) >= least_run:
                is_signal[max(run[0] - margin, 0) : run[-1] + 1 + margin] = True
    return is_signal


@pytest.mark.parametrize("lam", [(2.0, 1.0), (50.0, 5.0), (2e4, 300.0)])
@pytest.mark.parametrize("residual", ["none", "signed", "absolute"])
@pytest.mark.parametrize("offset", ["none", "noise", "unmasked"])
def test_agrees_with_a_direct_sparse_solve(lam, residual, offset):
    spectra = make_spectra(272, 3)
    parameters = make_parameters(lam, residual=residual, offset=offset)
    found = baselines(spectra, parameters)
    least_run = longest_run_of_noise(272, 0.02)
    for i, sigma in enumerate(difference_noise(spectra)):
        expected = slow_baseline(spectra[:, i], parameters, sigma, least_run)
        assert_allclose(found.kelvin[:, i], expected, rtol=0, atol=1e-6)


@RANDOM
@given(
    n_v=st.integers(3, 60),
    n=st.integers(1, 20),
    blank=st.sampled_from([0, 0.2, 0.6]),
    log_lam=st.tuples(st.floats(-1, 4), st.floats(-1, 4)),
    convergence=st.sampled_from([0.0, 0.01, 1.0]),
    p=st.floats(0.5, 0.99),
    seed=st.integers(0, 9999),
)
def test_agrees_with_a_direct_solve_for_any_spectrum(n_v, n, blank, log_lam, convergence, p, seed):
    rng = np.random.default_rng(seed)
    spectra = make_spectra(n_v, n, seed)
    spectra[rng.uniform(size=spectra.shape) < blank] = np.nan
    lam = 10.0 ** np.array(log_lam)
    parameters = make_parameters(lam, asymmetry=p, convergence=convergence, residual="signed", n_major=4)
    found = baselines(spectra, parameters, sigma_kelvin=np.full(n, 3.0))
    for i in range(n):
        if np.isfinite(spectra[:, i]).sum() < 2:
            assert not found.is_found[i]
            continue
        expected = slow_baseline(spectra[:, i], parameters, 3.0, longest_run_of_noise(n_v, 0.02))
        assert_allclose(found.kelvin[:, i], expected, rtol=1e-6, atol=1e-6)


def test_a_baseline_does_not_depend_on_its_neighbours():
    spectra, parameters = make_spectra(64, 50), make_parameters((5, 2), convergence=0.2)
    together = baselines(spectra, parameters)
    assert len(np.unique(together.n_stages)) > 1
    for i in range(0, 50, 7):
        alone = baselines(spectra[:, i : i + 1], parameters)
        assert_array_equal(alone.kelvin[:, 0], together.kelvin[:, i])


# What is signal, what is noise


def test_noise_is_that_of_the_third_differences():
    spectra = make_spectra(90, 8)
    spectra[np.random.default_rng(2).uniform(size=spectra.shape) < 0.2] = np.nan
    spectra[5:, 3] = np.nan
    assert_allclose(difference_noise(spectra), difference_rms(spectra[:, None])[0], rtol=1e-12)


def test_runs_of_noise_exceed_the_limit_as_seldom_as_stated():
    length = longest_run_of_noise(272, 0.02)
    signs = np.random.default_rng(3).normal(size=(272, 4000))
    kinds = channel_kinds(signs, length, 0)
    # The chain counts runs of one of the two signs.
    assert 0.005 < (kinds == SIGNAL).any(axis=0).mean() < 0.04


def test_signal_is_a_long_run_and_its_margin():
    spectrum = np.tile([1.0, -1.0], 20)
    spectrum[10:20] = 5
    spectrum[15] = np.nan
    kinds = channel_kinds(spectrum[:, None], 9, 3)[:, 0]
    # Of the run's ten channels one is blank, and the channel after it has the same sign.
    assert_array_equal(np.flatnonzero(kinds == SIGNAL), [k for k in range(7, 24) if k != 15])
    assert kinds[15] == BLANK
    assert (kinds[:7] == NOISE).all()


@pytest.mark.parametrize(("n_least", "expected"), [(4, True), (5, False)])
def test_gate_asks_for_more_channels_in_a_row(n_least, expected):
    spectrum = np.zeros((20, 1))
    spectrum[3:8], spectrum[12:15] = 10, 10
    assert has_signal(spectrum, np.array([9.0]), n_least)[0] == expected


def test_gate_keeps_what_was_observed_where_there_is_no_signal():
    rng = np.random.default_rng(4)
    kelvin = np.stack([make_spectra(100, 1)[:, 0], rng.normal(0, 3, 100)], axis=1)[:, None]
    mask = np.zeros(kelvin.shape, bool)
    mask[48:52] = True
    found = estimate(make_cube(kelvin), mask, AsymmetricLeastSquaresParameters(gate_sigma=6.0))
    at = np.arange(mask.sum()) % 2
    observed = kelvin[mask].astype(np.float32)
    assert (found.kelvin[at == 0] != observed[at == 0]).all()
    assert_array_equal(found.kelvin[at == 1], observed[at == 1])
    assert np.isinf(found.sigma_kelvin[at == 1]).all()


# What the baseline promises


def test_straight_line_comes_back_exactly():
    line = 50 + 0.3 * np.arange(60)[:, None]
    found = baselines(line, make_parameters((1e3, 1e2)), sigma_kelvin=np.ones(1))
    assert_allclose(found.kelvin, line, rtol=1e-9)


def test_blank_channels_are_bridged_by_a_straight_line():
    line = 50 + 0.3 * np.arange(60)[:, None]
    line[20:40] = np.nan
    found = baselines(line, make_parameters((1e3, 1e2)), sigma_kelvin=np.ones(1))
    assert_allclose(found.kelvin[:, 0], 50 + 0.3 * np.arange(60), rtol=1e-7)


def test_narrow_dip_is_left_behind_and_broad_emission_kept():
    v = np.arange(128)[:, None]
    emission = 80 * np.exp(-0.5 * ((v - 64) / 20) ** 2)
    dip = 30 * np.exp(-0.5 * ((v - 70) / 1.2) ** 2)
    found = baselines(emission - dip, make_parameters((20, 20)), sigma_kelvin=np.ones(1))
    assert_allclose(found.kelvin[70], emission[70], atol=3)
    assert_allclose(found.kelvin[40:60], emission[40:60], atol=3)


def test_default_is_nearly_without_bias_where_nothing_is_absorbed():
    spectra = make_spectra(200, 400, dip=0)
    truth = make_spectra(200, 400, dip=0, noise=0)
    bright = truth > 40
    biases = [
        np.mean((baselines(spectra, parameters).kelvin - truth)[bright])
        for parameters in (AsymmetricLeastSquaresParameters(), AsymmetricLeastSquaresParameters(**PEER))
    ]
    # The noise is 3 K.
    assert abs(biases[0]) < 1.2
    assert biases[1] > 2


def test_use_mask_makes_masked_channels_irrelevant():
    spectra = make_spectra(100, 5)
    masked = np.zeros(spectra.shape, bool)
    masked[45:55] = True
    other = np.where(masked, 1.0, spectra)
    parameters = make_parameters((20, 20), use_mask=True)
    kinds = [channel_kinds(s, longest_run_of_noise(100, 0.02), 3) for s in (spectra, other)]
    assert_array_equal(*kinds)
    noise = np.full(5, 3.0)
    found = [baselines(s, parameters, masked, sigma_kelvin=noise).kelvin for s in (spectra, other)]
    assert_allclose(*found, rtol=1e-9)


def test_scale_in_velocity_is_lam_whatever_the_channel_width():
    parameters = AsymmetricLeastSquaresParameters(first_scale=4 * KMS, second_scale=2 * KMS)
    assert_allclose(parameters.lam(1 * KMS), [256, 16])
    assert_allclose(parameters.lam(500 * u.m / u.s), [4096, 256])
    # The same emission on channels of half the width has the same smooth curve.
    v = np.linspace(0, 80, 161)
    fine = 80 * np.exp(-0.5 * ((v - 40) / 5) ** 2)[:, None]
    even = AsymmetricLeastSquaresParameters(
        first_scale=4 * KMS, second_scale=2 * KMS, asymmetry=0.5, offset="none"
    )
    curves = [
        find_baselines(
            fine[::step],
            np.zeros_like(fine[::step], bool),
            even.lam(step / 2 * KMS),
            even,
            gate_chan=0.0,
            sigma_kelvin=np.ones(1),
        ).kelvin
        for step in (1, 2)
    ]
    # Weights of channels are not densities: half the channels have half the weight.
    assert_allclose(curves[0][::2], curves[1], atol=1.0)


# As a strategy


def estimate(cube, mask, parameters=None, *, errors=True, workers=1, **inputs):
    labels, n_features = label_features(mask & np.isfinite(cube.kelvin))
    strategy = AsymmetricLeastSquaresStrategy(parameters, **inputs)
    model = flat_errors() if errors else None
    return strategy.estimate(
        cube, labels, np.arange(1, n_features + 1), np.flatnonzero(labels), errors=model, workers=workers
    )


def flat_errors(sigma=3.0, scale_chan=1.0, structure=((100.0, 8.0, 40.0),)):
    return ErrorModel(
        lambda index: np.full(np.shape(index), sigma), (scale_chan, 2.0), np.reshape(structure, (-1, 3))
    )


def random_cube(shape=(60, 9, 11), blank=0.05, seed=5):
    rng = np.random.default_rng(seed)
    kelvin = make_spectra(shape[0], shape[1] * shape[2], seed).reshape(shape)
    kelvin[rng.uniform(size=shape) < blank] = np.nan
    mask = ndimage.binary_dilation(rng.uniform(size=shape) < 0.01, iterations=2)
    return make_cube(kelvin), mask


def test_gives_the_baselines_at_the_masked_voxels():
    cube, mask = random_cube()
    found = estimate(cube, mask)
    n_v = cube.shape[0]
    masked = (mask & np.isfinite(cube.kelvin)).reshape(n_v, -1)
    whole = baselines(cube.kelvin.reshape(n_v, -1), AsymmetricLeastSquaresParameters(), masked)
    assert_allclose(found.kelvin, whole.kelvin[masked], rtol=1e-6)
    assert np.isfinite(found.sigma_kelvin).all() and (found.sigma_kelvin > 0).all()


def test_some_voxels_get_what_all_would_get():
    cube, mask = random_cube()
    labels, n_features = label_features(mask & np.isfinite(cube.kelvin))
    index = np.flatnonzero(labels)
    strategy, features = AsymmetricLeastSquaresStrategy(), np.arange(1, n_features + 1)
    whole = strategy.estimate(cube, labels, features, index, errors=flat_errors())
    some = strategy.estimate(cube, labels, features, index[::3], errors=flat_errors())
    assert_array_equal(some.kelvin, whole.kelvin[::3])
    assert_allclose(some.sigma_kelvin, whole.sigma_kelvin[::3], rtol=1e-6)


def test_n_off_counts_the_unflagged_channels_of_the_feature_s_sight_lines():
    cube, mask = random_cube(blank=0.1)
    labels, n_features = label_features(mask & np.isfinite(cube.kelvin))
    found = estimate(cube, mask)
    for label in range(1, n_features + 1):
        on = (labels == label).any(axis=0)
        assert found.n_off[label - 1] == (np.isfinite(cube.kelvin) & (labels == 0))[:, on].sum()


def test_workers_and_uncertainty_change_nothing_to_the_bit(monkeypatch):
    from hisatools.unabsorbed import asymmetric_least_squares

    monkeypatch.setattr(asymmetric_least_squares, "SPECTRA_PER_BLOCK", 10)
    monkeypatch.setattr(asymmetric_least_squares, "SPECTRA_PER_BLOCK_WITH_ERRORS", 7)
    cube, mask = random_cube()
    alone, together, without = (
        estimate(cube, mask),
        estimate(cube, mask, workers=4),
        estimate(cube, mask, errors=False),
    )
    assert_array_equal(together.kelvin, alone.kelvin)
    assert_array_equal(together.sigma_kelvin, alone.sigma_kelvin)
    assert_array_equal(without.kelvin, alone.kelvin)
    assert without.sigma_kelvin is None


def test_reversed_velocity_gives_the_reversed_answer():
    cube, mask = random_cube()
    values = []
    for axis_order in (1, -1):
        found = estimate(make_cube(cube.kelvin[::axis_order]), mask[::axis_order])
        filled = np.full((2, *cube.shape), np.nan)
        filled[:, (mask & np.isfinite(cube.kelvin))[::axis_order]] = found.kelvin, found.sigma_kelvin
        values.append(filled[:, ::axis_order])
    assert_allclose(*values, rtol=1e-4)


SHAPES = {
    "spectrum": (40, 1, 1),
    "channel": (1, 6, 6),
    "voxel": (1, 1, 1),
    "two": (2, 3, 3),
    "tiny": (3, 2, 2),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("use_mask", [False, True])
def test_small_cubes_give_an_answer_or_say_that_there_is_none(name, use_mask):
    shape = SHAPES[name]
    kelvin = np.random.default_rng(6).uniform(50, 90, shape)
    mask = np.zeros(shape, bool)
    mask[0] = True
    found = estimate(cut_cube(kelvin), mask, AsymmetricLeastSquaresParameters(use_mask=use_mask))
    is_said = shape[0] > 2
    assert (np.isfinite(found.sigma_kelvin) == is_said).all()
    assert ((found.n_off > 0) == is_said).all()
    assert np.isfinite(found.kelvin).all()
    if not is_said:
        assert_array_equal(found.kelvin, kelvin[mask].astype(np.float32))


@pytest.mark.parametrize("use_mask", [False, True])
def test_a_feature_that_fills_everything_keeps_what_was_observed(use_mask):
    cube, _ = random_cube(blank=0)
    found = estimate(cube, np.ones(cube.shape, bool), AsymmetricLeastSquaresParameters(use_mask=use_mask))
    assert_array_equal(found.n_off, [0])
    assert_array_equal(found.kelvin, cube.kelvin.reshape(-1))
    assert np.isinf(found.sigma_kelvin).all()


def test_blank_planes_and_blank_spectra_are_passed_over():
    cube, mask = random_cube(blank=0.3)
    kelvin = cube.kelvin.copy()
    kelvin[20:23], kelvin[:, 4, 4], kelvin[2:, 5, 5] = np.nan, np.nan, np.nan
    found = estimate(make_cube(kelvin), mask | (np.arange(len(kelvin)) < 2)[:, None, None])
    assert np.isfinite(found.kelvin).all()
    assert not np.isnan(found.sigma_kelvin).any()
    assert np.isinf(found.sigma_kelvin).sum() == 2


def test_a_feature_at_the_border_of_the_band_is_extrapolated_with_a_larger_uncertainty():
    cube = make_cube(np.full((60, 4, 4), 70.0) + np.random.default_rng(1).normal(0, 3, (60, 4, 4)))
    parameters = AsymmetricLeastSquaresParameters(use_mask=True)
    sigma = []
    for channels in (slice(0, 6), slice(27, 33)):
        mask = np.zeros(cube.shape, bool)
        mask[channels] = True
        sigma.append(np.median(estimate(cube, mask, parameters).sigma_kelvin))
    assert sigma[0] > sigma[1] > 0


def test_given_noise_decides_when_a_baseline_rests():
    cube, mask = random_cube(blank=0)
    small = estimate(cube, mask, noise=1e-3 * u.K)
    large = estimate(cube, mask, noise=np.full(cube.shape[1:], 1e3) * u.K)
    assert (small.kelvin != large.kelvin).any()
    with pytest.raises(InputError, match=r"noise has the shape \(2, 2\), the cube's sky \(9, 11\)"):
        estimate(cube, mask, noise=np.ones((2, 2)) * u.K)


def test_noise_that_does_not_fit_is_refused_before_there_are_features():
    cube, _ = random_cube()
    with pytest.raises(InputError, match="noise has the shape"):
        AsymmetricLeastSquaresStrategy(noise=np.ones(3) * u.K).check(cube)
    with pytest.raises(ParameterUnitsError, match=r"noise needs a unit of K, got 3; write .* noise=3 \* u.K"):
        AsymmetricLeastSquaresStrategy(noise=3).check(cube)
    AsymmetricLeastSquaresStrategy(noise=3 * u.K).check(cube)


def test_empty_list_of_features():
    cube, mask = random_cube()
    found = estimate(cube, np.zeros_like(mask))
    assert found.kelvin.size == found.sigma_kelvin.size == found.n_off.size == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"residual": "both"}, "residual must be one of 'none', 'signed', 'absolute', got 'both'"),
        ({"offset": True}, "offset must be one of 'none', 'noise', 'unmasked', got True"),
        ({"use_mask": "yes"}, "use_mask must be one of False, True, got 'yes'"),
        ({"asymmetry": 1.0}, "asymmetry must be below 1"),
        ({"first_scale": 0 * KMS}, "first_scale must be finite and above 0"),
    ],
)
def test_bad_parameters_are_refused(changes, message):
    with pytest.raises(ParameterError, match=message):
        AsymmetricLeastSquaresParameters(**changes)


# Uncertainty


@pytest.mark.parametrize("residual", ["none", "signed", "absolute"])
def test_weights_are_the_derivative_of_the_baseline(residual):
    spectra = make_spectra(40, 2)
    parameters = make_parameters((30, 5), residual=residual, offset="none")
    sigma = np.full(2, 3.0)
    found = baselines(spectra, parameters, sigma_kelvin=sigma, weights=True)
    channels, members = np.array([5, 20, 39, 20]), np.array([0, 0, 0, 1])
    weights = found.weights(channels, members)
    assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    assert_allclose([w @ spectra[:, i] for w, i in zip(weights, members, strict=True)],
                    found.kelvin[channels, members], rtol=1e-5)  # fmt: skip
    for k in range(0, 40, 9):
        shifted = spectra.copy()
        shifted[k] += 1e-5
        moved = baselines(shifted, parameters, sigma_kelvin=sigma).kelvin - found.kelvin
        assert_allclose(moved[channels, members] / 1e-5, weights[:, k], atol=1e-4)


def test_variance_is_that_of_the_error_model():
    rng = np.random.default_rng(7)
    errors = flat_errors(structure=((50.0, 3.0, 9.0), (20.0, 12.0, 9.0)))
    weights, channels = rng.dirichlet(np.ones(30), 4), np.array([0, 7, 20, 29])
    sources = np.zeros((30, 3))
    sources[:, 0] = np.arange(30)
    expected = errors.variance(weights, sources, sources[channels], np.full(30, 3.0))
    assert_allclose(LineVariance(errors, 30)(weights, channels, np.full((4, 30), 3.0)), expected, rtol=1e-9)


def test_error_is_mostly_within_the_uncertainty_on_a_model_cube():
    model = simulate_cube(ModelParameters().scaled((64, 64, 64)), seed=104)
    labels, n_features = label_features(model.mask)
    index = np.flatnonzero(ndimage.binary_erosion(model.mask))
    index = index[:: max(len(index) // 4000, 1)]
    found = AsymmetricLeastSquaresStrategy().estimate(
        model.cube, labels, np.arange(1, n_features + 1), index, errors=measure_errors(model.cube, labels)
    )
    ratio = np.abs(found.kelvin - model.t_unabsorbed.value.reshape(-1)[index]) / found.sigma_kelvin
    assert 0.55 < np.mean(ratio < 1) < 0.9
    assert np.mean(ratio < 2) > 0.9


# Training


@pytest.fixture(scope="module")
def model():
    return simulate_cube(ModelParameters().scaled((64, 48, 48)), seed=103)


@pytest.mark.parametrize("factor", [0.25, 6.0])
def test_trained_scales_restore_lines_better_than_spoilt_ones(model, factor):
    spoilt = AsymmetricLeastSquaresParameters(first_scale=2 * factor * KMS, second_scale=1.2 * factor * KMS)
    training = TrainingParameters(n_spectra=80)
    found = train_smoothing(model.cube, model.mask, parameters=spoilt, training=training, seed=1)
    assert found.n_spectra == 40
    assert found.cost_after < 0.8 * found.cost_before
    assert found.gain == pytest.approx(1 - found.cost_after / found.cost_before)
    assert found.parameters.asymmetry == spoilt.asymmetry
    assert found.evaluations["first_scale"].unit == KMS
    # The best of the trials is what is returned.
    best = found.evaluations[np.argmin(found.evaluations["cost"])]
    assert best["first_scale"] == found.parameters.first_scale


def test_training_depends_on_the_seed_alone(model):
    training = TrainingParameters(n_spectra=30, max_evaluations=10)
    one, same, other = (
        train_smoothing(model.cube, model.mask, training=training, seed=seed, workers=workers)
        for seed, workers in ((3, 1), (3, 3), (4, 1))
    )
    assert one.parameters == same.parameters
    assert_array_equal(one.evaluations["cost"], same.evaluations["cost"])
    assert other.evaluations["cost"][0] != one.evaluations["cost"][0]


def test_lines_are_put_where_nothing_is_flagged_and_their_truth_is_what_was_observed(model):
    rng = np.random.default_rng(1)
    spectra = smoothing_training.inject_lines(model.cube, model.mask, TrainingParameters(n_spectra=20), rng)
    n_v = model.cube.shape[0]
    observed, flagged = model.cube.kelvin.reshape(n_v, -1), model.mask.reshape(n_v, -1)
    for i in range(spectra.truth_kelvin.shape[1]):
        line = np.flatnonzero((observed == spectra.truth_kelvin[:, i, None]).all(axis=0))
        assert len(line) == 1
        assert not flagged[spectra.in_line[:, i], line[0]].any()
    absorbed = spectra.truth_kelvin - spectra.kelvin
    assert_array_equal(absorbed > 0, spectra.in_line)
    assert 8 < absorbed.max() <= 40.0 + 1e-9


def test_lines_leave_three_times_the_noise_in_each_channel(model):
    rng = np.random.default_rng(2)
    training = TrainingParameters(n_spectra=200, n_lines=3)
    spectra = smoothing_training.inject_lines(model.cube, model.mask, training, rng)
    left = np.where(spectra.in_line, spectra.kelvin, np.inf).min(axis=0)
    assert (left >= 3 * spectra.sigma_kelvin * (1 - 1e-9)).all()


def test_too_little_to_train_on_is_said(model):
    faint = model.cube.with_brightness(model.cube.kelvin * 0.01)
    with pytest.raises(InputError, match=r"only 0 spectra have room for lines of 10 K and more, and 8"):
        train_smoothing(faint)
    with pytest.raises(InputError, match="only 0 spectra"):
        train_smoothing(cut_cube(np.full((1, 1, 1), 70.0)))
    with pytest.raises(InputError, match="mask has the shape"):
        train_smoothing(model.cube, np.zeros((2, 2, 2), bool))
    with pytest.raises(ParameterError, match=r"min_depth \(50.0 K\) must not exceed max_depth"):
        TrainingParameters(min_depth=50 * u.K)
