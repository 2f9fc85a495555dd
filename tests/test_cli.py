"""Common parts of the commands: how warnings and errors reach the user."""

import io
import logging
import subprocess
import sys
from collections.abc import Sequence

import pytest

from adatad_jax import cli
from adatad_jax.errors import Exit, UserError


def test_warnings_are_printed_once_before_the_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(_: Sequence[str]) -> None:
        for _ in range(3):
            logging.getLogger("adatad_jax.data.annotations").warning("%s: %d segments", "a.json", 2)
        raise UserError("b.json: no such file")

    before = list(logging.getLogger("adatad_jax").handlers)
    monkeypatch.setattr("sys.argv", ["train"])
    with pytest.raises(SystemExit) as end:
        cli.run(main)
    assert end.value.code == Exit.USER_ERROR
    assert capsys.readouterr().err == "warning: a.json: 2 segments\nerror: b.json: no such file\n"
    assert logging.getLogger("adatad_jax").handlers == before


def test_names_that_the_terminal_cannot_show(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr("sys.argv", ["evaluate"])
    cli.run(lambda _: print("跳水", flush=True))
    assert terminal.buffer.getvalue() == b"\\u8df3\\u6c34\n"  # type: ignore[attr-defined]


def test_an_interrupted_program_ends_before_libraries_crash() -> None:
    """Aborts at exit, as JAX does if it is interrupted while it compiles."""
    program = """
import atexit, os, signal, time
atexit.register(os.abort)
from adatad_jax import cli
signal.signal(signal.SIGINT, signal.default_int_handler)  # programs in the background are started without
def main(_):
    print("so far")
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
cli.run(main)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "so far\n", "interrupted\n")
