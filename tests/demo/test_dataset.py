"""The demo's data set on disk: its videos hold what the annotations declare."""

import json
from pathlib import Path
from typing import Any

import av
import pytest
from av.video.frame import PictureType

from adatad_jax.demo.dataset import generate
from adatad_jax.demo.scenes import KINDS
from adatad_jax.errors import UserError

COUNTS = {"train": 6, "test": 2}
SECONDS = (5.0, 7.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo")
    generate(path, seed=5, train_videos=COUNTS["train"], test_videos=COUNTS["test"], seconds=SECONDS, workers=1)
    return path


@pytest.fixture(scope="module")
def database(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "annotations.json").read_text())["database"]


def test_names_subsets_and_classes(folder: Path, database: dict[str, Any]) -> None:
    expected = {
        f"{prefix}_{index:03d}": subset
        for prefix, subset in (("train", "training"), ("test", "validation"))
        for index in range(COUNTS[prefix])
    }
    assert {name: entry["subset"] for name, entry in database.items()} == expected
    assert {path.stem for path in (folder / "videos").glob("*.mp4")} == set(expected)
    assert (folder / "classes.txt").read_text().split() == list(KINDS)


def test_annotations_are_well_formed(database: dict[str, Any]) -> None:
    for entry in database.values():
        assert SECONDS[0] - 0.05 <= entry["duration"] <= SECONDS[1] + 0.05
        assert entry["annotations"]
        end_before = 0.0
        for annotation in entry["annotations"]:
            start, end = annotation["segment"]
            assert end_before < start < end < entry["duration"]
            assert annotation["label"] in KINDS
            end_before = end


def test_videos_hold_what_is_declared(folder: Path, database: dict[str, Any]) -> None:
    sizes, rates = set(), set()
    for name, entry in database.items():
        with av.open(str(folder / "videos" / f"{name}.mp4")) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert stream.average_rate is not None
            frames = list(container.decode(stream))
            assert len(frames) == entry["frame"]
            assert entry["duration"] == pytest.approx(len(frames) / float(stream.average_rate), abs=1e-3)
            assert PictureType.B in {frame.pict_type for frame in frames}
            assert stream.width % 2 == stream.height % 2 == 0
            sizes.add((stream.width, stream.height))
            rates.add(stream.average_rate)
    assert len(sizes) > 1
    assert len(rates) > 1


def test_same_seed_same_annotations_whatever_the_workers(folder: Path, tmp_path: Path) -> None:
    generate(tmp_path, seed=5, train_videos=COUNTS["train"], test_videos=COUNTS["test"], seconds=SECONDS, workers=2)
    assert (tmp_path / "annotations.json").read_bytes() == (folder / "annotations.json").read_bytes()


def test_another_seed_differs(folder: Path, tmp_path: Path) -> None:
    generate(tmp_path, seed=6, train_videos=1, test_videos=1, seconds=SECONDS, workers=1)
    other = json.loads((tmp_path / "annotations.json").read_text())["database"]
    first = json.loads((folder / "annotations.json").read_text())["database"]
    assert other["train_000"] != first["train_000"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"train_videos": 0}, r"\btrain_videos is 0\b"),
        ({"test_videos": 0}, r"\btest_videos 0\b"),
        ({"seconds": (1.0, 9.0)}, r"\bseconds \(1\.0, 9\.0\)"),
    ],
)
def test_wrong_counts_and_lengths_are_refused(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"train_videos": 1, "test_videos": 1} | wrong
    with pytest.raises(UserError, match=rf"^demo data: .*{message}"):
        generate(tmp_path, seed=0, **arguments)
    assert not any(tmp_path.iterdir())
