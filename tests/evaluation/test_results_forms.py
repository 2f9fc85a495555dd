"""Results files of other tools: every form, recognised by content, and every file that is not read named as what it is.

The files of `cases/` were made by hand; the pickle was written by ActionFormer's own statement (`pickle.dump` of a
dictionary of columns).
"""

import gzip
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adatad_jax.errors import UserError
from adatad_jax.evaluate import main
from adatad_jax.evaluation.results_file import read_results
from adatad_jax.evaluation.results_labels import read_class_list

CASES = Path(__file__).parent / "cases"
COLUMNS = {
    "video-id": ["v1", "v2"],
    "t-start": np.array([1, 20], np.float32),
    "t-end": np.array([5, 25], np.float32),
    "label": np.array([0, 1]),
    "score": np.array([0.9, 0.8], np.float32),
}
SUBMITTED = {"verb": 3, "noun": 1, "action": "3,1", "score": 0.9, "segment": [1.0, 5.0]}


def measured(results: Path, output: Path, *options: str | Path, truth: Path = CASES / "gt.json") -> dict[str, Any]:
    files = ["--results", results, "--annotations", truth, "--output", output]
    main([str(argument) for argument in (*files, *options)])
    content: dict[str, Any] = json.loads((output / "metrics.json").read_text())
    return content


def classes_file(folder: Path, text: str) -> Path:
    path = folder / "classes.txt"
    path.write_text(text)
    return path


def test_actionformers_columns(tmp_path: Path) -> None:
    """One of jump's one segment and none of dance's two are found: the mean is a half."""
    assert measured(CASES / "actionformer.csv", tmp_path / "out")["average_mAP"] == 0.5


def test_integer_labels_need_a_class_list(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"intlabel\.json: .*numbers \(0, 1\).*dance, jump.*--classes=FILE"):
        measured(CASES / "intlabel.json", tmp_path / "out")
    listed = classes_file(tmp_path, "jump\ndance\n")
    metrics = measured(CASES / "intlabel.json", tmp_path / "out", "--classes", listed)
    # jump is found whole, and one of dance's two segments: (1 + 1/2) / 2
    assert metrics["average_mAP"] == 0.75
    assert metrics["per_class"].keys() == {"jump", "dance"}
    assert any("0 is jump, 1 is dance" in note and "counted from 0" in note for note in metrics["notes"])


def test_a_submission_of_epic_kitchens(tmp_path: Path) -> None:
    path = CASES / "epic_submission.json"
    with pytest.raises(UserError, match=r"EPIC-Kitchens submission.*--task verb, --task noun or --task action"):
        measured(path, tmp_path / "out")
    with pytest.raises(UserError, match=r"numbers \(3\).*--classes=FILE"):
        measured(path, tmp_path / "out", "--task", "verb")
    with pytest.raises(UserError, match=r"3,1.*dance, jump"):
        measured(path, tmp_path / "out", "--task", "action")
    table = classes_file(tmp_path, "id,key,instances,category\n3,jump,9,move\n1,dance,8,move\n")
    metrics = measured(path, tmp_path / "out", "--task", "verb", "--classes", table)
    assert metrics["average_mAP"] == 0.5
    assert any("3 is jump" in note for note in metrics["notes"])


@pytest.mark.parametrize(("task", "label"), [("verb", "3"), ("noun", "id_001"), ("action", "3,1"), ("action", "03, 1")])
def test_annotations_that_are_numbers_need_no_list(task: str, label: str, tmp_path: Path) -> None:
    segments = [{"label": label, "segment": [1, 5]}]
    truth = tmp_path / "gt.json"
    truth.write_text(json.dumps({"database": {"v1": {"subset": "val", "duration": 60, "annotations": segments}}}))
    metrics = measured(CASES / "epic_submission.json", tmp_path / "out", "--task", task, truth=truth)
    assert metrics["average_mAP"] == 1


def test_a_task_is_for_submissions_alone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"one label each, but --task verb .*leave out --task"):
        measured(CASES / "actionformer.csv", tmp_path / "out", "--task", "verb")


def test_a_submission_of_ego4d(tmp_path: Path) -> None:
    found = {"v1": [{"segment": [1, 5], "label": "jump", "score": 0.9}]}
    path = tmp_path / "result_detection.json"
    whole = {"version": "1.0", "challenge": "ego4d_moment_queries", "detect_results": found, "retrieve_results": {}}
    path.write_text(json.dumps(whole))
    metrics = measured(path, tmp_path / "out")
    assert metrics["average_mAP"] == 0.5
    assert any("Ego4D" in note and "retrieve_results" in note for note in metrics["notes"])


