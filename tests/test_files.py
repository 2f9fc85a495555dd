"""Output folders are checked before anything is computed."""

import errno
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from adatad_jax.errors import UserError
from adatad_jax.files import check_output_folder, lock_held, write_text


@pytest.mark.parametrize("name", ["run [1]", "a*b", "what?"])
def test_paths_that_checkpoints_would_vanish_under_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=rf"{re.escape(name)}.*\bcheckpoints\b"):
        check_output_folder(tmp_path / name, checkpoints=True)
    check_output_folder(tmp_path / name)


def test_addresses_and_names_that_are_too_long_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gs:.*\baddress\b"):
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


def test_one_process_holds_a_lock_at_a_time(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from adatad_jax.files import lock_held\n"
    code += "with lock_held(Path(sys.argv[1])) as ours: print(ours)"
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]

    def asked_elsewhere() -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    with lock_held(tmp_path / "lock") as ours:
        assert ours
        assert asked_elsewhere() == "False"
    assert asked_elsewhere() == "True"


@pytest.mark.parametrize("answer", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_told_and_used(
    tmp_path: Path, answer: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(*_: object) -> None:
        raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr("fcntl.flock", flock)
    with caplog.at_level(logging.WARNING), lock_held(tmp_path / "lock") as ours:
        assert ours
    assert [str(tmp_path) in record.getMessage() for record in caplog.records] == [True]


def test_what_is_wrong_with_a_lock_file_is_no_other_process(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), lock_held(tmp_path / "file" / "lock"):
        pass
