"""The page opened from disk in a real browser, a headless Chromium."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from adatad_jax.postprocessing.detections import Detections
from adatad_jax.report.page import write_report
from tests.report.made import HOSTILE, made, with_files

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)} on the path (Debian and Ubuntu: apt-get install chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(programs["chromedriver"]))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, video: Path) -> dict[str, Path]:
    """Writes pages: a few classes, one with a hostile name, with thumbnails; many classes; and a large matrix."""
    folder = tmp_path_factory.mktemp("pages")
    write_report(folder / "few.html", with_files(made(), good=video))
    names = ("jump", HOSTILE, *(f"a_class_with_a_very_long_name_without_any_blank_{k}" for k in range(60)))
    write_report(folder / "many.html", made(names))
    write_report(folder / "matrix.html", made(names[:30]))
    return {path.stem: path for path in folder.iterdir()}


def show(browser: webdriver.Chrome, page: Path, width: int = 1280, scheme: str = "light") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_loads_whole_and_alone(browser: webdriver.Chrome, pages: dict[str, Path], scheme: str) -> None:
    show(browser, pages["few"], scheme=scheme)
    assert browser.get_log("browser") == []
    widths = browser.execute_script("return [...document.images].map((image) => image.naturalWidth)")
    assert len(widths) == 11  # the curves, and ten thumbnails
    assert min(widths) > 0
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert all(address.startswith("data:") for address in loaded)
    assert ("dark" in colours(browser)) == (scheme == "dark")


def colours(browser: webdriver.Chrome) -> str:
    """Returns whether the page's background is light or dark, and checks that the picture of curves matches it."""
    ground, dark_picture = browser.execute_script(
        """const source = document.querySelector("picture source"), image = document.querySelector("picture img");
        return [getComputedStyle(document.body).backgroundColor, image.currentSrc === source.srcset]"""
    )
    red, green, blue = (int(part) for part in ground.removeprefix("rgb(").removesuffix(")").split(","))
    assert (red + green + blue < 200) == dark_picture
    return "dark" if dark_picture else "light"


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("page", ["few", "many", "matrix"])
def test_page_is_never_wider_than_the_window(
    browser: webdriver.Chrome, pages: dict[str, Path], page: str, width: int
) -> None:
    show(browser, pages[page], width)
    wide, window = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= window <= width
    # Wide tables scroll in their boxes, which stay within their sections
    over = browser.execute_script(
        """return [...document.querySelectorAll("section")].flatMap((section) =>
          [...section.querySelectorAll(":scope > *, .box, .timeline")].filter((part) =>
            part.getBoundingClientRect().right > section.getBoundingClientRect().right + 0.5))
          .map((part) => part.outerHTML.slice(0, 80))"""
    )
    assert over == []


def test_hostile_names_are_text(browser: webdriver.Chrome, pages: dict[str, Path]) -> None:
    show(browser, pages["few"])
    assert browser.title == f"title {HOSTILE}: average mAP 55.00"
    assert browser.find_element(By.TAG_NAME, "h1").text == f"title {HOSTILE}"
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 1
    assert HOSTILE in [name.get_attribute("title") for name in browser.find_elements(By.CLASS_NAME, "name")]
    # If a name were ever left unescaped, the browser would still not run it
    browser.execute_script("document.body.insertAdjacentHTML('beforeend', arguments[0])", HOSTILE)
    browser.execute_script("document.body.appendChild(document.createElement('script')).text = 'document.title = 1'")
    assert browser.title == f"title {HOSTILE}: average mAP 55.00"
    assert browser.get_log("browser")  # its complaints


