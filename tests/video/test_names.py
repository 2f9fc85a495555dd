"""Names of videos: the file of each, whatever it is called, and no other; two files of one name are told."""

import json
import shutil
import unicodedata
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from adatad_jax.config.fields import Config
from adatad_jax.data.annotation_table import load_table
from adatad_jax.errors import UserError
from adatad_jax.outputs.targets import Job, plan
from adatad_jax.video.decode import open_video
from adatad_jax.video.names import EXTENSIONS, find_files, name_hint, short_names, videos_below
from adatad_jax.video.probe import is_video

CAMCORDER = Path(__file__).parents[1] / "cases/00001.MTS"
NFC, NFD = (unicodedata.normalize(form, "Café") for form in ("NFC", "NFD"))
# extension -> the container and codec of a small file of that kind
KINDS: dict[str, tuple[str, str]] = {
    ".mp4": ("mp4", "libx264"),
    ".m4v": ("mp4", "libx264"),
    ".mov": ("mov", "libx264"),
    ".qt": ("mov", "libx264"),
    ".f4v": ("f4v", "libx264"),
    ".insv": ("mp4", "libx264"),
    ".3gp": ("3gp", "libx264"),
    ".3gpp": ("3gp", "libx264"),
    ".3g2": ("3g2", "libx264"),
    ".3gp2": ("3g2", "libx264"),
    ".mj2": ("mov", "jpeg2000"),
    ".mkv": ("matroska", "libx264"),
    ".mk3d": ("matroska", "libx264"),
    ".webm": ("webm", "libvpx"),
    ".avi": ("avi", "mpeg4"),
    ".divx": ("avi", "mpeg4"),
    ".xvid": ("avi", "mpeg4"),
    ".ts": ("mpegts", "libx264"),
    ".mts": ("mpegts", "libx264"),
    ".m2ts": ("mpegts", "libx264"),
    ".m2t": ("mpegts", "mpeg2video"),
    ".tp": ("mpegts", "mpeg2video"),
    ".trp": ("mpegts", "mpeg2video"),
    ".tod": ("mpegts", "mpeg2video"),
    ".mpg": ("mpeg", "mpeg1video"),
    ".mpeg": ("mpeg", "mpeg1video"),
    ".mpe": ("mpeg", "mpeg1video"),
    ".mod": ("vob", "mpeg2video"),
    ".vob": ("vob", "mpeg2video"),
    ".m2p": ("vob", "mpeg2video"),
    ".m1v": ("mpeg1video", "mpeg1video"),
    ".m2v": ("mpeg2video", "mpeg2video"),
    ".mpv": ("mpeg2video", "mpeg2video"),
    ".mxf": ("mxf", "mpeg2video"),
    ".gxf": ("gxf", "mpeg2video"),
    ".dv": ("dv", "dvvideo"),
    ".dif": ("dv", "dvvideo"),
    ".h264": ("h264", "libx264"),
    ".hevc": ("hevc", "libx265"),
    ".ogv": ("ogg", "libvpx"),
    ".ogm": ("ogg", "libvpx"),
    ".asf": ("asf", "wmv2"),
    ".wmv": ("asf", "wmv2"),
    ".dvr-ms": ("asf", "mpeg2video"),
    ".wtv": ("wtv", "mpeg2video"),
    ".flv": ("flv", "flv"),
    ".rm": ("rm", "rv20"),
    ".rmvb": ("rm", "rv20"),
    ".nut": ("nut", "mpeg4"),
    ".ivf": ("ivf", "libvpx"),
    ".mjpg": ("mjpeg", "mjpeg"),
    ".mjpeg": ("mjpeg", "mjpeg"),
    ".y4m": ("yuv4mpegpipe", "rawvideo"),
    ".gif": ("gif", "gif"),
}
NOT_WRITTEN = {".amv", ".dav"}  # FFmpeg reads these, but writes AMV only with sound, and DAV not at all
PIXELS = {"gif": "rgb8", "mjpeg": "yuvj420p", "jpeg2000": "rgb24"}
QUIET = {"libx264": {"x264-params": "log-level=none"}, "libx265": {"x265-params": "log-level=none"}}


def itself(names: list[str]) -> dict[str, list[str]]:
    """Returns candidates for `short_names`: each name alone."""
    return {name: [name] for name in names}


