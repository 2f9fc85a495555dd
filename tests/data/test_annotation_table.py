"""One's own table of segments: what it becomes, what is wrong with it by line, and how videos are split."""

import logging
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adatad_jax.config.fields import Config
from adatad_jax.data.annotation_table import load_table, split_by_hash
from adatad_jax.data.subset import load_classes, load_videos
from adatad_jax.errors import UserError

Table = Callable[..., Config]
HEADER = "video,start,end,label\n"
SUBSETS = "video,start,end,label,subset\n"
LENGTHS = {"a.mp4": (50, Fraction(25)), "b.mp4": (90, Fraction(30)), "c.d.avi": (48, Fraction(24000, 1001))}


def write_video(path: Path, frames: int, fps: Fraction) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number in range(frames):
            image = np.full((32, 32, 3), number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name, (frames, fps) in LENGTHS.items():
        write_video(folder / name, frames, fps)
    return folder


@pytest.fixture
def table(videos: Path, tmp_path: Path) -> Table:
    def write(text: str, folder: Path = videos) -> Config:
        config = Config().with_fields({"data.annotations": str(tmp_path / "mine.csv"), "data.videos": str(folder)})
        (tmp_path / "mine.csv").write_text(text)
        return config

    return write


def test_rates_and_lengths_are_the_files_and_names_may_have_extensions(table: Table) -> None:
    config = table(HEADER + 'a.mp4,0.5,1,jump\nc.d,0,1.5,"run, fast"\nb,1,2.5,jump\na,1.25,2,run\n')
    loaded = load_videos(config)
    assert list(loaded) == ["a", "c.d", "b"]
    assert {name: (video.frames, video.fps) for name, video in loaded.items()} == {
        name: (frames, pytest.approx(float(fps), rel=1e-9))
        for name, (frames, fps) in zip(["a", "b", "c.d"], LENGTHS.values(), strict=True)
    }
    assert loaded["a"].duration == 2
    assert loaded["a"].segments.tolist() == [[0.5, 1], [1.25, 2]]
    assert loaded["a"].labels == ("jump", "run")
    assert loaded["c.d"].labels == ("run, fast",)
    assert load_classes(config) == ("jump", "run", "run, fast")


def test_columns_in_any_order_others_ignored_and_empty_lines_skipped(table: Table) -> None:
    text = "\ufeffLabel, subset,note,video,end,start\njump,train,x,a,1,0\n\n,,,,,\r\nrun,val,,b.mp4,2,1\n"
    loaded = load_table(table(text).data)
    assert {name: video.subset for name, video in loaded.items()} == {"a": "train", "b": "val"}
    assert loaded["b"].segments.tolist() == [[1, 2]]


def test_a_video_alone_has_no_segments(table: Table) -> None:
    loaded = load_table(table(HEADER + "a,,,\nb,0,1,jump\n").data)
    assert loaded["a"].segments.shape == (0, 2)


def test_an_end_rounded_up_is_the_end_of_the_video(table: Table) -> None:
    assert load_table(table(HEADER + "a,1,3,jump\nb,0,1,x\n").data)["a"].segments.tolist() == [[1, 2]]


def test_a_nominal_rate_counts_frames(table: Table) -> None:
    config = table(HEADER + "a,1,2,jump\nb,0,1,x\n")
    config = config.with_fields({"data.fps": 10.0})
    video = load_videos(config)["a"]
    assert (video.frames, video.fps) == (20, 10)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("a,2,1,x\n", r"line 2: .*\bends at 1\b.*\b2\b"),
        ("a,1,1,x\n", r"line 2: .*\bends at 1\b.*\b1\b"),
        ("a,0,1,x\na,one,1,x\n", r'line 3: .*\bstart\b.*"one".*\bseconds\b'),
        ("a,0,,x\n", r'line 2: .*\bend\b.*"".*\bseconds\b'),
        ("a,0,nan,x\n", r'line 2: .*\bend\b.*"nan".*\bseconds\b'),
        ("a,-1,1,x\n", r"line 2: .*\bstarts at -1\b.*\b0\b"),
        ("a,0,1,\n", r"line 2: .*\blabel\b.*\bempty\b"),
        ("a,0,1, \n", r"line 2: .*\blabel\b.*\bempty\b"),
        (",0,1,x\n", r"line 2: .*\bvideo\b.*\bempty\b"),
        ("a,0,1,x\n\nz.mp4,0,1,x\n", r"line 4: .*/z: no file\b"),
        ("a,0,1,x\nb,0,4.5,x\n", r'line 3: .*\b0 to 4\.5\b.*"b".*\b3\.00 seconds'),
        ("a,2.5,2.8,x\nb,0,1,x\n", r'line 2: .*\b2\.5 to 2\.8\b.*"a".*\b2\.00 seconds'),
        ("a,0,1,run, fast\n", r"line 2: .*\b5 values\b.*\b4\b"),
        ("a,0,1\n", r"line 2: .*\b3 values\b.*\b4\b"),
    ],
)
def test_wrong_lines_are_named(table: Table, lines: str, told: str) -> None:
    config = table(HEADER + lines)
    with pytest.raises(UserError, match=told) as raised:
        load_table(config.data)
    assert config.data.annotations in str(raised.value)


