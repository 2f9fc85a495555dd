import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adatad_jax.errors import UserError
from adatad_jax.evaluation.results_file import read_results, results_to_json
from adatad_jax.postprocessing.detections import Detections

GOOD = {"segment": [0, 1], "label": "Dive", "score": 0.5}


def write(folder: Path, content: Any, name: str = "found.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def rows(found: Detections) -> list[list[float]]:
    return np.column_stack([found.segments, found.scores, found.labels]).tolist()


def test_round_trip(tmp_path: Path) -> None:
    results = {
        "b": Detections(np.array([[1.25, 2.5], [0, 1]]), np.array([0.5, 0.25]), np.array([1, 0])),
        "a": Detections(np.empty((0, 2)), np.empty(0), np.empty(0, int)),
    }
    data = results_to_json(results, ["Dive", "Jump"])
    assert set(data) == {"version", "results", "external_data"}
    assert data["results"]["b"][0] == {"segment": [1.25, 2.5], "label": "Jump", "score": 0.5}
    back, classes, _ = read_results(write(tmp_path, data), ["Dive", "Jump"])
    assert classes == ("Dive", "Jump")
    assert list(back) == ["b", "a"]
    assert {video: rows(found) for video, found in back.items()} == {video: rows(d) for video, d in results.items()}


def test_a_table_is_the_same_as_the_json_file(tmp_path: Path) -> None:
    """Covers columns in another order, an additional one, quotes, spaces, an empty line and a byte order mark."""
    table = (
        '\ufeffScore, label,end,video,start,note\n0.5,"Dive, high",4,b,1.5,\n\n 2 ,Jump,3,a,0,\n1e-3,Jump,9,b,8.25,\n'
    )
    found, classes, _ = read_results(write(tmp_path, table, "found.CSV"), ["Jump"])
    entries = {
        "b": [
            {"segment": [1.5, 4.0], "label": "Dive, high", "score": 0.5},
            {"segment": [8.25, 9], "label": "Jump", "score": 0.001},
        ],
        "a": [{"segment": [0, 3], "label": "Jump", "score": 2}],
    }
    expected, names, _ = read_results(write(tmp_path, {"results": entries}), ["Jump"])
    assert classes == names == ("Jump", "Dive, high")
    assert {video: rows(d) for video, d in found.items()} == {video: rows(d) for video, d in expected.items()}


def test_unknown_labels_are_appended_and_strings_are_numbers(tmp_path: Path) -> None:
    entries = [GOOD | {"label": "Swim"}, GOOD | {"segment": ["0.5", "1e1"], "score": "0.25"}, GOOD | {"label": "Swim"}]
    results, classes, _ = read_results(write(tmp_path, {"results": {"v": entries}}), ["Dive"])
    assert classes == ("Dive", "Swim")
    assert rows(results["v"]) == [[0, 1, 0.5, 1], [0.5, 10, 0.25, 0], [0, 1, 0.5, 1]]


def test_what_is_odd_but_a_detection_is_kept(tmp_path: Path) -> None:
    entries = [GOOD | {"segment": [5, 2]}, GOOD | {"segment": [3, 3]}, GOOD | {"segment": [-1, 1e9], "score": -7}]
    results, _, _ = read_results(write(tmp_path, {"results": {"v": entries}}))
    assert rows(results["v"]) == [[5, 2, 0.5, 0], [3, 3, 0.5, 0], [-1, 1e9, -7, 0]]


@pytest.mark.parametrize("content", [[], {"result": {}}, {"results": []}, None, 3])
def test_a_file_of_another_format_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(UserError, match=r'found\.json: found .*expected .*ActivityNet .*"results"'):
        read_results(write(tmp_path, content))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("found.json", '{"results": {', r"found\.json: .*JSON .*expected .*ActivityNet"),
        ("found.json", "video,start,end,label,score\n", r"found\.json: .*JSON .*expected .*table .*\.csv"),
        ("found.json", f'{{"results": {{"v": [{"9" * 5000}]}}}}', r"found\.json: .*JSON .*5000 digits"),
        ("found.json", '{"results": {"v": [], "w": []}}', r"found\.json: no detection .*2 videos"),
        ("found.csv", "", r"found\.csv: line 1: expected .*video,start,end,label,score .*found nothing"),
        ("found.csv", "v,0,1,Dive,0.5\n", r"found\.csv: line 1: expected .*found v,0,1"),
        (
            "found.csv",
            "video,start,end,label\nv,0,1,Dive\n",
            r"found\.csv: line 1: expected .*score .*found video,start,end,label$",
        ),
        (
            "found.csv",
            "video,start,end,label,score,score\n",
            r"found\.csv: line 1: expected .*once.*found video.*score,score$",
        ),
        ("found.csv", "video,start,end,label,score\n", r"found\.csv: no detection .*0 videos"),
        ("found.csv", 'video,start,end,label,score\nv,0,1,"Dive,0.5\n', r"found\.csv: line 2: .*table"),
    ],
)
def test_files_without_detections_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_results(write(tmp_path, content, name))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: .*no such file"):
        read_results(tmp_path / "none.json")
    with pytest.raises(UserError, match=r"folder, expected .*results file"):
        read_results(tmp_path)


def test_all_wrong_entries_are_counted_and_named(tmp_path: Path) -> None:
    wrong = [
        GOOD | {"segment": [0]},
        GOOD | {"segment": [0, float("nan")]},
        GOOD | {"score": float("inf")},
        GOOD | {"score": "high"},
        GOOD | {"score": True},
        GOOD | {"label": 3.5},
        {"segment": [0, 1], "score": 0.5},
        [0, 1, "Dive", 0.5],
        GOOD | {"score": 10**400},
    ]
    content = json.dumps({"results": {"v": [GOOD, *wrong], "w": {"0": GOOD}}})
    with pytest.raises(UserError) as caught:
        read_results(write(tmp_path, content))
    message = str(caught.value)
    assert "found.json: 10 entries" in message
    assert '"v"[0]' not in message
    assert all(f'\n  "v"[{number}]: ' in message for number in range(1, 10))
    assert '\n  "w": found a dict, expected a list' in message


def test_wrong_lines_are_counted_and_named(tmp_path: Path) -> None:
    table = "video,start,end,label,score\nv,0,1,Dive,0.5\nv,0,1,Dive,nan\n,0,1,Dive,0.5\nv,0,1,,0.5\nv,0,1,a,b,0.5\n"
    with pytest.raises(UserError) as caught:
        read_results(write(tmp_path, table, "found.csv"))
    message = str(caught.value)
    assert "found.csv: 4 entries" in message
    assert [f"line {number}:" in message for number in range(2, 7)] == [False, True, True, True, True]


def test_a_video_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """A JSON reader would keep the last one and lose the others."""
    one = json.dumps([GOOD])
    with pytest.raises(UserError, match=r'found\.json: 1 (.|\n)*"v" .*more than once'):
        read_results(write(tmp_path, f'{{"results": {{"v": {one}, "w": {one}, "v": {one}}}}}'))
