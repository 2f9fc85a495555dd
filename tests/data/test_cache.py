"""The frame cache, written from encoded videos and compared with the decoded videos."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adatad_jax.config.fields import DataConfig
from adatad_jax.data.cache import (
    GROUP,
    STRIP,
    CacheTask,
    FrameCache,
    WriteError,
    cache_video,
    cached_names,
    checksum,
    decode_strip,
    encode_strip,
    open_cache,
    read_entry,
    record_file,
)
from adatad_jax.data.sampling import KeptFrames, make_sampling
from adatad_jax.data.windows import resize_sampling
from adatad_jax.errors import UserError
from adatad_jax.video.decode import frames_at, open_video
from adatad_jax.video.transforms import resize_short_side

FRAMES, STEP, SHORT_SIDE = 150, 2, 46

Cached = Callable[..., FrameCache]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes 150 frames of 116 x 60 pixels, 25 per second: smooth colours that drift, and a saturated bar that runs."""
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    scene = cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 16, 3), np.uint8), (300, 160))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 116, 60, "yuv420p"
        for index in range(FRAMES):
            frame = scene[index // 2 : index // 2 + 60, index : index + 116].copy()
            frame[:, index % 100 : index % 100 + 9] = (255, 0, 0)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def kept() -> KeptFrames:
    return make_sampling(DataConfig(stride=STEP))


@pytest.fixture
def cached(video: Path, kept: KeptFrames, tmp_path: Path) -> Cached:
    """Returns a function that caches the video and opens the cache."""

    def run(quality: int | None = None) -> FrameCache:
        cache_video(CacheTask(tmp_path, "clip", video, (SHORT_SIDE,), kept, quality))
        return open_cache(tmp_path, kept, SHORT_SIDE, {"clip": video})

    return run


def decoded(video: Path, indices: np.ndarray) -> np.ndarray:
    return frames_at(open_video(video), indices, lambda frames: resize_short_side(frames, SHORT_SIDE))


def test_no_name_leads_out_of_the_cache(tmp_path: Path) -> None:
    for name, file in (("a", "a"), ("day 1/a.b", "day 1/a.b"), ("/data/a", "data/a"), ("../../a", "a"), ("", "")):
        assert record_file(tmp_path, 160, name) == tmp_path / "160" / f"{file}.array_record"


def test_lossless_frames_are_those_of_the_video(cached: Cached, video: Path) -> None:
    cache = cached()
    indices = np.array([0, 148, 2, 2, 64, 66, 148])
    np.testing.assert_array_equal(cache.read("clip", indices), decoded(video, indices))
    assert cache.count("clip") == FRAMES
    assert cache.size("clip") == (SHORT_SIDE, 89)  # int(116 * 46 / 60 + 0.5)


def test_jpeg_frames_are_close_without_seams(cached: Cached, video: Path) -> None:
    indices = np.arange(0, FRAMES, STEP)
    expected = decoded(video, indices).astype(float)
    error = (cached(95).read("clip", indices) - expected) ** 2
    assert 10 * np.log10(255**2 / error.mean()) > 38
    # columns on both sides of the seams between strips are no worse than the rest
    at_seams = np.isin(np.arange(89) % STRIP, (0, STRIP - 1))
    assert error[:, :, at_seams].mean() < 1.5 * error[:, :, ~at_seams].mean()


def test_quality_trades_size_for_likeness(cached: Cached, video: Path, tmp_path: Path) -> None:
    indices, sizes, errors = np.arange(0, FRAMES, STEP), [], []
    for quality in (60, 95):
        errors.append(np.abs(cached(quality).read("clip", indices).astype(int) - decoded(video, indices)).mean())
        sizes.append(record_file(tmp_path, SHORT_SIDE, "clip").stat().st_size)
    assert sizes[0] < sizes[1]
    assert errors[0] > errors[1]


@pytest.mark.parametrize("box", [(0, 0, 46, 89), (3, 24, 20, 24), (10, 23, 5, 2), (45, 88, 1, 1), (0, 71, 46, 18)])
@pytest.mark.parametrize("quality", [None, 90])
def test_a_box_is_cut_from_the_frames(cached: Cached, box: tuple[int, int, int, int], quality: int | None) -> None:
    cache, indices = cached(quality), np.array([60, 62, 64, 66, 0])
    top, left, height, width = box
    whole = cache.read("clip", indices)
    np.testing.assert_array_equal(
        cache.read("clip", indices, box), whole[:, top : top + height, left : left + width], strict=True
    )


def test_frames_are_transformed_as_they_are_read(cached: Cached, video: Path) -> None:
    indices = np.array([148, 0, 0, 66, 64])
    expected = resize_short_side(decoded(video, indices)[:, 3:23, 10:50], 16)
    frames = cached().read("clip", indices, (3, 10, 20, 40), lambda part: resize_short_side(part, 16))
    np.testing.assert_array_equal(frames, expected, strict=True)


@settings(deadline=None)
@given(st.integers(1, GROUP), st.integers(1, 9), st.integers(1, STRIP), st.integers(0, 9))
def test_lossless_records_give_back_what_they_were_made_of(count: int, height: int, width: int, seed: int) -> None:
    strip = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)
    np.testing.assert_array_equal(
        decode_strip(encode_strip(strip, None), height, width, None).transpose(1, 0, 2, 3), strip
    )


