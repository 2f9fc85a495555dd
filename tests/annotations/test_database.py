"""Annotation files brought to one form: ActionFormer's and BMN's files, folders, tables, damaged files."""

import json
import re
from pathlib import Path

import pytest

from adatad_jax.annotations.database import by_video
from adatad_jax.annotations.text import read_json, read_text
from adatad_jax.errors import UserError

BMN = {"v_a": {"duration_second": 82.73, "duration_frame": 2067, "annotations": [], "feature_frame": 2064}}


def test_a_database_is_taken_as_it_is() -> None:
    database = {"a": {"subset": "Test", "duration": 33.83, "fps": 30.0}}
    assert by_video({"version": "Thumos14-30fps", "database": database}, Path("x.json")) is database


def test_videos_without_a_database_around_them() -> None:
    entry = {"subset": "train", "duration": "7.5", "annotations": []}
    assert by_video({"a": entry}, Path("x.json")) == {"a": entry}


def test_bmn_takes_subsets_from_the_table_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "anet_anno_action.json"
    with pytest.raises(UserError, match=r'anet_anno_action\.json: .*\b1 of 1 .*"subset".*video_info_new\.csv'):
        by_video(BMN, path)
    (tmp_path / "video_info_new.csv").write_text("video,numFrame,seconds,subset\nv_a,2067,82.73,training\nv_b,1,1,x\n")
    assert by_video(BMN, path) == {
        "v_a": {"duration": 82.73, "frame": 2067, "annotations": [], "feature_frame": 2064, "subset": "training"}
    }
    (tmp_path / "video_info_new.csv").write_text("name,split\nv_a,training\n")
    with pytest.raises(UserError, match=r"video_info_new\.csv: .*\bvideo and subset\b.*'split'"):
        by_video(BMN, path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"database": {}}, r"\['database'\]"),
        ({"version": "1", "videos": [{"clips": []}]}, r"\['version', 'videos'\]"),  # Ego4D's own
        ({"videos": {"a": {"annotations": []}}}, r"\['videos'\]"),
        ([BMN], r"\blist\b"),
        ({}, r"\[\]"),
    ],
)
def test_other_forms_are_refused(content: object, told: str) -> None:
    with pytest.raises(UserError, match=rf'x\.json: .*"database".*found .*{told}'):
        by_video(content, Path("x.json"))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{re.escape(str(tmp_path))}: a folder\b.*\bJSON or CSV\b"):
        read_text(tmp_path)


def test_what_is_no_json_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("video,start,end,label\n")
    with pytest.raises(UserError, match=r"mine\.txt: not a JSON\b.*\bvideo,start,end,label\b"):
        read_json(path)


def test_names_that_occur_twice_are_found(tmp_path: Path) -> None:
    path = tmp_path / "twice.json"
    path.write_text('{"a": 1, "b": {"c": 1, "c": 2}, "a": 3}')
    content, repeated = read_json(path)
    assert repeated == ["c", "a"]
    assert json.dumps(content) == '{"a": 3, "b": {"c": 2}}'
