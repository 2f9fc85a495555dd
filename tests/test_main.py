"""`python -m adatad_jax` lists the commands and hands over to them."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from adatad_jax.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[1]


def test_every_command_is_listed_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    lines = capsys.readouterr().out.splitlines()
    for name in (
        "train",
        "pretrain",
        "finetune",
        "classify",
        "evaluate",
        "detect",
        "prepare",
        "doctor",
        "annotations",
        "convert",
        "export",
        "demo",
    ):
        assert any(re.fullmatch(rf"  {name} +\w.*", line) for line in lines), name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_handed_its_arguments(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert re.match(rf"usage: .*{name}", capsys.readouterr().out)


def test_a_command_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["retrain"])
    assert ended.value.code == 2
    assert re.search("retrain.*train.*evaluate", capsys.readouterr().err)


def test_errors_reach_the_user_as_from_the_command_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "adatad_jax", "evaluate", "--config", str(tmp_path / "nowhere.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "nowhere.py" in done.stderr


def test_the_console_script_is_declared() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["adatad"] == "adatad_jax.__main__:entry"
