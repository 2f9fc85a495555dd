"""Tables of labelled videos, ours and Kinetics'."""

from pathlib import Path

import pytest

from adatad_jax.data.clip_table import ClipRow, read_table
from adatad_jax.errors import UserError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_with_and_without_subsets(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'video,label\na/x.mp4,jump\n"b, c",high jump\n')
    assert read_table(path) == [ClipRow("line 2", "a/x.mp4", "jump", ""), ClipRow("line 3", "b, c", "high jump", "")]
    path = write(tmp_path / "b.csv", "Subset;Label;Who;Video\nval;jump;me;x\n")
    assert read_table(path) == [ClipRow("line 2", "x", "jump", "val")]


def test_a_list_of_kinetics(tmp_path: Path) -> None:
    path = write(tmp_path / "k.csv", "label,youtube_id,time_start,time_end,split\nabseiling,_4YT,8,18,train\n")
    assert read_table(path) == [ClipRow("line 2", "_4YT_000008_000018", "abseiling", "train")]
    write(path, "label,youtube_id,time_start,time_end,split\nabseiling,_4YT,8.5,18,train\n")
    with pytest.raises(UserError, match=r'line 2: time_start "8.5", .*whole seconds'):
        read_table(path)


def test_what_is_no_such_table(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "file,class\nx,jump\n")
    with pytest.raises(UserError, match=r"a\.csv: line 1: .*video,label.*file,class"):
        read_table(path)
    with pytest.raises(UserError, match=r"found no table, but JSON"):
        read_table(write(path, '{"x": "jump"}'))
    with pytest.raises(UserError, match=r"found an empty file"):
        read_table(write(path, "\n"))
    with pytest.raises(UserError, match=r"only a header"):
        read_table(write(path, "video,label\n"))
    with pytest.raises(UserError, match=r"named twice"):
        read_table(write(path, "video,label,label\nx,jump,run\n"))
    with pytest.raises(UserError, match=r"/none\.csv: no such file"):
        read_table(tmp_path / "none.csv")


def test_every_wrong_line_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "video,label,subset\nx,,train\n,jump,train\ny,jump\nz,jump,\nw,jump,val\n")
    with pytest.raises(UserError, match=r"4 line\(s\)") as error:
        read_table(path)
    for line, words in (
        (2, "label is empty"),
        (3, "video is empty"),
        (4, "2 values, expected 3"),
        (5, "subset is empty"),
    ):
        assert f"line {line}: " in str(error.value)
        assert words in str(error.value)
