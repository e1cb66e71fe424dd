import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from radio_beam import Beam
from spectral_cube import SpectralCube

from hisatools.cube import HISACube
from hisatools.errors import InputError, MendWarning, ParameterError, ParameterUnitsError

KMS = u.km / u.s
HI = 1.42040575177e9
SHAPE = (6, 4, 5)


def galactic_wcs(**changes):
    cards = {
        "CTYPE1": "GLON-CAR", "CRVAL1": 30.0, "CRPIX1": 1.0, "CDELT1": -0.005, "CUNIT1": "deg",
        "CTYPE2": "GLAT-CAR", "CRVAL2": 0.0, "CRPIX2": 1.0, "CDELT2": 0.005, "CUNIT2": "deg",
        "CTYPE3": "VRAD", "CRVAL3": 10000.0, "CRPIX3": 1.0, "CDELT3": -824.46, "CUNIT3": "m/s",
        "RESTFRQ": HI, "SPECSYS": "LSRK", **changes,
    }  # fmt: skip
    return WCS(fits.Header(cards))


@pytest.fixture
def kelvin():
    return np.random.default_rng(3).normal(50, 6, SHAPE).astype(np.float32)


@pytest.fixture
def cube(kelvin):
    return HISACube(kelvin * u.K, galactic_wcs(), beam=Beam(1 * u.arcmin), meta={"object": "test field"})


# The constructor --------------------------------------------------------------------------


def test_cube_knows_its_axes_and_scales(cube, kelvin):
    assert cube.shape == SHAPE and not cube.is_spectrum
    assert_array_equal(cube.kelvin, kelvin)
    assert cube.data.unit == u.K and np.shares_memory(cube.data, cube.kelvin)
    assert_allclose(cube.velocity.to_value(KMS), 10 - 0.82446 * np.arange(6))
    assert cube.velocity.unit == KMS and cube.channel_width.unit == KMS
    assert_allclose(cube.channel_width.value, 0.82446)
    assert cube.pixel_scale.unit == u.arcmin and cube.pixel_scale.isscalar
    assert_allclose(cube.pixel_scale.value, 0.3, rtol=1e-6)
    assert cube.mends == ()
    assert repr(cube) == "<HISACube 6 channels x 4 x 5 pixels, 10.0 to 5.9 km/s in steps of 0.8245 km/s>"


def test_contiguous_float32_in_kelvin_is_not_copied(kelvin):
    assert np.shares_memory(HISACube(kelvin << u.K, galactic_wcs()).kelvin, kelvin)


def test_data_of_the_caller_are_not_changed(kelvin):
    before = kelvin.copy()
    cube = HISACube(kelvin << u.mK, galactic_wcs())
    assert_allclose(cube.kelvin, before / 1000, rtol=1e-6)
    assert_array_equal(kelvin, before)


@pytest.mark.parametrize(
    "arrange", [lambda x: x.astype(">f8"), np.asfortranarray, lambda x: np.repeat(x, 2, axis=2)[..., ::2]]
)
def test_brightness_is_always_native_contiguous_float32(kelvin, arrange):
    cube = HISACube(arrange(kelvin) * u.K, galactic_wcs())
    assert cube.kelvin.dtype == np.dtype("float32") and cube.kelvin.dtype.isnative
    assert cube.kelvin.flags["C_CONTIGUOUS"]
    assert_array_equal(cube.kelvin, kelvin)


def test_clean_wcs_keeps_its_numbers_to_the_bit(kelvin):
    wcs = galactic_wcs(CRVAL3=10000 / 3, CDELT3=-824.46002 / 7, CRPIX1=-1 / 3)
    cube = HISACube(kelvin * u.K, wcs)
    assert cube.wcs.wcs.crval[2] == 10000 / 3 and cube.wcs.wcs.cdelt[2] == -824.46002 / 7
    assert cube.wcs.wcs.crpix[0] == -1 / 3
    assert cube.wcs is not wcs and cube.wcs.pixel_shape == SHAPE[::-1]


