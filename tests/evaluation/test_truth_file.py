import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adatad_jax.errors import UserError
from adatad_jax.evaluation.truth_file import Annotated, leave_out, load_truth, read_blocked
from adatad_jax.postprocessing.detections import Detections
from tests.real_data import real_file


def annotation(start: float, end: float, label: str = "Dive") -> dict[str, Any]:
    return {"segment": [start, end], "label": label}


DATABASE: dict[str, Any] = {
    "b": {"subset": "validation", "annotations": [annotation(0, 1, "Jump"), annotation(2, 3, "Ambiguous")]},
    "a": {"subset": "validation", "duration": 9.5, "annotations": [annotation(4, 5)]},
    "c": {"subset": "validation_extra", "annotations": [annotation(0, 1, "Swim")]},
    "d": {"subset": "validation", "annotations": []},
}


def write(folder: Path, content: Any, name: str = "gt.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def plain(annotated: Annotated) -> dict[str, Any]:
    return {
        video: [[*segment, annotated.classes[label]] for segment, label in zip(s.tolist(), k.tolist(), strict=True)]
        for video, (s, k) in annotated.truth.items()
    }


def test_reads_exactly_one_subset_with_every_label(tmp_path: Path) -> None:
    """Covers a file without frame counts and without most durations."""
    annotated = load_truth(write(tmp_path, {"database": DATABASE}), "validation").with_classes(["Jump"])
    assert annotated.classes == ("Jump", "Ambiguous", "Dive")
    assert plain(annotated) == {"b": [[0, 1, "Jump"], [2, 3, "Ambiguous"]], "a": [[4, 5, "Dive"]]}
    assert list(annotated.durations) == ["b", "a", "d"]
    np.testing.assert_array_equal(list(annotated.durations.values()), [np.nan, 9.5, np.nan])


@pytest.mark.parametrize(
    ("file", "subset"),
    [
        ("annotations/thumos_14_anno.json", "validation"),
        ("annotations/thumos14_actionformer.json", "Test"),
        ("results/mmaction2_eval_localization_gt.json", "validation"),
    ],
)
def test_real_files_are_read_as_they_are(file: str, subset: str) -> None:
    path = real_file(file)
    content = json.loads(path.read_text())
    expected = {
        name: [[*entry["segment"], entry["label"]] for entry in video["annotations"]]
        for name, video in content.get("database", content).items()
        if video["subset"] == subset and video["annotations"]
    }
    annotated = load_truth(path, subset)
    assert plain(annotated) == expected
    assert list(annotated.truth) == list(expected)


def test_activitynet_as_bmn_ships_it() -> None:
    path = real_file("annotations/activitynet13/anet_anno_action.json")
    annotated = load_truth(path, "validation")
    assert (len(annotated.truth), len(annotated.classes)) == (4728, 200)
    assert np.isfinite(list(annotated.durations.values())).all()


def test_a_subset_has_to_be_chosen_where_there_are_several(tmp_path: Path) -> None:
    path = write(tmp_path, {"database": DATABASE})
    with pytest.raises(
        UserError, match=r'gt\.json: .*"validation" \(3 videos\), "validation_extra" \(1 videos\).*--subset'
    ):
        load_truth(path)
    with pytest.raises(UserError, match=r'gt\.json: .*no video .*"test".*"validation_extra".*--subset'):
        load_truth(path, "test")
    bare = write(tmp_path, {"database": {"d": DATABASE["d"]}}, "bare.json")
    with pytest.raises(UserError, match=r'bare\.json: no segment .* 1 videos .*"validation".*--subset'):
        load_truth(bare)
    one = write(tmp_path, {"database": {"c": DATABASE["c"]}}, "one.json")
    assert load_truth(one).subset == "validation_extra"


@pytest.mark.parametrize(
    "entry",
    [
        {"annotations": []},
        {"subset": "test", "annotations": [{"label": "Dive"}]},
        {"subset": "test", "annotations": [annotation(0, float("nan"))]},
        {"subset": "test", "annotations": [{"segment": [0, 1, 2], "label": "Dive"}]},
        {"subset": "test", "annotations": [{"segment": [0, "one"], "label": "Dive"}]},
        {"subset": "test", "annotations": [], "duration": 0},
        [],
    ],
)
def test_names_a_malformed_video(tmp_path: Path, entry: object) -> None:
    with pytest.raises(UserError, match=r'gt\.json: 1 problem(.|\n)*video "v1"'):
        load_truth(write(tmp_path, {"database": {"v1": entry, "c": DATABASE["c"]}}), "test")


def test_a_table_with_and_without_subsets(tmp_path: Path) -> None:
    table = "video,start,end,label,subset\na,0,1,Dive,train\nb,2,3.5,Jump,test\nb,0,1,Dive,test\nc,,,,test\n"
    annotated = load_truth(write(tmp_path, table, "gt.csv"), "test")
    assert plain(annotated) == {"b": [[2, 3.5, "Jump"], [0, 1, "Dive"]]}
    assert list(annotated.durations) == ["b", "c"]
    bare = write(tmp_path, "video,start,end,label\na,0,1,Dive\nb,2,3.5,Jump\n", "bare.csv")
    assert list(load_truth(bare).truth) == ["a", "b"]
    with pytest.raises(UserError, match=r'bare\.csv: .*"test".*no column subset.*--subset'):
        load_truth(bare, "test")
    with pytest.raises(UserError, match=r'mixed\.csv: 1 problem(.|\n)*"a" .*subsets test, train'):
        load_truth(write(tmp_path, table + "a,2,3,Dive,test\n", "mixed.csv"), "test")


def test_blocked_videos_leave_both_sides(tmp_path: Path) -> None:
    annotated = load_truth(write(tmp_path, {"database": DATABASE}), "validation")
    one = Detections(np.array([[0, 1]]), np.array([0.5]), np.array([0]))
    results = {"b": one, "a": one, "elsewhere": one}
    kept, found, note = leave_out(["b", "d", "elsewhere"], annotated, results)
    assert (list(kept.truth), list(kept.durations), list(found)) == (["a"], ["a"], ["a"])
    assert re.search(r"blocked .*\b2 annotated videos.*\b2 detections in 2 videos", note)
    assert re.search(r'no video .* 1 blocked .*"v_a" as "a"', leave_out(["v_a"], annotated, results)[2])
    with pytest.raises(UserError, match=r"2 blocked videos .*no detections"):
        leave_out(["b", "x"], annotated, {"b": one, "a": Detections(*(np.empty(0),) * 3)})
    with pytest.raises(UserError, match=r"2 blocked videos .*no annotations"):
        leave_out(["b", "a"], annotated, results)
    assert read_blocked(write(tmp_path, ["a", "b"])) == ("a", "b")
    with pytest.raises(UserError, match=r"gt\.json: found .*'a': 1.*expected a list"):
        read_blocked(write(tmp_path, {"a": 1}))
