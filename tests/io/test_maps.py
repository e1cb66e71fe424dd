"""Maps come onto the grid of another."""

import astropy.units as u
import numpy as np
import pytest

from hisatools.errors import InputError
from hisatools.io.maps import SkyMap, onto_grid
from hisatools.residual_mask.simulated import map_wcs


def ecliptic(wcs):
    """The same numbers, as ecliptic coordinates."""
    other = wcs.deepcopy()
    other.wcs.ctype = [name.replace("GLON", "ELON").replace("GLAT", "ELAT") for name in wcs.wcs.ctype]
    other.wcs.set()
    return other


def test_an_ecliptic_map_is_no_map_of_the_same_numbers_in_another_frame():
    """astropy takes ELON for ICRS; such a map would be 23 deg off."""
    galactic = map_wcs((20, 20))
    equatorial = galactic.deepcopy()
    equatorial.wcs.ctype = [
        name.replace("GLON", "RA--").replace("GLAT", "DEC-") for name in galactic.wcs.ctype
    ]
    equatorial.wcs.set()
    source = SkyMap(np.ones((20, 20)) * u.mag, ecliptic(galactic), "dust")
    for wcs in (galactic, equatorial):
        with pytest.raises(InputError, match=r"dust: .*ecliptic.*give the map on the grid"):
            onto_grid(source, wcs, (20, 20))


def test_ecliptic_maps_go_onto_ecliptic_grids():
    coarse = SkyMap(np.full((30, 40), 0.7) * u.mag, ecliptic(map_wcs((30, 40), pixel_deg=2 / 60)), "dust")
    values, reprojected = onto_grid(coarse, ecliptic(map_wcs((20, 20))), (20, 20))
    assert reprojected
    np.testing.assert_allclose(values.to_value(u.mag), 0.7)
