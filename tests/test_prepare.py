"""`python -m adatad_jax.prepare` on the demo's videos: its files, its checks, and interruptions."""

import fcntl
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from adatad_jax import prepare
from adatad_jax.config.build_clips import check_finetuning
from adatad_jax.config.clip_fields import FinetuningConfig
from adatad_jax.config.load import load_config, load_record
from adatad_jax.data.cache import cached_names, open_cache
from adatad_jax.data.clip_labels import load_labels, usable_labelled
from adatad_jax.data.clip_views import ClipViews
from adatad_jax.data.clips import finetuning_clips
from adatad_jax.data.sampling import make_sampling
from adatad_jax.data.subset import load_classes, load_subset
from adatad_jax.demo.dataset import generate
from adatad_jax.errors import UserError
from adatad_jax.video.decode import frames_at, open_video
from adatad_jax.video.transforms import resize_short_side
from tests.data.clip_files import write_numbered

CONFIG = """
from adatad_jax.config import default

def get_config():
    config = default()
    config.data.videos, config.data.annotations = {videos!r}, {annotations!r}
    config.data.stride, config.data.window = 2, 64
    config.data.train_short_side, config.data.test_short_side, config.data.crop = 40, 32, 32
    return config
"""


class Place(NamedTuple):
    """A copy of the data set, its configuration, and the folder of its cache."""

    videos: Path
    config: Path
    cache: Path

    def run(self, *arguments: str) -> int:
        """Runs the command, and returns its exit code."""
        try:
            prepare.main([f"--config={self.config}", f"--output={self.cache}", *arguments])
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    def states(self) -> dict[str, int]:
        """Returns file name -> time of writing, in nanoseconds."""
        return {path.name: path.stat().st_mtime_ns for path in self.cache.glob("*/*")}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    generate(path, seed=0, train_videos=3, test_videos=2, seconds=(3.0, 6.0), workers=1)
    return path


@pytest.fixture
def place(dataset: Path, tmp_path: Path) -> Place:
    shutil.copytree(dataset, tmp_path / "data")
    videos, config = tmp_path / "data" / "videos", tmp_path / "config.py"
    config.write_text(CONFIG.format(videos=str(videos), annotations=str(tmp_path / "data" / "annotations.json")))
    return Place(videos, config, tmp_path / "cache")


@pytest.mark.parametrize(("option", "tolerance"), [("--lossless", 0), ("--quality=98", 24)])
def test_the_cache_gives_the_frames_of_the_videos(place: Place, option: str, tolerance: int) -> None:
    assert place.run(option, "--workers=2") == 0
    config = load_config(place.config)
    for name, training, short_side in (("training", True, 40), ("validation", False, 32)):
        files = load_subset(config, name, load_classes(config), training).files
        cache = open_cache(place.cache, make_sampling(config.data), short_side, files)
        assert {path.stem for path in (place.cache / str(short_side)).glob("*.json")} == set(files)
        for video, path in files.items():
            reader = open_video(path)
            indices = np.arange(0, reader.frame_count, 2)
            expected = frames_at(reader, indices, lambda frames, side=short_side: resize_short_side(frames, side))
            difference = cache.read(video, indices).astype(int) - expected
            assert np.abs(difference).mean() <= tolerance / 8
            assert np.percentile(np.abs(difference), 99.9) <= tolerance
            assert cache.count(video) == reader.frame_count