def test_frequency_wcs_is_mended(kelvin):
    step = 824.46 * HI / 299792458
    wcs = galactic_wcs(CTYPE3="FREQ", CUNIT3="Hz", CRVAL3=HI, CDELT3=step)
    cube = HISACube(kelvin * u.K, wcs)
    assert_allclose(cube.velocity.value, -0.82446 * np.arange(6), atol=1e-6)
    assert list(cube.wcs.wcs.ctype) == ["GLON-CAR", "GLAT-CAR", "VRAD"]


def test_mended_wcs_is_recorded_and_said_once(kelvin):
    with pytest.warns(MendWarning, match="the cube: CAR projection with CRVAL2 = 3 deg") as caught:
        cube = HISACube(kelvin * u.K, galactic_wcs(CRVAL2=3.0))
    assert len(caught) == len(cube.mends) == 1
    again = HISACube(cube.data, cube.wcs, meta=cube.meta)  # mended once, never again
    assert again.mends == cube.mends
    assert_allclose(again.wcs.celestial.pixel_to_world_values(0, 0), (30, 3))


def test_stokes_axis_of_the_wcs_is_dropped(kelvin):
    wcs = galactic_wcs(CTYPE4="STOKES", CRVAL4=1.0, CRPIX4=1.0, CDELT4=1.0)
    assert HISACube(kelvin * u.K, wcs).wcs.naxis == 3


def test_flux_per_beam_needs_the_beam(kelvin):
    cube = HISACube(kelvin * u.Jy / u.beam, galactic_wcs(), beam=Beam(1 * u.arcmin))
    assert_allclose(cube.kelvin / kelvin, Beam(1 * u.arcmin).jtok(HI * u.Hz).value, rtol=1e-4)
    with pytest.raises(InputError, match=r"the cube: .* no beam is known; pass beam="):
        HISACube(kelvin * u.Jy / u.beam, galactic_wcs())


def test_weights_are_kept_as_floats(kelvin):
    cube = HISACube(kelvin * u.K, galactic_wcs(), weights=np.ones((4, 5), int))
    assert cube.weights.dtype == float and cube.weights.shape == (4, 5)
    with pytest.raises(InputError, match=r"weights of shape \(5, 4\) do not fit maps of shape \(4, 5\)"):
        HISACube(kelvin * u.K, galactic_wcs(), weights=np.ones((5, 4)))
    with pytest.raises(InputError, match="weights must be 0 or above"):
        HISACube(kelvin * u.K, galactic_wcs(), weights=-np.ones((4, 5)))


def test_arguments_of_the_wrong_kind_say_what_to_type(kelvin):
    with pytest.raises(
        ParameterUnitsError, match=r"data needs a unit of K, got ndarray; write for example data \* u.K"
    ):
        HISACube(kelvin, galactic_wcs())
    with pytest.raises(ParameterError, match=r"wcs must be an astropy.wcs.WCS, got Header"):
        HISACube(kelvin * u.K, galactic_wcs().to_header())
    with pytest.raises(ParameterError, match=r"beam must be a radio_beam.Beam, got 1.0"):
        HISACube(kelvin * u.K, galactic_wcs(), beam=1.0)
    with pytest.raises(InputError, match="unit 'km / s' is no brightness unit"):
        HISACube(kelvin * KMS, galactic_wcs())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[0], "the cube: the data have 2 axes; velocity, latitude and longitude are needed"),
        (lambda x: x[:2], "the cube: 2 channels; the search needs 3 or more"),
        (lambda x: x * np.nan, "the cube: all voxels are blank"),
        (lambda x: x * 0 + 7, r"the cube: all voxels have the same value \(7 K\)"),
        (
            lambda x: np.where(x == x[1, 2, 3], np.inf, x),
            r"1 infinite voxel, the first at array index \[1, 2, 3\]",
        ),
    ],
)
def test_data_without_a_signal_are_refused(kelvin, change, message):
    with pytest.raises(InputError, match=message):
        HISACube(change(kelvin) * u.K, galactic_wcs())


def test_input_is_named_by_its_path(kelvin):
    with pytest.raises(InputError, match=r"^field.fits: 2 channels"):
        HISACube(kelvin[:2] * u.K, galactic_wcs(), meta={"path": "field.fits"})


