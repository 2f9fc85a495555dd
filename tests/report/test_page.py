"""The page's structure: it shows every figure, has every name as text, and loads nothing."""

import base64
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adatad_jax.errors import UserError
from adatad_jax.report.page import write_report
from adatad_jax.training.loop import Done
from adatad_jax.training.step_log import LogSteps
from tests.report.made import HOSTILE, Page, made, with_files


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, made())
    return Page(path)


def test_headline(page: Page) -> None:
    # (0.9 + 0.5) / 2, (0.7 + 0.1) / 2, and their mean
    rows = page.texts("tr")
    assert "mAP 70.00 40.00 55.00" in rows
    assert "published - - 50.00" in rows
    assert "difference +5.00" in rows
    assert page.texts("p", **{"class": "figure"}) == ["55.00"]
    counts = page.texts("dl", **{"class": "counts"})
    assert counts == ["videos 2 classes 2 segments 6 detections 10"]
    assert "AR@100 62.50" in page.texts("div")
    assert [text for text in page.texts("li") if re.search(r"\b3\b.*\bunknown\b.*\bignored\b", text)]
    assert page.texts("title") == [f"title {HOSTILE}: average mAP 55.00"]


def test_worse_than_published_and_no_published_figure(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", replace(made(), published=56.25))
    assert "difference -1.25" in Page(tmp_path / "report.html").texts("tr")
    write_report(tmp_path / "report.html", replace(made(), published=None))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "difference" not in text
    assert re.search(r"\bno published\b", text)


def test_classes_best_first(page: Page) -> None:
    rows = page.texts("tr")
    best, worst = rows.index("jump 80.00 90.00 70.00 4"), rows.index(f"{HOSTILE} 30.00 50.00 10.00 2")
    assert best < worst


def test_confusion_matrix(page: Page) -> None:
    assert "jump 3 1 4" in page.texts("tr")
    assert f"{HOSTILE} 2 2" in page.texts("tr")
    titles = page.attributes("td", "title")
    assert f"1 of 4 jump detected as {HOSTILE} (25.0%)" in titles
    assert f"2 of 2 {HOSTILE} missed (100.0%)" in titles


def test_many_classes_are_listed_as_pairs_and_banded(tmp_path: Path) -> None:
    names = ("jump", HOSTILE, *(f"class {k}" for k in range(200)))
    write_report(tmp_path / "report.html", made(names))
    page = Page(tmp_path / "report.html")
    rows = page.texts("tr")
    assert f"jump {HOSTILE} 1 25.0" in rows
    assert f"{HOSTILE} 2 100.0" in rows  # missed, the most of any
    assert "class 0 0.00 0.00 0.00 1" in rows
    assert "171 rarer ones are not listed." in page.texts("p")  # 201 classes have misses, 30 are shown
    key = page.texts("ul", **{"class": "key"})
    assert key[0].startswith("mean over classes middle half of the classes best jump 70.00")
    assert f"{HOSTILE} 10.00 class 0 0.00 worst" in key[0]
    assert (tmp_path / "report.html").stat().st_size < 1e6


def test_errors_and_sensitivity(page: Page) -> None:
    rows = page.texts("tr")
    assert "true positive 3 30.0 finds a segment" in rows
    assert "localisation 2 20.0 12.34 right label, but tIoU from 0.1 to 0.5" in rows
    assert "S 0 to 1.5 s 4 25.00 50.0" in rows
    assert "L 1.5 to 12 s 2 50.00 0.0" in rows
    assert "S 1 1 60.00 0.0" in rows
    assert "L 2 to 5 5 30.00 40.0" in rows
    assert {"true positive 50.0%", "background 25.0%", "localisation 25.0%"} <= set(page.attributes("span", "title"))


def test_findings(page: Page) -> None:
    said = page.texts("dd")
    patterns = (
        r"Without localisation errors .*67\.34 \(\+12\.34\).*background errors \(\+2\.00\)\.",
        r"2 of 6 segments \(33\.3%\) .*no detection .*tIoU 0\.5\.",
        rf"1 of the segments of jump \(25\.0%\) .*as {re.escape(HOSTILE)}\.",
        r".*length S \(0 to 1\.5 s\): 4 segments .*mAP_N of 25\.00.* 40\.00\.",
    )
    for pattern in patterns:
        assert any(re.fullmatch(pattern, line) for line in said), pattern


def test_what_is_not_there_is_not_shown_as_little(page: Page) -> None:
    """Covers the bar of a kind that costs nothing, and the share of true positives among no detections."""
    rows = [line for line in page.source.splitlines() if 'class="bar"' in line]
    assert sum("width" not in row for row in rows) == 4  # of two kinds the cost, of two buckets what is missed
    assert page.texts("p", **{"class": "true"}) == ["50%", *["-"] * 9]


def test_findings_tell_nothing_where_there_is_nothing(tmp_path: Path) -> None:
    names = ("jump", "swim", "dive", "clap")
    evaluated = made(names)
    per_class = np.zeros((4, 2))
    errors = replace(evaluated.analysis.false_positives, cost=np.zeros(5))
    even = [replace(s, map_n=np.full(2, 0.4)) for s in evaluated.analysis.sensitivities]
    confusion = np.pad(np.zeros((4, 4), int), ((0, 0), (0, 1)), constant_values=2)
    changes = {"false_positives": errors, "sensitivities": tuple(even), "confusion": confusion}
    metrics = replace(evaluated.metrics, per_class=per_class, map=per_class.mean(axis=0))
    write_report(
        tmp_path / "report.html", replace(evaluated, metrics=metrics, analysis=replace(evaluated.analysis, **changes))
    )
    (told,) = Page(tmp_path / "report.html").texts("dl", **{"class": "findings"})
    assert re.fullmatch(
        r"Largest cost No kind [^.]*\. Missed 8 of 8 segments \(100\.0%\) [^.]*no detection [^.]*tIoU 0\.5\.", told
    )


def test_timelines(page: Page) -> None:
    assert page.texts("h4") == ["good", "bad"]
    titles = page.attributes("b", "title")
    assert "jump, annotated, 2.0-7.0 s" in titles
    assert "jump 0.90, 2.0-7.0 s, matched" in titles
    assert "jump 0.50, 3.0-5.0 s, not matched" in titles
    assert f"{HOSTILE}, annotated, 1.0-2.0 s, matched by none of these detections" in titles
    assert any("2 of 2 videos have no thumbnails" in text for text in page.texts("p"))


def test_nothing_is_loaded(page: Page, tmp_path: Path) -> None:
    loading = ("src", "srcset", "href", "action", "data", "poster", "background", "xlink:href")
    addresses = [value for _, attributes, _ in page.elements for name, value in attributes.items() if name in loading]
    assert len(addresses) > 5
    assert all(re.match(r"data:|#", address) for address in addresses)
    write_report(tmp_path / "report.html", made())
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|url\(|@import", text)
    assert text.count("<script") == 1
    assert "default-src 'none'" in text


def test_same_evaluation_gives_the_same_page(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(tmp_path / name, made())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_that_is_no_video_leaves_a_reason(tmp_path: Path) -> None:
    broken = tmp_path / "good.mp4"
    broken.write_bytes(b"no video at all")
    write_report(tmp_path / "report.html", with_files(made(), good=broken, bad=tmp_path / "absent.mp4"))
    reasons = Page(tmp_path / "report.html").texts("p", **{"class": "problem"})
    assert len(reasons) == 2
    assert reasons[0].startswith(f"No thumbnails: {broken}")
    assert "absent.mp4" in reasons[1]


def test_video_without_detections_and_without_a_duration(tmp_path: Path) -> None:
    evaluated = made()
    write_report(tmp_path / "report.html", replace(evaluated, results={}, durations={}))
    page = Page(tmp_path / "report.html")
    assert "AP 25.00 · 0:06 · 2 segments · no detection" in page.texts("p")
    assert any("2 of 2 videos have no detection." in text for text in page.texts("p"))
    assert any(re.search(r"\b4 of them .*\b2 videos without any detection", text) for text in page.texts("dd"))


def test_one_class_one_threshold_one_video(tmp_path: Path) -> None:
    evaluated = made(("jump", "swim"))
    metrics = replace(evaluated.metrics, tious=(0.5,), classes=("jump",), per_class=np.ones((1, 1)), map=np.ones(1))
    analysis = replace(
        evaluated.analysis,
        confusion=np.array([[2, 0]]),
        video_ap={"good": 1.0},
        curves=np.ones((1, 101)),
        classes=("jump",),
    )
    truth = {"good": evaluated.truth["good"]}
    write_report(tmp_path / "report.html", replace(evaluated, metrics=metrics, analysis=analysis, truth=truth))
    page = Page(tmp_path / "report.html")
    assert page.texts("h4") == ["good"]
    assert "Worst" not in page.texts("h3")
    assert "mAP 100.00 100.00" in page.texts("tr")


def test_half_a_character_in_a_name(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", made(("jump", "dive \ud83d")))
    assert "dive ?" in page_text(tmp_path / "report.html")


def page_text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent/report\.html: cannot be written"):
        write_report(tmp_path / "absent" / "report.html", made())


def test_curves_of_the_run_where_there_is_one(tmp_path: Path) -> None:
    log = LogSteps(tmp_path, 0, {"tia": np.ones(6)}, 4)
    for step in range(6):
        log.after_step(Done(step, None, {"loss": 1.0, "grad_norm": 2.0}, 1.0))  # type: ignore[arg-type]
    path = tmp_path / "report.html"
    write_report(path, made(), run=tmp_path)
    page = Page(path)
    assert "Training" in page.texts("a")
    assert any("6 steps, 1.5 epochs" in text for text in page.texts("p"))
    (picture,) = (attributes["src"] for tag, attributes, _ in page.elements if attributes.get("class") == "training")
    svg = base64.b64decode(picture.removeprefix("data:image/svg+xml;base64,")).decode()
    assert "learning rates" in svg
    write_report(path, made(), run=tmp_path / "other")
    assert "Training" not in Page(path).texts("a")
