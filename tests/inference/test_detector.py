"""The Python interface: detection in videos of any kind."""

from pathlib import Path

import numpy as np
import pytest

import adatad_jax
from adatad_jax.errors import UserError
from adatad_jax.inference.detector import Detector, fingerprint
from adatad_jax.postprocessing.detections import Detection
from tests.tiny_detector import moving_square, tiny_config, tiny_trained, write_video


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(tiny_trained(), batch=2)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes 15 s at 20 frames per second: 150 grid positions, nine windows of 32 that overlap by half."""
    path = tmp_path_factory.mktemp("videos") / "a.mkv"
    write_video(path, moving_square(300), np.arange(300) / 20)
    return path


def test_detections_are_sorted_named_and_inside_the_video(detector: Detector, video: Path) -> None:
    found = detector(video)
    assert isinstance(found, list)
    assert len(found) == 500  # max_seg_num
    scores = [detection.score for detection in found]
    assert scores == sorted(scores, reverse=True)
    assert {detection.label for detection in found} == {"jump", "dance"}
    assert all(0 <= detection.start <= detection.end <= 15 for detection in found)
    assert max(detection.end for detection in found) > 10
    assert all(type(value) is float for value in (found[0].start, found[0].end, found[0].score))


def test_a_file_and_its_frames_give_the_same(detector: Detector, video: Path) -> None:
    assert detector(moving_square(300), fps=20.0) == detector(str(video))


def test_a_rate_that_is_given_scales_the_seconds(detector: Detector, video: Path) -> None:
    """At 10 frames per second, the video is twice as long."""
    for one, two in zip(detector(video), detector(video, fps=10.0), strict=True):
        assert two.label == one.label
        np.testing.assert_allclose([two.start, two.end, two.score], [2 * one.start, 2 * one.end, one.score], rtol=1e-4)


def test_a_video_at_another_rate_is_seen_at_the_rate_of_the_training() -> None:
    """A detector with a rate finds the same if every frame is shown three times, at three times the rate."""
    config = tiny_config()
    config = config.with_fields({"data.rate": 10.0})
    detector, frames = Detector(tiny_trained(config=config)), moving_square(120)
    slow, fast = detector(frames, fps=10.0), detector(np.repeat(frames, 3, axis=0), fps=30.0)
    assert slow == fast
    config = config.with_fields({"data.rate": 0.0})
    assert Detector(tiny_trained(config=config))(np.repeat(frames, 3, axis=0), fps=30.0) != slow


def test_threshold_top_and_labels(detector: Detector, video: Path) -> None:
    found = detector(video)
    middle = found[40].score
    assert detector(video, threshold=middle) == [d for d in found if d.score >= middle]
    assert detector(video, top=3) == found[:3]
    dances = [detection for detection in found if detection.label == "dance"]
    assert detector(video, labels=["dance"]) == dances
    assert detector(video, labels=["dance"], top=2, threshold=dances[1].score) == dances[:2]
    assert detector(video, threshold=1.0) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": ["dancing"]}, r'"dancing" .*"dance".*\bjump, dance\b'),
        ({"labels": "dance"}, r'labels: .*"dance".*\blist\b'),
        ({"threshold": 1.5}, r"threshold=1\.5"),
        ({"threshold": float("nan")}, "threshold=nan"),
        ({"top": 0}, "top=0"),
        ({"top": 1.5}, r"top=1\.5"),
        ({"labels": [0]}, r'"0" .*\bjump, dance\b'),
        ({"fps": -3.0}, r"fps=-3\.0"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: dict[str, object], message: str, detector: Detector, video: Path
) -> None:
    with pytest.raises(UserError, match=message):
        detector(video, **arguments)  # type: ignore[arg-type]


def test_memory_that_runs_out_is_said(detector: Detector, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(samples: object) -> None:
        raise MemoryError("Unable to allocate 9.00 TiB")

    monkeypatch.setattr(detector._predictor, "start", start)
    with pytest.raises(UserError, match=r"\bmemory\b.*\b[28] windows\b.*9\.00 TiB.*\bbatch\b"):
        detector(video)


def test_what_is_no_video_is_refused(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.mp4: no such\b"):
        detector(tmp_path / "nowhere.mp4")
    with pytest.raises(UserError, match=r"^fps\b.*\bfps="):
        detector(moving_square(10))
    for none in (list(moving_square(2)), (frame for frame in moving_square(2)), None, b"a.mp4"):
        with pytest.raises(UserError, match=rf"^frames: .*\b{type(none).__name__}\b.*\[N, H, W, 3\]"):
            detector(none)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="batch=0"):
        Detector(tiny_trained(), batch=0)


@pytest.mark.parametrize("frames", [1, 2, 63, 65])
def test_videos_of_any_length(detector: Detector, frames: int) -> None:
    found = detector(moving_square(frames), fps=20.0)
    assert found
    assert all(0 <= detection.start <= detection.end <= frames / 20 + 1e-6 for detection in found)


def test_one_class_and_class_agnostic_models() -> None:
    """With one class, no threshold applies: all 32 + 16 + 8 points of a window are candidates."""
    config = tiny_config()
    config = config.with_fields({"data.class_agnostic": True, "test.multiclass": False})
    for trained in (tiny_trained(("jump",)), tiny_trained(("action",), config)):
        found = Detector(trained)(moving_square(64), fps=20.0)
        assert len(found) == 56
        assert {detection.label for detection in found} == set(trained.classes)


def test_fingerprints_tell_parameters_apart() -> None:
    params = tiny_trained().params
    before = fingerprint(params)
    assert fingerprint(tiny_trained().params) == before
    params["detector"]["head"]["boundary_tower"]["out"]["bias"][0] += 1e-3
    assert fingerprint(params) != before


def test_the_package_gives_it() -> None:
    assert adatad_jax.Detector is Detector
    assert adatad_jax.Detection is Detection
    assert adatad_jax.load.__module__ == "adatad_jax.inference.detector"
    with pytest.raises(AttributeError, match="nothing"):
        adatad_jax.nothing  # noqa: B018
