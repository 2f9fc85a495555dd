"""Actions of EPIC-Kitchens, from detections of verbs and of nouns: by hand, and by properties."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adatad_jax.errors import UserError
from adatad_jax.evaluate import main
from adatad_jax.evaluation.actions import combine
from adatad_jax.evaluation.results_forms import Parsed, ResultRow

PATHS = Path("verbs.json"), Path("nouns.json")


def parsed(*rows: ResultRow) -> Parsed:
    return Parsed(list(dict.fromkeys(row.video for row in rows)), list(rows), [])


def test_by_hand() -> None:
    """tIoU of [0, 4] with [1, 5] is 3/5, with [2, 6] 2/6, and with [0, 8] exactly 1/2."""
    verbs = parsed(ResultRow("v", 0, 4, 3, 0.81))
    nouns = parsed(
        ResultRow("v", 1, 5, 1, 0.25),
        ResultRow("v", 2, 6, 2, 0.9),
        ResultRow("v", 0, 8, "id_007", 1),
        ResultRow("w", 0, 4, 1, 1),
    )
    found = combine(verbs, nouns, [], PATHS)
    assert found.videos == ["v", "w"]
    assert [row._replace(score=round(row.score, 12)) for row in found.rows] == [
        ResultRow("v", 0, 6, "3,7", 0.9),
        ResultRow("v", 0.5, 4.5, "3,1", 0.45),
    ]
    assert "2 actions from 1 verbs and 4 nouns" in found.notes[0]
    assert "1 videos" in found.notes[1]


def test_names_are_joined_as_the_annotations_have_them() -> None:
    verbs, nouns = parsed(ResultRow("v", 0, 4, "close", 1)), parsed(ResultRow("v", 0, 4, "lid", 1))
    assert combine(verbs, nouns, ["close lid"], PATHS).rows[0].label == "close lid"
    assert combine(verbs, nouns, [], PATHS).rows[0].label == "close,lid"


def test_what_cannot_be_combined() -> None:
    row = ResultRow("v", 0, 4, 1, 0.5)
    with pytest.raises(UserError, match=r"nouns\.json: 1 scores are negative"):
        combine(parsed(row), parsed(row._replace(score=-0.1)), [], PATHS)
    for other in (row._replace(video="w"), row._replace(start=9.0, end=12.0)):
        with pytest.raises(UserError, match=r"verbs\.json, nouns\.json: no verb and no noun overlap"):
            combine(parsed(row), parsed(other), [], PATHS)


times = st.integers(0, 20)
rows = st.lists(
    st.builds(
        lambda video, start, length, label, score: ResultRow(video, start, start + length, label, score / 8),
        st.sampled_from("vw"),
        times,
        st.integers(1, 9),
        st.integers(0, 3),
        st.integers(0, 8),
    ),
    max_size=8,
)


def overlap(a: ResultRow, b: ResultRow) -> float:
    inter = max(0.0, min(a.end, b.end) - max(a.start, b.start))
    return inter / (a.end - a.start + b.end - b.start - inter)


@given(rows, rows)
def test_actions_are_all_pairs_of_one_event_and_no_others(verbs: list[ResultRow], nouns: list[ResultRow]) -> None:
    """Compares with the definition, written out as a double loop."""
    expected = sorted(
        (v.video, (v.start + n.start) / 2, (v.end + n.end) / 2, f"{v.label},{n.label}", (v.score * n.score) ** 0.5)
        for v in verbs
        for n in nouns
        if v.video == n.video and overlap(v, n) >= 0.5
    )
    if not expected:
        with pytest.raises(UserError):
            combine(parsed(*verbs), parsed(*nouns), [], PATHS)
        return
    found = sorted(tuple(row) for row in combine(parsed(*verbs), parsed(*nouns), [], PATHS).rows)
    assert [row[:4] for row in found] == [row[:4] for row in expected] or len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-12)


@given(rows)
def test_the_same_file_twice_gives_each_detection_itself(own: list[ResultRow]) -> None:
    """A detection overlaps itself by 1, so that its own pair has its segment and its score."""
    if not own:
        return
    found = combine(parsed(*own), parsed(*own), [], PATHS).rows
    pairs = [(row.video, row.start, row.end, row.label) for row in found]
    scores = {pair: max(r.score for r, p in zip(found, pairs, strict=True) if p == pair) for pair in pairs}
    for row in own:
        assert scores[row.video, row.start, row.end, f"{row.label},{row.label}"] >= row.score - 1e-12


def test_the_metric_of_two_files(tmp_path: Path) -> None:
    """Two actions are annotated; "3,1" is found whole, and of "4,1" the noun is missed: its precision is 0."""

    def write(name: str, content: Any) -> str:
        (tmp_path / name).write_text(json.dumps(content))
        return str(tmp_path / name)

    annotated = [{"label": "3,1", "segment": [0, 4]}, {"label": "4,1", "segment": [10, 14]}]
    truth = write("gt.json", {"database": {"v": {"subset": "val", "duration": 60, "annotations": annotated}}})
    segments = {"v": [{"segment": [0, 4], "label": 3, "score": 0.9}, {"segment": [10, 14], "label": 4, "score": 0.8}]}
    verbs = write("verbs.json", {"results": segments})
    submitted = [{"segment": [0, 4], "noun": 1, "verb": 9, "action": "9,1", "score": 0.4}]
    nouns = write("nouns.json", {"version": "0.2", "challenge": "action_detection", "results": {"v": submitted}})
    files = ["--results", verbs, "--nouns", nouns, "--annotations", truth, "--output", str(tmp_path / "out")]
    main([*files, "--tious", "0.1:0.1:0.5"])
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["average_mAP"] == 0.5
    assert metrics["per_class"]["3,1"]["AP@0.5"] == 1
    # The same with annotations of names, as EPIC-Kitchens' own are, and the data set's class lists.
    (tmp_path / "verbs.csv").write_text("id,key\n3,close\n4,open\n")
    (tmp_path / "nouns.csv").write_text("id,key\n1,lid\n")
    Path(truth).write_text(Path(truth).read_text().replace("3,1", "close lid").replace("4,1", "open lid"))
    lists = ["--classes", str(tmp_path / "verbs.csv"), "--noun-classes", str(tmp_path / "nouns.csv")]
    main([*files, *lists])
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["per_class"].keys() == {"close lid", "open lid"}
    assert metrics["average_mAP"] == 0.5
    for wrong in (["--task", "verb"], lists[2:]):
        with pytest.raises(SystemExit):
            main([*files, *wrong])
