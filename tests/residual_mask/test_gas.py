"""N(HI) of a velocity range."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hisatools import HISACube
from hisatools.errors import HISAWarning, InputError, ParameterError, ParameterUnitsError
from hisatools.residual_mask import COLUMN_UNIT, gas_column
from hisatools.residual_mask.simulated import DustModelParameters, simulate_dust

KMS = u.km / u.s


def small_cube(step=1.0):
    velocity = np.arange(6.0) * KMS
    velocity = velocity if step > 0 else velocity[::-1]
    rng = np.random.default_rng(6200)
    spectra = rng.uniform(10, 90, 6) * u.K
    return HISACube.from_spectrum(spectra if step > 0 else spectra[::-1], velocity), spectra


def test_whole_channels_sum_to_the_textbook_column():
    cube, spectra = small_cube()
    column = gas_column(cube, [0.5, 3.5] * KMS)
    assert column.unit == COLUMN_UNIT
    expected = 1.823e18 * spectra[1:4].value.sum()
    assert_allclose(column.to_value(u.cm**-2), [[expected]], rtol=1e-6)


def test_column_is_continuous_in_the_range_and_linear_within_a_channel():
    cube, _ = small_cube()
    ends = np.linspace(2.5, 3.5, 11)
    columns = [gas_column(cube, [0.5, end] * KMS).value[0, 0] for end in ends]
    assert_allclose(np.diff(columns, 2), 0, atol=1e-12)
    assert np.all(np.diff(columns) > 0)


def test_reversed_axis_range_and_unit_change_nothing():
    cube, _ = small_cube()
    flipped, _ = small_cube(-1)
    column = gas_column(cube, [0.3, 4.1] * KMS)
    assert_allclose(gas_column(flipped, [0.3, 4.1] * KMS).value, column.value, rtol=1e-12)
    assert_allclose(gas_column(cube, [4.1, 0.3] * KMS).value, column.value)
    assert_allclose(gas_column(cube, [300, 4100] * u.m / u.s).value, column.value)


def test_blank_channels_blank_the_pixel_only_within_the_range():
    model = simulate_dust(
        DustModelParameters(shape=(8, 9), extra_share=0), seed=6200, velocity_width=6 * KMS, n_channels=20
    )
    kelvin = model.cube.kelvin.copy()
    kelvin[10, 3, 4] = np.nan
    cube = model.cube.with_brightness(kelvin)
    assert_array_equal(np.argwhere(np.isnan(gas_column(cube, [-3, 3] * KMS).value)), [[3, 4]])
    assert np.isfinite(gas_column(cube, [-9, -3] * KMS).value).all()


def test_ranges_outside_or_beyond_the_band_are_said():
    cube, _ = small_cube()
    with pytest.raises(InputError, match=r"outside the band, -0\.5 to 5\.5"):
        gas_column(cube, [20, 30] * KMS)
    with pytest.warns(HISAWarning, match="reaches beyond the band"):
        gas_column(cube, [2, 30] * KMS)
    with pytest.raises(ParameterUnitsError, match=r"write for example velocity_range=\[-20"):
        gas_column(cube, [2, 3])
    with pytest.raises(ParameterError, match="two different velocities"):
        gas_column(cube, [2, 2] * KMS)
    with pytest.raises(ParameterError, match="HISACube or a HISAResult"):
        gas_column("cube.fits", [2, 3] * KMS)
