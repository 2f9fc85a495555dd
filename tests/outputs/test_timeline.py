"""The timeline picture: lanes, rows, counts of what has no room, and videos of any shape and length."""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from adatad_jax.errors import UserError
from adatad_jax.outputs.timeline import LANES, ROWS, Span, assign_lanes, clock, draw_timeline, thumbnails
from adatad_jax.postprocessing.detections import Detection
from tests.outputs.detections import ODD_LABELS
from tests.video.test_decode import BITS, SIZE, shown, write_video


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 10)), max_size=20))
def test_no_two_segments_of_a_lane_overlap(spans: list[tuple[int, int]]) -> None:
    segments = np.array([(start, start + length) for start, length in spans], float).reshape(-1, 2)
    lanes = assign_lanes(segments)
    for lane in range(LANES):
        mine = segments[[i for i, own in enumerate(lanes) if own == lane]]
        mine = mine[np.argsort(mine[:, 0])]
        assert (mine[1:, 0] >= mine[:-1, 1]).all()
    assert not lanes or lanes[0] == 0


def test_clock() -> None:
    assert [clock(seconds) for seconds in (0, 59.6, 605, 3600, 360_005)] == [
        "0:00", "1:00", "10:05", "1:00:00", "100:00:05",
    ]  # fmt: skip


def drawn(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    detections: Sequence[Detection],
    duration: float,
    shape: tuple[int, int] = (9, 16),
    truth: Sequence[Span] = (),
) -> tuple[list[str], str, np.ndarray]:
    """Draws the picture; returns the row names, the text under the time axis and the pixels. Warnings are errors."""
    figures = []
    save = Figure.savefig

    def spy(figure: Figure, *args: Any, **kwargs: Any) -> None:
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", spy)
    images = [np.full((*shape, 3), 90, np.uint8)] * 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_timeline(path, detections, duration, images, "跳.mp4 $x", truth)
    rows = figures[0].axes[1]
    picture = cv2.imread(str(path))
    assert picture is not None
    return [label.get_text() for label in rows.get_yticklabels()], rows.get_xlabel(), picture


def test_rows_are_the_annotated_classes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Detection(1, 3, "run", 0.9), Detection(2, 5, "jump", 0.5), Detection(0, 1, "run", 0.3)]
    rows, words, _ = drawn(tmp_path / "a.png", monkeypatch, found, 8.0, truth=[(0.0, 2.0, "walk"), (2.0, 4.0, "jump")])
    assert (rows, words) == (["walk", "jump", "run"], "seconds")


@pytest.mark.parametrize("duration", [0.04, 0.5, 75.0, 3700.0, 400_000.0])
def test_nothing_found_in_a_video_of_any_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, duration: float
) -> None:
    rows, _, picture = drawn(tmp_path / "a.png", monkeypatch, [], duration)
    assert rows == []
    assert picture.shape[1] == 1320


def test_what_has_no_room_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = [Detection(0, 3600, "class 0", 0.9)] * (LANES + 3)
    others = [Detection(i, i + 1, f"class {i}", 0.5) for i in range(1, 200)]
    rows, words, picture = drawn(tmp_path / "a.png", monkeypatch, crowd + others, 3600.0)
    assert rows == [f"class {i}" for i in range(ROWS)]
    missing, total = 3 + 200 - ROWS, LANES + 3 + 199
    assert re.search(rf"\n{200 - ROWS} more classes\b.*\b{missing} of {total} detections$", words)
    assert picture.shape[0] < 2500


@pytest.mark.parametrize("shape", [(160, 90), (16, 600), (600, 16)])
def test_odd_labels_and_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]) -> None:
    found = [Detection(i, i + 5, label, 1 - i / 20) for i, label in enumerate(ODD_LABELS)]
    rows, _, picture = drawn(tmp_path / "a.png", monkeypatch, found, 16.0, shape)
    assert len(rows) == len(ODD_LABELS)
    assert all(len(row) <= 28 and row.replace("\N{ZERO WIDTH JOINER}", "").isprintable() for row in rows)
    assert picture.shape[0] < 1400


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"/gone/a\.png: .*\bwritten\b"):
        draw_timeline(tmp_path / "gone" / "a.png", [], 1.0, [np.zeros((9, 16, 3), np.uint8)], "a")


def test_thumbnails_are_evenly_spaced_and_limited_in_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", options={"x264-params": "log-level=none"})
    found = thumbnails(path)
    wide = [cv2.resize(image, SIZE[::-1], interpolation=cv2.INTER_AREA) for image in found]
    assert {image.shape for image in found} == {(96, 16 * BITS * 2, 3)}
    assert [shown(image) for image in wide] == list(range(4, 90, 9))  # the middles of ten parts of 90 frames
    with pytest.raises(UserError, match=r"a\.mp4"):
        thumbnails(path, time_limit=1e-9)
