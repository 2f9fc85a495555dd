"""Views of videos for a classifier: clips spread over the length, crops along the long side, files of any timing."""

from pathlib import Path

import numpy as np
import pytest

from adatad_jax.config.clip_fields import ClipsConfig
from adatad_jax.data.cache import CacheTask, cache_video
from adatad_jax.data.clip_videos import ClipVideo
from adatad_jax.data.clip_views import ClipViews, file_views
from adatad_jax.data.loader import unwrap
from adatad_jax.data.sampling import EveryFrame
from adatad_jax.errors import UserError
from adatad_jax.video.transforms import resize_short_side
from tests.data.clip_files import clip_video, numbered, write_numbered
from tests.tiny_detector import write_video


def data_of(**fields: object) -> ClipsConfig:
    values = {"stride": 2, "short_side": 40, "crop": 32, "retries": 0, "threads": 2, **fields}
    return ClipsConfig(**values)  # type: ignore[arg-type]


def test_clips_and_crops_are_spread(tmp_path: Path) -> None:
    """Of 41 frames, three clips at stride 2 start at 0, 5 and 10; squares of 32 in 48 columns at 0, 8 and 16."""
    views = ClipViews({"a": clip_video(tmp_path / "a.mkv", 41)}, data_of(), clips=3, crops=3).load("a")
    assert views.shape == (9, 16, 32, 32, 3)
    assert views.dtype == np.uint8
    whole = numbered(41)
    expected = [whole[start : start + 31 : 2, :, left : left + 32] for start in (0, 5, 10) for left in (0, 8, 16)]
    np.testing.assert_array_equal(views, expected)
    one = ClipViews({"a": clip_video(tmp_path / "a.mkv", 41)}, data_of()).load("a")
    np.testing.assert_array_equal(one, [whole[5:36:2, :, 8:40]])


def test_upright_and_scaled_videos(tmp_path: Path) -> None:
    """A frame of 96 x 64 pixels becomes 48 x 32; its squares start in rows 0, 8 and 16."""
    views = ClipViews({"a": clip_video(tmp_path / "a.mkv", 16, height=96, width=64)}, data_of(), crops=3).load("a")
    scaled = resize_short_side(numbered(16, 96, 64), 32)
    assert scaled.shape[1:3] == (48, 32)
    np.testing.assert_array_equal(views, [scaled[:, top : top + 32] for top in (0, 8, 16)])


def test_videos_are_streamed_in_order_and_a_broken_one_ends_nothing(tmp_path: Path) -> None:
    videos = {name: clip_video(tmp_path / f"{name}.mkv", 20 + 5 * number) for number, name in enumerate("abcd")}
    (tmp_path / "c.mkv").write_bytes(b"nothing")
    views = ClipViews(videos, data_of(), clips=2)
    found = list(views.stream())
    assert [name for name, _ in found] == list("abcd")
    for name, result in found:
        if name == "c":
            with pytest.raises(UserError, match=r"/c\.mkv"):
                unwrap(result)
        else:
            np.testing.assert_array_equal(unwrap(result), views.load(name))
    assert [name for name, _ in views.stream(["d", "a"])] == ["d", "a"]


def test_memory_and_cache_change_nothing(tmp_path: Path) -> None:
    videos = {"x/a": clip_video(tmp_path / "a.mkv", 33)}
    cache_video(CacheTask(tmp_path / "cache", "x/a", tmp_path / "a.mkv", (24,), EveryFrame(), None))
    expected = ClipViews(videos, data_of(crop=24), 2, 3).load("x/a")
    gone: dict[str, ClipVideo] = {"x/a": videos["x/a"]._replace(file=None)}
    for source, data in (
        (gone, data_of(crop=24, cache=str(tmp_path / "cache"))),
        (videos, data_of(crop=24, in_memory=True)),
    ):
        np.testing.assert_array_equal(ClipViews(source, data, 2, 3).load("x/a"), expected)


def test_a_file_alone_gives_the_views_of_a_data_set(tmp_path: Path) -> None:
    video = clip_video(tmp_path / "a.mkv", 50)
    found = file_views(tmp_path / "a.mkv", data_of(in_memory=True, cache="/nowhere"), 5, 3)
    np.testing.assert_array_equal(found.frames, ClipViews({"a": video}, data_of(), 5, 3).load("a"))
    assert found.notes == ()
    short = file_views(write_numbered(tmp_path / "b.mkv", 20), data_of(), 1, 1)
    (note,) = short.notes
    assert "20 frames" in note
    assert "31" in note
    assert short.frames[0, :, 0, 0, 0].tolist() == list(range(2, 18))


def test_a_file_of_uneven_timing_is_read_at_its_average_rate(tmp_path: Path) -> None:
    """The first ten frames show for 0.1 s, the others for 0.3 s: an average of 5 frames a second."""
    times = np.concatenate([np.arange(10) * 0.1, 1 + np.arange(10) * 0.3])
    write_video(tmp_path / "a.mkv", numbered(20), times)
    numbers = file_views(tmp_path / "a.mkv", data_of(stride=1), 1, 1).frames[0, :, 0, 0, 0]
    assert len(numbers) == 16
    steps = np.diff(numbers.astype(int))
    assert (steps >= 0).all()
    assert steps.max() == 2
    assert 0 in steps
    given = file_views(tmp_path / "a.mkv", data_of(stride=1), 1, 1, fps=30).frames[0, :, 0, 0, 0]
    assert given.tolist() == list(range(2, 18))


def test_files_that_cannot_be_classified(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"/a\.mkv: 15 frames\b.*\b16\b"):
        file_views(write_numbered(tmp_path / "a.mkv", 15), data_of(), 1, 1)
    with pytest.raises(UserError, match="fps=0"):
        file_views(tmp_path / "a.mkv", data_of(), 1, 1, fps=0)
    with pytest.raises(UserError, match=r"/none\.mp4"):
        file_views(tmp_path / "none.mp4", data_of(), 1, 1)
