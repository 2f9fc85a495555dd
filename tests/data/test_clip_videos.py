"""Videos for clips: found in folders, told apart by name, opened before a run."""

import logging
from pathlib import Path

import pytest

from adatad_jax.config.clip_fields import ClipsConfig
from adatad_jax.data.cache import CacheTask, cache_video
from adatad_jax.data.clip_videos import find_clip_videos, usable_clips
from adatad_jax.data.sampling import EveryFrame
from adatad_jax.errors import UserError
from tests.data.clip_files import HEIGHT, WIDTH, write_numbered


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_videos_are_found_at_any_depth_and_named_by_their_path(tmp_path: Path) -> None:
    touch(tmp_path, "b.mp4", "a/c.1.avi", "a/d/e.MKV", "notes.txt", ".hidden.mp4")
    found = find_clip_videos(ClipsConfig(videos=str(tmp_path)))
    assert list(found) == ["a/c.1", "a/d/e", "b"]
    assert found["a/d/e"] == tmp_path / "a/d/e.MKV"


def test_a_folder_without_videos(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(UserError, match=rf"config\.data\.videos={tmp_path}: no video"):
        find_clip_videos(ClipsConfig(videos=str(tmp_path)))
    with pytest.raises(UserError, match=r"config\.data\.videos=/nowhere: no such folder"):
        find_clip_videos(ClipsConfig(videos="/nowhere"))
    with pytest.raises(UserError, match=r"config\.data\.videos=\(not set\)"):
        find_clip_videos(ClipsConfig())


def test_files_of_one_name(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.mp4", "a/x.avi", "b/x.mp4")
    with pytest.raises(UserError, match=r"a/x: x\.avi, x\.mp4") as error:
        find_clip_videos(ClipsConfig(videos=str(tmp_path)))
    assert "b/x" not in str(error.value)


def test_frames_are_counted_and_short_or_broken_videos_are_all_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, frames in (("a", 40), ("b", 15), ("c", 16), ("d", 3)):
        write_numbered(tmp_path / f"{name}.mkv", frames)
    (tmp_path / "e.mp4").write_bytes(b"nothing")
    data = ClipsConfig(videos=str(tmp_path), threads=3)
    with pytest.raises(UserError, match=r"\b3 of 5 videos\b.*\b16 frames\b.*skip_broken") as error:
        usable_clips(find_clip_videos(data), data)
    lines = str(error.value).splitlines()[1:]
    assert [line.split(": ")[0].strip() for line in lines] == [str(tmp_path / n) for n in ("b.mkv", "d.mkv", "e.mp4")]
    assert "15 frames" in lines[0]
    assert "3 frames" in lines[1]

    data = ClipsConfig(videos=str(tmp_path), threads=3, skip_broken=True)
    with caplog.at_level(logging.WARNING):
        left = usable_clips(find_clip_videos(data), data, dict.fromkeys("abcde", 7))
    assert {name: (video.probe.frames, video.probe.size, video.label) for name, video in left.items()} == {
        "a": (40, (HEIGHT, WIDTH), 7),
        "c": (16, (HEIGHT, WIDTH), 7),
    }
    assert "3 of 5 videos" in caplog.text
    assert str(tmp_path / "d.mkv") in caplog.text


def test_a_cache_stands_in_for_the_folder(tmp_path: Path) -> None:
    for name, frames in (("jump/a", 20), ("run/b", 17)):
        path = write_numbered(tmp_path / f"{name}.mkv", frames)
        cache_video(CacheTask(tmp_path / "cache", name, path, (20,), EveryFrame(), None))
    data = ClipsConfig(cache=str(tmp_path / "cache"), short_side=20, crop=16)
    found = usable_clips(find_clip_videos(data), data)
    assert {name: (video.file, video.probe.frames) for name, video in found.items()} == {
        "jump/a": (None, 20),
        "run/b": (None, 17),
    }
    with pytest.raises(UserError, match=r"config\.data\.cache=.*\b24\b"):
        find_clip_videos(ClipsConfig(cache=str(tmp_path / "cache"), short_side=24, crop=16))


def test_no_label_is_minus_one(tmp_path: Path) -> None:
    write_numbered(tmp_path / "a.mkv", 16)
    data = ClipsConfig(videos=str(tmp_path))
    assert [video.label for video in usable_clips(find_clip_videos(data), data).values()] == [-1]