def test_resized_sampling_keeps_the_frames_it_asks_for(video: Path, tmp_path: Path) -> None:
    kept = make_sampling(DataConfig(sampling="resize", window=64))
    cache_video(CacheTask(tmp_path, "clip", video, (SHORT_SIDE,), kept, None))
    indices, _ = resize_sampling(total_frames=FRAMES, positions=64, frames_per_position=1)
    found = open_cache(tmp_path, kept, SHORT_SIDE, {"clip": video}).read("clip", indices)
    np.testing.assert_array_equal(found, decoded(video, indices))


def test_a_frame_that_is_not_kept(cached: Cached) -> None:
    with pytest.raises(
        UserError, match=r"clip\.array_record: frame 3\b.*\b75 frames\b.*\b150\b.*\bstep 2\b.*adatad_jax\.prepare"
    ):
        cached().read("clip", [0, 3])
    with pytest.raises(UserError, match=r"clip\.array_record: frame 150\b.*\bcache\b"):
        cached().read("clip", [150])


def test_two_short_sides_from_one_decoding(kept: KeptFrames, video: Path, tmp_path: Path) -> None:
    assert cache_video(CacheTask(tmp_path, "clip", video, (20, SHORT_SIDE), kept, None)) == 75
    small = open_cache(tmp_path, kept, 20, {"clip": video})
    expected = frames_at(open_video(video), [8], lambda frames: resize_short_side(frames, 20))
    np.testing.assert_array_equal(small.read("clip", [8]), expected)
    assert open_cache(tmp_path, kept, SHORT_SIDE, {"clip": video}).size("clip") == (SHORT_SIDE, 89)


def test_another_configuration_is_refused(cached: Cached, kept: KeptFrames, video: Path, tmp_path: Path) -> None:
    cached()
    files = {"clip": video}
    with pytest.raises(
        UserError, match=r"\b1 of 1 videos\b.*adatad_jax\.prepare.*\n.*/20/clip\.array_record: not there\b"
    ):
        open_cache(tmp_path, kept, 20, files)
    kept = make_sampling(DataConfig(stride=4))
    with pytest.raises(UserError, match=r"clip\.array_record: step 2, not 4\b"):
        open_cache(tmp_path, kept, SHORT_SIDE, files)
    kept = make_sampling(DataConfig(stride=4, frames_per_position=2))  # the same frames
    open_cache(tmp_path, kept, SHORT_SIDE, files)
    kept = make_sampling(DataConfig(sampling="resize"))
    with pytest.raises(UserError, match=r"clip\.array_record: sampling windows, not resize\b"):
        open_cache(tmp_path, kept, SHORT_SIDE, files)
    with pytest.raises(UserError, match=r"config\.data\.cache=.*/none: no such folder\b.*adatad_jax\.prepare"):
        open_cache(tmp_path / "none", kept, SHORT_SIDE, files)


def test_another_video_is_refused(cached: Cached, kept: KeptFrames, video: Path, tmp_path: Path) -> None:
    cached()
    longer = tmp_path / "clip.mp4"
    longer.write_bytes(video.read_bytes() + b"more")
    told = rf"clip\.array_record: .*\bclip\.mp4\b.*\b{video.stat().st_size} bytes\b.*{re.escape(str(longer))}"
    with pytest.raises(UserError, match=told):
        open_cache(tmp_path, kept, SHORT_SIDE, {"clip": longer})
    open_cache(tmp_path, kept, SHORT_SIDE, {"clip": None})  # the video may be gone


