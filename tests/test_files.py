"""Output folders are checked before anything is computed."""

from pathlib import Path

import pytest

from adatad_jax.errors import UserError
from adatad_jax.files import check_output_folder, write_text


@pytest.mark.parametrize("name", ["run [1]", "a*b", "what?"])
def test_paths_that_checkpoints_would_vanish_under_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="checkpoints cannot be kept under a path"):
        check_output_folder(tmp_path / name, checkpoints=True)
    check_output_folder(tmp_path / name)


def test_addresses_and_names_that_are_too_long_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="an address"):
        check_output_folder(Path("gs://bucket/run"))
    with pytest.raises(UserError, match="File name too long"):
        check_output_folder(tmp_path / ("x" * 300))


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file/run/deeper"):
        with pytest.raises(UserError, match="file is a file, expected a folder"):
            check_output_folder(path)
    check_output_folder(tmp_path / "new/run é")
    assert not (tmp_path / "new").exists()


def test_text_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", "1")
    write_text(tmp_path / "a.json", "2")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.json", "2")]
    (tmp_path / "b.json").mkdir()
    with pytest.raises(UserError, match=r"b\.json: cannot be written"):
        write_text(tmp_path / "b.json", "1")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "b.json"]
