"""JSON and CSV files, read back."""

import csv
import io
import json

import pytest
from hypothesis import given

from adatad_jax.outputs.detection_files import to_csv, to_json
from adatad_jax.postprocessing.detections import Detection
from tests.outputs.detections import ODD_LABELS, lists_of


def test_an_example() -> None:
    detections = [Detection(1.5, 2.25, "jump, high", 0.25), Detection(0, 1, "run", 0.5)]
    assert to_csv("party", detections) == (
        'video,start,end,label,score\nparty,0,1,run,0.5\nparty,1.5,2.25,"jump, high",0.25\n'
    )
    assert json.loads(to_json({"video": "party.mp4", "duration": 3.0, "fps": 25.0}, detections)) == {
        "video": "party.mp4",
        "duration": 3.0,
        "fps": 25.0,
        "detections": [
            {"segment": [0, 1], "label": "run", "score": 0.5},
            {"segment": [1.5, 2.25], "label": "jump, high", "score": 0.25},
        ],
    }


def test_a_duration_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"duration": float("nan")}, [])


@given(lists_of(ODD_LABELS))
def test_everything_comes_back(detections: list[Detection]) -> None:
    ranked = sorted(detections, key=lambda detection: -detection.score)
    rows = json.loads(to_json({"video": "ü"}, detections).encode())["detections"]
    assert [Detection(*row["segment"], row["label"], row["score"]) for row in rows] == ranked
    table = to_csv("ü", detections).encode().decode()
    assert [
        (row["video"], float(row["start"]), float(row["end"]), row["label"], float(row["score"]))
        for row in csv.DictReader(io.StringIO(table, newline=""))
    ] == [("ü", start, end, label.replace("\ud800", "?"), score) for start, end, label, score in ranked]