def test_what_is_up_to_date(cached: Cached, kept: KeptFrames, video: Path, tmp_path: Path) -> None:
    cached(90)
    entry = read_entry(record_file(tmp_path, SHORT_SIDE, "clip"))
    assert entry is not None
    assert entry.sha256 == checksum(record_file(tmp_path, SHORT_SIDE, "clip"))
    assert entry.is_of(video, kept, 90)
    assert not entry.is_of(video, kept, None)
    assert not replace(entry, source_mtime_ns=0).is_of(video, kept, 90)
    kept = make_sampling(DataConfig(stride=8))
    assert not entry.is_of(video, kept, 90)


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "swap"])
@pytest.mark.parametrize("quality", [None, 90])
def test_a_damaged_file(
    cached: Cached, damage: str, quality: int | None, kept: KeptFrames, video: Path, tmp_path: Path
) -> None:
    cache = cached(quality)
    path = record_file(tmp_path, SHORT_SIDE, "clip")
    content = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    elif damage == "swap":  # records of another video, which are whole
        cache_video(CacheTask(tmp_path, "clip", video, (20,), kept, quality))
        path.write_bytes(record_file(tmp_path, 20, "clip").read_bytes())
    else:
        content[500] ^= 0xFF  # of the first record
        path.write_bytes(content[: len(content) // 2] if damage == "truncate" else content)
    with pytest.raises(UserError, match=rf"{re.escape(str(path))}: record \d+ .*\bdelete\b.*adatad_jax\.prepare"):
        cache.read("clip", np.arange(0, FRAMES, STEP))
    if damage != "flip":  # a flip is found by the checksum alone
        with pytest.raises(UserError, match=r"clip\.array_record: .*\bincomplete\b"):
            open_cache(tmp_path, kept, SHORT_SIDE, {"clip": video})


def test_an_entry_of_another_format_is_none(cached: Cached, tmp_path: Path) -> None:
    cached()
    path = record_file(tmp_path, SHORT_SIDE, "clip")
    entry = json.loads(path.with_suffix(".json").read_text())
    for other in ({**entry, "format": 0}, {**entry, "extra": 1}, {"bytes": entry["bytes"]}, [1]):
        path.with_suffix(".json").write_text(json.dumps(other))
        assert read_entry(path) is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the full device of Linux")
def test_names_in_a_cache(kept: KeptFrames, video: Path, tmp_path: Path) -> None:
    for name in ("b", "run/a.1"):
        cache_video(CacheTask(tmp_path, name, video, (20,), kept, 90))
    cache_video(CacheTask(tmp_path, "c", video, (SHORT_SIDE,), kept, 90))
    assert cached_names(tmp_path, (20,)) == ["b", "run/a.1"]
    assert cached_names(tmp_path, (20, SHORT_SIDE)) == ["b", "c", "run/a.1"]
    assert cached_names(tmp_path / "none", (20,)) == []


def test_a_full_disk_leaves_nothing_behind(kept: KeptFrames, video: Path, tmp_path: Path) -> None:
    (tmp_path / str(SHORT_SIDE)).mkdir()
    (tmp_path / str(SHORT_SIDE) / f".clip.array_record.{os.getpid()}.partial").symlink_to("/dev/full")
    with pytest.raises(WriteError, match=r"clip\.mp4 .*\bdisk is full\b"):
        cache_video(CacheTask(tmp_path, "clip", video, (SHORT_SIDE,), kept, 95))
    assert list((tmp_path / str(SHORT_SIDE)).iterdir()) == []


def test_a_broken_video_leaves_nothing_behind(kept: KeptFrames, video: Path, tmp_path: Path) -> None:
    broken = tmp_path / "clip.mp4"
    broken.write_bytes(video.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"clip\.mp4: .*\bdamaged\b") as caught:
        cache_video(CacheTask(tmp_path / "cache", "clip", broken, (SHORT_SIDE,), kept, 95))
    assert not isinstance(caught.value, WriteError)
    assert not (tmp_path / "cache").exists()
