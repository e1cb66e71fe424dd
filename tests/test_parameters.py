"""Parameters are checked when made, and say what to type instead."""

import dataclasses
import json

import astropy.units as u
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hisatools.errors import HISAError, ParameterError, ParameterUnitsError
from hisatools.parameters import (
    ExtractionParameters,
    ShellParameters,
    SpatialParameters,
    SpectralParameters,
    check_number,
    check_quantity,
    preset_names,
)

KMS = u.km / u.s
ALL = [ExtractionParameters, ShellParameters, SpatialParameters, SpectralParameters]
FIELDS = [(kind, item) for kind in ALL for item in dataclasses.fields(kind)]


def ids(value):
    return value.__name__ if isinstance(value, type) else value.name


QUANTITIES = pytest.mark.parametrize(
    ("kind", "item"), [pair for pair in FIELDS if isinstance(pair[1].default, u.Quantity)], ids=ids
)
NUMBERS = pytest.mark.parametrize(
    ("kind", "item"), [pair for pair in FIELDS if not isinstance(pair[1].default, u.Quantity)], ids=ids
)
EVERY_FIELD = pytest.mark.parametrize(("kind", "item"), FIELDS, ids=ids)
EVERY_KIND = pytest.mark.parametrize("kind", ALL, ids=ids)


# The paper's numbers


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            SpectralParameters,
            {
                "clean_fwhm": 8 * KMS,
                "clean_gain": 0.25,
                "clean_clip": 0.8,
                "stop_fraction": 0.03,
                "max_iterations": 1000,
                "threshold": 2,
                "critical_brightness": 30 * u.K,
                "narrow_fwhm": 2 * KMS,
                "broad_fwhm": 4 * KMS,
                "fit_significance": 2,
                "dip_threshold": 0.6,
                "smoothing_box": 2.1 * u.arcmin,
                "join_fwhm": 1.5 * u.arcmin,
                "cull_amplitude": 2 * u.K,
                "continuum_veto": 6,
            },
        ),
        (
            SpatialParameters,
            {
                "smoothing_box": 4.5 * u.arcmin,
                "noise_scale": 20 * u.arcmin,
                "clean_fwhm": 20 * u.arcmin,
                "clean_gain": 0.25,
                "clean_clip": 0.5,
                "peak_rank": 10,
                "stop_fraction": 0.03,
                "min_amplitude": 4 * u.K,
                "critical_brightness": 30 * u.K,
                "cull_amplitude": 2 * u.K,
            },
        ),
        (
            ShellParameters,
            {
                "min_fwhm_angle": 1.2 * u.arcmin,
                "max_fwhm_angle": 20 * u.arcmin,
                "min_fwhm_velocity": 3.3 * KMS,
                "max_fwhm_velocity": 8 * KMS,
            },
        ),
        (ExtractionParameters, {"critical_brightness": 70 * u.K, "min_weight": 0.382}),
    ],
    ids=["spectral", "spatial", "shell", "extraction"],
)
def test_defaults_and_the_cgps_preset_are_the_numbers_of_the_paper(kind, expected):
    for parameters in (kind(), kind.preset("cgps")):
        assert {name: getattr(parameters, name) for name in expected} == expected


# Quantities


@QUANTITIES
def test_quantity_without_unit_says_what_to_write(kind, item):
    message = rf"^{item.name} needs a unit of .*, got 3; write for example {item.name}=2 \* u\.Unit"
    with pytest.raises(ParameterUnitsError, match=message):
        kind(**{item.name: 3})


@QUANTITIES
def test_quantity_of_another_unit_is_refused(kind, item):
    with pytest.raises(ParameterUnitsError, match=rf"^{item.name} needs a unit of .*, got 2\.0 kg"):
        kind(**{item.name: 2 * u.kg})


