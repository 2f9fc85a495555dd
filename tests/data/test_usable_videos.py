"""Files of a data set: found, opened, compared with the annotations; every fault named, none in the way of another."""

import json
import logging
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from adatad_jax.config.fields import Config
from adatad_jax.data import usable_videos
from adatad_jax.data.annotations import Video
from adatad_jax.data.sampling import make_sampling
from adatad_jax.data.subset import Subset
from adatad_jax.data.usable_videos import length_problem, look_at, usable, window_problem
from adatad_jax.diagnosis.costs import Clip, measure
from adatad_jax.diagnosis.segment_problems import segment_problems
from adatad_jax.errors import UserError
from adatad_jax.inference.test_set import load_evaluation
from adatad_jax.postprocessing.detections import Detections
from adatad_jax.video.names import find_files
from adatad_jax.video.probe import Probe, probe, probe_throughout
from tests.video.broken_files import FRAMES, RATE, SIZE, write_broken, write_video

SECONDS = FRAMES / RATE


def make_video(name: str, **fields: object) -> Video:
    segments = np.array([[0.5, 1.5], [2.0, 3.0]])
    whole = {"name": name, "subset": "training", "duration": SECONDS, "frames": FRAMES, "segments": segments}
    return Video(**{**whole, "labels": ("jump", "run"), **fields})  # type: ignore[arg-type]


def make_subset(folder: Path, names: list[str]) -> Subset:
    files, missing = find_files(folder, names)
    videos = {name: make_video(name) for name in names}
    truth = {name: (np.zeros((2, 2), np.float32), np.zeros(2, np.int32)) for name in names}
    return Subset(videos, files, ("jump", "run"), truth, make_sampling(Config().data), missing)


@pytest.fixture
def config() -> Config:
    return Config().with_fields({"data.window": 16, "data.threads": 3})


