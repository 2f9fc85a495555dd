"""Both samplings by hand: from seconds to the grid, which frames are loaded, and back to seconds."""

import numpy as np
import pytest

from adatad_jax.config.fields import Config, DataConfig
from adatad_jax.data.annotations import Video
from adatad_jax.data.sampling import EveryFrame, RegularGrid, ResizedVideo, Sampling, Window, make_sampling


def video_of(*segments: tuple[float, float], duration: float, frames: int, fixed_fps: float | None = None) -> Video:
    spans = np.array(segments, np.float64).reshape(-1, 2)
    return Video("v", "training", duration, frames, spans, ("a",) * len(spans), fixed_fps)


def sampling_of(**fields: object) -> Sampling:
    config = Config()
    config = config.with_fields({f"data.{k}": v for k, v in fields.items()})
    return make_sampling(config.data)


def test_a_regular_grid() -> None:
    sampling = sampling_of(stride=4, frames_per_position=2, window=8, overlap=0.5)
    assert isinstance(sampling, RegularGrid)
    # 25 frames per second, 80 frames: 20 positions, windows of 8 every 4
    video = video_of((1.0, 2.0), duration=3.2, frames=80)
    assert sampling.lay_out(video) == [Window("v", 0, 8), Window("v", 4, 12), Window("v", 8, 16), Window("v", 12, 20)]
    segments, labels = sampling.ground_truth(video, ["a"])
    assert segments.tolist() == [[25 / 4, 50 / 4]]
    assert labels.tolist() == [0]
    frames, mask = sampling.frames(Window("v", 4, 12), 80)
    assert frames.tolist() == list(range(16, 48, 2))
    assert mask.all()
    assert sampling.loadable(9).tolist() == [0, 2, 4, 6, 8]
    # position 2 of the window that starts at position 4 is frame 24
    seconds = sampling.seconds(np.array([[2, 100]], np.float32), Window("v", 4, 12), video)
    np.testing.assert_allclose(seconds, [[24 / 25, 3.2]], rtol=1e-6)


def test_a_nominal_rate_goes_both_ways() -> None:
    sampling = sampling_of(stride=16, frames_per_position=8, window=8)
    # 30 frames per second by definition, although 303 frames in 10.4 s give another rate
    video = video_of((4.99, 9.0), duration=10.4, frames=303, fixed_fps=30)
    assert sampling.ground_truth(video, ["a"])[0].tolist() == [[149 / 16, 270 / 16]]
    seconds = sampling.seconds(np.array([[0, 3.75]], np.float32), Window("v", 4, 12), video)
    np.testing.assert_allclose(seconds, [[64 / 30, 124 / 30]], rtol=1e-6)


def test_a_resized_video() -> None:
    sampling = sampling_of(sampling="resize", frames_per_position=2, window=4, filter_gt=True)
    assert isinstance(sampling, ResizedVideo)
    # no frame count is needed; the third segment lasts 0.5% of the video, the second reaches beyond its end
    video = video_of((5.0, 10.0), (15.0, 30.0), (1.0, 1.1), duration=20.0, frames=0)
    assert sampling.lay_out(video) == [Window("v", 0, 4)]
    segments, labels = sampling.ground_truth(video, ["a"])
    assert segments.tolist() == [[1, 2], [3, 4]]
    # 8 frames of 32: the middles of 8 spans of 4 frames are 1.5, 5.5, ..., rounded half to even
    wanted = [2, 6, 10, 14, 18, 22, 26, 30]
    frames, mask = sampling.frames(Window("v", 0, 4), 32)
    assert frames.tolist() == wanted
    assert mask.tolist() == [True] * 4
    drawn = sampling.draw(segments, labels, 32, lambda low, high: pytest.fail("nothing is random"))
    assert (drawn.frames.tolist(), drawn.segments.tolist(), drawn.found) == (wanted, segments.tolist(), True)
    seconds = sampling.seconds(np.array([[1, 2], [3, 5]], np.float32), Window("v", 0, 4), video)
    assert seconds.tolist() == [[5, 10], [15, 20]]


def test_a_short_video_repeats_frames_and_each_is_loadable_once() -> None:
    sampling = sampling_of(sampling="resize", frames_per_position=1, window=8)
    frames, mask = sampling.frames(Window("v", 0, 8), 3)
    assert set(frames.tolist()) == {0, 1, 2}
    assert mask.all()
    assert sampling.loadable(3).tolist() == [0, 1, 2]


def test_what_a_cache_keeps() -> None:
    """A cache of a detector whose grid loads every frame serves clips too."""
    assert make_sampling(DataConfig(stride=4)).rule() == {"sampling": "windows", "step": 4}
    assert make_sampling(DataConfig(stride=4, frames_per_position=2)).rule() == {"sampling": "windows", "step": 2}
    whole = make_sampling(DataConfig(sampling="resize", window=192, frames_per_position=4))
    assert whole.rule() == {"sampling": "resize", "frames": 768}
    assert EveryFrame().rule() == make_sampling(DataConfig(stride=1)).rule()
    assert (
        EveryFrame().loadable(5).tolist() == make_sampling(DataConfig(stride=1)).loadable(5).tolist() == [0, 1, 2, 3, 4]
    )
