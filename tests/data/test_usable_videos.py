"""Video files of a data set: found, opened and compared with the annotations, with every fault named."""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from adatad_jax.config.fields import Config
from adatad_jax.data import usable_videos
from adatad_jax.data.annotations import Video
from adatad_jax.data.frames import FrameSource
from adatad_jax.data.sampling import make_sampling
from adatad_jax.data.subset import Subset
from adatad_jax.data.usable_videos import length_problem, look_at, usable, window_problem
from adatad_jax.diagnosis.costs import Clip, measure
from adatad_jax.diagnosis.segment_problems import segment_problems
from adatad_jax.errors import UserError
from adatad_jax.inference.test_set import load_evaluation
from adatad_jax.postprocessing.detections import Detections
from adatad_jax.video.limits import within
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
    assert "d.mkv, d.mp4" in problems["d"]
    with pytest.raises(UserError, match=r"/nowhere: .*\bno such folder\b"):
        find_files(tmp_path / "nowhere", ["a"])


def test_files_with_a_prefix(tmp_path: Path) -> None:
    for name in ("v_a.mp4", "v_b.mp4", "v_v_c.mp4", "d.mp4"):
        (tmp_path / name).touch()
    # A name that already has the prefix is found, and a name that only begins like it is not confused with it.
    files, problems = find_files(tmp_path, ["a", "v_b", "v_c", "d", "v_e"], "v_")
    assert {name: path.name for name, path in files.items()} == {"a": "v_a.mp4", "v_b": "v_b.mp4", "v_c": "v_v_c.mp4"}
    assert [text.split(":")[0] for text in problems.values()] == [f"{tmp_path}/v_d", f"{tmp_path}/v_e"]


def test_every_fault_is_found_and_named(tmp_path: Path, config: Config) -> None:
    faults = write_broken(tmp_path)
    write_video(tmp_path / "sound.mp4")
    subset = make_subset(tmp_path, [*faults, "sound"])
    with pytest.raises(UserError, match=r"\b7 of 9 videos\b.*--config\.data\.skip_broken=True") as e:
        usable(subset, config)
    for name, words in faults.items():
        if name != "damaged":  # in its middle, where only a decoder of every frame would see it
            [line] = [line for line in str(e.value).splitlines() if f"/{name}" in line]
            assert words in line, line
    assert probe(tmp_path / "damaged.mp4") == probe(tmp_path / "sound.mp4") == Probe(FRAMES, RATE, SIZE)
    with pytest.raises(UserError, match=r"/damaged\.mp4: .*\bframe 50\b"):
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
    [record] = [record for record in caplog.records if record.name.startswith("adatad_jax")]
    message = record.getMessage()
    assert "2 of 3 videos" in message
    assert "missed" in message
    assert f"{tmp_path}/b.mp4: not a video" in message
    assert f"{tmp_path}/c: no file" in message
    assert usable(left, config) == left
    with pytest.raises(UserError, match=r"\b1 of 1 videos\b(.|\n)*/b\.mp4: "):
        usable(make_subset(tmp_path, ["b"]), config)