def test_columns_in_json_are_the_table(tmp_path: Path) -> None:
    path = tmp_path / "columns.json"
    path.write_text(json.dumps({k: v if isinstance(v, list) else v.tolist() for k, v in COLUMNS.items()}))
    listed = read_class_list(classes_file(tmp_path, "jump\ndance\n"), ["jump", "dance"])
    found = read_results(path, ["dance", "jump"], listed)
    other = read_results(CASES / "intlabel.json", ["dance", "jump"], listed)
    assert found.classes == other.classes
    for video, own in other.detections.items():
        np.testing.assert_array_equal(found.detections[video].labels, own.labels)
        np.testing.assert_array_equal(found.detections[video].segments, own.segments)
        np.testing.assert_allclose(found.detections[video].scores, own.scores, rtol=1e-6)  # float32 in the columns
    path.write_text(json.dumps({k: list(range(3 if k == "score" else 2)) for k in COLUMNS}))
    with pytest.raises(UserError, match=r"differ in length \(.*score 3"):
        read_results(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "table",
    [
        ["video;start;end;label;score", "v1;1,5;3,25;jump, high;,5", "v1;4;5;dance;1e-3"],
        ["t-start\tt-end\tvideo-id\tscore\tlabel", "1.5\t3.25\tv1\t0,5\tjump, high", "4\t5\tv1\t0.001\tdance"],
        ["Video,Start,End,Label,Score,note", 'v1,1.5,3.25,"jump, high",0.5,', "v1,4,5,dance,1e-3,"],
    ],
)
def test_tables_of_spreadsheets(table: list[str], newline: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "found.csv"
    path.write_bytes(newline.join([*table, ""]).encode(encoding))
    found, classes, _ = read_results(path)
    assert classes == ("jump, high", "dance")
    assert found["v1"].segments.tolist() == [[1.5, 3.25], [4, 5]]
    assert found["v1"].scores.tolist() == [0.5, 0.001]


def write_pickle(path: Path, content: Any, protocol: int) -> None:
    path.write_bytes(pickle.dumps(content, protocol=protocol))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["eval_results.pkl", "found.csv", "found 'it'.json"])
def test_a_pickle_is_named_and_its_line_converts_it(protocol: int, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write_pickle(path, COLUMNS, protocol)
    line = advised(path, r"a Python pickle; .*never opened")
    exec(line)
    (converted,) = set(tmp_path.iterdir()) - {path}
    found = read_results(converted, (), listed_here(tmp_path))
    assert [own.labels.tolist() for own in found.detections.values()] == [[0], [1]]


def test_actionformers_own_pickle(tmp_path: Path) -> None:
    path = tmp_path / "eval_results.pkl"
    path.write_bytes((CASES / "eval_results.pkl").read_bytes())
    exec(advised(path, "a Python pickle"))
    metrics = measured(path.with_suffix(".json"), tmp_path / "out", "--classes", classes_file(tmp_path, "jump\ndance"))
    assert metrics["average_mAP"] == 0.75


def listed_here(folder: Path) -> Any:
    return read_class_list(classes_file(folder, "jump\ndance\n"), ["jump", "dance"])


def advised(path: Path, message: str) -> str:
    with pytest.raises(UserError, match=message) as caught:
        read_results(path)
    assert str(path) in str(caught.value)
    return str(caught.value).splitlines()[-1].strip()


class Hostile:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize("protocol", range(6))
def test_no_pickle_runs(protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pickle(tmp_path / "a.pkl", {"video-id": Hostile()}, protocol)
    advised(tmp_path / "a.pkl", "a Python pickle")
    assert not Path("ran").exists()


@pytest.mark.parametrize("old", [False, True])
def test_files_of_torch_and_numpy_are_named_and_converted(old: bool, tmp_path: Path) -> None:
    columns = {k: v if isinstance(v, list) else torch.from_numpy(v) for k, v in COLUMNS.items()}
    torch.save(columns, tmp_path / "a.pkl", _use_new_zipfile_serialization=not old)
    np.savez(tmp_path / "b.npz", **{k: np.array(v) for k, v in COLUMNS.items()})
    np.save(tmp_path / "c.npy", COLUMNS, allow_pickle=True)
    for name, words in (("a.pkl", "PyTorch file"), ("b.npz", r"NumPy arrays \(\.npz\)"), ("c.npy", "NumPy array")):
        exec(advised(tmp_path / name, words))
        found = read_results((tmp_path / name).with_suffix(".json"), (), listed_here(tmp_path))
        assert found.classes == ("jump", "dance")


def packed() -> dict[str, bytes]:
    workbook, plain = io.BytesIO(), io.BytesIO()
    for stream, member in ((workbook, "xl/workbook.xml"), (plain, "a.json")):
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(member, "{}")
    return {
        "compressed by gzip": gzip.compress(b"{}"),
        "a Parquet table": b"PAR1" + bytes(20) + b"PAR1",
        "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(20),
        "an Excel workbook": workbook.getvalue(),
        "a ZIP archive": plain.getvalue(),
        "a damaged ZIP archive": plain.getvalue()[:20],
    }


@pytest.mark.parametrize("words", packed())
@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.parquet"])
def test_other_binary_files_are_named(words: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(packed()[words])
    with pytest.raises(UserError, match=rf"{name}: {words}\b") as caught:
        read_results(tmp_path / name)
    assert "UTF-8" not in str(caught.value)


@pytest.mark.parametrize("text", ["(a table)", "c, d\n", "]", "}", "(x."])
def test_text_is_no_pickle(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=r"line 1: expected the column names"):
        read_results(tmp_path / "a.csv")


def test_entries_are_not_to_be_left_out_where_that_means_all(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    path.write_text(json.dumps({"results": {"v1": [{"segment": [1, 5], "class": "jump", "confidence": 1}] * 2}}))
    with pytest.raises(UserError, match=r"none of its 2 entries is a detection") as caught:
        read_results(path)
    assert "without them" not in str(caught.value)
