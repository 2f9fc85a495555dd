"""The annotated video: the original's frames, times and sound, and the place and time of what is drawn."""

import re
import struct
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from adatad_jax.errors import UserError
from adatad_jax.outputs.annotated import write_annotated
from adatad_jax.outputs.overlay import Overlay
from adatad_jax.postprocessing.detections import Detection
from adatad_jax.video.decode import open_video
from adatad_jax.video.scan import scan
from tests.outputs.detections import ODD_LABELS
from tests.real_data import real_file
from tests.video.broken_files import write_broken

SIZE = (120, 160)
RATE = 25
TICK = Fraction(1, 1000)
JUMP = Detection(0.5, 1.0, "jump", 0.9)


def write_clip(
    path: Path,
    stamps: Sequence[int] = range(0, 1600, 40),
    size: tuple[int, int] = SIZE,
    codec: str = "libx264",
    sound: str | None = None,
    sound_start: float = 0.0,
    colorspace: int = 2,
    shape: Fraction | None = None,
) -> Path:
    """Writes a video of a still picture in soft colours, with frames at `stamps` milliseconds."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    picture = np.stack([60 + 120 * rows // height, 60 + 120 * columns // width, 200 - 120 * rows // height], 2)
    with av.open(str(path), "w") as container:
        options = {"x264-params": "log-level=none", "crf": "8"} if codec == "libx264" else {"qscale": "2"}
        stream: Any = container.add_stream(codec, rate=RATE, options=options)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv444p" if codec == "libx264" else "yuv420p"
        stream.codec_context.time_base = stream.time_base = TICK if path.suffix == ".mkv" else Fraction(1, RATE)
        stream.codec_context.colorspace = colorspace
        if shape is not None:
            stream.codec_context.sample_aspect_ratio = shape
        packets = []
        target: Any = container.add_stream(sound, rate=8000, layout="mono") if sound else None
        for stamp in stamps:
            frame = av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")
            frame = frame.reformat(format=stream.pix_fmt, dst_colorspace=colorspace if colorspace == 1 else None)
            frame.pts, frame.time_base = round(stamp * TICK / stream.codec_context.time_base), stream.time_base
            packets += stream.encode(frame)
        packets += stream.encode()
        if target:
            tone = np.sin(np.arange(12_800) * 2 * np.pi * 440 / 8000) * (np.arange(12_800) > 6400)  # from 0.8 s on
            frame = av.AudioFrame.from_ndarray(tone[None].astype(np.float32) / 2, format="fltp", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = 8000, Fraction(1, 8000), round(8000 * sound_start)
            packets += [*target.encode(frame), *target.encode()]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def frames(path: Path) -> np.ndarray:
    reader = open_video(path)
    return reader.read(np.arange(reader.frame_count)).astype(int)


def lit(pictures: np.ndarray, box: tuple[int, int] = (10, 20)) -> list[bool]:
    """Checks which frames have a dark box at top left."""
    return [bool(picture[: box[0], : box[1]].min() < 40) for picture in pictures]


def sounds(path: Path) -> tuple[list[bytes], float]:
    """Returns the packets of the sound, and the time at which the tone begins, in seconds."""
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            if frame.to_ndarray().max() / (1 if "flt" in frame.format.name else 2**15) > 0.1:
                return packets, float(frame.time or 0)
    raise AssertionError("no tone")


# Milliseconds of 40 frames from 0.3 s on: first every 40 ms, then every 100 ms with jitter.
UNSTEADY = [300 + 40 * i for i in range(20)] + [1100 + 100 * i + i * i % 7 for i in range(20)]


def test_frames_keep_their_times_and_labels_are_on_when_they_should(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mkv", UNSTEADY)
    done: list[float] = []
    assert write_annotated(source, tmp_path / "b.mp4", [JUMP], progress=done.append) == []
    times = scan(tmp_path / "b.mp4").clock()[:-1]
    np.testing.assert_allclose(times, (np.array(UNSTEADY) - 300) / 1000, atol=1e-6)
    until = [*times[1:], np.inf]
    expected = [start < 1.0 and end > 0.5 for start, end in zip(times, until, strict=True)]
    assert sum(expected) == 10  # at 480, 520, ..., 800 and 901 ms
    assert lit(frames(tmp_path / "b.mp4")) == expected
    assert done == sorted(done)
    assert done[-1] == pytest.approx(times[-1] + 1 / open_video(source).fps)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "b.mp4"]


@pytest.mark.parametrize("colorspace", [1, 2])  # BT.709, and none said
def test_the_rest_of_the_picture_stays_as_it_is(tmp_path: Path, colorspace: int) -> None:
    source = write_clip(tmp_path / "a.mp4", colorspace=colorspace)
    write_annotated(source, tmp_path / "b.mp4", [JUMP])
    before, after = frames(source), frames(tmp_path / "b.mp4")
    middle = np.s_[:, 30:110]  # below the label, above the bar
    assert np.abs(after[middle] - before[middle]).mean() < 1.5
    assert np.abs(after[middle] - before[middle]).max() < 16


def test_bar_and_playhead(tmp_path: Path) -> None:
    run = Detection(1.2, 1.6, "run", 0.5)
    write_annotated(write_clip(tmp_path / "a.mp4"), tmp_path / "b.mp4", [JUMP, run])  # 1.6 s
    after = frames(tmp_path / "b.mp4")
    columns = np.arange(160)
    jump_row, run_row = after[0, -3:-2].mean(0), after[0, -1:].mean(0)
    for row, start, end in ((jump_row, 50, 100), (run_row, 120, 160)):
        coloured = row.max(1) > 120
        inside = (columns >= start + 2) & (columns < end - 2)
        outside = ((columns < start - 2) | (columns >= end + 2)) & (columns > 4)
        assert coloured[inside].all()
        assert not coloured[outside].any()
    assert np.abs(jump_row[75] - run_row[140]).max() > 60  # one colour per class
    white = after[:, -4:, :].min(3).mean(1)
    for index in (0, 10, 25, 39):
        assert abs(int(white[index].argmax()) - 160 * index / 40) <= 1


def test_an_other_clock(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4")
    write_annotated(source, tmp_path / "b.mp4", [JUMP], fps=50.0)
    assert lit(frames(tmp_path / "b.mp4")) == [25 <= index < 50 for index in range(40)]
    np.testing.assert_allclose(scan(tmp_path / "b.mp4").clock()[:-1], np.arange(40) / 25, atol=1e-6)


@pytest.mark.parametrize("size", [(63, 47), (64, 64), (17, 201), (320, 18)])
def test_any_size_and_a_single_frame(tmp_path: Path, size: tuple[int, int]) -> None:
    found = [Detection(0, 1, label, 0.5) for label in ODD_LABELS]
    write_annotated(write_clip(tmp_path / "a.mp4", [0], size), tmp_path / "b.mp4", found)
    (frame,) = frames(tmp_path / "b.mp4")
    assert frame.shape[:2] == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    assert frame[: size[0] // 4, : size[1] // 4].min() < 40


def test_a_rotated_recording_comes_out_upright(tmp_path: Path) -> None:
    source = real_file("videos/decord_video_90.mov")
    write_annotated(source, tmp_path / "b.mp4", [])
    before, after = frames(source), frames(tmp_path / "b.mp4")
    assert before.shape == after.shape == (3, 568, 320, 3)
    assert np.abs(after[:, 50:500] - before[:, 50:500]).mean() < 4


@pytest.mark.parametrize("is_turned", [False, True])
def test_pixels_keep_their_shape(tmp_path: Path, is_turned: bool) -> None:
    source = write_clip(tmp_path / "a.mp4", [0], shape=Fraction(4, 3))
    if is_turned:  # by a quarter; the matrix of the track is the last one in the file
        one, last = 1 << 16, 1 << 30
        upright, turned = (one, 0, 0, 0, one, 0, 0, 0, last), (0, one, 0, -one, 0, 0, 0, 0, last)
        before, _, after = source.read_bytes().rpartition(struct.pack(">9i", *upright))
        source.write_bytes(before + struct.pack(">9i", *turned) + after)
    write_annotated(source, tmp_path / "b.mp4", [])
    with av.open(str(tmp_path / "b.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width) == (SIZE[::-1] if is_turned else SIZE)
        assert stream.sample_aspect_ratio == (Fraction(3, 4) if is_turned else Fraction(4, 3))


@pytest.mark.parametrize(("name", "start"), [("a.mp4", 0.0), ("a.mkv", 0.4), ("a.mkv", -0.4), ("a.ts", 0.0)])
def test_sound_is_copied_and_in_time(tmp_path: Path, name: str, start: float) -> None:
    """With a negative start, the video begins that much later than the sound."""
    stamps = [stamp + round(1000 * max(-start, 0)) for stamp in range(0, 1600, 40)]
    source = write_clip(tmp_path / name, stamps, sound="aac", sound_start=max(start, 0.0))
    assert write_annotated(source, tmp_path / "b.mp4", [JUMP]) == []
    (before, _), (after, onset) = sounds(source), sounds(tmp_path / "b.mp4")
    assert onset == pytest.approx(0.8 + start, abs=0.13)  # a packet of sound is 0.128 s
    strip = 7 if name == "a.ts" else 0  # the header of each packet, which mp4 keeps elsewhere
    left = before[len(before) - len(after) :]
    assert len(before) - len(after) == (1 + 3200 // 1024 if start < 0 else 0)  # one is ahead of the sound
    assert [packet[strip:] for packet in left] == after


def test_sound_that_mp4_does_not_hold_is_encoded_anew_and_told(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.avi", codec="mpeg4", sound="pcm_s16le")
    [note] = write_annotated(source, tmp_path / "b.mp4", [JUMP])
    assert "sound" in note
    assert "pcm_s16le" in note
    assert sounds(tmp_path / "b.mp4")[1] == pytest.approx(0.8, abs=0.13)


def test_what_cannot_be_read_or_written_leaves_nothing(tmp_path: Path) -> None:
    write_broken(tmp_path)
    there = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"/damaged\.mp4: .*\bframe \d+\b.*\bdecoded\b"):
        write_annotated(tmp_path / "damaged.mp4", tmp_path / "b.mp4", [JUMP])
    with pytest.raises(UserError, match=r"/gone/b\.mp4: .*\bwritten\b"):
        write_annotated(tmp_path / "short.mp4", tmp_path / "gone" / "b.mp4", [JUMP])
    with pytest.raises(UserError, match=r"/short\.mp4: .*\bvideo itself\b"):
        write_annotated(tmp_path / "short.mp4", tmp_path / "short.mp4", [JUMP])
    assert sorted(tmp_path.iterdir()) == there


def test_a_full_disk(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", range(0, 8000, 40))
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from adatad_jax.errors import UserError\n"
        "from adatad_jax.outputs.annotated import write_annotated\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write_annotated(Path(sys.argv[1]), Path(sys.argv[2]), [])\n"
        "except UserError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(source), str(tmp_path / "b.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.search(r"/b\.mp4: .*\bwritten\b.*\(File too large\)", done.stdout)
    assert list(tmp_path.iterdir()) == [source]


def test_crowded_labels_say_how_many_are_left_out_and_long_ones_fit() -> None:
    """Checks that the box stays in its part of the picture, and that the same detections are drawn the same."""
    found = [Detection(0, 1, f"{name} {i}", 1 - i / 40) for i, name in enumerate(ODD_LABELS * 3)]
    overlay = Overlay(found, np.array([0.0, 0.5]), np.array([0.5, 1.0]), SIZE)
    first, second = (np.full((*SIZE, 3), 255, np.uint8) for _ in range(2))
    overlay.draw(first, 0)
    overlay.draw(second, 0)
    np.testing.assert_array_equal(first, second)
    boxed = (first.max(2) < 255).any(1)
    assert boxed[: int(0.4 * SIZE[0])].all()
    assert not boxed[int(0.7 * SIZE[0]) : int(0.85 * SIZE[0])].any()


@pytest.mark.parametrize("size", [SIZE, (1080, 1920)])
def test_names_of_any_length_are_drawn(size: tuple[int, int]) -> None:
    """Checks that a longer name has a wider box, up to the length at which names are cut."""
    widths = []
    for name in ("", "W", "WW", "W" * 28, "W" * 200):
        frame = np.full((*size, 3), 255, np.uint8)
        Overlay([Detection(0, 1, name, 0.5)], np.zeros(1), np.ones(1), size).draw(frame, 0)
        widths.append(int((frame[:5].max((0, 2)) < 255).sum()))
    assert widths[0] < widths[1] < widths[2] < widths[3]
    assert widths[4] <= size[1]
