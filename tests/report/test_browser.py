"""The page in a browser: headless Chromium, which is looked for on the PATH."""

import shutil

import numpy as np
import pytest

from hisatools.report import write_report

from .conftest import make_result

playwright_api = pytest.importorskip("playwright.sync_api", reason="the extra browser is not installed")
pytest.importorskip("jinja2", reason="the extra report is not installed")
pytest.importorskip("itables", reason="the extra report is not installed")
pytest.importorskip("plotly", reason="the extra report is not installed")

MINUS = "\N{MINUS SIGN}"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="module")
def chromium():
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        pytest.skip("no Chromium on the PATH")
    with playwright_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(result, tmp_path_factory):
    """The usual page, and one without absorption."""
    folder = tmp_path_factory.mktemp("report")
    empty = make_result(n_features=0)
    return {
        "usual": write_report(result, folder / "usual.html"),
        "empty": write_report(empty, folder / "empty.html"),
    }


class Watched:
    """Opens pages, and keeps what their consoles say and what they ask for."""

    def __init__(self, chromium, pages):
        self.chromium, self.pages = chromium, pages
        self.faults, self.requests = [], []

    def open(self, name, *, width=1280, address=""):
        page = self.chromium.new_page(viewport={"width": width, "height": 800})
        page.on("console", lambda message: self.faults.append(message.text))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(self.pages[name].as_uri() + address)
        page.wait_for_selector("html[data-ready=yes]")
        return page

    def check(self):
        """The console was silent, and nothing but the file was asked for."""
        assert self.faults == []
        assert self.requests
        assert [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.fixture(scope="module")
def watched(chromium, pages):
    return Watched(chromium, pages)


@pytest.fixture(scope="module")
def usual(watched):
    """The usual page, opened once: a test sets all that it looks at."""
    return watched.open("usual")


@pytest.fixture
def page(watched, usual):
    usual.get_by_label("Filter").fill("")
    yield usual
    watched.check()


def names_in(page):
    return page.locator("#features tbody a").all_inner_texts()


def test_a_click_on_a_row_opens_its_feature(page, result):
    name = str(result.catalog["name"][4])
    page.locator("#row-5 td").nth(2).click()
    assert page.locator("#feature-title").inner_text() == f"Feature 5: {name}"
    assert name in page.locator("#spectrum").get_attribute("aria-label")
    assert page.locator("#spectrum .main-svg").count() > 0
    assert page.url.endswith("#feature=5")
    assert page.evaluate("document.activeElement.id") == "feature-title"
    page.click("#to-map")
    channel = int(page.input_value("#channel"))
    assert result.catalog["v_min"][4] <= channel <= result.catalog["v_max"][4]


def test_a_row_is_reached_and_opened_with_the_keyboard(page):
    page.locator("#features tbody a").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    names = names_in(page)
    assert page.locator("#feature-title").inner_text().endswith(f": {names[2]}")
    page.locator("#next-feature").press("Enter")
    assert page.locator("#feature-title").inner_text().endswith(f": {names[3]}")


def test_an_address_opens_a_feature(watched):
    page = watched.open("usual", address="#feature=29")
    assert page.locator("#feature-title").inner_text().startswith("Feature 29:")
    page.click("#to-row")  # on the second page of the table
    assert page.evaluate("document.activeElement.closest('tr').id") == "row-29"
    page.close()
    watched.check()


def test_arrow_keys_change_the_channel(page, result):
    page.fill("#channel", "3")
    assert page.locator("#velocity").inner_text().startswith(f"{MINUS}22.47 km/s")
    page.locator("#channel").press("ArrowRight")
    page.locator("#channel-map").press("ArrowRight")
    assert page.input_value("#channel") == "5"
    velocity = f"{result.velocity[5].value:.2f}".replace("-", MINUS)
    assert page.locator("#velocity").inner_text().startswith(f"{velocity} km/s")
    label = page.locator("#channel-map canvas")
    n_accepted = int(result.mask[5].sum())
    playwright_api.expect(label).to_have_attribute(
        "aria-label", f"Channel map at {velocity} km/s, {n_accepted} accepted voxels"
    )


def test_maps_and_marks_are_painted_as_they_are_chosen(page):
    canvas = page.locator("#channel-map canvas")

    def picture():
        page.wait_for_timeout(100)
        return canvas.evaluate("canvas => canvas.toDataURL()")

    page.check("input[value=t_on]")
    page.fill("#channel", "4")
    seen = [picture()]
    for choice in ("t_unabsorbed", "delta_t"):
        page.check(f"input[value={choice}]")
        seen.append(picture())
    page.check("input[value=t_on]")
    assert picture() == seen[0]
    for mark in ("accepted", "spectral", "spatial"):
        page.check(f"input[value={mark}]")
        seen.append(picture())
    assert len(set(seen)) == 6
    assert page.locator("#channel-map path.line").count() > 0
    page.uncheck("input[value=outlines]")
    page.wait_for_timeout(100)
    assert page.locator("#channel-map path.line").count() == 0
    page.check("input[value=outlines]")


def read_out(page, result, channel, y, x):
    """What is told of the pixel under the pointer."""
    page.fill("#channel", str(channel))
    page.wait_for_timeout(100)
    _, n_y, n_x = result.flags.shape
    page.locator("#channel-map").scroll_into_view_if_needed()
    frame = page.locator("#channel-map canvas").bounding_box()
    left = frame["x"] + (x + 0.5) / n_x * frame["width"]
    top = frame["y"] + (1 - (y + 0.5) / n_y) * frame["height"]
    page.mouse.move(left, top)
    return page.locator("#readout").inner_text().replace(MINUS, "-")


def test_brightness_beyond_the_scale_is_read_as_a_limit(page, result):
    page.check("input[value=t_on]")
    kelvin = result.t_on.value
    for find, percentile, sign in ((np.argmax, 99.95, "≥"), (np.argmin, 0.05, "≤")):
        text = read_out(page, result, *np.unravel_index(find(kelvin), kelvin.shape))
        assert f"T_ON {sign} {np.percentile(kelvin, percentile):.1f} K, T_U {sign} " in text
        assert f"ΔT {sign}" not in text
    ends = page.locator("#channel-map + .scale span").all_inner_texts()
    assert [end[0] for end in ends] == ["≤", "≥"]


def test_the_pointer_reads_what_the_result_holds(page, result):
    channel, y, x = 2, 5, 6
    text = read_out(page, result, channel, y, x)
    assert text.startswith(f"x = {x}, y = {y}; ")
    lon, lat = result.wcs.celestial.wcs_pix2world([[x, y]], 0)[0]
    assert f"l = {lon:.3f}°, b = {lat:+.3f}°" in text
    t_on, t_unabsorbed, delta_t = (
        float(text.partition(f"{name} ")[2].split()[0]) for name in ("T_ON", "T_U", "ΔT")
    )
    assert t_on == pytest.approx(result.t_on[channel, y, x].value, abs=0.2)
    assert delta_t == pytest.approx(result.delta_t[channel, y, x].value, abs=0.2)
    assert t_unabsorbed == pytest.approx(t_on - delta_t, abs=0.11)
    assert text.endswith("spectral, spatial, accepted")


def test_an_outline_opens_its_feature(page):
    page.fill("#channel", "2")
    page.wait_for_selector("#channel-map path.line[data-feature='9']")
    page.locator("#channel-map path.line[data-feature='9']").click()
    assert page.locator("#feature-title").inner_text().startswith("Feature 9:")


def test_the_table_filters_and_sorts(page, result):
    assert len(names_in(page)) == 25
    name = str(result.catalog["name"][10])
    page.get_by_label("Filter").fill(name)
    assert names_in(page) == [name]
    page.get_by_label("Filter").fill("no such feature")
    assert "No feature passes the filter" in page.locator("#features tbody").inner_text()
    page.get_by_label("Filter").fill("")
    heading = page.locator("#features thead th", has_text="ΔT peak")
    heading.locator(".dt-column-order").click()
    depths = sorted(result.catalog["delta_t_peak"].value)
    assert names_in(page)[0] == str(result.catalog["name"][0])  # -44 K comes before -15 K: as numbers
    column = page.locator("#features tbody tr td:nth-child(5)").all_inner_texts()
    assert [float(text) for text in column] == pytest.approx(depths[:25], abs=0.06)


def test_a_phone_shows_the_page_without_scrolling_sideways(watched):
    page = watched.open("usual", width=360)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("#spectrum .main-svg").first.bounding_box()["width"] <= 360
    page.close()
    watched.check()


def test_a_page_without_absorption_shows_the_brightest_spectrum(watched):
    page = watched.open("empty", width=360)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("#feature-title").inner_text() == "The sight line of the brightest voxel"
    assert page.locator("#spectrum .main-svg").count() > 0
    page.close()
    watched.check()