def test_decord_fills_the_cache_where_it_is_asked_for(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("decord", reason="decord has wheels for Linux on x86-64 only")
    assert place.run("--lossless", "--config.data.reader=decord") == 0
    # two sizes, one of which (72 pixels wide) decord fails to decode
    assert re.search(r"\bdecord\b.*\b2 of 5\b.*\bPyAV 3\b", capsys.readouterr().out)
    config = load_config(place.config)
    files = load_subset(config, "validation", load_classes(config), training=False).files
    cache = open_cache(place.cache, make_sampling(config.data), 32, files)
    for video, path in files.items():
        expected = frames_at(open_video(path), [0, 20, 40], lambda frames: resize_short_side(frames, 32))
        assert np.abs(cache.read(video, np.array([0, 20, 40])).astype(int) - expected).max() <= 2


def test_videos_in_folders_below_are_cached_and_checked_too(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    annotations = place.videos.parent / "annotations.json"
    (place.videos / "day 1").mkdir()
    (place.videos / "train_000.mp4").rename(place.videos / "day 1/train_000.mp4")
    annotations.write_text(annotations.read_text().replace('"train_000"', '"day 1/train_000"'))
    assert place.run() == 0
    records = place.cache / "40/day 1/train_000.array_record"
    assert records.is_file()
    assert place.run("--check") == 0
    records.write_bytes(records.read_bytes()[:-1])
    capsys.readouterr()
    assert place.run("--check") == 1
    assert str(records) in capsys.readouterr().out


def test_open_fields_are_chosen_as_training_does(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    open_flags = ["--config.propose=True", "--config.data.stride=0", "--config.data.window=0"]
    assert place.run(*open_flags) == 0
    chosen = re.search(r"--config.data.stride=(\d+)", capsys.readouterr().out)
    assert chosen is not None
    entry = json.loads((place.cache / "40" / "train_000.json").read_text())
    assert entry["frames"] == {"sampling": "windows", "step": int(chosen[1])}


def test_what_is_missing_is_told_with_where_to_get_it(place: Place) -> None:
    with pytest.raises(UserError, match=r"--config\.data\.videos=/nowhere\n.*\bthe makers$"):
        place.run("--config.data.videos=/nowhere", "--config.data.come_from=the makers")


def test_what_is_up_to_date_is_left(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run() == 0
    before = place.states()
    assert "5 videos to decode" in capsys.readouterr().out
    assert place.run(f"--config.data.cache={place.cache}") == 0
    assert place.states() == before
    assert re.search(r"\b0 videos\b.*\b5\b", capsys.readouterr().out)

    os.utime(place.videos / "train_001.mp4")
    (place.cache / "40" / "train_002.json").unlink()
    with (place.cache / "32" / "test_000.array_record").open("ab") as file:
        file.write(b"more")
    assert place.run() == 0
    after = place.states()
    changed = {Path(name).stem for name in after if after[name] != before[name]}
    assert changed == {"train_001", "train_002", "test_000"}

    capsys.readouterr()
    assert place.run("--quality=80") == 0
    assert "5 videos to decode" in capsys.readouterr().out


def test_broken_videos_are_listed(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    (place.videos / "train_000.mp4").write_bytes(b"")
    cut = place.videos / "test_001.mp4"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    assert place.run() == 1
    printed = capsys.readouterr().out
    assert "decoded 3 videos" in printed
    assert "holds 3 of 5 videos" in printed
    assert "2 videos are not in it:" in printed
    assert re.search(r"/train_000\.mp4: .*\bempty\b", printed)
    assert "test_001.mp4: " in printed
    assert place.run("--config.data.skip_broken=True") == 0
    assert "2 videos to decode" in capsys.readouterr().out  # they are tried again, and the others left


def test_missing_videos_are_listed_if_they_may_be_skipped(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    (place.videos / "train_002.mp4").unlink()
    with pytest.raises(UserError, match=r"/train_002: no file\b"):
        place.run()
    assert place.run("--config.data.skip_broken=True") == 0
    printed = capsys.readouterr().out
    assert "holds 4 of 5 videos" in printed
    assert "train_002: no file" in printed


def processes(session: int) -> list[str]:
    """Lists the processes of a session that are still running."""
    running = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its_session, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(its_session) == session and state not in "ZX":
            running.append(path.parent.name)
    return running


def test_a_killed_run_is_continued(place: Place, tmp_path: Path) -> None:
    whole = place._replace(cache=tmp_path / "whole")
    assert whole.run() == 0
    command = [sys.executable, "-m", "adatad_jax.prepare", f"--config={place.config}", f"--output={place.cache}"]
    process = subprocess.Popen([*command, "--workers=1"], start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(place.cache.glob("*/*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # The worker of the killed run finishes its video during this run, or on a busy machine only after it.
    assert place.run() == 0
    while processes(process.pid) and time.monotonic() < deadline + 60:
        time.sleep(0.01)
    assert place.run("--check") == 0
    for path in whole.cache.glob("*/*.array_record"):
        ours = place.cache / path.relative_to(whole.cache)
        assert ours.read_bytes() == path.read_bytes()
    assert not list(place.cache.glob("*/.*"))


def test_checksums_are_checked(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"--output=.*/cache: .*--check\b"):
        place.run("--check")
    assert place.run() == 0
    assert place.run("--check") == 0
    assert re.search(r"\b5 files\b", capsys.readouterr().out)
    damaged, gone = place.cache / "40" / "train_001.array_record", place.cache / "32" / "test_001.array_record"
    content = bytearray(damaged.read_bytes())
    content[500] ^= 1
    damaged.write_bytes(content)
    gone.unlink()
    assert place.run("--check") == 1
    printed = capsys.readouterr().out
    assert "2 of 5 files are damaged" in printed
    assert re.search(rf"{re.escape(str(damaged))}: .*\bchecksum\b", printed)
    assert f"{gone}: " in printed


def test_only_one_run_writes_into_a_folder(place: Place) -> None:
    place.cache.mkdir()
    with (place.cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"--output=.*/cache: another prepare\b"):
            place.run()
    (place.cache / ".lock").unlink()
    assert place.run() == 0


def test_a_disk_that_is_too_small_is_found_before_anything_is_decoded(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1000))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"--output=.*/cache: 5 videos\b.*\b0\.0 GB\b.*\b0\.0 GB\b.*\bfree\b"):
        place.run()
    assert not list(place.cache.glob("*/*"))


def test_a_disk_that_fills_up_ends_the_run(place: Place) -> None:
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    try:
        with pytest.raises(UserError, match=r"\.mp4 .*\bFile too large\b"):
            place.run("--lossless", "--workers=1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(place.cache.glob("*/*"))
    assert place.run("--lossless") == 0


def test_entries_say_what_the_files_are(place: Place) -> None:
    assert place.run("--quality=77") == 0
    entry = json.loads((place.cache / "40" / "train_000.json").read_text())
    source = place.videos / "train_000.mp4"
    assert entry["source"] == "train_000.mp4"
    assert entry["source_bytes"] == source.stat().st_size
    assert entry["frames"] == {"sampling": "windows", "step": 2}
    assert entry["quality"] == 77
    assert min(entry["height"], entry["width"]) == 40
    assert entry["frame_count"] == open_video(source).frame_count


CLIPS = """
from adatad_jax.config.clip_fields import {kind}
from adatad_jax.config.records import defaults_of

def get_config():
    config = defaults_of({kind})
    config.data.videos, config.data.stride = {videos!r}, 2
    config.data.short_side, config.data.crop = 40, 32
    return config
"""


def test_clips_are_cached_whole_at_the_short_sides_that_they_need(tmp_path: Path) -> None:
    """Pre-training crops frames of short side 40; fine-tuning evaluates its test videos at that of the crop, 32."""
    for label in ("run", "jump"):
        for number in range(3):
            write_numbered(tmp_path / f"videos/{label}/{number}.mkv", 33)
    names = {f"{label}/{number}" for label in ("run", "jump") for number in range(3)}
    place = Place(tmp_path / "videos", tmp_path / "config.py", tmp_path / "cache")
    place.config.write_text(CLIPS.format(kind="PretrainingConfig", videos=str(place.videos)))
    assert place.run("--lossless", "--workers=1") == 0
    assert set(cached_names(place.cache, (40,))) == names
    assert cached_names(place.cache, (32,)) == []

    place = place._replace(cache=tmp_path / "other cache")
    place.config.write_text(CLIPS.format(kind="FinetuningConfig", videos=str(place.videos)))
    assert place.run("--lossless", "--workers=1") == 0

    config = load_record(place.config, [], FinetuningConfig, check_finetuning)
    found = load_labels(config.data)
    assert cached_names(place.cache, (32,)) == sorted(found.test)
    assert cached_names(place.cache, (40,)) == sorted(found.training)
    from_files = finetuning_clips(usable_labelled(found.training, found.classes, config.data), config)
    expected = from_files.load(1, 0)
    tested = ClipViews(usable_labelled(found.test, found.classes, config.data), config.data, 2, 3)
    views = tested.load(tested.names[0])
    shutil.rmtree(place.videos)
    for videos in (str(place.videos), ""):
        config = config.with_fields({"data.cache": str(place.cache), "data.videos": videos})
        found = load_labels(config.data)
        cached = finetuning_clips(usable_labelled(found.training, found.classes, config.data), config)
        assert cached.names == from_files.names
        np.testing.assert_array_equal(cached.load(1, 0).frames, expected.frames)
        tested = ClipViews(usable_labelled(found.test, found.classes, config.data), config.data, 2, 3)
        np.testing.assert_array_equal(tested.load(tested.names[0]), views)


@pytest.mark.parametrize(
    "arguments", [("--quality=0",), ("--quality=101",), ("--workers=0",), ("--lossless", "--quality=9")]
)
def test_wrong_usage(place: Place, arguments: tuple[str, ...]) -> None:
    assert place.run(*arguments) == 2