def write_video(path: Path, container: str = "mp4", codec: str = "libx264", frames: int = 5) -> Path:
    """Writes a small video of any kind; the file's name does not matter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = (576, 720) if container in ("dv", "gxf") else (96, 128)
    with av.open(str(path), "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=Fraction(25), options=QUIET.get(codec, {}))
        stream.height, stream.width = size
        stream.pix_fmt = PIXELS.get(codec, "yuv420p")
        for index in range(frames):
            picture = np.full((*size, 3), 40 * index, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4")


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def found(folder: Path, names: Sequence[str], prefix: str = "") -> dict[str, str]:
    """The files of names, relative to the folder; none of the names may have a problem."""
    files, problems = find_files(folder, names, prefix)
    assert not problems
    return {name: str(path.relative_to(folder)) for name, path in files.items()}


def problem(folder: Path, name: str) -> str:
    """What is wrong with a name."""
    files, problems = find_files(folder, [name])
    assert not files
    return problems[name]


def test_every_listed_extension_has_a_kind() -> None:
    assert set(EXTENSIONS) == KINDS.keys() | NOT_WRITTEN


@pytest.mark.parametrize("extension", KINDS)
def test_what_is_listed_is_read(tmp_path: Path, extension: str) -> None:
    path = write_video(tmp_path / f"clip{extension.upper()}", *KINDS[extension])
    assert found(tmp_path, ["clip"]) == {"clip": path.name}
    assert videos_below(tmp_path) == [path]
    assert open_video(path).frame_count == 5  # a bare stream has frames, but not always a rate
    assert is_video(path)


def test_a_camcorder_file_is_found_in_a_folder_and_by_a_table(tmp_path: Path) -> None:
    shutil.copy(CAMCORDER, tmp_path)
    assert plan([tmp_path], tmp_path / "out") == [Job(tmp_path / "00001.MTS", tmp_path / "out/00001")]
    (tmp_path / "a.csv").write_text("video,start,end,label,subset\n00001,0,1,x,all\n00001.mts,1,2,x,all\n")
    config = Config().with_fields({"data.annotations": str(tmp_path / "a.csv"), "data.videos": str(tmp_path)})
    assert load_table(config.data)["00001"].segments.tolist() == [[0, 1], [1, 2]]


def test_a_file_of_any_extension_is_found_by_name(tmp_path: Path, film: Path) -> None:
    for name in ("a.lrv", "b.holiday", "c", "clip.2024.01", "e.LRV"):
        shutil.copy(film, tmp_path / name)
    names = ["a", "b.holiday", "c", "clip.2024.01", "e.lrv"]
    assert found(tmp_path, names) == dict(zip(names, ["a.lrv", "b.holiday", "c", "clip.2024.01", "e.LRV"], strict=True))
    assert videos_below(tmp_path) == []


def write_sidecars(folder: Path, name: str) -> list[str]:
    """Writes files of one name that people keep beside a video; returns their extensions."""
    rng = np.random.default_rng(0)
    (folder / f"{name}.json").write_text(json.dumps({"fps": 25}))
    (folder / f"{name}.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n\n")
    (folder / f"{name}.txt").write_text("hello world\n" * 100)
    (folder / f"{name}.nfo").write_text("hello world\n" * 100)
    np.save(folder / f"{name}.npy", rng.normal(size=(1000, 64)))
    for drawn in ("bin", "idf", "cdg", "part"):  # FFmpeg draws any bytes of the first three
        (folder / f"{name}.{drawn}").write_bytes(rng.bytes(200_000))
    for picture, codec in (("jpg", "mjpeg"), ("png", "png"), ("thm", "mjpeg")):
        with av.open(str(folder / f"{name}.{picture}"), "w", format="image2") as container:
            stream: Any = container.add_stream(codec, rate=1)
            stream.height, stream.width, stream.pix_fmt = 8, 8, PIXELS.get(codec, "rgb24")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((8, 8, 3), np.uint8), format="rgb24")))
            container.mux(stream.encode())
    with av.open(str(folder / f"{name}.wav"), "w") as container:
        sound: Any = container.add_stream("pcm_s16le", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), layout="mono")
        silence.sample_rate = 8000
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    return sorted(path.suffix for path in folder.glob(f"{name}.*"))


def test_what_lies_beside_a_video_neither_wins_nor_stands_in_the_way(tmp_path: Path, film: Path) -> None:
    sidecars = write_sidecars(tmp_path, "a")
    text = problem(tmp_path, "a")
    assert "no video in" in text
    assert all(f"a{extension}" in text for extension in sidecars)
    assert not any(is_video(tmp_path / f"a{extension}") for extension in sidecars)
    shutil.copy(film, tmp_path / "a.foo")
    assert found(tmp_path, ["a"]) == {"a": "a.foo"}
    shutil.copy(film, tmp_path / "a.bar")
    assert "a.bar, a.foo" in problem(tmp_path, "a")
    touch(tmp_path, "a.mkv", "a.gif")  # what is listed is taken unopened, and a GIF beside it is a preview
    assert found(tmp_path, ["a"]) == {"a": "a.mkv"}
    assert videos_below(tmp_path) == [tmp_path / "a.mkv"]


def test_names_with_dots(tmp_path: Path) -> None:
    touch(tmp_path, "a.b.mp4", "a.mkv", "clip.2024.01.MTS", "d.mp4.mp4")
    names = ["a.b", "a.b.mp4", "a", "clip.2024.01", "d.mp4", "d.mp4.mp4"]
    assert [find_files(tmp_path, [name])[0][name].name for name in names] == [
        *("a.b.mp4", "a.b.mp4", "a.mkv", "clip.2024.01.MTS", "d.mp4.mp4", "d.mp4.mp4")
    ]
    assert short_names(tmp_path, itself(names)) == {
        "a.b": "a.b",
        "a.b.mp4": "a.b",
        "a": "a",
        "clip.2024.01": "clip.2024.01",
        "d.mp4": "d.mp4",
        "d.mp4.mp4": "d.mp4",
    }
    touch(tmp_path, "d.mp4")
    assert "several files (d.mp4, d.mp4.mp4)" in problem(tmp_path, "d.mp4")


def test_the_extension_tells_files_of_one_name_apart(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "a.mkv", "b.MTS")
    assert found(tmp_path, ["a.mp4", "a.mkv", "b.mts"]) == {"a.mp4": "a.mp4", "a.mkv": "a.mkv", "b.mts": "b.MTS"}
    assert short_names(tmp_path, itself(["a.mp4", "b.mts"])) == {"a.mp4": "a.mp4", "b.mts": "b"}
    assert "a.mkv, a.mp4" in problem(tmp_path, "a")


def test_two_names_of_one_file_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4")
    files, problems = find_files(tmp_path, ["a", "b", "a.mp4", "sub/a"])
    assert list(files) == ["b"]
    assert list(problems) == ["a", "a.mp4", "sub/a"]
    assert all("/a.mp4: " in text and "(a, a.mp4, sub/a)" in text for text in problems.values())


@pytest.mark.parametrize(("written", "stored"), [(NFC, NFD), (NFD, NFC), (NFC, NFC), (NFD, NFD)])
def test_unicode_forms_of_a_name_are_one(tmp_path: Path, written: str, stored: str) -> None:
    touch(tmp_path, f"{stored}.mp4", f"{stored} 2/{stored}.MOV")
    names = [written, f"{written}.mp4", f"{written} 2/{written}"]
    wanted = [f"{stored}.mp4", f"{stored}.mp4", f"{stored} 2/{stored}.MOV"]
    assert [str(find_files(tmp_path, [name])[0][name].relative_to(tmp_path)) for name in names] == wanted
    assert name_hint([f"v_{written}"], [stored])


def test_two_files_that_differ_only_in_their_form_are_told_apart_in_the_message(tmp_path: Path) -> None:
    touch(tmp_path, f"{NFC}.mp4", f"{NFD}.mp4")
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system takes the two forms for one")
    text = problem(tmp_path, NFC)
    assert f"{NFC}.mp4" in text
    assert r"'Cafe\u0301.mp4'" in text


def test_letters_of_another_case_are_another_name(tmp_path: Path) -> None:
    """Identifiers of YouTube differ in case, so only a hint is given; two files that differ in case are two videos."""
    touch(tmp_path, "Clip.mp4", "OTHER.MP4")
    assert "Clip.mp4" in problem(tmp_path, "clip")
    assert "OTHER.MP4" in problem(tmp_path, "other.mp4")
    touch(tmp_path, "clip.mp4")
    if len(list(tmp_path.iterdir())) == 3:
        assert found(tmp_path, ["clip", "Clip"]) == {"clip": "clip.mp4", "Clip": "Clip.mp4"}
        text = problem(tmp_path, "CLIP")
        assert "Clip.mp4, clip.mp4" in text
        touch(tmp_path, "clip.MP4")
        assert "clip.MP4, clip.mp4" in problem(tmp_path, "clip")


def test_folders_in_a_name(tmp_path: Path) -> None:
    touch(tmp_path, "sub/a.mp4", "sub/deep/b.MTS", "c.mp4", "other/c.avi", "v/v_d.mp4")
    for name, wanted, short in (
        ("sub/a", "sub/a.mp4", "sub/a"),
        ("sub/a.mp4", "sub/a.mp4", "sub/a"),
        ("./sub/a.mp4", "sub/a.mp4", "sub/a"),
        ("sub\\a.mp4", "sub/a.mp4", "sub/a"),
        ("sub/deep/b.mts", "sub/deep/b.MTS", "sub/deep/b"),
        ("/data/set/c.mp4", "c.mp4", "c"),  # paths of another machine
        (r"D:\set\c.mp4", "c.mp4", "c"),
        ("../set/c.mp4", "c.mp4", "c"),
        ("gone/c.mp4", "c.mp4", "c"),
        ("/data/set/sub/deep/b.MTS", "sub/deep/b.MTS", "sub/deep/b"),
        (r"D:\set\sub\a.mp4", "sub/a.mp4", "sub/a"),
        ("../sub/../sub/a", "sub/a.mp4", "sub/a"),
        ("other/c", "other/c.avi", "other/c"),
    ):
        files, problems = find_files(tmp_path, [name])
        assert not problems, name
        assert files[name] == tmp_path / wanted, name
        assert short_names(tmp_path, itself([name])) == {name: short}
    assert found(tmp_path, ["v/d", "v/v_d"][:1], "v_") == {"v/d": "v/v_d.mp4"}
    assert found(tmp_path, ["v/v_d"], "v_") == {"v/v_d": "v/v_d.mp4"}
    assert f"{tmp_path}/sub/z: no file" in problem(tmp_path, "sub/z")
    assert f"{tmp_path}/gone/z: no file" in problem(tmp_path, "gone/z")
    assert f"{tmp_path}/z.mp4: no file" in problem(tmp_path, "/data/set/z.mp4")
    # where the folder is there, a file of the same name in another one is another video
    assert f"{tmp_path}/other/c.mp4: no file" in problem(tmp_path, "other/c.mp4")
    assert short_names(tmp_path, itself(["sub/z.mp4", "/data/z.mp4"])) == {"sub/z.mp4": "sub/z", "/data/z.mp4": "z"}
    assert f"{tmp_path}/a: no file" in problem(tmp_path, "a"), "folders are searched only for names that say so"


def test_folders_and_links_called_like_videos(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4/inside.mp4", "store/one.mp4")
    assert "a: no file" in (text := problem(tmp_path, "a"))
    assert "folder" in text
    touch(tmp_path, "a.mkv")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "store/one.mp4")
    (tmp_path / "linked").symlink_to(tmp_path / "store")
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / "dangling.mp4").symlink_to("nowhere")
    names = ["a", "link", "linked/one", "dangling"]
    assert list(found(tmp_path, names).values()) == ["a.mkv", "link.mp4", "linked/one.mp4", "dangling.mp4"]
    assert [str(path.relative_to(tmp_path)) for path in videos_below(tmp_path)] == [
        *("a.mkv", "a.mp4/inside.mp4", "dangling.mp4", "link.mp4", "linked/one.mp4")
    ]


def test_odd_names_are_names(tmp_path: Path) -> None:
    touch(tmp_path, "a:b.mp4", "100%.mp4", "x y.mp4", "back\\slash.mp4")
    for name in ("a:b", "100%", "x y.mp4"):
        assert name in found(tmp_path, [name])
    for name in ("", ".", "..", "a\0b", "x" * 300, "/", "sub/"):
        assert problem(tmp_path, name)


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"/nowhere: .*\bno such folder\b"):
        find_files(tmp_path / "nowhere", ["a"])


def test_a_file_that_has_changed_is_asked_again(tmp_path: Path, film: Path) -> None:
    (tmp_path / "a.foo").write_text("no video yet")
    assert "a.foo" in problem(tmp_path, "a")
    shutil.copy(film, tmp_path / "a.foo")
    assert found(tmp_path, ["a"]) == {"a": "a.foo"}