def test_other_order_of_wcs_axes_is_refused(kelvin):
    with pytest.raises(InputError, match="the WCS axes are not longitude, latitude, velocity in this order"):
        HISACube(kelvin.transpose(2, 1, 0) * u.K, galactic_wcs().sub([3, 2, 1]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"CROTA2": 30.0}, "rotated by 30.0 deg"),
        ({"CDELT2": 0.01}, "not square"),
        ({"CTYPE1": "X", "CTYPE2": "Y"}, "no pair of celestial axes"),
        ({"CTYPE3": "FREQ", "CUNIT3": "Hz", "RESTFRQ": 0.0}, "no rest frequency; add RESTFRQ"),
    ],
)
def test_unusable_wcs_is_refused(kelvin, changes, message):
    with pytest.raises(InputError, match=f"the cube: .*{message}"):
        HISACube(kelvin * u.K, galactic_wcs(**changes))


# Derived things ---------------------------------------------------------------------------


def test_header_brings_wcs_beam_and_object_back(cube, tmp_path):
    fits.PrimaryHDU(cube.kelvin, cube.header).writeto(tmp_path / "cube.fits")
    again = HISACube.read(tmp_path / "cube.fits", unit="K")
    assert again.mends == () and again.meta["object"] == "test field"
    assert again.beam == cube.beam
    assert_array_equal(again.kelvin, cube.kelvin)
    assert_allclose(again.velocity, cube.velocity)
    pixels = np.array([[0.0, 0, 0], [4, 3, 5]])
    assert_allclose(again.wcs.wcs_pix2world(pixels, 0), cube.wcs.wcs_pix2world(pixels, 0), rtol=1e-12)


def test_with_brightness_changes_nothing_else(cube):
    other = cube.with_brightness(2 * cube.data)
    assert_array_equal(other.kelvin, 2 * cube.kelvin)
    assert other.wcs is cube.wcs and other.beam is cube.beam and other.meta == cube.meta
    other.meta["object"] = "another"
    assert cube.meta["object"] == "test field"
    assert_array_equal(cube.with_brightness(cube.kelvin.astype("f8")).kelvin, cube.kelvin)
    with pytest.raises(
        InputError, match=r"brightness of shape \(5, 4, 5\) does not fit the cube's shape \(6, 4, 5\)"
    ):
        cube.with_brightness(cube.kelvin[1:])


# Spectral cubes ---------------------------------------------------------------------------


def test_spectral_cube_is_taken_over_with_its_mask(kelvin):
    stock = SpectralCube(kelvin * u.K, galactic_wcs(), beam=Beam(1 * u.arcmin), meta={"OBJECT": "M 31"})
    stock = stock.with_mask(kelvin > 45)
    cube = HISACube.from_spectral_cube(stock)
    assert_array_equal(cube.kelvin, np.where(kelvin > 45, kelvin, np.nan))
    assert_allclose(cube.velocity, stock.spectral_axis.to(KMS))
    assert cube.beam == Beam(1 * u.arcmin) and cube.meta["object"] == "M 31" and cube.mends == ()