def test_all_wrong_lines_are_listed_together(table: Table) -> None:
    with pytest.raises(UserError, match=r"mine\.csv: .*\b3\b(.|\n)*\bline 2(.|\n)*\bline 4(.|\n)*\bline 5"):
        load_table(table(HEADER + "a,2,1,x\nb,0,1,x\na,0,1,\nz,0,1,x\n").data)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", r"line 1: .*\bvideo,start,end,label\b.*\bnothing\b"),
        ("video;begin;end;label\na;0;1;x\n", r"line 1: .*\bvideo,start,end,label\b.*\bvideo;begin;end;label\b"),
        ("a,0,1,x\n", r"line 1: .*\bvideo,start,end,label\b.* a,0,1,x"),
        ("video,start,end,label,label\na,0,1,x,y\n", r"line 1: .*\bonce\b.*\bvideo,start,end,label,label\b"),
        (HEADER, r"mine\.csv: .*\bno segments\b"),
        (HEADER + 'a,0,1,"x\n', r"line 2: .*\btable\b"),
    ],
)
def test_what_is_no_table_is_told(table: Table, text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        load_table(table(text).data)


def test_subsets_of_the_column(table: Table) -> None:
    with pytest.raises(UserError, match=r'"a" .*\bline 2 "train".*\bline 4 "test"'):
        load_table(table(SUBSETS + "a,0,1,x,train\na,1,2,x,train\na.mp4,0,1,x,test\n").data)
    with pytest.raises(UserError, match=r"line 3: .*\bsubset\b.*\bempty\b"):
        load_table(table(SUBSETS + "a,0,1,x,train\nb,0,1,x,\n").data)


def test_folders_in_the_table(table: Table) -> None:
    """A path counts as its file's name, unless two videos would then be one."""
    assert set(load_table(table(HEADER + "/data/a.mp4,0,1,x\n/data/b.mp4,0,1,x\n").data)) == {"a", "b"}
    with pytest.raises(UserError, match=r'"a" .*\bfolders\b.*\bone, two\b'):
        load_table(table(HEADER + "one/a.mp4,0,1,x\ntwo/a.mp4,0,1,x\nb,0,1,x\n").data)


def test_videos_in_folders_below_are_named_with_them(
    table: Table, tmp_path: Path, videos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, source in (("day 1/cam.mp4", "a.mp4"), ("day 2/cam.MP4", "b.mp4"), ("day 2/other.mp4", "a.mp4")):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).write_bytes((videos / source).read_bytes())
    lines = "day 1/cam.mp4,0,1,x\nD:\\videos\\day 2\\cam.mp4,0,2.5,y\n"
    with caplog.at_level(logging.WARNING):
        loaded = load_table(table(HEADER + lines, tmp_path / "videos").data)
    assert {name: video.frames for name, video in loaded.items()} == {"day 1/cam": 50, "day 2/cam": 90}
    assert "day 2/other.mp4" in caplog.text
    with pytest.raises(UserError, match=r'line 4: .*\b0 to 4\b.*"day 1/cam\.mp4".*\b2\.00 seconds'):
        load_table(table(HEADER + lines + "day 1/cam.mp4,0,4,x\n", tmp_path / "videos").data)
    with pytest.raises(UserError, match=r"line 4: .*/day 1/gone: no file"):
        load_table(table(HEADER + lines + "day 1/gone.mp4,0,1,x\n", tmp_path / "videos").data)


def test_a_segment_near_the_end_of_a_video_whose_header_is_off_stays_whole(tmp_path: Path) -> None:
    """3000 frames come at 29.75 per second, 100.84 s in all; the header says 30, hence 100 s."""
    cases = Path(__file__).parents[1] / "cases"
    for name in ("drift.mkv", "drift2.mp4"):
        shutil.copy(cases / "drift.mkv", tmp_path / name)
    config = {"data.annotations": str(cases / "driftset.csv"), "data.videos": str(tmp_path)}
    videos = load_videos(Config().with_fields(config))
    assert [video.segments.tolist() for video in videos.values()] == [[[99, 100.5]]] * 2
    assert [video.duration for video in videos.values()] == pytest.approx([3000 / 29.75] * 2, abs=0.002)
    assert [video.frames for video in videos.values()] == [3000] * 2


def test_what_is_not_set_is_named(table: Table) -> None:
    config = table(HEADER + "a,0,1,x\nb,0,1,x\n")
    config = config.with_fields({"data.videos": ""})
    with pytest.raises(UserError, match=r"config\.data\.videos\b.*\bnot set\b"):
        load_videos(config)
    config = config.with_fields({"data.annotations": ""})
    with pytest.raises(UserError, match=r"config\.data\.annotations\b.*\bnot set\b"):
        load_videos(config)


def test_videos_that_are_not_in_the_table_are_listed(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    config = table(HEADER + "a,0,1,x\nb,0,1,x\n")
    with caplog.at_level(logging.WARNING):
        load_table(config.data)
        load_table(config.data)  # as for training and test
    assert caplog.text.count("c.d.avi") == 1
    assert "mine.csv" in caplog.text


def test_broken_and_missing_videos_stop_or_are_left_out(
    table: Table, tmp_path: Path, videos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes((videos / name).read_bytes())
    (folder / "bad.mp4").write_text("not a video")
    lines = HEADER + "a,0,1,x\nbad,0,1,x\nb,0,1,x\n"
    with pytest.raises(UserError, match=r"\b1 of 3 videos\b(.|\n)*/bad\.mp4: "):
        load_table(table(lines, folder).data)
    config = table(lines + "gone,0,1,x\n", folder)
    config = config.with_fields({"data.skip_broken": True})
    with caplog.at_level(logging.WARNING):
        assert list(load_table(config.data)) == ["a", "b"]
    assert "bad.mp4" in caplog.text
    assert "line 5" in caplog.text


def test_a_changed_file_is_read_again(table: Table, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        write_video(folder / name, 50, Fraction(25))
    config = table(HEADER + "a,0,1,x\nb,0,1,x\n", folder)
    assert load_table(config.data)["a"].duration == 2
    write_video(folder / "a.mp4", 75, Fraction(25))
    assert load_table(config.data)["a"].duration == 3


def test_one_video_cannot_be_split(table: Table) -> None:
    with pytest.raises(UserError, match=r"^a: .*\btwo\b.*--config\.data\.train_subset\b"):
        load_table(table(HEADER + "a,0,1,x\n").data)
    assert load_table(table(SUBSETS + "a,0,1,x,all\n").data)["a"].subset == "all"


def test_split_is_the_published_hash() -> None:
    """First bytes of `printf a | sha256sum` and so on: ca97..., 3e23..., 2e7d..., 18ac..., 3f79..., 252f..., cd0a..."""
    shares = {"a": 0xCA97, "b": 0x3E23, "c": 0x2E7D, "d": 0x18AC, "e": 0x3F79, "f": 0x252F, "g": 0xCD0A}
    for share in (0.2, 0.5, 0.8):
        expected = {name: "training" if place / 2**16 < share else "validation" for name, place in shares.items()}
        assert split_by_hash(shares, share) == expected


@settings(deadline=None)
@given(names=st.sets(st.text(min_size=1), min_size=2, max_size=30), share=st.floats(0.01, 0.99))
def test_split_has_two_sides_and_does_not_depend_on_the_order(names: set[str], share: float) -> None:
    split = split_by_hash(names, share)
    assert set(split.values()) == {"training", "validation"}
    assert split_by_hash(sorted(names), share) == split
    others = sorted(names)[1:]
    if len(others) > 1:
        without = split_by_hash(others, share)
        moved = [name for name in others if without[name] != split[name]]
        assert not moved or 1 in (list(split.values()).count("training"), list(split.values()).count("validation"))
