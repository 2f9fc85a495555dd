"""decord: it reads what it reads rightly, PyAV reads the rest, and a program that ends while it reads ends in order."""

import gc
import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from adatad_jax.errors import UserError
from adatad_jax.video import decord_reader
from adatad_jax.video.decode import Filling, open_video
from adatad_jax.video.decord_reader import DecordReader, judge
from adatad_jax.video.limits import within
from adatad_jax.video.readers import DECORD, PYAV, check_reader, open_with, reason_for_pyav, tally
from tests.video.test_decode import BITS, SIZE, X264, X264_OPEN, X265, packets, shown, write_waves

pytest.importorskip("decord", reason="decord has wheels for Linux on x86-64 only")
CASES = Path(__file__).parents[1] / "cases"
X265_CLOSED = {"x265-params": "log-level=none:open-gop=0"}
VP9 = {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "200k", "cpu-used": "8"}


def write(
    path: Path, codec: str, b_frames: int, options: dict[str, str], group: int, size: tuple[int, int] = SIZE
) -> Path:
    """Writes 60 frames that show their numbers, with a key frame every `group` frames."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = group, b_frames
        for index in range(60):
            picture = np.full((*size, 3), 20, np.uint8)
            for bit in range(BITS):
                if index >> bit & 1:
                    picture[:, 16 * bit : 16 * (bit + 1)] = 230
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


KINDS = [
    *itertools.product(["libx264"], ["x.mp4", "x.mkv"], [0, 3], [X264, X264_OPEN], [1, 2, 12]),
    *itertools.product(["libx265"], ["x.mp4"], [0, 3], [X265, X265_CLOSED], [2, 12]),
    *itertools.product(["mpeg4", "mpeg2video"], ["x.mp4", "x.mkv"], [0, 2], [{}], [2, 12]),
    *itertools.product(["libvpx-vp9"], ["x.webm"], [0], [VP9], [2, 12]),
]


def test_what_decord_is_given_it_reads_exactly_and_closed_groups_are_given_to_it(tmp_path: Path) -> None:
    given = []
    for codec, file, b_frames, options, group in KINDS:
        path = write(tmp_path / file, codec, b_frames, options, group)
        if reason_for_pyav(DECORD, path):
            assert b_frames or codec == "libx265", "without B-frames every group is closed"
            continue
        given.append((codec, b_frames))
        reader = open_with(DECORD, path)
        assert isinstance(reader, DecordReader)
        rng = np.random.default_rng(0)
        for indices in (rng.permutation(60), *rng.permutation(60)[:9, None]):
            assert [shown(frame) for frame in reader.read(indices)] == list(indices), (codec, file, b_frames, group)
    assert {("libx264", 0), ("libx264", 3), ("mpeg4", 0), ("mpeg2video", 0), ("libvpx-vp9", 0)} <= {*given}


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("00001.MTS", "mpegts"),
        ("paff.mp4", "field"),
        ("rtsp_jump_1h.mp4", "time stamps"),
        ("vfr_one_duplicate.webm", "time stamps"),
        ("thumb_first.mp4", "tracks"),
        ("screen_gaps.webm", "without a frame"),
        ("drift.mkv", ""),
        ("vfr_clean.webm", ""),
    ],
)
def test_who_reads_the_odd_files(file: str, told: str) -> None:
    reason = reason_for_pyav(DECORD, CASES / file)
    assert told in reason
    assert bool(told) == bool(reason)
    assert reason_for_pyav(PYAV, CASES / file) == ""
    wanted, own = open_with(DECORD, CASES / file), open_video(CASES / file)
    indices = np.random.default_rng(0).permutation(own.frame_count)[:9]
    assert (wanted.frame_count, wanted.fps, wanted.size) == (own.frame_count, own.fps, own.size)
    assert np.abs(wanted.read(indices).astype(int) - own.read(indices)).max() <= 2


def test_a_container_and_a_codec_that_decord_cannot_read_are_told(tmp_path: Path) -> None:
    assert "(avi)" in reason_for_pyav(DECORD, write(tmp_path / "a.avi", "mpeg4", 0, {}, 12))
    assert "open groups" in reason_for_pyav(DECORD, write(tmp_path / "a.mp4", "libx264", 2, X264_OPEN, 12))
    interlaced = {"x264-params": "log-level=none:tff=1"}
    write_waves(tmp_path / "i.mp4", "libx264", interlaced, frames=20)  # decord takes the colours of fields apart
    assert "pictures" in reason_for_pyav(DECORD, tmp_path / "i.mp4")
    with pytest.raises(UserError, match=r"none\.mp4\b.*\bno such\b"):
        open_with(DECORD, tmp_path / "none.mp4")


def test_swapped_stamps_are_noticed_and_a_file_of_one_frame_is_read(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mp4", "libx264", 0, X264, 12)
    for name, count, swapped in (("one.mp4", 1, ()), ("swapped.mp4", 60, (20, 21))):
        with av.open(str(source)) as whole, av.open(str(tmp_path / name), "w") as copy:
            stream = copy.add_stream_from_template(whole.streams.video[0])
            found = [packet for packet in whole.demux(video=0) if packet.size][:count]
            stamps = [packet.pts or 0 for packet in found]
            for place, packet in enumerate(found):
                packet.pts = packet.dts = stamps[place]
                if place in swapped:
                    packet.pts = stamps[sum(swapped) - place]
                    packet.dts = stamps[swapped[0]] - swapped[1] + place
                packet.stream = stream
                copy.mux(packet)
    assert "swapped" in reason_for_pyav(DECORD, tmp_path / "swapped.mp4")
    assert shown(open_with(DECORD, tmp_path / "one.mp4").read([0])[0]) == 0
    assert reason_for_pyav(DECORD, tmp_path / "one.mp4") == ""


def test_the_verdict_follows_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", "libx264", 0, X264, 12)
    assert judge(path).against == ""
    write(path, "libx264", 2, X264_OPEN, 12)
    assert judge(path).against != ""


def test_lost_packets_are_handed_to_pyav_and_other_damage_is_not_seen(tmp_path: Path) -> None:
    """What the README says of damage: decord fails where a packet is gone, and is silent where bytes are wrong."""
    source = write_waves(tmp_path / "waves.mp4", "libx264", {**X264, "preset": "veryfast"})
    clean = open_video(source).read(range(60)).astype(int)
    content, in_order = source.read_bytes(), sorted(packets(source))
    _, position, size = in_order[30]
    for name, start in (("gone.mp4", 0), ("wrong.mp4", size // 2)):
        damaged = bytearray(content)
        damaged[position + start : position + size] = bytes(size - start)
        (tmp_path / name).write_bytes(damaged)
    reader = open_with(DECORD, tmp_path / "gone.mp4")
    assert isinstance(reader, DecordReader)
    np.testing.assert_array_equal(reader.read([3])[0], clean[3])
    with pytest.raises(UserError, match=r"gone\.mp4: frame 30\b.*damaged"):
        reader.read([29, 30])
    np.testing.assert_array_equal(reader.read([3, 50]), clean[[3, 50]])
    assert np.abs(open_with(DECORD, tmp_path / "wrong.mp4").read([30])[0] - clean[30]).max() > 8
    with pytest.raises(UserError, match=r"wrong\.mp4: frame 30\b.*damaged"):
        open_with(PYAV, tmp_path / "wrong.mp4").read([30])
    assert not isinstance(open_with(DECORD, source, Filling(0.1)), DecordReader), "only PyAV can fill"


def test_frames_beyond_the_end_are_as_with_pyav(tmp_path: Path) -> None:
    reader = open_with(DECORD, write(tmp_path / "a.mp4", "libx264", 0, X264, 12))
    assert [shown(frame) for frame in reader.read([64, 58, 60])] == [59, 58, 59]
    assert shown(reader.read([3])[0]) == 3
    with pytest.raises(UserError, match=r"a\.mp4: frame 65\b.*\b60 frames"):
        reader.read([65])
    for senseless in ([3, -1], []):
        with pytest.raises(ValueError, match="indices"):
            reader.read(senseless)


def test_readers_free_their_memory_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", "libx264", 0, X264, 12)
    open_with(DECORD, path).read([5])
    before, threads = len(os.listdir("/proc/self/fd")), set(threading.enumerate())
    tasks = len(os.listdir("/proc/self/task"))
    gc.disable()
    try:
        for _ in range(20):
            open_with(DECORD, path).read([50, 3])
        assert len(os.listdir("/proc/self/fd")) <= before
        assert len(os.listdir("/proc/self/task")) <= tasks + 1
        assert not set(threading.enumerate()) - threads  # those of other tests may end meanwhile
    finally:
        gc.enable()


def test_one_reader_in_many_threads_of_a_data_loader(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", "libx264", 2, X264, 12)
    wrong: list[object] = []

    def work(seed: int) -> None:
        for index in np.random.default_rng(seed).permutation(60)[:10].tolist():
            frame = within(60, "a.mp4", lambda index=index: open_with(DECORD, path).read([index]))[0]  # type: ignore[misc]
            if shown(frame) != index:
                wrong.append(index)

    threads = [threading.Thread(target=work, args=[seed]) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


ENDS = """
import sys, threading, time
from pathlib import Path
from adatad_jax.video.limits import within
from adatad_jax.video.readers import open_with
path = Path(sys.argv[1])
started = threading.Semaphore(0)
def read():
    while True:
        reader = open_with("decord", path)
        started.release()
        for first in range(0, 60, 20):
            reader.read(range(first, first + 20))