def test_files_are_found_by_name_whatever_their_extension(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.AVI", "c.txt", "d.mkv", "d.mp4"):
        (tmp_path / name).touch()
    files, problems = find_files(tmp_path, ["a", "b", "c", "d"])
    assert {name: path.name for name, path in files.items()} == {"a": "a.mp4", "b": "b.AVI"}
    assert list(problems) == ["c", "d"]
    assert f"{tmp_path}/c: no file" in problems["c"]
    assert "several files (d.mkv, d.mp4); keep one" in problems["d"]
    with pytest.raises(UserError, match="no such folder"):
        find_files(tmp_path / "nowhere", ["a"])


def test_files_with_a_prefix(tmp_path: Path) -> None:
    for name in ("v_a.mp4", "v_b.mp4", "v_v_c.mp4", "d.mp4"):
        (tmp_path / name).touch()
    # a name that has the prefix already is found, one that begins like it is not mistaken
    files, problems = find_files(tmp_path, ["a", "v_b", "v_c", "d", "v_e"], "v_")
    assert {name: path.name for name, path in files.items()} == {"a": "v_a.mp4", "v_b": "v_b.mp4", "v_c": "v_v_c.mp4"}
    assert [text.split(":")[0] for text in problems.values()] == [f"{tmp_path}/v_d", f"{tmp_path}/v_e"]


def test_every_fault_is_found_and_named(tmp_path: Path, config: Config) -> None:
    faults = write_broken(tmp_path)
    write_video(tmp_path / "sound.mp4")
    subset = make_subset(tmp_path, [*faults, "sound"])
    with pytest.raises(
        UserError, match=r"7 of 9 videos cannot be read or are not the annotated ones.*skip_broken"
    ) as e:
        usable(subset, config)
    for name, words in faults.items():
        if name != "damaged":  # in its middle, where only a decoder of every frame would see it
            [line] = [line for line in str(e.value).splitlines() if f"/{name}" in line]
            assert words in line, line
    assert probe(tmp_path / "damaged.mp4") == probe(tmp_path / "sound.mp4") == Probe(FRAMES, RATE, SIZE)
    with pytest.raises(UserError, match=r"damaged\.mp4: frame 50 cannot be decoded"):
        probe_throughout(tmp_path / "damaged.mp4")
    assert probe_throughout(tmp_path / "sound.mp4") == Probe(FRAMES, RATE, SIZE)


def test_broken_videos_are_skipped_and_listed_where_that_is_allowed(
    tmp_path: Path, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    write_video(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"nothing")
    subset = make_subset(tmp_path, ["a", "b", "c"])
    config = config.with_fields({"data.skip_broken": True})
    with caplog.at_level(logging.WARNING):
        left = usable(subset, config)
    assert list(left.videos) == ["a"]
    assert not left.missing
    [record] = caplog.records
    message = record.getMessage()
    assert "2 of 3 videos" in message
    assert "count as missed" in message
    assert "b.mp4: not a video" in message
    assert f"{tmp_path}/c: no file" in message
    assert usable(left, config) == left
    with pytest.raises(UserError, match=r"1 of 1 videos.*none is left"):
        usable(make_subset(tmp_path, ["b"]), config)


def test_a_decoder_that_hangs_is_left_behind(tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "stuck", "b"):
        (tmp_path / f"{name}.mp4").touch()
    end = Event()

    def read(path: Path) -> Probe:
        if path.stem == "stuck":
            end.wait()
        return Probe(FRAMES, RATE)

    monkeypatch.setattr(usable_videos, "probe", read)
    config = config.with_fields({"data.time_limit": 0.2})
    probes, broken = look_at(make_subset(tmp_path, ["a", "stuck", "b"]), config)
    end.set()
    assert list(probes) == ["a", "b"]
    assert list(broken) == ["stuck"]
    assert "stuck.mp4: not read within 0.2 s" in broken["stuck"]


@pytest.mark.parametrize(
    ("fields", "found", "words"),
    [
        ({}, Probe(100, 25.0), None),
        ({}, Probe(129, 25.0), "129 frames in 5.16 seconds, but the annotations say 100 in 4.00"),  # 1.16 s apart
        ({}, Probe(125, 25.0), None),  # 1 s and 25 frames apart: 30 and 1 s are allowed
        ({"frames": 1000, "duration": 40.0}, Probe(901, 25.0), None),  # under a tenth
        ({"frames": 1000, "duration": 40.0}, Probe(899, 25.0), "899 frames"),
        ({"frames": 0}, Probe(1000, 250.0), None),  # no frame count to compare with
        ({"frames": 0}, Probe(1000, 25.0), "but the annotations say 4.00 seconds"),
        ({"frames": 240, "fixed_fps": 60.0}, Probe(100, 25.0), "convert it to 60 frames a second"),
    ],
)
def test_lengths_are_compared(fields: dict[str, object], found: Probe, words: str | None) -> None:
    problem = length_problem(make_video("a", **fields), Path("a.mp4"), found)
    if words is None:
        assert problem is None
    else:
        assert problem is not None
        assert words in problem
        assert problem.startswith("a.mp4: ")


def test_windows_that_the_file_does_not_reach(config: Config) -> None:
    """Windows of 16 positions of 4 frames that overlap by half start at frames 0, 32, 64, ... and 436 of 500."""
    sampling, path = make_sampling(config.data), Path("a.mp4")
    video = make_video("a", frames=500)
    assert window_problem(video, path, Probe(500, 25.0), sampling) is None
    assert window_problem(video, path, Probe(437, 25.0), sampling) is None
    text = window_problem(video, path, Probe(436, 25.0), sampling)
    assert text is not None
    assert "a.mp4: the window of grid positions 109 to 124 starts at source frame 436" in text
    config = config.with_fields({"data.frames_per_position": 4})
    text = window_problem(make_video("a", frames=3), path, Probe(3, 25.0), make_sampling(config.data))
    assert text == "a.mp4: 3 frames are too few for one grid position of a window; leave the video out"


def test_odd_segments() -> None:
    segments = [[1, 2], [1, 2], [1, 2], [2, 2], [3, 9], [3.5, 4.9], [-2, 1], [7, 9], [8, 8]]
    labels = ("jump", "jump", "run", "jump", "jump", "jump", "jump", "jump", "Ambiguous")
    video = make_video("a", segments=np.array(segments, float), labels=labels)
    assert list(segment_problems(video, {"Ambiguous"})) == [
        ("duplicated", 'a: "jump", 1 to 2 s'),
        ("empty", 'a: "jump", 2 to 2 s'),
        ("outside", 'a: "jump", 3 to 9 s; the video lasts 4 s'),
        ("outside", 'a: "jump", -2 to 1 s; the video lasts 4 s'),
    ]


def test_costs_are_measured_on_the_frames_that_are_asked_for(tmp_path: Path) -> None:
    path = write_video(tmp_path / "noise.mp4")
    few, many = measure(Clip(path, tuple(range(0, 20, 4)), 32)), measure(Clip(path, tuple(range(100)), 32))
    assert 0 < few.seconds < many.seconds
    pixels = 32 * 43 * 3
    assert 0.05 * pixels < many.frame_bytes < pixels  # noise does not compress well
    assert measure(Clip(path, (0,), 16)).frame_bytes < few.frame_bytes


def test_an_evaluation_keeps_the_truth_of_skipped_videos(tmp_path: Path, config: Config) -> None:
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4")
    (tmp_path / "c.mp4").write_bytes(b"nothing")
    entry = {"subset": "validation", "duration": SECONDS, "frame": FRAMES}
    entry["annotations"] = [{"segment": [0.5, 2.5], "label": "jump"}]
    (tmp_path / "annotations.json").write_text(json.dumps({"database": dict.fromkeys("abcd", entry)}))
    config = config.with_fields({"data.videos": str(tmp_path), "data.annotations": str(tmp_path / "annotations.json")})
    with pytest.raises(UserError, match=r"1 of 4 annotated videos are missing(.|\n)*/d: no file"):
        load_evaluation(config, ("jump",))
    config = config.with_fields({"data.skip_broken": True})
    evaluation = load_evaluation(config, ("jump",))
    assert {window.video for window in evaluation.windows.windows} == {"a", "b"}
    perfect = Detections(np.array([[0.5, 2.5]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int32))
    assert evaluation.measure({"a": perfect, "b": perfect}).average_map == pytest.approx(0.5)  # two of four
