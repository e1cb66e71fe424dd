"""Small results made by hand, pages of them, and what stands in a page."""

import json
from html.parser import HTMLParser

import astropy.units as u
import numpy as np
import pytest
from astropy.wcs import WCS
from radio_beam import Beam

from hisatools.catalog import VoxelErrors, build_catalog
from hisatools.results import HISAResult, MaskBit
from hisatools.search_record import SearchRecord

SHAPE = (12, 40, 56)


def field_wcs():
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR", "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.crval = [0.1, 0, -20e3]
    wcs.wcs.crpix = [28, 20, 1]
    wcs.wcs.cdelt = [-0.005, 0.005, -824.46]
    wcs.wcs.restfrq, wcs.wcs.specsys = 1420405751.7667, "LSRK"
    wcs.wcs.set()
    return wcs


def make_result(*, n_features=30, shape=SHAPE, blank=0, recorded=True, meta=None, seed=1):
    """A result with small boxes of absorption, the first the deepest, and a blank border."""
    random = np.random.default_rng(seed)
    t_on = random.normal(80, 4, shape).astype(np.float32)
    labels = np.zeros(shape, np.int32)
    for k in range(n_features):
        row, column = divmod(k, 6)
        y, x = 4 + 7 * row, 4 + 8 * column
        labels[2 + k % 8 : 4 + k % 8, y : y + 3, x : x + 4] = k + 1
    if blank:
        t_on[:, :blank], t_on[:, :, :blank] = np.nan, np.nan
        labels[~np.isfinite(t_on)] = 0
    accepted = labels > 0
    depth = (45 - labels[accepted]).astype(np.float32)
    unabsorbed = t_on[accepted] + depth
    flags = accepted * np.uint8(7)
    flags[0, -2, -2:], flags[1, -3, -3] = MaskBit.SPECTRAL, MaskBit.SPATIAL
    errors = VoxelErrors(np.full(depth.shape, 4, "f4"), np.full(depth.shape, 2, "f4"))
    first_pass = accepted.astype(np.uint8)
    passes = [{"pass": 1, "spectral": 900, "spatial": 800, "union": 950, "accepted": 720, "new": 720}]
    about = {"path": "/data/field.fits", "object": "Field 1", "sha256": "abc"}
    parameters = {"spectral": {"clean_fwhm": "8.0 km / s"}, "n_passes": 1}
    return HISAResult(
        t_on=t_on * u.K,
        unabsorbed_kelvin=unabsorbed,
        flags=flags,
        labels=labels,
        first_pass=first_pass,
        catalog=build_catalog(t_on, unabsorbed, labels, first_pass, field_wcs(), errors=errors),
        wcs=field_wcs(),
        beam=Beam(58 * u.arcsec),
        meta={
            "hisatools": "0.1.0",
            "input": about,
            "mends": ["no beam: one was assumed"],
            "parameters": parameters,
            "passes": passes if recorded else [],
            "remarks": [],
        }
        | (meta or {}),
        sigma_unabsorbed_kelvin=errors.unabsorbed_kelvin,
        sigma_delta_kelvin=errors.delta_kelvin,
        searches=make_record(shape) if recorded else None,
    )


def make_record(shape):
    n_v, *sky = shape
    stops = np.full((1, *sky), 2, np.int16)
    stops[0, 0, :3] = 0, 1, 3
    return SearchRecord(
        spectral_loops=np.arange(np.prod(sky), dtype=np.int32).reshape(1, *sky),
        spectral_stop=stops,
        spectral_noise_kelvin=np.full(sky, 4, np.float32),
        spatial_loops=np.arange(n_v, dtype=np.int32)[None],
        spatial_stop=np.full((1, n_v), 2, np.int16),
        spatial_noise_kelvin=np.full(n_v, 4.5, np.float32),
    )


@pytest.fixture(scope="session")
def result():
    return make_result()


class Page(HTMLParser):
    """Elements of a page with their attributes, its text without scripts and styles, and its data."""

    VOID = ("meta", "link", "input", "img", "br")

    def __init__(self, path):
        super().__init__()
        self.elements, self.words, self.open, self.scripts, self.styles = [], [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in ("rect", "path"):
            return
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        kind = {"script": self.scripts, "style": self.styles}.get(self.open[-1] if self.open else "")
        (self.words if kind is None else kind).append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def values(self, name):
        return [attributes[name] for _, attributes in self.elements if name in attributes]

    @property
    def data(self):
        """What the scripts are given; NaN and Infinity are no JSON."""

        def refuse(constant):
            raise ValueError(constant)

        (text,) = [text for text in self.scripts if text.startswith('{"features"')]
        return json.loads(text, parse_constant=refuse)