@pytest.mark.parametrize("width", [1280, 400])
def test_bars_lie_where_their_seconds_are(browser: webdriver.Chrome, pages: dict[str, Path], width: int) -> None:
    show(browser, pages["few"], width)
    boxes: dict[str, dict[str, Any]] = browser.execute_script(
        """return Object.fromEntries([...document.querySelectorAll(".track b")].map((bar) => {
          const track = bar.parentElement.getBoundingClientRect(), own = bar.getBoundingClientRect();
          return [bar.title, {left: (own.left - track.left) / track.width, width: own.width / track.width,
                              top: own.top - track.top, inside: own.bottom <= track.bottom}];
        }))"""
    )
    # shares of videos of 20 and 10 seconds
    expected = {
        "jump, annotated, 2.0-7.0 s": (0.1, 0.25),
        "jump, annotated, 10.0-15.0 s": (0.5, 0.25),
        "jump 0.90, 2.0-7.0 s, matched": (0.1, 0.25),
        "jump 0.80, 10.0-14.0 s, matched": (0.5, 0.2),
        "jump 0.50, 3.0-5.0 s, not matched": (0.15, 0.1),
        "jump, annotated, 4.0-6.0 s, matched by none of these detections": (0.4, 0.2),
        "jump 0.83, 4.0-9.0 s, not matched": (0.4, 0.5),
        f"{HOSTILE}, annotated, 1.0-2.0 s, matched by none of these detections": (0.1, 0.1),
        f"{HOSTILE} 0.40, 1.0-1.2 s, not matched": (0.1, 0.02),
    }
    assert boxes.keys() == expected.keys()
    for title, (left, share) in expected.items():
        assert boxes[title]["left"] == pytest.approx(left, abs=0.004), title
        assert boxes[title]["width"] == pytest.approx(share, abs=0.004), title
        assert boxes[title]["inside"], title
    overlapping = boxes["jump 0.90, 2.0-7.0 s, matched"], boxes["jump 0.50, 3.0-5.0 s, not matched"]
    assert overlapping[0]["top"] < overlapping[1]["top"]
    strip, track = (browser.find_element(By.CSS_SELECTOR, f".video {part}").rect for part in (".strip", ".track"))
    assert strip["x"] == pytest.approx(track["x"], abs=1)
    assert strip["width"] == pytest.approx(track["width"], abs=1)


def test_scores_are_shown_whole_or_not(browser: webdriver.Chrome, tmp_path: Path) -> None:
    """A number that is cut off reads as another number."""
    evaluated = made()
    good = Detections([[2, 7], [10, 14], [3, 5]], [8000.25, 7000.25, 6000.25], [0, 0, 0])  # type: ignore[arg-type]
    write_report(tmp_path / "report.html", replace(evaluated, results={**evaluated.results, "good": good}))
    show(browser, tmp_path / "report.html", 400)
    seen = browser.execute_script(
        """return [...document.querySelectorAll(".detection span")].flatMap((score) => {
          const own = score.getBoundingClientRect(), bar = score.parentElement.getBoundingClientRect();
          return own.top < bar.bottom - 1 ? [[score.textContent, own.right <= bar.right]] : [];
        })"""
    )
    assert seen == [["8000.25", True], ["7000.25", True], ["0.83", True]]


@pytest.mark.parametrize("width", [1280, 400])
def test_long_names_leave_room_for_their_figures(browser: webdriver.Chrome, tmp_path: Path, width: int) -> None:
    write_report(tmp_path / "report.html", made(("jump", "x" * 300)))
    show(browser, tmp_path / "report.html", width)
    box, figure = (
        browser.find_element(By.CSS_SELECTOR, path).rect for path in (".tall", ".classes tbody .with-bar .number")
    )
    assert figure["x"] + figure["width"] <= box["x"] + box["width"]


def test_names_in_any_script_stand_upright_in_heads(browser: webdriver.Chrome, pages: dict[str, Path]) -> None:
    """The heads of the matrix are rotated by 180 degrees, so upright characters would be upside down."""
    show(browser, pages["few"])
    head = browser.find_element(By.CSS_SELECTOR, ".matrix thead span")
    assert head.value_of_css_property("text-orientation") == "sideways"


def test_heads_of_the_class_table_sort(browser: webdriver.Chrome, pages: dict[str, Path]) -> None:
    show(browser, pages["matrix"])

    def column(index: int) -> list[str]:
        cells = browser.find_elements(By.CSS_SELECTOR, f".classes tbody tr > :nth-child({index})")
        return [cell.get_attribute("data-key") or "" for cell in cells]

    heads = browser.find_elements(By.CSS_SELECTOR, ".classes th button")
    assert column(1)[:2] == ["jump", HOSTILE]
    segments = len(heads)
    heads[-1].click()
    assert column(segments) == ["4", "2", *["1"] * 28]
    heads[-1].click()
    assert column(segments) == [*["1"] * 28, "2", "4"]
    heads[0].click()
    names = column(1)
    heads[0].click()
    assert column(1) == names[::-1]
    assert names[0] == "jump"
