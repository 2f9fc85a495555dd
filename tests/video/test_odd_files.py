"""Files that play, or play in part, but mislead: each is read rightly, or refused with the reason."""

import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from adatad_jax.errors import UserError
from adatad_jax.video.decode import Filling, open_video
from adatad_jax.video.scan import scan
from adatad_jax.video.steady import check_fps, steady_layout
from tests.video.test_decode import X264, N, matroska_with_a_hole, overwritten, packets, shown, write_video, write_waves


@pytest.mark.parametrize(("name", "codec"), [("a.mjpeg", "mjpeg"), ("a.h263", "h263")])
def test_a_bare_stream_has_no_clock_but_the_one_that_is_given(tmp_path: Path, name: str, codec: str) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for index in range(20):
            picture = np.full((96, 128, 3), 10 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    with pytest.raises(UserError, match=rf"{name}: .*--fps"):
        steady_layout(path)
    assert steady_layout(path, fps=10.0).duration == pytest.approx(2.0)


@pytest.mark.parametrize("fps", [1e-300, 1e308, 0.0, -1.0, float("nan")])
def test_rates_that_no_video_has_are_refused(fps: float) -> None:
    with pytest.raises(UserError, match=re.escape(f"fps={fps}")):
        check_fps(fps)


def test_key_marks_that_mean_nothing_are_not_jumped_to(tmp_path: Path) -> None:
    """Without its list of key frames, an mp4 marks every frame of MPEG-4 as one."""
    source = write_video(tmp_path / "marked.mp4", "mpeg4", 0)
    (tmp_path / "plain.mp4").write_bytes(source.read_bytes().replace(b"stss", b"free"))
    order = np.random.default_rng(0).permutation(N)[:12]
    reader = open_video(tmp_path / "plain.mp4")
    assert [shown(reader.read([index])[0]) for index in order] == order.tolist()
    assert "key frame" in " ".join(reader.notes)


def test_a_transport_stream_that_lost_a_packet_is_damaged(tmp_path: Path) -> None:
    """A packet of the transport is 188 bytes; that of a picture in the middle of a group is left out."""
    content = write_waves(tmp_path / "whole.ts", "libx264", X264 | {"preset": "veryfast"}).read_bytes()
    pieces = [content[start : start + 188] for start in range(0, len(content), 188)]
    inside = [place for place, piece in enumerate(pieces) if piece[1:3] == b"\x01\x00"]  # not the first of a picture
    lost = inside[len(inside) // 2]
    (tmp_path / "lossy.ts").write_bytes(b"".join(pieces[:lost] + pieces[lost + 1 :]))
    with pytest.raises(UserError, match=r"lossy\.ts: frame \d+ .*damaged"):
        open_video(tmp_path / "lossy.ts").read(range(60))
    filling = Filling(1.0)
    open_video(tmp_path / "lossy.ts", filling).read(range(60))
    assert filling.frames


def test_a_damaged_first_frame_is_no_start_between_key_frames(tmp_path: Path) -> None:
    source = write_video(tmp_path / "whole.mp4", b_frames=0, options=X264)
    damaged = overwritten(source, sorted(packets(source))[:1], tmp_path / "start.mp4")
    with pytest.raises(UserError, match=r"start\.mp4: its first frame"):
        open_video(damaged)


def test_damage_at_the_end_is_filled_where_that_is_allowed(tmp_path: Path) -> None:
    source = write_video(tmp_path / "whole.mp4", b_frames=0, options=X264)
    damaged = overwritten(source, sorted(packets(source))[-8:], tmp_path / "end.mp4")
    filling = Filling(0.1)
    assert [shown(frame) for frame in open_video(damaged, filling).read([N - 9, N - 8, N - 1])] == [N - 9] * 3
    assert filling.frames == set(range(N - 8, N))


def test_a_hole_is_filled_the_same_in_any_order(tmp_path: Path) -> None:
    source = write_video(tmp_path / "whole.mp4", b_frames=0, options=X264)
    damaged = overwritten(source, sorted(packets(source))[40:41], tmp_path / "hole.mp4")
    reader = open_video(damaged, Filling(1.0))
    assert [shown(reader.read([index])[0]) for index in (80, 44, 10, 47, 40, 60, 41)] == [80, 39, 10, 39, 39, 60, 39]


def test_frames_that_a_file_lacks_count_as_damaged(tmp_path: Path) -> None:
    matroska_with_a_hole(tmp_path / "hole.mkv")
    lacking = N - scan(tmp_path / "hole.mkv").count
    assert lacking > 10
    with pytest.raises(UserError, match=r"hole\.mkv: more than 10%"):
        open_video(tmp_path / "hole.mkv", Filling(0.1))


def test_a_track_of_few_pictures_is_no_film(tmp_path: Path) -> None:
    path = tmp_path / "slides.mkv"
    with av.open(str(path), "w") as container:
        slides: Any = container.add_stream("mjpeg", rate=25)
        film: Any = container.add_stream("libx264", rate=25, options=X264)
        for stream, pixels in ((slides, "yuvj420p"), (film, "yuv420p")):
            stream.height, stream.width, stream.pix_fmt = 64, 96, pixels
        for index in range(100):
            for stream, own in ((film, True), (slides, index == 0)):
                if own:
                    picture = av.VideoFrame.from_ndarray(np.full((64, 96, 3), index, np.uint8), format="rgb24")
                    picture.pts = index
                    container.mux(stream.encode(picture))
        last = av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), format="rgb24")
        last.pts = 150
        container.mux([*film.encode(), *slides.encode(last), *slides.encode()])
    assert scan(path).count == 100
    assert scan(path).clock()[-1] == pytest.approx(4.0, abs=0.01)


def test_an_avi_with_dropped_frames_keeps_its_times(tmp_path: Path) -> None:
    path = tmp_path / "dropped.avi"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for index in [*range(20), *range(30, 60)]:
            picture = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 4 * index, np.uint8), format="rgb24")
            picture.pts = index
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    clock = scan(path).clock()
    assert len(clock) == 51
    assert clock[-1] == pytest.approx(60 / 25, abs=0.05)
    assert clock[20] == pytest.approx(30 / 25, abs=0.05)
