"""Labels of videos from folders and tables, class lists, and subsets."""

import logging
import re
from pathlib import Path

import pytest

from adatad_jax.config.clip_fields import LabelledClipsConfig
from adatad_jax.data.annotation_table import split_by_hash
from adatad_jax.data.cache import CacheTask, cache_video
from adatad_jax.data.clip_labels import LabelledVideos, load_labels, usable_labelled
from adatad_jax.data.sampling import EveryFrame
from adatad_jax.errors import UserError
from tests.data.clip_files import write_numbered
from tests.data.test_clip_videos import touch


def labels_of(found: LabelledVideos) -> tuple[dict[str, str], dict[str, str]]:
    training, test = ({name: one.label for name, one in part.items()} for part in (found.training, found.test))
    return training, test


def in_folder(folder: Path, **fields: object) -> LabelledClipsConfig:
    return LabelledClipsConfig(videos=str(folder), **fields)  # type: ignore[arg-type]


def with_table(folder: Path, text: str, **fields: object) -> LabelledClipsConfig:
    (folder / "labels.csv").write_text(text)
    return in_folder(folder, labels=str(folder / "labels.csv"), **fields)


def test_labels_and_subsets_of_folders(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{place}.mp4" for place in ("train/run/a", "train/jump/b", "val/run/a", "testing/run/c")))
    data = in_folder(tmp_path, train_subset="train", test_subset="val")
    found = load_labels(data)
    assert found.classes == ("jump", "run")
    assert labels_of(found) == ({"train/jump/b": "jump", "train/run/a": "run"}, {"val/run/a": "run"})
    assert found.training["train/run/a"].file == tmp_path / "train/run/a.mp4"
    with pytest.raises(UserError, match=r'no video of subset "test".*"testing" \(1 videos\), "train" \(2 videos\)'):
        load_labels(in_folder(tmp_path, train_subset="train", test_subset="test"))
    assert load_labels(in_folder(tmp_path, train_subset="train", test_subset="test"), with_test=False).test == {}


def test_each_label_is_split_by_itself_as_detection_splits(tmp_path: Path) -> None:
    names = [f"{label}/v{number}" for label in ("run", "jump") for number in range(20)]
    touch(tmp_path, *(f"{name}.mp4" for name in names))
    training, test = labels_of(load_labels(in_folder(tmp_path, split=0.7)))
    for label in ("run", "jump"):
        own = [name for name in names if name.startswith(label)]
        expected = {name for name, subset in split_by_hash(own, 0.7).items() if subset == "training"}
        assert {name for name in training if name.startswith(label)} == expected
    assert sorted([*training, *test]) == sorted(names)
    touch(tmp_path, "run/v99.mp4", "swim/v0.mp4")  # move no other one
    assert labels_of(load_labels(in_folder(tmp_path, split=0.7)))[0].items() >= training.items()


def test_the_only_video_of_a_label_is_for_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "run/a.mp4", "run/b.mp4", "jump/c.mp4")
    with caplog.at_level(logging.WARNING):
        found = load_labels(in_folder(tmp_path))
    assert "jump/c" in found.training
    assert len(found.test) == 1
    assert re.search(r"\b1 labels\b.*\bone video\b", caplog.text)
    (tmp_path / "run/b.mp4").unlink()
    with pytest.raises(UserError, match="second video"):
        load_labels(in_folder(tmp_path))
    assert len(load_labels(in_folder(tmp_path), with_test=False).training) == 2


def test_folders_that_give_no_labels(tmp_path: Path) -> None:
    touch(tmp_path, "train/run/a.mp4", "train/jump/b.mp4", "val/run/c.mp4", "d.mp4")
    with pytest.raises(UserError, match=r"4 of 4 videos\b.*LABEL/VIDEO") as error:
        load_labels(in_folder(tmp_path))
    assert "--config.data.train_subset=training" in str(error.value)
    assert '"train" (2 videos), "val" (1 videos)' in str(error.value)
    with pytest.raises(UserError, match=r"1 of 4 videos\b") as error:
        load_labels(in_folder(tmp_path, train_subset="train", test_subset="val"))
    assert str(error.value).splitlines()[1:] == ["  d"]


