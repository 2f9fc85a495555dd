"""The record of a run: how each start ended, and the state of the code."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest

from adatad_jax.errors import Left, UserError
from adatad_jax.training.loop import Done
from adatad_jax.training.meter import Meter
from adatad_jax.training.run_record import LEFT, RUN_FILE, code_state, facts_of, read_record, recorded

ROOT = Path(__file__).parents[2]

# A start that is killed in its third step.
KILLED = """
import os, signal, sys
from pathlib import Path
from adatad_jax.training.loop import Done
from adatad_jax.training.meter import Meter
from adatad_jax.training.run_record import read_record, recorded
from adatad_jax.training.step_log import LogSteps

workdir = Path(sys.argv[1])
meter, log = Meter(10, 0, 1), LogSteps(workdir, 0, {}, 5)
with recorded(workdir, read_record(workdir), {"seed": 7}, meter):
    for step in range(2):
        for hook in (meter, log):
            hook.after_step(Done(step, None, {"loss": 1.0}, 0.1))
    os.kill(os.getpid(), signal.SIGKILL)
"""


# A start that is ended from outside of its main thread, which hangs, as in a compilation.
HANGING = """
import os, signal, sys, time
from pathlib import Path
from rich.console import Console
from adatad_jax.training.leaving import SIGNALS, leaves_when_asked
from adatad_jax.training.meter import Meter
from adatad_jax.training.run_record import read_record, recorded

workdir = Path(sys.argv[1])
with leaves_when_asked(0.1, Console()) as leaving, recorded(
    workdir, read_record(workdir), {"seed": 7}, Meter(10, 0, 1), leaving
):
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    leaving.start()
    os.write(signal.set_wakeup_fd(-1), bytes([signal.SIGTERM]))
    time.sleep(100)
"""


def starts_of(workdir: Path) -> list[dict[str, Any]]:
    starts: list[dict[str, Any]] = json.loads((workdir / RUN_FILE).read_text())["starts"]
    return starts


def start(workdir: Path, first: int, steps: int, error: BaseException | None = None) -> None:
    meter = Meter(10, first, 1)
    with recorded(workdir, read_record(workdir), {"seed": 7}, meter):
        for step in range(first, first + steps):
            meter.after_step(Done(step, None, {}, 0.1))  # type: ignore[arg-type]
        if error is not None:
            raise error


def test_a_start_of_a_run_with_more_steps_than_it_shall_have_has_finished(tmp_path: Path) -> None:
    start(tmp_path, 12, 0)
    assert starts_of(tmp_path)[0]["end"]["how"] == "finished"


def test_a_start_that_hung_as_it_was_asked_to_leave_was_left(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", HANGING, tmp_path], cwd=ROOT, check=False, timeout=60)
    assert ended.returncode == 75
    assert starts_of(tmp_path)[0]["end"]["how"] == LEFT


def test_a_killed_start_is_found_by_the_next(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=ROOT, check=False)
    assert killed.returncode == -9
    assert starts_of(tmp_path)[0]["end"] is None
    start(tmp_path, 0, 10)
    first, second = starts_of(tmp_path)
    assert first["end"] == {"how": "killed", "step": 2}
    assert (second["step"], second["end"]["how"], second["end"]["step"]) == (0, "finished", 10)


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (UserError("step 3: loss nan"), {"how": "error", "message": "step 3: loss nan"}),
        (ValueError("two\nlines"), {"how": "error", "message": "ValueError: two lines"}),
        (KeyboardInterrupt(), {"how": "left as asked"}),
        (Left("after step 5"), {"how": "left as asked"}),
    ],
)
def test_a_start_ends_as_its_exception_says(tmp_path: Path, error: BaseException, end: dict[str, str]) -> None:
    start(tmp_path, 0, 2)  # the loop ended before the last step, without an exception
    with pytest.raises(type(error)):
        start(tmp_path, 2, 3, error)
    start(tmp_path, 5, 5)
    ends = [one["end"] for one in starts_of(tmp_path)]
    assert [one["step"] for one in ends] == [2, 5, 10]
    assert [one["how"] for one in ends] == ["left as asked", end["how"], "finished"]
    assert ends[1].get("message") == end.get("message")
    assert all(one["seed"] == 7 for one in starts_of(tmp_path))


def test_the_id_of_a_run_stays(tmp_path: Path) -> None:
    start(tmp_path, 0, 1)
    first = read_record(tmp_path)
    start(tmp_path, 1, 1)
    assert read_record(tmp_path).identity == first.identity
    assert len(read_record(tmp_path).starts) == 2


@pytest.mark.parametrize(
    "content",
    [
        "{",
        '{"format": 1, "id": "a", "starts": [{"end": null}]}',
        '{"format": 1, "id": "a", "starts": 3}',
        '{"format": 2, "id": "a", "starts": []}',
    ],
)
def test_a_damaged_record_is_put_aside(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / RUN_FILE).write_text(content)
    with caplog.at_level(logging.WARNING):
        start(tmp_path, 4, 6)
    assert RUN_FILE in caplog.text
    assert (tmp_path / f"{RUN_FILE}.damaged").read_text() == content
    assert [one["step"] for one in starts_of(tmp_path)] == [4]


def test_the_state_of_code(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    assert code_state(package) is None

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, "-C", str(tmp_path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init")
    assert code_state(package) is None  # in a repository that does not have it
    git("add", "package")
    git("commit", "-m", "a")
    assert code_state(package) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (package / "__init__.py").write_text("1\n")
    assert code_state(package) == {"commit": git("rev-parse", "HEAD"), "dirty": True}


def test_facts_are_json(tmp_path: Path) -> None:
    facts = facts_of(jax.devices()[:2], 3, {"videos": 4})
    assert json.loads(json.dumps(facts)) == facts
    assert facts["devices"]["count"] == 2
    assert facts["versions"]["jax"] == jax.__version__
    assert facts["command"][0].endswith(Path(sys.orig_argv[0]).name)
