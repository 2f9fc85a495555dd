"""Decoding: the right frame at the right index in every kind of file, and clear messages about unreadable files."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import ArrayLike

from adatad_jax.errors import UserError
from adatad_jax.video.decode import Filling, VideoReader, frames_at, open_video
from adatad_jax.video.readers import DECORD, PYAV, open_with
from adatad_jax.video.scan import scan
from tests.real_data import real_file

N = 90
BITS = 7
SIZE = (48, 16 * BITS)

X264 = {"x264-params": "log-level=none:scenecut=0"}
X265 = {"x265-params": "log-level=none"}
X264_OPEN = {"x264-params": "log-level=none:scenecut=0:open-gop=1"}


def write_video(
    path: Path,
    codec: str = "libx264",
    b_frames: int = 2,
    options: dict[str, str] | None = None,
    frames: int = N,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Writes a video in which frame i shows the bits of i as black and white bars, with a key frame every 12 frames."""
    with av.open(str(path), "w", container_options=container_options) as container:
        stream: Any = container.add_stream(codec, rate=25, options=dict(options or {}))
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 12
        stream.codec_context.max_b_frames = b_frames
        for index in range(frames):
            picture = np.full((*SIZE, 3), 20, np.uint8)
            for bit in range(BITS):
                if index >> bit & 1:
                    picture[:, 16 * bit : 16 * (bit + 1)] = 230
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def shown(frame: np.ndarray) -> int:
    """Returns the index that a frame shows."""
    return sum(int(frame[:, 16 * bit + 4 : 16 * bit + 12].mean() > 125) << bit for bit in range(BITS))


@pytest.fixture(params=[PYAV, DECORD])
def opened(request: pytest.FixtureRequest) -> Callable[[Path], VideoReader]:
    """Opens files with either reader. What decord cannot read rightly, PyAV must read in its place."""
    if request.param == DECORD:
        pytest.importorskip("decord", reason="decord has wheels for Linux on x86-64 only")
    return partial(open_with, request.param)


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clips") / "closed.mp4", options=X264)


@pytest.mark.parametrize(
    ("file", "codec", "b_frames", "options"),
    [
        ("closed.mp4", "libx264", 2, X264),
        ("closed.mkv", "libx264", 3, X264),
        ("plain.mp4", "mpeg4", 0, {}),
        ("hevc.mp4", "libx265", 3, X265),
        ("vp8.webm", "libvpx", 0, {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "200k"}),
        ("vp9.webm", "libvpx-vp9", 0, {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "200k", "cpu-used": "8"}),
        # in these files decord's random access is silently off by up to 20 frames
        ("open.mp4", "libx264", 2, X264_OPEN),
        ("open.mkv", "libx264", 2, X264_OPEN),
        ("mpeg4.mp4", "mpeg4", 2, {}),
        ("mpeg4.avi", "mpeg4", 2, {}),
        ("h264.avi", "libx264", 0, X264),
        ("h264.ts", "libx264", 2, X264),
        ("mpeg2.mpg", "mpeg2video", 2, {}),
        ("wmv2.wmv", "wmv2", 0, {}),
    ],
)
def test_exact_frames(
    opened: Callable[[Path], VideoReader], tmp_path: Path, file: str, codec: str, b_frames: int, options: dict[str, str]
) -> None:
    reader = opened(write_video(tmp_path / file, codec, b_frames, options))
    assert reader.frame_count == N
    assert reader.fps == 25
    assert reader.size == SIZE
    rng = np.random.default_rng(0)
    for indices in (
        range(0, N, 4),
        [N - 1, 0, 13, 12, 11, 13],
        *rng.permutation(N)[:20, None],  # one at a time
        rng.integers(0, N, 40),
    ):
        frames = reader.read(np.array(indices))
        assert frames.dtype == np.uint8
        assert [shown(frame) for frame in frames] == list(indices)


def test_why_not_decord_it_is_silently_off_in_open_groups(tmp_path: Path) -> None:
    decord = pytest.importorskip("decord")
    path = write_video(tmp_path / "open.mp4", options=X264_OPEN)
    video = decord.VideoReader(str(path), num_threads=1)
    order = np.random.default_rng(0).permutation(N)
    assert any(shown(video[int(index)].asnumpy()) != index for index in order)