@QUANTITIES
@pytest.mark.parametrize("value", [-1, np.nan, np.inf, -np.inf])
def test_quantity_that_is_negative_or_not_finite_is_refused(kind, item, value):
    with pytest.raises(ParameterError, match=rf"^{item.name} must be finite and (above|at least) 0"):
        kind(**{item.name: value * item.default.unit})


@QUANTITIES
def test_array_is_refused(kind, item):
    with pytest.raises(
        ParameterError, match=rf"^{item.name} must be one value, got an array of shape \(2,\)"
    ):
        kind(**{item.name: [1, 2] * item.default.unit})


@QUANTITIES
def test_text_is_not_a_quantity(kind, item):
    with pytest.raises(ParameterUnitsError, match=rf"^{item.name} needs a unit of .*, got '2 K'"):
        kind(**{item.name: "2 K"})


@QUANTITIES
def test_quantity_is_kept_in_the_unit_of_the_field(kind, item):
    in_thousandths = item.default.to(u.Unit(item.default.unit / 1000))
    assert in_thousandths.value == pytest.approx(1000 * item.default.value)
    kept = getattr(kind(**{item.name: in_thousandths}), item.name)
    assert kept.unit == item.default.unit
    assert kept.value == pytest.approx(item.default.value)


def test_units_error_is_one_of_astropy_too():
    with pytest.raises(u.UnitsError) as error:
        SpectralParameters(clean_fwhm=8 * u.arcmin)
    assert isinstance(error.value, HISAError)
    assert isinstance(error.value, ValueError)


# Numbers


@NUMBERS
@pytest.mark.parametrize("value", [True, None, "2", 2 * u.one, 1 + 2j, np.array([1.0, 2.0])])
def test_what_is_no_plain_number_is_refused(kind, item, value):
    with pytest.raises(ParameterError, match=rf"^{item.name} must be a (plain|whole) number"):
        kind(**{item.name: value})


@NUMBERS
@pytest.mark.parametrize("value", [-1, np.nan, np.inf])
def test_number_that_is_negative_or_not_finite_is_refused(kind, item, value):
    with pytest.raises(
        ParameterError, match=rf"^{item.name} must be (finite and (above|at least) 0|a whole)"
    ):
        kind(**{item.name: value})


@pytest.mark.parametrize("name", ["clean_gain", "clean_clip", "stop_fraction"])
@pytest.mark.parametrize("kind", [SpectralParameters, SpatialParameters], ids=ids)
def test_fraction_above_one_is_refused(kind, name):
    assert getattr(kind(**{name: 1}), name) == 1
    with pytest.raises(ParameterError, match=rf"^{name} must be at most 1, got 1\.01$"):
        kind(**{name: 1.01})


@pytest.mark.parametrize(
    ("kind", "name"), [(SpectralParameters, "max_iterations"), (SpatialParameters, "peak_rank")]
)
def test_counts_are_whole_and_at_least_one(kind, name):
    with pytest.raises(ParameterError, match=rf"^{name} must be a whole number, got 2\.0$"):
        kind(**{name: 2.0})
    with pytest.raises(ParameterError, match=rf"^{name} must be finite and above 0, got 0$"):
        kind(**{name: 0})
    assert getattr(kind(**{name: 1}), name) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("threshold", np.float32(2.5)), ("threshold", np.int64(3)), ("max_iterations", np.int64(7))],
)
def test_numbers_of_numpy_become_plain_and_fit_into_json(name, value):
    parameters = SpectralParameters(**{name: value})
    assert getattr(parameters, name) == value
    assert json.loads(json.dumps(parameters.to_dict()))[name] == value


@EVERY_FIELD
def test_zero_is_allowed_only_where_it_means_something(kind, item):
    zero = 0 * item.default
    if item.metadata["inclusive"]:
        assert getattr(kind(**{item.name: zero}), item.name) == zero
    else:
        with pytest.raises(ParameterError, match=rf"^{item.name} must be finite and above 0"):
            kind(**{item.name: zero})


# Limits of each other


