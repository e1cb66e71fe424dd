"""The mask of the features opens in spectral-cube, on the right axes, and masks what it should."""

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal
from spectral_cube import SpectralCube

from hisatools import HISAResult
from hisatools.datasets import example_result
from hisatools.errors import OutputError
from hisatools.feature_mask import write_feature_mask


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_feature_mask(example_result(), tmp_path_factory.mktemp("mask") / "feature_mask.fits")


def test_spectral_cube_opens_it_with_axes_and_unit(path):
    mask, result = SpectralCube.read(path), example_result()
    assert mask.unit == u.one and mask.shape == result.flags.shape
    assert_allclose(mask.spectral_axis.to_value(u.km / u.s), result.velocity.value)
    own, theirs = (wcs.celestial.wcs_pix2world([[0, 0], [207, 100]], 0) for wcs in (result.wcs, mask.wcs))
    assert_allclose(theirs, own, atol=1e-9)
    assert mask.wcs.wcs.specsys == "LSRK" and mask.beam == result.beam
    assert_array_equal(mask.unmasked_data[:].value, result.labels > 0)


def test_it_masks_the_brightness(path):
    result = example_result()
    cube = result.spectral_cube("delta_t")
    masked = cube.with_mask(SpectralCube.read(path) == 1 * u.one)
    assert_array_equal(masked.mask.include(), result.mask)
    total = np.nansum(masked.filled_data[:].to_value(u.K), dtype=float)
    assert_allclose(total, result.voxel_delta_t_kelvin.sum(dtype=float), rtol=1e-5)


def test_it_masks_a_cube_that_is_read_from_a_file(path, tmp_path):
    result = example_result()
    out = result.write(tmp_path / "out")
    cube = SpectralCube.read(out / "t_unabsorbed.fits")
    masked = cube.with_mask(SpectralCube.read(path) > 0 * u.one)
    values = masked.filled_data[:].to_value(u.K)
    assert_array_equal(values[np.isfinite(values)], result.unabsorbed_kelvin)


def test_the_files_of_the_result_itself_mask_as_well(tmp_path):
    """What the page about results says of mask.fits and labels.fits."""
    result = example_result()
    out = result.write(tmp_path / "out")
    cube = result.spectral_cube("t_on")
    accepted = cube.with_mask(SpectralCube.read(out / "mask.fits") >= 4 * u.one)
    assert_array_equal(accepted.mask.include(), result.mask)
    one = cube.with_mask(SpectralCube.read(out / "labels.fits") == 2 * u.one)
    assert_array_equal(one.mask.include(), result.labels == 2)


def test_the_header_has_what_viewers_need(path):
    header = fits.getheader(path)
    assert header["BITPIX"] == 8 and "BZERO" not in header and "BLANK" not in header
    assert header["BUNIT"] == "" and header["CTYPE3"] == "VRAD" and header["CUNIT3"] == "m s-1"
    assert header["SPECSYS"] == "LSRK" and header["RESTFRQ"] > 1.42e9 and header["BMAJ"] > 0
    assert WCS(header).naxis == 3
    with fits.open(path) as hdus:
        assert set(np.unique(hdus[0].data)) == {0, 1}
        hdus.verify("exception")


def test_an_older_file_is_replaced_only_on_demand(path):
    with pytest.raises(OutputError, match="exists"):
        write_feature_mask(example_result(), path)
    write_feature_mask(example_result(), path, overwrite=True)


def test_no_features_are_a_mask_of_zeros(tmp_path):
    result = example_result()
    empty = HISAResult(
        t_on=result.t_on,
        unabsorbed_kelvin=np.zeros(0, np.float32),
        flags=np.zeros_like(result.flags),
        labels=np.zeros_like(result.labels),
        first_pass=np.zeros_like(result.first_pass),
        catalog=result.catalog[:0],
        wcs=result.wcs,
    )
    assert not fits.getdata(write_feature_mask(empty, tmp_path / "none.fits")).any()
