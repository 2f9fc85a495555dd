"""Folders that are written completely or not at all, and the trees in them."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from adatad_jax.conversion import folders
from adatad_jax.errors import UserError


def test_a_tree_comes_back_bit_for_bit_and_away_from_the_partial_folder(tmp_path: Path) -> None:
    tree = {"a": {"b": np.array([1.5, np.inf], np.float32)}, "c": np.arange(6, dtype=np.int32).reshape(2, 3)}
    with folders.whole(tmp_path / "new/out", folders.size_of(tree)) as partial:
        folders.write_tree(partial / "tree", tree)
        assert not (tmp_path / "new/out").exists()
    found = folders.read_tree(tmp_path / "new/out/tree")
    np.testing.assert_array_equal(found["a"]["b"], tree["a"]["b"])
    np.testing.assert_array_equal(found["c"], tree["c"])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
    assert folders.size_of(tree) == 8 + 24
    with pytest.raises(UserError, match=r"/out: exists\b"), folders.whole(tmp_path / "new/out", 0):
        pass


@pytest.mark.parametrize("failure", [UserError("bad"), OSError("disk"), ValueError("library"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_folder_that_fails(
    failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "SETTLING", 0.0)
    expected = UserError if isinstance(failure, Exception) else KeyboardInterrupt

    def fail() -> None:
        with folders.whole(tmp_path / "out", 0) as partial:
            (partial / "half").write_text("half")
            raise failure

    with pytest.raises(expected) as caught:
        fail()
    assert list(tmp_path.iterdir()) == []
    if isinstance(failure, OSError | ValueError):
        assert re.search(rf"/out: .*\bwritten \({failure}\)", str(caught.value))


def test_two_conversions_of_one_output_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "SETTLING", 0.0)
    with folders.whole(tmp_path / "out", 0) as first:
        (first / "mine").write_text("mine")
        with (
            pytest.raises(UserError, match=r"/out: another conversion\b.*\bremove .*/\.out\.partial$"),
            folders.whole(tmp_path / "out", 0),
        ):
            pass
    assert (tmp_path / "out/mine").read_text() == "mine"
    # A folder that appeared in the meantime stays as it is.
    with (
        pytest.raises(UserError, match=r"/late: .*\bwritten\b"),
        folders.whole(tmp_path / "late", 0),
    ):
        shutil.copytree(tmp_path / "out", tmp_path / "late")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["late", "out"]
    assert (tmp_path / "late/mine").read_text() == "mine"


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path) -> None:
    message = r"/out: .*\b1,000,000,000,000 MB\b.*\b[\d,]+ MB\b.*\bfree\b"
    with pytest.raises(UserError, match=message), folders.whole(tmp_path / "out", 10**18):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_tree_that_is_gone_is_no_empty_tree(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\btree/.*\barrays\b"):
        folders.read_tree(tmp_path / "tree")
    (tmp_path / "conversion.json").write_text(json.dumps({"source": "a.pth"}))
    assert folders.read_conversion(tmp_path) == {"source": "a.pth"}