def limited():
    while True:
        within(60, "a", lambda: open_with("decord", path).read(range(20)))
for work in (read, read, limited):
    threading.Thread(target=work, daemon=True).start()
for _ in range(3):
    started.acquire()
time.sleep(0.05)
sys.exit(7)
"""


def test_a_program_that_ends_while_decord_reads_keeps_its_exit_code(tmp_path: Path) -> None:
    """C++ would abort the process (exit code 134) if a read were in progress, or a decoder there, as it ends."""
    path = write(tmp_path / "a.mp4", "libx264", 0, {**X264, "preset": "ultrafast"}, 60, (720, 1280))
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", ENDS, str(path)], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (7, ""), done.stderr
        assert "terminate" not in done.stderr


def test_it_prints_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", "libx264", 2, X264, 12)
    code = f"""
from pathlib import Path
from adatad_jax.video.readers import open_with
open_with("decord", Path({str(path)!r})).read([7, 3])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_the_tally_names_numbers_and_reasons() -> None:
    text = tally(["", "", "avi files", "avi files", "open groups", ""])
    assert "decord reads 3 of 6" in text
    assert "PyAV 3" in text
    assert "2 with avi files; 1 with open groups" in text
    assert "decord reads 0 of 0" in tally([])


def test_without_decord_the_field_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(decord_reader, "is_installed", lambda: False)
    check_reader(PYAV)
    for call in (lambda: check_reader(DECORD), lambda: open_with(DECORD, tmp_path / "a.mp4")):
        with pytest.raises(UserError, match=r"config\.data\.reader=decord\b.*\bnot installed\b.*x86-64"):
            call()
