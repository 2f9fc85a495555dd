"""One Unicode form for names: two spellings that look alike are one name in every file, and that is said."""

import json
import logging
import unicodedata
from pathlib import Path

import pytest

from adatad_jax.annotations.text import read_json
from adatad_jax.config.fields import Config
from adatad_jax.data.annotations import load_annotations, read_classes, select_subset
from adatad_jax.data.subset import load_videos
from adatad_jax.errors import UserError
from adatad_jax.evaluation.results_file import read_results
from adatad_jax.evaluation.truth_file import load_truth
from adatad_jax.postprocessing.video_classifier import load_video_classifier
from adatad_jax.video.spelling import normal, shown
from tests.video.broken_files import write_video

NFC, NFD = (unicodedata.normalize(form, "Café") for form in ("NFC", "NFD"))


def annotations(video: str, *labels: str) -> dict[str, object]:
    segments = [{"segment": [0.5, 1.5 + k], "label": label} for k, label in enumerate(labels)]
    return {"database": {video: {"subset": f"{NFD}-train", "duration": 4, "frame": 100, "annotations": segments}}}


@pytest.mark.parametrize("escaped", [False, True])
def test_two_spellings_of_a_label_are_one_class_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, escaped: bool
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(annotations(NFD, NFC, NFD, "run"), ensure_ascii=escaped))
    with caplog.at_level(logging.WARNING):
        videos = load_annotations(path)
    assert list(videos) == [NFC]
    assert videos[NFC].labels == (NFC, NFC, "run")
    assert list(select_subset(videos, f"{NFC}-train", path)) == list(select_subset(videos, f"{NFD}-train", path))
    assert "a.json" in caplog.text
    assert NFC in caplog.text
    caplog.clear()
    path.write_text(json.dumps(annotations(NFD, NFD), ensure_ascii=escaped))
    load_annotations(path)
    assert not caplog.text, "one spelling throughout is nothing to say"


@pytest.mark.parametrize("escaped", [False, True])
def test_two_spellings_of_a_key_are_a_repeated_key(tmp_path: Path, escaped: bool) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({NFC: 1, "b": 2, NFD: 3}, ensure_ascii=escaped))
    assert read_json(path) == ({NFC: 3, "b": 2}, [NFC])


def test_a_table_finds_the_file_in_either_form(tmp_path: Path) -> None:
    write_video(tmp_path / f"{NFD}.mp4", 40)
    (tmp_path / "a.csv").write_text(f"video,start,end,label,subset\n{NFC}.mp4,0,1,{NFC},{NFC}\n{NFD},0,1,{NFD},{NFD}\n")
    config = Config().with_fields({"data.annotations": str(tmp_path / "a.csv"), "data.videos": str(tmp_path)})
    videos = load_videos(config)
    assert list(videos) == [NFC]
    assert (videos[NFC].labels, videos[NFC].subset) == ((NFC, NFC), NFC)


def test_results_and_truth_and_class_lists_meet_in_one_form(tmp_path: Path) -> None:
    for name, content in (
        ("truth.json", annotations(NFD, NFD)),
        ("results.json", {"results": {NFC: [{"segment": [0, 1], "label": NFC, "score": 0.5}]}}),
        ("scores.json", {"results": {NFD: [0.25, 0.75]}, "class": ["run", NFD]}),
    ):
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "results.csv").write_text(f"video,start,end,label,score\n{NFD},0,1,{NFD},0.5\n")
    (tmp_path / "classes.txt").write_text(f"run\n{NFD}\n")
    classes = read_classes(tmp_path / "classes.txt")
    assert classes == ("run", NFC)
    truth = load_truth(tmp_path / "truth.json").with_classes(classes)
    assert (list(truth.truth), truth.classes) == ([NFC], classes)
    for name in ("results.json", "results.csv"):
        results = read_results(tmp_path / name, classes)
        assert (list(results.detections), results.classes) == ([NFC], classes)
    assert load_video_classifier(tmp_path / "scores.json", [NFC], topk=1, sqrt=False).classes == classes
    (tmp_path / "classes.txt").write_text(f"{NFC}\n{NFD}\n")
    with pytest.raises(UserError, match=f"once.*{NFC}"):
        read_classes(tmp_path / "classes.txt")


def test_messages_tell_the_forms_apart() -> None:
    assert normal(NFD) == NFC
    assert shown(NFC) == NFC
    assert r"Cafe\u0301" in shown(NFD)
