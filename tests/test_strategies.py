"""Strategies are found by name, and made with what they are given; what goes wrong is said in one line."""

import astropy.units as u
import pytest

from hisatools import ShellParameters, UnabsorbedEstimator, _entry_points
from hisatools.errors import ParameterError
from hisatools.parameters import SpatialParameters
from hisatools.strategies import GROUPS, available, load, make


def entry_points_of(monkeypatch, tmp_path, *pairs):
    """Announce these (name, value) pairs as strategies for T_U, and no others."""
    from importlib import metadata

    folder = tmp_path / "hisa_plugin-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: hisa-plugin\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in pairs]
    (folder / "entry_points.txt").write_text("\n".join(["[hisatools.unabsorbed]", *lines]) + "\n")
    (package,) = metadata.distributions(path=[str(tmp_path)])
    monkeypatch.setattr(
        _entry_points, "entry_points", lambda group: [e for e in package.entry_points if e.group == group]
    )


@pytest.mark.parametrize("group", GROUPS)
def test_every_strategy_says_where_it_comes_from_and_has_parameters(group):
    for name in available(group):
        kind = load(group, name)
        assert len(kind.citation) > 15
        assert kind.Parameters().to_dict() is not None
        assert kind.Parameters._section == name


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ParameterError, match=r"unknown strategy for the noise: 'mess'; known: .*mesh"):
        load("noise", "mess")
    with pytest.raises(ParameterError, match=r"unknown group .*'taste'; known groups: unabsorbed, noise"):
        available("taste")


def test_a_strategy_of_another_package_is_found(monkeypatch, tmp_path):
    entry_points_of(monkeypatch, tmp_path, ("mine", "hisatools.unabsorbed.shell:ShellStrategy"))
    assert list(available("unabsorbed")) == ["mine"]
    assert UnabsorbedEstimator("mine").parameters == ShellParameters()


def test_a_missing_package_is_named_with_what_to_install(monkeypatch, tmp_path):
    entry_points_of(monkeypatch, tmp_path, ("mine", "hisa_absent:Mine [extra]"), ("other", "a:B"))
    with pytest.raises(
        ParameterError, match=r"'mine' needs the package 'hisa_absent'.*hisa-plugin\[extra\].*other"
    ):
        load("unabsorbed", "mine")


def test_fields_of_the_parameters_can_be_given_alone():
    mine = make("unabsorbed", "shell", min_fwhm_angle=2 * u.arcmin)
    assert mine.parameters == ShellParameters(min_fwhm_angle=2 * u.arcmin)
    assert UnabsorbedEstimator("shell", max_fwhm_angle=9 * u.arcmin).parameters.max_fwhm_angle == 9 * u.arcmin


def test_what_a_strategy_does_not_take_is_refused():
    with pytest.raises(
        ParameterError, match=r"'shell' does not take tracer; it has the parameters min_fwhm_angle"
    ):
        UnabsorbedEstimator("shell", tracer=3)
    with pytest.raises(
        ParameterError, match="parameters of 'shell' must be ShellParameters, got SpatialParameters"
    ):
        UnabsorbedEstimator("shell", SpatialParameters())
    with pytest.raises(ParameterError, match="min_fwhm_angle cannot be given beside parameters"):
        UnabsorbedEstimator("shell", ShellParameters(), min_fwhm_angle=2 * u.arcmin)
    with pytest.raises(u.UnitsError, match=r"min_fwhm_angle needs a unit of arcmin, got 3\.0 K"):
        UnabsorbedEstimator("shell", min_fwhm_angle=3 * u.K)
