"""Trials: the same for the same seed, alone and in a run, and resumed; what is put in is where it was put."""

import os
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import vstack
from numpy.testing import assert_allclose, assert_array_equal
from radio_beam import Beam

from hisatools import HISACube
from hisatools.errors import HISAWarning, InputError, OutputError, ParameterError, ParameterUnitsError
from hisatools.noise import NoiseCorrelation
from hisatools.significance import Residual, ScanParameters, SignificanceScan
from hisatools.significance.backgrounds import draw_noise
from hisatools.significance.injected import Signal, add_feature
from hisatools.significance.prior import SpatialPrior
from hisatools.significance.trial_files import TRIALS_PER_FILE, trials_path
from hisatools.significance.trial_fits import COLUMNS
from hisatools.significance.trials import TrialParameters, TrialRunner
from hisatools.simulate import ModelParameters, model_wcs

SHAPE = (16, 24, 28)
CGPS = NoiseCorrelation(3.33, 1.6)
BANK = SignificanceScan(ScanParameters(widths=(1, 3) * u.arcmin, linewidths=2 * u.km / u.s))
POINT = Signal(width=1 * u.arcmin, linewidth=2 * u.km / u.s, n_sigma=9)
BACKGROUNDS = ("noise", "sign-flip", "shuffle")


def make_residual(shape=SHAPE, *, sigma=6.0, blank=None, known=None, seed=6300, reversed_axis=False):
    wcs = model_wcs(ModelParameters(shape=shape))
    noise = -draw_noise(shape, CGPS, np.random.default_rng(seed)) * np.float32(sigma)
    if blank is not None:
        noise[blank] = np.nan
    if reversed_axis:
        wcs.wcs.cdelt[2] *= -1
        wcs.wcs.set()
    return Residual(noise, np.full(shape[1:], sigma, np.float32), CGPS, wcs, beam_pix=3.33, known=known)


def make_runner(residual=None, **settings):
    return TrialRunner(make_residual() if residual is None else residual, scan=BANK, **settings)