def handles(path: Path) -> int:
    """Returns how many file descriptors of this process are open on a file."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile, as the one that lists the folder is
            count += os.readlink(descriptor) == str(path.resolve())
    return count


def test_a_reader_is_freed_when_it_is_dropped(mp4: Path) -> None:
    """Decoders hold tens of megabytes, so they must not wait for the garbage collector to find cycles."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to count open files")
    gc.collect()
    gc.disable()
    try:
        before = handles(mp4)
        reader = open_video(mp4)
        assert handles(mp4) == before + 1
        del reader
        for _ in range(5):
            open_video(mp4).read([80, 5])
        assert handles(mp4) == before
    finally:
        gc.enable()


def test_import_and_decoding_print_nothing(mp4: Path) -> None:
    code = f"from adatad_jax.video.decode import open_video; open_video({str(mp4)!r}).read([7, 3])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_frames_at_transforms_small_batches(mp4: Path) -> None:
    asked: list[list[int]] = []

    class Counting:
        frame_count, fps, size, notes = N, 25.0, SIZE, ()

        def read(self, indices: ArrayLike) -> np.ndarray:
            asked.append(np.asarray(indices).tolist())
            return open_video(mp4).read(indices)

    indices = [9, 2, 2, 30, 9, 77, 50, 50, 50]
    frames = frames_at(Counting(), indices, lambda batch: batch[:, ::2, :, :], batch=2)
    assert frames.shape == (9, SIZE[0] // 2, SIZE[1], 3)
    assert [shown(frame) for frame in frames] == indices
    assert asked == [[2, 9], [30, 50], [77]]  # sorted, each once


def test_senseless_indices_are_refused(opened: Callable[[Path], VideoReader], mp4: Path) -> None:
    with pytest.raises(ValueError, match=r"at least 0.*\[3, -1\]"):
        opened(mp4).read([3, -1])
    with pytest.raises(ValueError, match=r"one or more.*\[\]"):
        opened(mp4).read([])
    with pytest.raises(ValueError, match="frame index"):
        frames_at(opened(mp4), [], lambda batch: batch)


def test_a_little_beyond_the_end_repeats_the_last_frame(opened: Callable[[Path], VideoReader], mp4: Path) -> None:
    reader = opened(mp4)
    assert [shown(frame) for frame in reader.read([N + 4, N - 2, N])] == [N - 1, N - 2, N - 1]
    assert shown(reader.read([3])[0]) == 3
    with pytest.raises(UserError, match=rf"closed\.mp4: frame {N + 5}\b.*\bends with frame 89\b.*\b{N} frames"):
        reader.read([N + 5])


def packets(path: Path) -> list[tuple[int, int, int]]:
    """Returns the timestamp, position and size of each packet of a file, in storage order."""
    with av.open(str(path)) as container:
        return [(p.pts or 0, p.pos or 0, p.size) for p in container.demux(video=0) if p.size]


def overwritten(path: Path, spans: list[tuple[int, int, int]], new: Path) -> Path:
    """Writes a copy of a file with the given packets zeroed."""
    content = bytearray(path.read_bytes())
    for _, position, size in spans:
        content[position : position + size] = bytes(size)
    new.write_bytes(content)
    return new


def test_frames_that_do_not_decode(
    opened: Callable[[Path], VideoReader], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = write_video(tmp_path / "whole.mp4", b_frames=0, options=X264)
    in_order = sorted(packets(source))
    capfd.readouterr()  # what the encoder said
    # the last three announced frames do not decode: they repeat the last that does
    reader = opened(overwritten(source, in_order[-3:], tmp_path / "end.mp4"))
    assert reader.frame_count == N
    assert [shown(frame) for frame in reader.read([N - 5, N - 4, N - 3, N - 1])] == [N - 5, N - 4, N - 4, N - 4]
    # seven are more than the few frames that may be missing
    reader = opened(overwritten(source, in_order[-7:], tmp_path / "short.mp4"))
    assert shown(reader.read([N - 8])[0]) == N - 8
    with pytest.raises(UserError, match=rf"short\.mp4: frame 89\b.*\bends with frame {N - 8}\b"):
        reader.read([N - 1])
    with pytest.raises(UserError, match=r"none\.mp4: .*first frame"):
        opened(overwritten(source, in_order, tmp_path / "none.mp4"))
    # in the middle: frames up to the next key frame, 48, are predicted from the missing one
    reader = opened(overwritten(source, in_order[40:41], tmp_path / "hole.mp4"))
    assert shown(reader.read([39])[0]) == 39
    for index in (40, 41, 47):
        with pytest.raises(UserError, match=rf"hole\.mp4: frame {index}\b.*damaged"):
            reader.read([39, index])
    assert [shown(frame) for frame in reader.read([50, 48, 38])] == [50, 48, 38]
    assert "".join(capfd.readouterr()) == ""


def write_waves(path: Path, codec: str, options: dict[str, str], frames: int = 60) -> Path:
    """Writes moving waves and noise: damage shows and spreads as in real videos. A key frame every 20 frames."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:240, :320]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt, stream.bit_rate = 240, 320, "yuv420p", 1_500_000
        stream.codec_context.gop_size = 20
        stream.codec_context.max_b_frames = 2
        for index in range(frames):
            waves = np.sin((x[..., None] + 5 * index) / (7, 9, 11)) + np.sin((y[..., None] - 3 * index) / (5, 8, 13))
            picture = np.clip(128 + 50 * waves + rng.normal(0, 4, waves.shape), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("file", "codec", "options"),
    [
        ("waves.mp4", "libx264", X264 | {"preset": "veryfast"}),
        ("open.mp4", "libx264", X264_OPEN | {"preset": "veryfast"}),
        ("mpeg4.avi", "mpeg4", {}),  # read by counting
        ("mpeg4.mp4", "mpeg4", {}),
    ],
)
def test_frames_around_damage_are_right_or_refused(
    tmp_path: Path, file: str, codec: str, options: dict[str, str]
) -> None:
    source = write_waves(tmp_path / file, codec, options)
    clean = open_video(source).read(range(60)).astype(int)
    content, rng = source.read_bytes(), np.random.default_rng(0)
    large = [packet for packet in packets(source) if packet[2] > 200]
    for trial in range(6):
        _, position, size = large[rng.integers(len(large) // 4, len(large) * 3 // 4)]
        damaged = bytearray(content)
        damaged[position + 40 : position + size] = rng.bytes(size - 40)
        path = tmp_path / f"{trial}{file}"
        path.write_bytes(damaged)
        reader = open_video(path)
        refused = []
        for index in range(60):
            try:
                frame = reader.read([index])[0]
            except UserError:
                refused.append(index)
            else:
                assert np.abs(frame - clean[index]).max() <= 8, (trial, index)
        assert refused
        with pytest.raises(UserError, match=path.name):
            reader.read(range(60))
        np.testing.assert_array_equal(reader.read([2])[0], clean[2])


def test_damaged_frames_are_filled_where_that_is_allowed(tmp_path: Path) -> None:
    """Frame 40 is lost; up to the next key frame, 48, all frames are predicted from it."""
    source = write_video(tmp_path / "whole.mp4", b_frames=0, options=X264)
    damaged = overwritten(source, sorted(packets(source))[40:41], tmp_path / "hole.mp4")
    filling = Filling(0.1)
    for indices in ([38, 44, 40, 47, 48], [41], range(36, 52)):  # in any order, and by one reader or another
        reader = open_video(damaged, filling)
        expected = [39 if 40 <= index < 48 else index for index in indices]
        assert [shown(frame) for frame in reader.read(indices)] == expected
    assert filling.frames == set(range(40, 48))
    with pytest.raises(UserError, match=r"hole\.mp4: .*\b5% of its 90 frames\b.*--skip-damaged"):
        open_video(damaged, Filling(0.05)).read(range(N))


def test_a_hole_in_a_matroska_file_is_filled_where_that_is_allowed(tmp_path: Path) -> None:
    matroska_with_a_hole(tmp_path / "hole.mkv")
    assert len(scan(tmp_path / "hole.mkv").lost) == 1
    reader = open_video(tmp_path / "hole.mkv", Filling(1.0))
    numbers = [shown(frame) for frame in reader.read(range(reader.frame_count))]
    assert (numbers[0], numbers[-1]) == (0, N - 1)
    assert numbers == sorted(numbers)


def test_why_not_decord_it_returns_damaged_pictures_without_a_word(tmp_path: Path) -> None:
    decord = pytest.importorskip("decord")
    source = write_waves(tmp_path / "waves.mp4", "mpeg4", {})
    clean = open_video(source).read([30])[0].astype(int)
    content = bytearray(source.read_bytes())
    _, position, size = sorted(packets(source))[30]
    content[position + 40 : position + size] = bytes(size - 40)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    assert np.abs(decord.VideoReader(str(damaged), num_threads=1)[30].asnumpy() - clean).max() > 50
    with pytest.raises(UserError, match=r"damaged\.mp4: frame 30\b.*damaged"):
        open_video(damaged).read([30])


def text_file(path: Path) -> None:
    path.write_text("hello world\n" * 100)


def noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def picture(path: Path) -> None:
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.height, stream.width, stream.pix_fmt = 8, 8, "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((8, 8, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())


def sound(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def cut_before_index(path: Path) -> None:
    content = write_video(path.with_suffix(".whole.mp4"), options=X264).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def half(path: Path, codec: str, **settings: Any) -> None:
    content = write_video(path.with_suffix(".whole" + path.suffix), codec, 0, **settings).read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def half_an_avi(path: Path) -> None:
    half(path, "mpeg4")


def half_a_matroska(path: Path) -> None:
    half(path, "libx264", options=X264)


def half_with_the_index_in_front(path: Path) -> None:
    half(path, "libx264", options=X264, container_options={"movflags": "faststart"})


def matroska_with_a_hole(path: Path) -> None:
    """Writes noise over the middle: Matroska readers go on after it, as if the frames there had never existed."""
    whole = path.with_suffix(".whole.mkv")
    write_video(whole, options=X264, container_options={"cluster_time_limit": "200"})
    content = bytearray(whole.read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = np.random.default_rng(0).bytes(third)
    path.write_bytes(content)


def without_decoder(path: Path) -> None:
    """Writes an H.264 video that declares an unknown codec."""
    content = write_video(path.with_suffix(".whole.mp4"), options=X264).read_bytes()
    path.write_bytes(content.replace(b"avc1", b"zzzz"))


@pytest.mark.parametrize(
    ("name", "make", "told"),
    [
        ("absent.mp4", None, "no such .*file"),
        ("empty.mp4", Path.touch, "0 bytes"),
        ("folder.mp4", Path.mkdir, "not a file"),
        ("words.mp4", text_file, "not a video"),
        ("words.txt", text_file, "not a video"),
        ("noise.mp4", noise, "not a video"),
        ("picture.png", picture, "not a video"),
        ("sound.mp4", sound, "no video stream.*audio"),
        ("cut.mp4", cut_before_index, "not a video.*damaged"),
        ("unknown.mp4", without_decoder, "no decoder"),
        ("half.avi", half_an_avi, r"\b90 frames\b.*cut short"),
        ("half.mkv", half_a_matroska, r"\b3\.60 s\b.*cut short"),
        ("half.mp4", half_with_the_index_in_front, r"\b90 frames\b.*cut short"),
        ("hole.mkv", matroska_with_a_hole, r"\bno frame for \d+\.\d\d s after frame \d+\b.*damaged"),
        ("pipe.mp4", os.mkfifo, "not a file"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_reason(
    opened: Callable[[Path], VideoReader], tmp_path: Path, name: str, make: Callable[[Path], object] | None, told: str
) -> None:
    path = tmp_path / name
    if make:
        make(path)
    with pytest.raises(UserError, match=told) as raised:
        opened(path)
    assert str(path) in str(raised.value)


REAL = [
    ("bbformer_tennis26.mp4", 339, (180, 320)),
    ("mmaction2_demo.mp4", 280, (256, 340)),
    ("mmaction2_test.mp4", 300, (256, 340)),
    ("mmaction2_part_0.mp4", 32, (256, 340)),
    ("decord_video_0.mov", 3, (320, 568)),
    ("decord_video_90.mov", 3, (568, 320)),
    ("decord_flipping_a_pancake.mkv", 310, (240, 426)),
    ("v_BaseballPitch_g01_c01.avi", 107, (240, 320)),
    ("v_SoccerJuggling_g23_c01.avi", 240, (240, 320)),
]


@pytest.mark.parametrize(("file", "count", "size"), REAL)
def test_same_frames_as_decord_in_real_clips(file: str, count: int, size: tuple[int, int]) -> None:
    decord = pytest.importorskip("decord")
    path = real_file(f"videos/{file}")
    indices = np.random.default_rng(0).permutation(count)[:10]
    other = decord.VideoReader(str(path), num_threads=1).get_batch(indices).asnumpy().astype(int)
    reader = open_video(path)
    assert (reader.frame_count, reader.size) == (count, size)
    assert np.abs(reader.read(indices) - other).max() <= 2
    assert (other != other[0]).any(), "frames that are all equal would show nothing"


@pytest.mark.parametrize("file", [name for name, *_ in REAL if not name.endswith("90.mov")])
def test_every_frame_of_real_clips_is_taken_for_sound_and_equal_to_plain_decoding(file: str) -> None:
    path = real_file(f"videos/{file}")
    reader = open_video(path)
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index % 7 == 0:
                np.testing.assert_array_equal(reader.read([index])[0], frame.to_ndarray(format="rgb24"))
    assert index == reader.frame_count - 1


def test_rotated_recording_is_upright(opened: Callable[[Path], VideoReader]) -> None:
    path = real_file("videos/decord_video_90.mov")
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    np.testing.assert_array_equal(opened(path).read([0])[0], np.rot90(stored, 3))


def test_avi_with_b_frames_and_a_missing_last_frame(opened: Callable[[Path], VideoReader]) -> None:
    path = real_file("videos/TrumanShow_wave_f_nm_np1_fr_med_26.avi")
    with av.open(str(path)) as container:
        in_order = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    reader = opened(path)
    assert (reader.frame_count, len(in_order)) == (49, 48)
    indices = np.random.default_rng(0).permutation(48)
    for frame, index in zip(reader.read(indices[:24]), indices[:24], strict=True):
        np.testing.assert_array_equal(frame, in_order[index])
    np.testing.assert_array_equal(reader.read([48])[0], in_order[47])
    np.testing.assert_array_equal(reader.read([20])[0], in_order[20])


def test_video_without_a_duration(opened: Callable[[Path], VideoReader]) -> None:
    path = real_file("videos/moviepy_no_duration.webm")
    with av.open(str(path)) as container:
        in_order = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    reader = opened(path)
    assert reader.frame_count == len(in_order) == 74
    for frame, index in zip(reader.read([70, 3, 40]), (70, 3, 40), strict=True):
        np.testing.assert_array_equal(frame, in_order[index])


@pytest.mark.parametrize("file", ["variable.mp4", "variable.mkv"])
def test_rate_of_a_variable_rate_video_is_the_average(
    opened: Callable[[Path], VideoReader], tmp_path: Path, file: str
) -> None:
    """Steps of 0.1 s for 30 frames, then of 0.02 s: 59 steps in 30 * 0.1 + 29 * 0.02 seconds."""
    path = tmp_path / file
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=50, options=X264)
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 50)
        for index in range(60):
            frame = av.VideoFrame.from_ndarray(np.full((*SIZE, 3), index, np.uint8), format="rgb24")
            frame.pts = 5 * index if index <= 30 else 150 + index - 30
            frame.time_base = Fraction(1, 50)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert opened(path).fps == pytest.approx(59 / 3.58, rel=0.02)


def test_trimmed_without_encoding_anew(opened: Callable[[Path], VideoReader], tmp_path: Path) -> None:
    """Such files begin with the key frame before the cut and mark frames before the cut as not shown."""
    source, path = write_video(tmp_path / "whole.mp4", options=X264), tmp_path / "trimmed.mp4"
    with (
        av.open(str(source)) as whole,
        av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as container,
    ):
        stream = container.add_stream_from_template(whole.streams.video[0])
        started = False
        for packet in whole.demux(video=0):
            started = started or (packet.is_keyframe and bool(packet.pts))
            if packet.size and started:
                assert packet.pts is not None
                assert packet.dts is not None
                shift = round(20 / 25 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                container.mux(packet)
    reader = opened(path)
    assert reader.frame_count == N - 20
    for indices in ([0], [69, 3, 30], [5, 4, 3], [1]):
        assert [shown(frame) - 20 for frame in reader.read(indices)] == indices


@pytest.mark.parametrize("file", ["titled.mp4", "titled.mkv", "titled.avi"])
def test_a_title_that_is_no_utf_8_does_not_matter(
    opened: Callable[[Path], VideoReader], tmp_path: Path, file: str
) -> None:
    path = tmp_path / file
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Caf_"
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((*SIZE, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(picture), *stream.encode()])
    content = path.read_bytes()
    assert content.count(b"Caf_") == 1
    path.write_bytes(content.replace(b"Caf_", "Café".encode("latin-1")))
    assert len(opened(path).read([0])) == 1


def test_a_file_is_scanned_anew_only_if_it_has_changed(opened: Callable[[Path], VideoReader], tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", options=X264)
    assert scan(path) is scan(path)
    write_video(path, options=X264, frames=30)
    assert opened(path).frame_count == 30