@pytest.mark.parametrize(
    ("of", "low", "high"), [("angle", 5 * u.arcmin, 4 * u.arcmin), ("velocity", 8 * KMS, 4 * KMS)]
)
def test_lower_limit_above_the_upper_is_refused(of, low, high):
    with pytest.raises(ParameterError, match=rf"^min_fwhm_{of} \(.*\) must not exceed max_fwhm_{of} \("):
        ShellParameters(**{f"min_fwhm_{of}": low, f"max_fwhm_{of}": high})


def test_narrow_line_wider_than_the_broad_is_refused():
    with pytest.raises(
        ParameterError, match=r"^narrow_fwhm \(5\.0 km / s\) must not exceed broad_fwhm \(4\.0 "
    ):
        SpectralParameters(narrow_fwhm=5 * KMS)


def test_equal_limits_are_allowed_in_any_unit():
    shell = ShellParameters(min_fwhm_angle=5 * u.arcmin, max_fwhm_angle=300 * u.arcsec)
    assert shell.min_fwhm_angle == shell.max_fwhm_angle


# Data that stays as it was made


@EVERY_FIELD
def test_no_field_can_be_set_later(kind, item):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(kind(), item.name, item.default)


@EVERY_KIND
def test_fields_are_given_by_name(kind):
    with pytest.raises(TypeError, match="positional"):
        kind(2 * u.arcmin)
    with pytest.raises(TypeError, match="clean_fhwm"):
        kind(clean_fhwm=2 * u.arcmin)


@EVERY_KIND
def test_equal_values_in_other_units_are_equal(kind):
    name, default = next(
        (i.name, i.default) for i in dataclasses.fields(kind) if isinstance(i.default, u.Quantity)
    )
    assert kind(**{name: default.to(default.unit / 2)}) == kind()
    assert kind(**{name: 2 * default}) != kind()


# Presets


def test_unknown_preset_lists_those_known():
    with pytest.raises(ParameterError, match=r"^unknown preset 'vgps'; known presets: cgps"):
        SpectralParameters.preset("vgps")


@EVERY_KIND
def test_every_preset_makes_every_set(kind):
    assert preset_names() == sorted(preset_names())
    assert all(isinstance(kind.preset(name), kind) for name in preset_names())


def test_preset_is_changed_by_keyword_and_checked():
    assert SpectralParameters.preset("cgps", threshold=3.5) == SpectralParameters(threshold=3.5)
    with pytest.raises(ParameterError, match=r"^threshold must be finite and above 0, got -1$"):
        SpectralParameters.preset("cgps", threshold=-1)


# Provenance


@EVERY_KIND
def test_parameters_become_json_and_come_back(kind):
    written = json.loads(json.dumps(kind().to_dict()))
    assert list(written) == [item.name for item in dataclasses.fields(kind)]
    values = {name: u.Quantity(value) if isinstance(value, str) else value for name, value in written.items()}
    assert kind(**values) == kind()


# The checks by themselves


@settings(derandomize=True)
@given(value=st.floats(), above=st.floats(-5, 5), inclusive=st.booleans())
def test_quantity_passes_exactly_if_it_is_finite_and_within_its_limit(value, above, inclusive):
    fine = np.isfinite(value) and (value >= above if inclusive else value > above)
    if fine:
        assert check_quantity("x", value * u.K, u.K, above=above, inclusive=inclusive).value == value
    else:
        with pytest.raises(ParameterError, match=r"^x must be finite and"):
            check_quantity("x", value * u.K, u.K, above=above, inclusive=inclusive)


@settings(derandomize=True)
@given(value=st.floats(), at_most=st.floats(0.5, 5))
def test_number_passes_exactly_if_it_is_within_both_limits(value, at_most):
    if 0 < value <= at_most:
        assert check_number("x", value, at_most=at_most) == value
    else:
        with pytest.raises(ParameterError, match=r"^x must be "):
            check_number("x", value, at_most=at_most)
