"""The training loop in two processes, here two threads with links: what they tell each other, and when they leave."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from adatad_jax.data.loader import Loaded
from adatad_jax.devices.launch import Launch
from adatad_jax.devices.meeting import meet
from adatad_jax.devices.processes import Processes
from adatad_jax.errors import Exit, Left, MachineError, UserError
from adatad_jax.training.leaving import Leaving
from adatad_jax.training.loop import Done, Hook, Place, run
from tests.processes import free_port

STEPS = 6


class Noted(Hook):
    """Keeps what each step was loaded with; process 0 pauses more often, as it does to save."""

    def __init__(self, process: int) -> None:
        self.process, self.loaded, self.left_at = process, list[Loaded](), -1
        self.end: BaseException | None = None
        self.saved_at = self.ended_at = 0.0

    def after_step(self, done: Done) -> None:
        self.loaded.append(done.loaded)

    def due(self, place: Place) -> bool:
        return self.process == 0 or place.step == STEPS

    def leave(self, place: Place, state: Any) -> None:
        if self.process == 0:  # which saves
            time.sleep(0.3)
        self.left_at, self.saved_at = place.step, time.monotonic()


Happens = Callable[[Leaving], None]


def taken(process: int, after: int | None, in_step: Happens | None, in_wait: Happens | None) -> Noted:
    """Takes six steps as one of two processes.

    Args:
      process: 0 or 1.
      after: number of steps; None: nothing happens.
      in_step: what happens in process 1 in the last of these steps.
      in_wait: what happens in process 1 as it waits for the batch of the step that follows.
    """
    links = meet(Launch("a test", ADDRESS, 2, process), 60.0, 0.0)
    noted, leaving = Noted(process), Leaving()

    def step(state: int, batch: Any) -> tuple[int, dict[str, np.ndarray]]:
        if process == 1 and in_step and state + 1 == after:
            in_step(leaving)
        return state + 1, {"loss": np.array([float(state)])}

    # Both say of row 0, which they share, that it cannot be read; row 1 + process is of the same video.
    gone = tuple((row, "a.mp4: gone") for row in (0, 1 + process))

    def batches() -> Iterator[Loaded]:
        for number in range(STEPS):
            if process == 1 and in_wait and number == after:
                in_wait(leaving)
            yield Loaded(None, 2 - process, gone, (f"v{process}",), process)  # type: ignore[arg-type]

    try:
        run(step, 0, batches(), 0, STEPS, [noted], leaving, Processes(process, 2, links))  # type: ignore[arg-type]
    except (Left, UserError) as end:
        noted.end, noted.ended_at = end, time.monotonic()
    links.close()
    return noted


ADDRESS = f"localhost:{free_port()}"


def both(after: int | None = None, in_step: Happens | None = None, in_wait: Happens | None = None) -> list[Noted]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda process: taken(process, after, in_step, in_wait), (0, 1)))


def test_every_process_knows_what_all_have_loaded() -> None:
    for noted in both():
        assert [(one.unmatched, one.skipped, one.videos, one.repeated) for one in noted.loaded] == [
            (3, tuple((row, "a.mp4: gone") for row in range(3)), ("v0", "v1"), 1)
        ] * STEPS
        assert noted.left_at == -1


def test_both_leave_after_the_step_in_which_one_was_asked() -> None:
    for noted in both(3, in_step=lambda leaving: leaving.ask(signal.SIGTERM)):
        assert (noted.left_at, len(noted.loaded)) == (3, 3)
        assert isinstance(noted.end, Left)


def test_both_leave_where_one_was_asked_as_it_waited_for_a_batch() -> None:
    """What the handler of the signal raises ends the wait."""
    for noted in both(3, in_wait=lambda leaving: leaving.handle(signal.SIGTERM, None)):
        assert (noted.left_at, len(noted.loaded)) == (3, 3)
        assert (type(noted.end), str(noted.end)) == (Left, "after step 3")


def unreadable(leaving: Leaving) -> None:
    raise MachineError("a.mp4: its disk is gone")


def test_both_save_and_end_where_one_cannot_read() -> None:
    first, second = both(4, in_wait=unreadable)
    for noted in (first, second):
        assert (noted.left_at, len(noted.loaded)) == (4, 4)
        assert isinstance(noted.end, UserError)
        assert noted.end.exit_code is Exit.MACHINE
    assert second.ended_at >= first.saved_at  # process 0 is not ended as it saves
    assert str(first.end) == "process 1: a.mp4: its disk is gone"
    assert str(second.end) == "a.mp4: its disk is gone"


def test_nothing_is_saved_where_no_step_was_taken() -> None:
    for noted in both(0, in_wait=unreadable):
        assert noted.left_at == -1
        assert isinstance(noted.end, UserError)