def test_folders_of_subsets_are_no_labels(tmp_path: Path) -> None:
    touch(tmp_path, "training/a.mp4", "validation/b.mp4")
    with pytest.raises(UserError, match=r"2 of 2 videos\b.*two folder.*SUBSET/LABEL/VIDEO"):
        load_labels(in_folder(tmp_path))


def test_labels_of_a_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "a/x.mp4", "y.avi", "z.mkv", "spare.mp4")
    data = with_table(tmp_path, "video,label,subset\na/x,run,training\ny.avi,jump,training\nz,run,validation\n")
    with caplog.at_level(logging.WARNING):
        found = load_labels(data)
    assert labels_of(found) == ({"a/x": "run", "y": "jump"}, {"z": "run"})
    assert found.training["y"].file == tmp_path / "y.avi"
    assert "1 videos" in caplog.text
    assert "spare.mp4" in caplog.text


def test_a_table_that_does_not_fit_the_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "x.mp4", "y.mp4")
    text = "video,label\nx,run\ny,jump\nx,jump\nnone,run\n"
    with pytest.raises(UserError, match=r"labels\.csv: 2 problem") as error:
        load_labels(with_table(tmp_path, text))
    assert f"line 5: {tmp_path}/none: no file" in str(error.value)
    assert 'line 2 "run", line 4 "jump"' in str(error.value)
    data = with_table(tmp_path, "video,label\nx,run\ny,jump\nx,run\nnone,run\n", skip_broken=True)
    with caplog.at_level(logging.WARNING):
        assert list(load_labels(data, with_test=False).training) == ["x", "y"]
    assert "1 lines repeat" in caplog.text
    assert "line 5" in caplog.text
    with pytest.raises(UserError, match=r"config\.data\.videos=/nowhere: no such folder"):
        load_labels(LabelledClipsConfig(videos="/nowhere", labels=data.labels))


def test_a_class_list_gives_the_order_and_must_hold_every_label(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, *(f"{label}/{name}.mp4" for label in ("run", "jump") for name in "ab"))
    classes = tmp_path / "classes.txt"
    classes.write_text("swim\nrun\njump\n")
    with caplog.at_level(logging.WARNING):
        assert load_labels(in_folder(tmp_path, classes=str(classes))).classes == ("swim", "run", "jump")
    assert re.search(r"\b1 of 3 classes\b.*: swim", caplog.text)
    classes.write_text("swim\nrun\n")
    with pytest.raises(UserError, match=r'1 labels\b.*classes\.txt of 2 classes(.|\n)*"jump" \(2 videos\)'):
        load_labels(in_folder(tmp_path, classes=str(classes)))


def test_one_class_is_too_few(tmp_path: Path) -> None:
    touch(tmp_path, "run/a.mp4", "run/b.mp4")
    with pytest.raises(UserError, match=r'only class is "run"'):
        load_labels(in_folder(tmp_path))


def test_opened_videos_have_the_index_of_their_class(tmp_path: Path) -> None:
    for name in ("run/a", "jump/b", "run/c"):
        write_numbered(tmp_path / f"{name}.mkv", 16)
    data = in_folder(tmp_path)
    found = load_labels(data, with_test=False)
    opened = usable_labelled({**found.training, **found.test}, ("jump", "run"), data)
    assert {name: video.label for name, video in opened.items()} == {
        name: {"run": 1, "jump": 0}[name.split("/")[0]] for name in found.training
    }


def test_tables_name_videos_of_a_cache_too(tmp_path: Path) -> None:
    source = write_numbered(tmp_path / "x.mkv", 16)
    for name in ("a/x", "y"):
        cache_video(CacheTask(tmp_path / "cache", name, source, (20,), EveryFrame(), None))
    (tmp_path / "labels.csv").write_text("video,label\na/x.mp4,run\ny,jump\n")
    data = LabelledClipsConfig(cache=str(tmp_path / "cache"), labels=str(tmp_path / "labels.csv"), short_side=20)
    assert labels_of(load_labels(data, with_test=False)) == ({"a/x": "run", "y": "jump"}, {})
    (tmp_path / "labels.csv").write_text("video,label\na/x.mp4,run\na/x,jump\ny,jump\nz,run\n")
    with pytest.raises(UserError, match="2 problem") as error:
        load_labels(data)
    assert "line 5: z: not in the cache" in str(error.value)
    assert 'line 2 "run", line 3 "jump"' in str(error.value)
