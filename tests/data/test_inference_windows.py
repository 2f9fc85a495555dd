"""Test windows streamed to a detector: the right frames, and no frame read twice."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adatad_jax.config.fields import Config
from adatad_jax.data.annotations import Video
from adatad_jax.data.dataset import Sample
from adatad_jax.data.inference_windows import InferenceWindows, inference_windows, pieces_of, runs_of, windows_ahead
from adatad_jax.data.loader import unwrap
from adatad_jax.data.sampling import Window, make_sampling
from adatad_jax.data.subset import load_classes, load_subset
from adatad_jax.demo.dataset import generate
from adatad_jax.errors import UserError
from adatad_jax.video import transforms
from adatad_jax.video.decode import frames_at, open_video
from tests.data.generated import config_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    generate(path, seed=0, train_videos=2, test_videos=3, seconds=(4.0, 6.0), workers=1)
    return path


@pytest.fixture
def config(folder: Path) -> Config:
    return config_of(folder, window=64, crop=32, train_short_side=32)


def all_windows(config: Config) -> InferenceWindows:
    return inference_windows(load_subset(config, "validation", load_classes(config), training=False), config)


def samples_of(windows: InferenceWindows) -> list[tuple[Window, Sample]]:
    return [(window, unwrap(sample)) for window, sample in windows.stream(threads=2, ahead=2)]


class Numbered:
    """`Frames` that show their own index and count how often each frame is read."""

    def __init__(self, counts: dict[str, int]) -> None:
        self.counts = counts
        self.read_times = {name: np.zeros(count, int) for name, count in counts.items()}
        self.finished: list[str] = []
        self._lock = threading.Lock()

    def count(self, video: str) -> int:
        return self.counts[video]

    def size(self, video: str) -> tuple[int, int]:
        return 8, 8

    def read(self, video: str, indices: np.ndarray, box: transforms.Box, size: int) -> np.ndarray:
        with self._lock:
            np.add.at(self.read_times[video], indices, 1)
        numbers = np.stack([indices // 256, indices % 256, np.zeros_like(indices)], axis=-1).astype(np.uint8)
        return np.broadcast_to(numbers[:, None, None], (len(indices), size, size, 3))

    def finish(self, video: str) -> None:
        self.finished.append(video)


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 400), min_size=1, max_size=3),
    # The container may hold fewer or more frames than the annotation says.
    extra=st.integers(-3, 3),
    stride=st.sampled_from([1, 2, 4]),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75]),
    release=st.booleans(),
    sampling=st.sampled_from(["windows", "resize"]),
)
def test_every_window_gets_its_frames_and_no_frame_is_read_twice(
    lengths: list[int], extra: int, stride: int, overlap: float, release: bool, sampling: str
) -> None:
    config = Config().with_fields(
        {"data.stride": stride, "data.window": 16, "data.overlap": overlap, "data.release_windows": release}
    )
    config = config.with_fields({"data.sampling": sampling, "data.crop": 8})
    videos = {f"v{i}": Video(f"v{i}", "", n / 30, n, np.zeros((0, 2)), ()) for i, n in enumerate(lengths)}
    frames = Numbered({name: max(video.frames + extra, 1) for name, video in videos.items()})
    windows = InferenceWindows(videos, frames, config)
    rule = make_sampling(config.data)
    found = list(windows.stream(threads=3, ahead=3))
    assert [window for window, _ in found] == windows.windows
    for window, sample in found:
        if window.first * stride >= frames.counts[window.video]:
            assert str(sample).startswith(f"video {window.video}: ")
            assert f"positions {window.first} to {window.end - 1} " in str(sample)
            continue
        indices, mask = rule.frames(window, frames.counts[window.video])
        got = unwrap(sample)
        np.testing.assert_array_equal(got.mask, mask)
        np.testing.assert_array_equal(got.frames[:, 0, 0, 0].astype(int) * 256 + got.frames[:, 0, 0, 1], indices)
    assert all(times.max(initial=0) <= 1 for times in frames.read_times.values())
    assert frames.finished == list(videos)


def test_pieces_lie_between_the_ends_of_windows() -> None:
    """One video has windows 0-8, 4-12 and a tail 6-14, the other has one window."""
    windows = [Window("a", 0, 8), Window("a", 4, 12), Window("a", 6, 14), Window("b", 0, 5)]
    ends = [(0, 4), (4, 6), (6, 8), (8, 12), (12, 14)]
    assert pieces_of(windows) == [*(Window("a", *span) for span in ends), Window("b", 0, 5)]
    # between windows that do not touch, nothing is read
    assert pieces_of([Window("a", 0, 2), Window("a", 3, 4)]) == [Window("a", 0, 2), Window("a", 3, 4)]


def test_frames_are_those_of_the_file(config: Config) -> None:
    subset = load_subset(config, "validation", load_classes(config), training=False)
    for window, sample in samples_of(inference_windows(subset, config)):
        reader = open_video(subset.files[window.video])
        indices, _ = make_sampling(config.data).frames(window, reader.frame_count)

        def centre(frames: np.ndarray) -> np.ndarray:
            scaled = transforms.resize_short_side(frames, 32)
            return transforms.crop_resize(scaled, transforms.centre_box(*scaled.shape[1:3], 32), 32)

        np.testing.assert_array_equal(sample.frames, frames_at(reader, indices, centre))


def test_the_strip_of_a_window_has_its_frames_evenly_spaced(config: Config) -> None:
    subset = load_subset(config, "validation", load_classes(config), training=False)
    windows = inference_windows(subset, config)
    for window, sample in samples_of(windows)[:3]:
        (start, end), video = windows.span(window), subset.videos[window.video]
        assert start == pytest.approx(2 * window.first / video.fps)
        assert end == pytest.approx(min(2 * window.end / video.fps, video.duration))
        positions = int(sample.mask.sum())  # one frame each
        strip = windows.strip(window, 4)
        places = [int((number + 0.5) * positions / 4) for number in range(4)]
        np.testing.assert_array_equal(strip, sample.frames[places])


def test_what_cannot_be_read_takes_the_place_of_its_windows(config: Config, folder: Path, tmp_path: Path) -> None:
    subset = load_subset(config, "validation", load_classes(config), training=False)
    name = list(subset.videos)[1]
    subset.files[name] = tmp_path / "gone.mp4"
    for window, sample in inference_windows(subset, config).stream(threads=2, ahead=2):
        assert isinstance(sample, UserError) == (window.video == name)
        assert window.video != name or "gone.mp4" in str(sample)


def test_resized_test_videos_have_one_window_each(config: Config) -> None:
    config = config.with_fields({"data.sampling": "resize", "data.window": 16, "data.frames_per_position": 4})
    subset = load_subset(config, "validation", load_classes(config), training=False)
    windows = inference_windows(subset, config)
    assert [window.video for window in windows.windows] == list(subset.videos)
    assert samples_of(windows)[1][1].frames.shape == (64, 32, 32, 3)
    for window, video in zip(windows.windows, subset.videos.values(), strict=True):
        found = windows.seconds(window, np.array([[4, 16]], np.float32))
        np.testing.assert_allclose(found, [[video.duration / 4, video.duration]], rtol=1e-6)


def test_positions_are_the_windows_whatever_the_model_pads_to(config: Config) -> None:
    config = config.with_fields({"model.max_length": 128})
    _, sample = samples_of(all_windows(config))[0]
    assert (len(sample.mask), len(sample.frames)) == (64, 64)


def test_test_windows_cover_every_video_and_carry_no_truth(config: Config) -> None:
    subset = load_subset(config, "validation", load_classes(config), training=False)
    windows = inference_windows(subset, config)
    for name, video in subset.videos.items():
        spans = [(w.first, w.end) for w in windows.windows if w.video == name]
        covered = {position for first, end in spans for position in range(first, end)}
        assert covered == set(range(-(-video.frames // 2)))
    _, sample = samples_of(windows)[0]
    assert sample.frames.shape == (64, 32, 32, 3)
    assert not len(sample.segments)


def test_a_thread_decodes_pieces_that_follow_each_other() -> None:
    pieces = [Window("a", start, start + 4) for start in range(0, 20, 4)] + [Window("b", 0, 4), Window("b", 4, 8)]
    assert runs_of(pieces, 2) == [pieces[:2], pieces[2:4], pieces[4:5], pieces[5:]]
    assert runs_of([], 2) == []


def test_as_many_windows_are_held_as_have_half_a_gibibyte() -> None:
    config = Config().with_fields({"data.window": 768, "data.crop": 160})
    assert windows_ahead(config, 1) == 9  # a window has 768 * 160 * 160 * 3 bytes, 56.25 MiB
    assert windows_ahead(config, 8) == 16