def test_which_reader_reads_how_many_is_said_where_decord_is_asked_for(
    tmp_path: Path, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("decord", reason="decord has wheels for Linux on x86-64 only")
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4")
    write_video(tmp_path / "c.avi")
    with_decord = config.with_fields({"data.reader": "decord"})
    subset = usable(make_subset(tmp_path, ["a", "b", "c"]), with_decord)
    assert "decord reads 2 of 3 videos, PyAV 1: 1 with" in (told := capsys.readouterr().out)
    assert "(avi)" in told
    own = usable(make_subset(tmp_path, ["a", "b", "c"]), config)
    assert "decord" not in capsys.readouterr().out
    sources = [
        FrameSource(one.files, data, one.sampling, 32, one.probes)
        for one, data in ((subset, with_decord.data), (own, config.data))
    ]
    for name in ("a", "b", "c"):
        ours, theirs = (source.read(name, np.array([50, 3, 50]), (0, 0, 32, 42), 32) for source in sources)
        assert np.abs(ours.astype(int) - theirs).max() <= 2


def test_a_decoder_that_hangs_is_left_behind(tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "stuck", "b"):
        (tmp_path / f"{name}.mp4").touch()
    end = Event()

    def read(path: Path, reader: str) -> Probe:
        if path.stem == "stuck":
            end.wait()
        return Probe(FRAMES, RATE)

    def patient(seconds: float, what: str, function: Callable[[], Probe]) -> Probe:
        """Gives the other videos time to start their threads, however busy the machine is."""
        return within(seconds if "stuck" in what else 60, what, function)

    monkeypatch.setattr(usable_videos, "probe", read)
    monkeypatch.setattr(usable_videos, "within", patient)
    config = config.with_fields({"data.time_limit": 0.2})
    try:
        probes, broken = look_at(make_subset(tmp_path, ["a", "stuck", "b"]), config)
    finally:
        end.set()
    assert list(probes) == ["a", "b"]
    assert list(broken) == ["stuck"]
    assert re.search(r"/stuck\.mp4: .*\b0\.2 s\b", broken["stuck"])


@pytest.mark.parametrize(
    ("fields", "found", "words"),
    [
        ({}, Probe(100, 25.0), None),
        ({}, Probe(129, 25.0), r"\b129 frames\b.*\b5\.16\b.*\b100\b.*\b4\.00\b"),  # 1.16 s apart
        ({}, Probe(125, 25.0), None),  # 1 s and 25 frames apart: 30 and 1 s are allowed
        ({"frames": 1000, "duration": 40.0}, Probe(901, 25.0), None),  # under a tenth
        ({"frames": 1000, "duration": 40.0}, Probe(899, 25.0), "899 frames"),
        ({"frames": 0}, Probe(1000, 250.0), None),  # no frame count to compare with
        ({"frames": 0}, Probe(1000, 25.0), r"\b1000 frames\b.*\b40\.00\b.* 4\.00 seconds"),
        ({"frames": 240, "fixed_fps": 60.0}, Probe(100, 25.0), r"\bconvert\b.*\b60 frames\b.*\bconfig\.data\.fps\b"),
    ],
)
def test_lengths_are_compared(fields: dict[str, object], found: Probe, words: str | None) -> None:
    problem = length_problem(make_video("a", **fields), Path("a.mp4"), found)
    if words is None:
        assert problem is None
    else:
        assert problem is not None
        assert re.search(words, problem)
        assert problem.startswith("a.mp4: ")


def test_windows_that_the_file_does_not_reach(config: Config) -> None:
    """Windows of 16 positions of 4 frames with half overlap start at frames 0, 32, 64, ... and 436 of 500."""
    sampling, path = make_sampling(config.data), Path("a.mp4")
    video = make_video("a", frames=500)
    assert window_problem(video, path, Probe(500, 25.0), sampling) is None
    assert window_problem(video, path, Probe(437, 25.0), sampling) is None
    text = window_problem(video, path, Probe(436, 25.0), sampling)
    assert text is not None
    assert re.search(r"a\.mp4: .*\bpositions 109 to 124\b.*\bframe 436\b", text)
    config = config.with_fields({"data.frames_per_position": 4})
    text = window_problem(make_video("a", frames=3), path, Probe(3, 25.0), make_sampling(config.data))
    assert text is not None
    assert re.search(r"a\.mp4: 3 frames\b.*\bone grid position\b", text)


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
    measure(Clip(path, (0,), 32))  # the first call also loads the decoder
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
    with pytest.raises(UserError, match=r"\b1 of 4\b(.|\n)*/d: no file"):
        load_evaluation(config, ("jump",))
    config = config.with_fields({"data.skip_broken": True})
    evaluation = load_evaluation(config, ("jump",))
    assert {window.video for window in evaluation.windows.windows} == {"a", "b"}
    perfect = Detections(np.array([[0.5, 2.5]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int32))
    assert evaluation.measure({"a": perfect, "b": perfect}).average_map == pytest.approx(0.5)  # two of four
