"""Real processes that JAX joins: one fails or is killed while the others compute with it."""

import signal
import time

import pytest

from adatad_jax.errors import Exit
from tests.processes import finish, start

PROGRAM = ("-m", "tests.devices.linked_program")


def test_processes_that_end_as_they_should() -> None:
    ended = finish(start(("nothing", -1), 2, program=PROGRAM))
    assert [code for code, _, _ in ended] == [0, 0]
    assert all(output.endswith("sum 1\n") for _, output, _ in ended)


@pytest.mark.parametrize("victim", [0, 1])
def test_an_error_ends_all_with_its_message(victim: int) -> None:
    clock = time.monotonic()
    ended = finish(start(("error", victim), 2, program=PROGRAM))
    assert [code for code, _, _ in ended] == [Exit.USER_ERROR] * 2
    assert ended[victim][2].endswith("error: a.mp4: broken\n")
    assert f"error: process {victim}: a.mp4: broken" in ended[1 - victim][2]
    assert "Traceback" not in ended[1 - victim][2]
    assert time.monotonic() < clock + 180  # under a minute from the error, on a machine that is not loaded


@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_is_killed_ends_the_others_by_its_name(victim: int) -> None:
    """Where process 0 is killed, JAX in the others may print of it before, or be faster and call abort()."""
    ended = finish(start(("kill", victim), 2, program=PROGRAM))
    assert ended[victim][0] == -signal.SIGKILL
    code, _, errors = ended[1 - victim]
    if victim == 1:
        assert code == Exit.MACHINE
        assert "Traceback" not in errors
        assert "Check failure" not in errors
    assert code in (Exit.MACHINE, -signal.SIGABRT)
    if code == Exit.MACHINE:
        assert f"error: process {victim}: gone (pid" in errors