def half_prior(residual, low=0.0):
    """1 in the left half of the sky, ``low`` in the right."""
    probability = np.ones(residual.shape[1:])
    probability[:, residual.shape[2] // 2 :] = low
    return SpatialPrior(probability, residual.wcs)


def assert_same(one, two):
    assert one.colnames == two.colnames
    for name in one.colnames:
        assert one[name].unit == two[name].unit
        assert np.array_equal(np.asarray(one[name]), np.asarray(two[name]), equal_nan=True), name


@pytest.fixture(scope="module")
def runner():
    return make_runner(signal=POINT)


class TestParameters:
    def test_defaults_are_accepted_and_wrong_ones_are_not(self):
        assert TrialParameters().background == "noise"
        with pytest.raises(ParameterError, match="unknown background 'white'; known: 'noise'"):
            TrialParameters(background="white")
        with pytest.raises(ParameterUnitsError, match="block_width needs a unit of arcmin"):
            TrialParameters(block_width=3)
        with pytest.raises(ParameterUnitsError, match="block_linewidth"):
            TrialParameters(block_linewidth=3 * u.arcmin)
        with pytest.raises(ParameterError, match="n_copies"):
            TrialParameters(n_copies=0)

    def test_blocks_follow_the_bank_and_never_exceed_half_the_cube(self):
        assert make_runner(make_residual((60, 80, 80))).block == (10, 27, 27)
        assert make_runner().block == (8, 12, 14)
        told = TrialParameters(block_width=3 * u.arcmin, block_linewidth=3.3 * u.km / u.s)
        assert make_runner(parameters=told).block == (4, 10, 10)
        assert make_runner(make_residual((1, 1, 1))).block == (1, 1, 1)

    def test_signal_needs_one_strength_with_a_unit_and_a_sign(self):
        for wrong in ({}, {"n_sigma": 5, "delta_t": -5 * u.K}):
            with pytest.raises(ParameterError, match="give one of delta_t and n_sigma"):
                Signal(**wrong)
        with pytest.raises(ParameterError, match="absorption is negative"):
            Signal(delta_t=5 * u.K)
        for wrong in (-5, -5 * u.m):
            with pytest.raises(ParameterUnitsError, match="delta_t needs a unit of K"):
                Signal(delta_t=wrong)
        with pytest.raises(ParameterUnitsError, match="width"):
            Signal(n_sigma=5, width=3)
        assert Signal(delta_t=-5000 * u.mK).delta_t == -5 * u.K

    def test_positions_and_velocities_belong_together(self):
        place = SkyCoord(140, 0, unit="deg", frame="galactic")
        with pytest.raises(ParameterError, match="belong together"):
            Signal(n_sigma=5, positions=place)
        with pytest.raises(ParameterUnitsError, match="velocities needs a unit"):
            Signal(n_sigma=5, positions=place, velocities=-40)
        with pytest.raises(ParameterError, match="one finite value, or one for each of 1"):
            Signal(n_sigma=5, positions=place, velocities=[-40, -41] * u.km / u.s)
        with pytest.raises(ParameterError, match="one or several SkyCoord"):
            Signal(n_sigma=5, positions=(140, 0), velocities=-40 * u.km / u.s)

    def test_trials_with_features_need_a_signal(self):
        with pytest.raises(ParameterError, match="has no signal"):
            make_runner().get_one_trial(1)
        with pytest.raises(ParameterError, match="seed"):
            make_runner().get_one_trial(0, -1)


class TestTrials:
    @pytest.mark.parametrize("background", BACKGROUNDS)
    def test_same_seed_same_trial_alone_and_in_a_run(self, background):
        runner = make_runner(signal=POINT, parameters=TrialParameters(background=background))
        one, two = runner.get_one_trial(2, 6301), runner.get_one_trial(2, 6301)
        assert_array_equal(one.residual.kelvin, two.residual.kelvin)
        assert_same(one.features, two.features)
        many = runner.get_many_fits(3, n=2, seed=6300)
        alone = make_runner(signal=POINT, parameters=runner.parameters).get_one_fit(2, 6301)
        assert_same(many[1:2], alone.table)

    @pytest.mark.parametrize(("n", "seed"), [(1, 6301), (0, 6302)])
    def test_another_seed_or_number_is_another_trial(self, runner, n, seed):
        one, two = runner.get_one_trial(0, 6301), runner.get_one_trial(n, seed)
        assert abs(np.corrcoef(one.residual.kelvin.ravel(), two.residual.kelvin.ravel())[0, 1]) < 0.2

    def test_a_trial_can_be_scanned_anywhere(self, runner):
        trial = runner.get_one_trial(1, 6303)
        scan = runner.scan(trial)
        elsewhere = BANK.run(trial.residual)
        assert_array_equal(scan.signal_to_noise, elsewhere.signal_to_noise)
        fit, hottest = runner.fit(trial), scan.hottest()
        assert tuple(fit[name] for name in "vyx") == hottest.voxel
        assert fit["ts_prior"] == hottest.value
        assert fit["ts"] == pytest.approx(hottest.value, rel=1e-4)
        assert_allclose(fit["delta_t_error"].value, scan.sigma_kelvin[hottest.voxel], rtol=1e-4)

    @pytest.mark.parametrize("background", BACKGROUNDS)
    def test_blanks_stay_blank_and_nothing_else_does(self, background):
        blank = np.zeros(SHAPE, bool)
        blank[:, :6, :6] = blank[3] = blank[10, 12, 12] = True
        runner = make_runner(make_residual(blank=blank), parameters=TrialParameters(background=background))
        trial = runner.get_one_trial(0, 6300)
        assert_array_equal(np.isnan(trial.residual.kelvin), blank)
        fit = runner.fit(trial)
        assert not blank[tuple(fit[name] for name in "vyx")]

    @pytest.mark.parametrize("background", BACKGROUNDS)
    def test_known_absorption_is_not_in_the_background(self, background):
        residual = make_residual()
        known = np.zeros(SHAPE, bool)
        known[4:9, 8:14, 8:14] = True
        residual.kelvin[known] = -300
        residual = replace(residual, known=known)
        runner = make_runner(residual, parameters=TrialParameters(background=background))
        assert max(runner.get_one_fit(0, seed)["max_ts"] for seed in range(3)) < 60
        assert runner.fit_data()["max_ts"] > 1000

    def test_noise_has_the_level_of_each_voxel(self):
        residual = make_residual()
        sigma = np.ones(SHAPE, np.float32)
        sigma[8:] = 10
        runner = make_runner(replace(residual, sigma_kelvin=sigma))
        kelvin = np.array([runner.get_one_trial(0, seed).residual.kelvin for seed in range(4)])
        assert kelvin[:, :8].std() == pytest.approx(1, rel=0.1)
        assert kelvin[:, 8:].std() == pytest.approx(10, rel=0.1)

    def test_sign_flip_and_shuffle_keep_what_noise_forgets(self):
        residual = make_residual()
        # Structure wider than the beam, which the model of the noise does not know.
        wave = 30 * np.sin(np.arange(SHAPE[2]) / 4).astype(np.float32)
        residual = replace(residual, kelvin=residual.kelvin + wave)
        rms = {
            name: make_runner(residual, parameters=TrialParameters(background=name))
            .get_one_trial(0, 6300)
            .residual.kelvin.std()
            for name in BACKGROUNDS
        }
        assert rms["noise"] < 8
        assert min(rms["sign-flip"], rms["shuffle"]) > 15

    def test_kelvin_of_a_trial_follow_the_unit_of_the_data(self):
        # The same noise a thousand times as large: the same trial a thousand times as large.
        small = make_runner(make_residual(sigma=0.006), signal=POINT).get_one_fit(1, 6300)
        large = make_runner(make_residual(sigma=6.0), signal=POINT).get_one_fit(1, 6300)
        assert small["ts_prior"] == pytest.approx(large["ts_prior"], rel=1e-4)
        assert_allclose(1000 * small["delta_t"], large["delta_t"], rtol=1e-4)


class TestInjected:
    def test_feature_lies_where_it_was_put_and_is_as_deep(self):
        residual = make_residual()
        kelvin = np.zeros(SHAPE, np.float32)
        wide = Signal(width=6 * u.arcmin, linewidth=4 * u.km / u.s, delta_t=-20 * u.K)
        add_feature(kelvin, (8, 12, 14), wide, -20.0, residual)
        assert kelvin[8, 12, 14] == pytest.approx(kelvin.min(), rel=1e-6)
        # Averaged over the channel, a line of 4.9 channels loses 2 per cent.
        assert kelvin.min() == pytest.approx(-20, rel=0.03)
        assert -1e-3 < kelvin.max() <= 0

    def test_n_sigma_is_that_of_a_scan_with_the_same_template(self):
        residual = make_residual()
        same = SignificanceScan(
            ScanParameters(widths=POINT.width, linewidths=POINT.linewidth, calibrate=False)
        )
        runner = TrialRunner(residual, scan=BANK, signal=POINT)
        (feature,) = runner.get_one_trial(1, 6300).features
        kelvin = np.zeros(SHAPE, np.float32)
        voxel = tuple(int(np.rint(feature[name])) for name in "vyx")
        add_feature(kelvin, voxel, POINT, feature["delta_t"].value, residual)
        scan = same.run(replace(residual, kelvin=kelvin))
        assert scan.signal_to_noise[voxel] == pytest.approx(9, rel=2e-3)

    def test_features_are_found_where_they_are(self, runner):
        strong = runner.with_signal(replace(POINT, n_sigma=20))
        fits = vstack([strong.fit_features(strong.get_one_trial(1, seed)) for seed in range(6300, 6304)])
        assert fits["recovered"].all()
        assert_allclose(fits["true_n_sigma"], 20)
        assert_allclose(fits["delta_t"] / fits["true_delta_t"], 1, atol=0.25)
        assert (fits["separation"] < 0.3 * u.arcmin).all()
        assert (abs(fits["velocity_offset"]) < 0.6 * u.km / u.s).all()

    def test_a_trial_without_features_has_no_fits_of_them(self, runner):
        assert len(runner.fit_features(runner.get_one_trial(0, 6300))) == 0

    def test_hottest_place_tells_how_far_the_nearest_feature_is(self, runner):
        strong = runner.with_signal(replace(POINT, n_sigma=30))
        fit = strong.get_one_fit(1, 6305)
        assert fit["separation"] < 0.3 * u.arcmin
        assert np.isnan(runner.get_one_fit(0, 6305)["separation"])

    @pytest.mark.parametrize("reversed_axis", [False, True])
    def test_given_places_are_kept_on_either_velocity_axis(self, reversed_axis):
        residual = make_residual(reversed_axis=reversed_axis)
        lon, lat = residual.wcs.celestial.wcs_pix2world([[14.3, 11.6]], 0)[0]
        places = SkyCoord(lon, lat, unit="deg", frame="galactic").icrs
        velocity = residual.velocity[5]
        signal = replace(POINT, n_sigma=30, positions=places, velocities=velocity.to(u.m / u.s))
        trial = make_runner(residual, signal=signal).get_one_trial(2, 6300)
        assert_allclose(
            [trial.features[name] for name in "vyx"], [[5, 5], [11.6, 11.6], [14.3, 14.3]], atol=1e-4
        )
        fit = make_runner(residual, signal=signal).fit(trial)
        assert abs(fit["velocity"] - velocity) < 0.4 * u.km / u.s

    def test_places_outside_the_cube_are_refused(self):
        place = SkyCoord(100, 0, unit="deg", frame="galactic")
        signal = replace(POINT, positions=place, velocities=-40 * u.km / u.s)
        with pytest.raises(ParameterError, match="100 0 at -40 km / s is not in the cube"):
            make_runner(signal=signal).get_one_trial(1, 0)

    def test_n_sigma_where_nothing_can_be_fitted_is_refused(self):
        blank = np.zeros(SHAPE, bool)
        blank[:, :, :14] = True
        residual = make_residual(blank=blank)
        lon, lat = residual.wcs.celestial.wcs_pix2world([[3, 11]], 0)[0]
        place = SkyCoord(lon, lat, unit="deg", frame="galactic")
        signal = replace(POINT, positions=place, velocities=residual.velocity[5])
        with pytest.raises(ParameterError, match="too little of it"):
            make_runner(residual, signal=signal).get_one_trial(1, 0)

    def test_features_too_large_for_the_map_are_refused(self):
        signal = Signal(width=30 * u.arcmin, n_sigma=5)
        with pytest.raises(ParameterError, match="no place holds enough of a feature of 30 arcmin"):
            make_runner(signal=signal).get_one_trial(1, 0)


class TestPriorsAndMasks:
    def test_features_are_drawn_from_the_prior(self):
        residual = make_residual()
        runner = make_runner(residual, prior=half_prior(residual, low=0.25), signal=POINT)
        x = np.concatenate([runner.get_one_trial(50, seed).features["x"] for seed in range(6)])
        # 4 to 1; 300 draws are uncertain by 2.3 per cent.
        assert np.mean(x < SHAPE[2] // 2 - 0.5) == pytest.approx(0.8, abs=0.08)

    def test_without_a_prior_they_are_anywhere_within(self):
        within = np.zeros(SHAPE[1:], bool)
        within[8:16] = True
        features = make_runner(within=within, signal=POINT).get_one_trial(200, 6300).features
        assert features["y"].min() >= 7.5
        assert features["y"].max() <= 15.5
        assert np.ptp(features["v"]) > 12

    def test_nothing_is_hottest_where_the_prior_is_zero(self):
        residual = make_residual()
        runner = make_runner(residual, prior=half_prior(residual), signal=None)
        fits = runner.get_many_fits(12, seed=6300)
        assert (fits["x"] < SHAPE[2] // 2).all()
        assert (fits["ts_prior"] <= fits["max_ts"]).all()
        assert (fits["ts_prior"] < fits["max_ts"]).any()

    def test_prior_is_that_of_scan_results(self):
        residual = make_residual()
        prior = half_prior(residual, low=0.01)
        runner = make_runner(residual, prior=prior)
        trial = runner.get_one_trial(0, 6300)
        place = runner.scan(trial).hottest(prior)
        fit = runner.fit(trial)
        assert fit["ts_prior"] == pytest.approx(place.value, rel=1e-5)
        assert tuple(fit[name] for name in "vyx") == place.voxel

    def test_several_priors_are_one_product(self):
        residual = make_residual()
        priors = [half_prior(residual, low=0.1), half_prior(residual, low=0.01)]
        many, one = (make_runner(residual, prior=prior) for prior in (priors, priors[0] * priors[1]))
        assert many.get_one_fit(0, 6300)["ts_prior"] == one.get_one_fit(0, 6300)["ts_prior"]

    def test_within_restricts_the_scan(self):
        within = np.zeros(SHAPE, bool)
        within[2:6, 5:15, 5:15] = True
        runner = make_runner(within=within)
        fits = runner.get_many_fits(6, seed=6300)
        assert within[fits["v"], fits["y"], fits["x"]].all()
        assert np.isnan(runner.scan(runner.get_one_trial()).signal_to_noise[~within]).all()

    def test_nothing_left_is_an_error(self):
        with pytest.raises(InputError, match="nothing is left to scan"):
            make_runner(within=np.zeros(SHAPE, bool)).get_one_fit()
        with pytest.raises(InputError, match="nothing is left to scan"):
            make_runner(make_residual(blank=np.s_[:])).get_one_fit()

    def test_no_room_for_any_template_is_an_error(self):
        bank = SignificanceScan(ScanParameters(widths=30 * u.arcmin, linewidths=2 * u.km / u.s))
        with pytest.raises(InputError, match="no template has enough of itself"):
            TrialRunner(make_residual(), scan=bank).get_one_fit()


class TestManyFits:
    def test_workers_change_nothing(self, runner):
        assert_same(*(runner.get_many_fits(6, n=1, seed=6300, workers=workers) for workers in (1, 2)))

    def test_every_column_has_a_description(self, runner):
        fits = runner.get_many_fits(2, seed=6300)
        assert fits.colnames == list(COLUMNS)
        assert all(fits[name].info.description for name in fits.colnames)
        assert fits["seed"].tolist() == [6300, 6301]
        assert fits.meta["settings"]["parameters"]["background"] == "noise"

    def test_resumed_after_being_ended_between_and_within_files(self, runner, tmp_path, monkeypatch):
        expected = runner.get_many_fits(40, seed=6300)
        fit_seed, done = type(runner)._fit_seed, []

        def ended(self, n, seed):
            if len(done) == 25:
                raise KeyboardInterrupt
            done.append(seed)
            return fit_seed(self, n, seed)

        monkeypatch.setattr(type(runner), "_fit_seed", ended)
        with pytest.raises(KeyboardInterrupt):
            runner.get_many_fits(40, seed=6300, folder=tmp_path)
        assert 0 < len(list(tmp_path.glob("trials_0_*.fits"))) < 4
        done.clear()
        assert_same(runner.get_many_fits(40, seed=6300, folder=tmp_path, resume=True, workers=2), expected)
        assert 0 < len(done) < 40

    def test_damaged_files_are_made_again(self, runner, tmp_path):
        expected = runner.get_many_fits(20, seed=6300, folder=tmp_path)
        first, second = sorted(tmp_path.iterdir())
        os.truncate(first, first.stat().st_size - 3000)
        second.write_bytes(second.read_bytes()[:-2000] + b"x" * 2000)
        (tmp_path / ".trials_0_006288.abcdef.part.fits").touch()
        with pytest.warns(HISAWarning, match="its trials are made again"):
            again = runner.get_many_fits(20, seed=6300, folder=tmp_path, resume=True)
        assert_same(again, expected)
        assert_same(runner.get_many_fits(20, seed=6300, folder=tmp_path, resume=True), expected)
        assert not list(tmp_path.glob(".*"))

    def test_a_run_can_be_made_longer(self, runner, tmp_path, monkeypatch):
        runner.get_many_fits(5, seed=6300, folder=tmp_path)
        expected = runner.get_many_fits(TRIALS_PER_FILE + 5, seed=6298)
        longer = runner.get_many_fits(TRIALS_PER_FILE + 5, seed=6298, folder=tmp_path, resume=True)
        assert_same(longer, expected)

    def test_another_run_in_the_same_folder_is_refused(self, runner, tmp_path):
        runner.get_many_fits(2, seed=6300, folder=tmp_path)
        with pytest.raises(OutputError, match="go on with it"):
            runner.get_many_fits(2, seed=6300, folder=tmp_path)
        flipped = make_runner(parameters=TrialParameters(background="sign-flip"))
        with pytest.raises(ParameterError, match=r"other settings \(parameters\)"):
            flipped.get_many_fits(2, seed=6300, folder=tmp_path, resume=True)
        other = make_runner(make_residual(seed=6301))
        with pytest.raises(ParameterError, match=r"other settings \(residual\)"):
            other.get_many_fits(2, seed=6300, folder=tmp_path, resume=True)
        # Those with features have files of their own.
        assert len(runner.get_many_fits(2, n=1, seed=6300, folder=tmp_path)) == 2

    def test_a_folder_that_cannot_be_made(self, runner, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="cannot write"):
            runner.get_many_fits(1, folder=tmp_path / "file" / "inside")

    def test_files_are_named_by_their_first_seed(self, tmp_path):
        assert trials_path(tmp_path, 1, 35).name == "trials_1_000032.fits"

    @pytest.mark.parametrize("wrong", [{"n_trials": 0}, {"n_trials": 1, "workers": 0}, {"n_trials": 1.5}])
    def test_numbers_are_checked(self, runner, wrong):
        with pytest.raises(ParameterError):
            runner.get_many_fits(**wrong)


class TestSmallCubes:
    @pytest.mark.parametrize("background", BACKGROUNDS)
    @pytest.mark.parametrize("shape", [(40, 1, 1), (1, 1, 1), (1, 20, 20)])
    def test_one_pixel_one_spectrum_one_channel(self, shape, background):
        bank = SignificanceScan(ScanParameters(widths=1 * u.arcmin, min_coverage=0.01))
        runner = TrialRunner(
            make_residual(shape),
            scan=bank,
            signal=Signal(delta_t=-50 * u.K),
            parameters=TrialParameters(background=background),
        )
        fits = runner.get_many_fits(3, n=1, seed=6300)
        assert np.isfinite(fits["ts_prior"]).all()

    def test_of_a_cube(self):
        shape = (24, 40, 40)
        noise = 6 * draw_noise(shape, CGPS, np.random.default_rng(6300))
        cube = HISACube(noise * u.K, model_wcs(ModelParameters(shape=shape)), beam=Beam(1 * u.arcmin))
        runner = TrialRunner(Residual.of(cube, 0 * u.K), scan=BANK)
        data, trial = runner.fit_data(), runner.get_one_fit(0, 6301)
        assert data["seed"] == -1
        assert 5 < data["ts_prior"] < 60
        assert 5 < trial["ts_prior"] < 60
