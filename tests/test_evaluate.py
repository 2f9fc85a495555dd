"""Evaluation of results files on the command line, as a user would."""

import argparse
import errno
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from adatad_jax.errors import UserError
from adatad_jax.evaluate import given_results, main, make_parser, parse_tious
from adatad_jax.evaluation.summary import write_results
from adatad_jax.pipelines.evaluate_results import evaluate_results
from adatad_jax.postprocessing.detections import Detections
from adatad_jax.report.evaluated import evaluate_detections
from adatad_jax.report.page import write_evaluated
from tests.real_data import real_file

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5", [0.5]),
        ("0.3:0.1:0.7", [0.3, 0.4, 0.5, 0.6, 0.7]),
        ("0.5:0.05:0.95", [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]),
        ("0.1:0.1:0.9", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        ("0.75,0.2:0.2:0.5", [0.75, 0.2, 0.4]),
    ],
)
def test_lists_of_thresholds(text: str, expected: list[float]) -> None:
    assert parse_tious(text) == tuple(expected)


@pytest.mark.parametrize(
    "text", ["", "half", "0.5,", "nan", "0", "1.01", "-0.5", "0.5:0.7", "0.7:0.1:0.3", "0.1:0:0.9", "0.1:1e-9:0.9"]
)
def test_lists_that_are_none(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"expected|thresholds"):
        parse_tious(text)


def test_the_same_threshold_twice() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="different"):
        parse_tious("0.5,0.3:0.1:0.7")


def evaluated(output: Path, *arguments: str | Path) -> dict[str, Any]:
    main([*map(str, arguments), "--output", str(output)])
    assert (output / "report.html").stat().st_size > 10_000
    content: dict[str, Any] = json.loads((output / "metrics.json").read_text())
    return content


def test_real_detections(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = real_file("results/delu_thumos14_proposals.json")
    expected = json.loads(real_file("results/delu_expected.json").read_text())["mAP_no_nms"]["opentad"]
    annotations = real_file("annotations/thumos_14_anno.json")
    arguments = ("--results", results, "--annotations", annotations, "--subset", "validation")
    metrics = evaluated(tmp_path / "new" / "folder", *arguments)
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, rel=0, abs=1e-9)
    assert "detections in 87 of the 211 videos" in metrics["notes"][0]
    assert metrics["notes"][0] in capsys.readouterr().out
    assert metrics["analysis"]["false_positives"]["counts"]["true positive"] > 0
    assert set(metrics["recall"]) >= {"AR@1", "AR@100", "AUC", "recall@1x tIoU 0.5", "recall@5x tIoU 0.5"}


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Writes annotations of two videos, the first with two segments."""
    one, two, three = ({"segment": [k, k + 2], "label": label} for k, label in ((0, "Dive"), (4, "Jump"), (1, "Dive")))
    database = {
        "a": {"subset": "test", "annotations": [one, two], "duration": 8},
        "b": {"subset": "test", "annotations": [three], "duration": "8"},
    }
    path = tmp_path / "gt.json"
    path.write_text(json.dumps({"database": database}))
    return path


def test_a_table_with_all_options(truth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Finds one segment of a exactly and the other with tIoU 3/4; b and its detection are blocked."""
    table = tmp_path / "found.csv"
    table.write_text("video,start,end,label,score\na,0,2,Dive,0.5\na,4,5.5,Jump,0.5\nb,1,3,Dive,0.9\na,6,5,Sing,1\n")
    (tmp_path / "blocked.json").write_text('["b"]')
    (tmp_path / "classes.txt").write_text("Jump\nDive\n")
    (tmp_path / "videos").mkdir()
    options = {"tious": "0.5,0.8", "classes": tmp_path / "classes.txt", "blocked": tmp_path / "blocked.json"}
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    videos = ("--videos", tmp_path / "videos")
    metrics = evaluated(tmp_path / "out", "--results", table, "--annotations", truth, *flags, *videos)
    assert (metrics["mAP@0.5"], metrics["mAP@0.8"], metrics["average_mAP"]) == (1, 0.5, 0.75)
    assert metrics["per_class"] == {"Jump": {"AP@0.5": 1, "AP@0.8": 0}, "Dive": {"AP@0.5": 1, "AP@0.8": 1}}
    assert metrics["subset"] == "test"
    said = capsys.readouterr().out
    assert len(metrics["notes"]) == 3
    for note, beginning in zip(
        metrics["notes"], ("blocked", "1 detections of labels", "1 detections end"), strict=True
    ):
        assert note.startswith(beginning)
        assert f"note: {note}" in said