def test_spectral_cube_in_flux_per_beam_becomes_kelvin(kelvin):
    stock = SpectralCube(kelvin * u.Jy / u.beam, galactic_wcs(), beam=Beam(1 * u.arcmin))
    cube = HISACube.from_spectral_cube(stock)
    assert_allclose(cube.kelvin, stock.to(u.K).filled_data[:].value, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:'.*fix' made the change:astropy.wcs.FITSFixedWarning")
def test_spectral_cube_with_a_beam_for_each_channel(shared_data):
    path = shared_data / "cubes" / "alma_perplanebeam.fits"
    stock = SpectralCube.read(path)
    with pytest.warns(MendWarning, match="each channel has its own beam: the largest stands for the cube"):
        cube = HISACube.from_spectral_cube(stock)
    with pytest.warns(MendWarning, match="BEAMS table"):
        read = HISACube.read(path)
    assert_allclose(cube.kelvin, read.kelvin, rtol=1e-6)
    assert_allclose(cube.velocity.value, read.velocity.value, rtol=1e-9)
    assert cube.beam == read.beam


def test_spectral_cube_without_unit_is_in_kelvin(kelvin):
    stock = SpectralCube(kelvin, galactic_wcs())
    with pytest.warns(
        MendWarning, match="the spectral cube: BUNIT is absent: brightness temperature in K assumed"
    ):
        cube = HISACube.from_spectral_cube(stock)
    assert cube.beam is None
    assert_array_equal(cube.kelvin, kelvin)


# Single spectra ---------------------------------------------------------------------------


@given(
    start=st.floats(-300, 300),
    step=st.floats(0.05, 5).flatmap(lambda x: st.sampled_from([x, -x])),
    n_channels=st.integers(3, 50),
)
def test_spectrum_keeps_its_velocities_either_way(start, step, n_channels):
    velocity = (start + step * np.arange(n_channels)) * KMS
    temperature = np.arange(n_channels) * u.K
    cube = HISACube.from_spectrum(temperature, velocity)
    assert cube.is_spectrum and cube.shape == (n_channels, 1, 1)
    assert_allclose(cube.velocity.value, velocity.value, atol=1e-6)
    assert_array_equal(cube.kelvin[:, 0, 0], np.arange(n_channels))


def test_spectrum_takes_other_units_beam_and_position():
    where = SkyCoord(10, -3, unit="deg", frame="galactic")
    velocity = np.arange(4) * 1000 * u.m / u.s
    cube = HISACube.from_spectrum(
        [1000, np.nan, 3, 4] * u.mK, velocity, beam=Beam(0.6 * u.deg), position=where.icrs
    )
    assert_allclose(cube.kelvin[:, 0, 0], [1, np.nan, 0.003, 0.004])
    assert_allclose(cube.velocity.to_value(KMS), np.arange(4))
    assert_allclose(cube.wcs.celestial.pixel_to_world_values(0, 0), (10, -3))
    assert cube.beam == Beam(0.6 * u.deg)


@pytest.mark.parametrize(
    ("temperature", "velocity", "error", "message"),
    [
        (np.ones(5), np.arange(5) * KMS, ParameterUnitsError, r"temperature needs a unit of K, got none"),
        (np.ones(5) * u.K, np.arange(5), ParameterUnitsError, r"velocity needs a unit of km / s"),
        (
            np.ones(5) * u.K,
            np.arange(5) * u.Hz,
            ParameterUnitsError,
            "velocity needs a unit of km / s, got Hz",
        ),
        (
            np.ones(5) * u.K,
            np.arange(6) * KMS,
            InputError,
            r"temperature of shape \(5,\) and velocity of shape \(6,\)",
        ),
        (np.ones((5, 1)) * u.K, np.ones((5, 1)) * KMS, InputError, "both must be 1-D and of one length"),
        (np.arange(2) * u.K, np.arange(2) * KMS, InputError, "the spectrum: 2 channels; the search needs 3"),
        (
            np.arange(5) * u.K,
            np.arange(5) ** 2 * KMS,
            InputError,
            "velocities are not evenly spaced; resample",
        ),
        (np.arange(5) * u.K, np.zeros(5) * KMS, InputError, "velocities are not evenly spaced"),
        (np.arange(3) * u.K, [0, np.nan, 2] * KMS, InputError, "velocities are not evenly spaced"),
        (np.ones(5) * u.K, np.arange(5) * KMS, InputError, "all voxels have the same value"),
    ],
)
def test_unusable_spectrum_is_refused(temperature, velocity, error, message):
    with pytest.raises(error, match=message):
        HISACube.from_spectrum(temperature, velocity)


def test_position_must_be_a_sky_coordinate():
    with pytest.raises(ParameterError, match=r"position must be an astropy SkyCoord, got \(10, 0\); write"):
        HISACube.from_spectrum(np.arange(4) * u.K, np.arange(4) * KMS, position=(10, 0))


def test_real_spectra_are_even_enough(shared_data):
    profiles = Table.read(shared_data / "spectra" / "lab_b0_profiles.csv", comment="#")
    lab = HISACube.from_spectrum(profiles["T_l5_K"].data * u.K, profiles["v_lsr_kms"].data * KMS)
    assert_allclose(lab.kelvin[300, 0, 0], 131, atol=1)
    assert lab.channel_width == 1 * KMS
    for path in sorted((shared_data / "spectra" / "gnomes").glob("*.fits")):
        rows = Table.read(path)
        cube = HISACube.from_spectrum(rows["TB"].data * u.K, rows["vlsr_TB"].data * KMS)
        assert_allclose(cube.channel_width.value, 0.161, rtol=1e-3)
