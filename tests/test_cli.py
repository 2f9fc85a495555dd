"""What the entry points share: how warnings and errors reach the user."""

import logging
from collections.abc import Sequence

import pytest

from adatad_jax import cli
from adatad_jax.errors import UserError


def test_warnings_are_printed_once_before_the_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(_: Sequence[str]) -> None:
        for _ in range(3):
            logging.getLogger("adatad_jax.data.annotations").warning("%s: %d segments", "a.json", 2)
        raise UserError("b.json: no such file")

    monkeypatch.setattr("sys.argv", ["train"])
    with pytest.raises(SystemExit) as end:
        cli.run(main)
    assert end.value.code == cli.EXIT_USER_ERROR
    assert capsys.readouterr().err == "warning: a.json: 2 segments\nerror: b.json: no such file\n"
    assert not logging.getLogger("adatad_jax").handlers  # left as it was