def test_nothing_is_written_where_nothing_can_be_measured(truth: Path, tmp_path: Path) -> None:
    entry = {"segment": [0, 1], "label": "Dive", "score": 1}
    out = tmp_path / "out"
    for results, message in (
        ({"v_a.mp4": [entry]}, r'no video of the detections(.|\n)*"v_a.mp4" as "a"'),
        ({"a": [entry | {"label": "Sing"}]}, "no label of the detections is in the ground truth"),
        ({"a": [entry, entry | {"score": np.nan}]}, "1 entries are no detections"),
        ({"a": []}, "no detection in it"),
    ):
        (tmp_path / "found.json").write_text(json.dumps({"results": results}))
        files = ["--results", str(tmp_path / "found.json"), "--annotations", str(truth), "--output", str(out)]
        with pytest.raises(UserError, match=message):
            main(files)
        with pytest.raises(UserError, match=r'no video of subset "val".*set --subset'):
            main([*files, "--subset", "val"])
        with pytest.raises(UserError, match=r"--videos=.*no such folder"):
            main([*files, "--videos", str(tmp_path / "none")])
    assert not out.exists()


class FullDisk(io.StringIO):
    """A terminal's output redirected to a full disk."""

    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_tables_and_files_do_not_depend_on_each_other(
    truth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Checks that a failure of one output does not lose the others, as an evaluation may take hours."""
    (tmp_path / "found.csv").write_text("video,start,end,label,score\na,0,2,Dive,0.5\n")
    files = ("--results", tmp_path / "found.csv", "--annotations", truth)
    out = tmp_path / "out"
    args = given_results(make_parser().parse_args([*map(str, files), "--output", str(out)]))
    with pytest.raises(OSError, match="No space"):
        evaluate_results(args, Console(file=FullDisk()))
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "report.html"]
    (out / "report.html").unlink()
    (out / "report.html").mkdir()
    with pytest.raises(UserError, match=r"report\.html: cannot be written"):
        evaluated(out, *files)
    assert "mAP" in capsys.readouterr().out


def test_folder_that_cannot_be_created(tmp_path: Path) -> None:
    """Covers a folder that could still be created when the evaluation began."""
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="new: cannot be created"):
        write_results(tmp_path / "file" / "new", {}, ())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"--config\b.*--checkpoint\b.*--results\b"),
        (["--results", "r.json"], r"--results\b.*--annotations\b.*--output\b"),
        (["--results", "r", "--annotations", "a", "--output", "o", "--config", "c.py"], r"--results\b.*--config\b"),
        (["--results", "r", "--annotations", "a", "--output", "o", "--config.seed=1"], r"--results\b.*--config\b"),
        (["--results", "r", "--annotations", "a", "--output", "o", "--step", "best"], r"--results\b.*--step\b"),
        (["--config", "configs/demo.py", "--subset", "a", "--tious", "0.5"], r"--subset, --tious\b.*--results\b"),
        (["--results", "r", "--annotations", "a", "--output", "o", "--tious", "2"], r'--tious: "2".* above 0\b.* 1\b'),
    ],
)
def test_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert re.search(rf"\berror: .*{message}", capsys.readouterr().err)


def test_a_model_that_finds_nothing_scores_zero_and_is_told_so(tmp_path: Path) -> None:
    """Checks that no detection is no error here, unlike in a results file: the evaluation may have taken hours."""
    truth = {"a": (np.array([[0.0, 1], [2, 3]]), np.array([0, 1]))}
    nothing = {"a": Detections(np.empty((0, 2)), np.empty(0), np.empty(0))}
    found = evaluate_detections(
        truth, nothing, {"a": 4.0}, ("x", "y"), (0.5,), title="t", origin="o", subset="s", files={}
    )
    write_evaluated(tmp_path, found, {})
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["average_mAP"] == 0
    assert set(metrics["recall"].values()) == {0}
    assert metrics["notes"] == ["there is no detection at all: every figure is 0"]
