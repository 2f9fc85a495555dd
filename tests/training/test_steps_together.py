"""The training loop in two processes, here two threads with links: what they tell each other, and when they leave."""

import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np

from adatad_jax.data.loader import Loaded
from adatad_jax.devices.launch import Launch
from adatad_jax.devices.meeting import meet
from adatad_jax.devices.processes import Processes
from adatad_jax.errors import Left
from adatad_jax.training.leaving import Leaving
from adatad_jax.training.loop import Done, Hook, Place, run
from tests.processes import free_port

STEPS = 6


class Noted(Hook):
    """Keeps what each step was loaded with; process 0 pauses more often, as it does to save."""

    def __init__(self, process: int) -> None:
        self.process, self.loaded, self.left_at = process, list[Loaded](), -1

    def after_step(self, done: Done) -> None:
        self.loaded.append(done.loaded)

    def due(self, place: Place) -> bool:
        return self.process == 0 or place.step == STEPS

    def leave(self, place: Place, state: Any) -> None:
        self.left_at = place.step


def taken(process: int, asked_after: int | None) -> Noted:
    """Takes six steps as one of two processes; `asked_after` so many, a signal asks process 1 to leave."""
    links = meet(Launch("a test", ADDRESS, 2, process), 60.0, 0.0)
    noted, leaving = Noted(process), Leaving()

    def step(state: int, batch: Any) -> tuple[int, dict[str, np.ndarray]]:
        if process == 1 and state + 1 == asked_after:
            leaving.ask(signal.SIGTERM)
        return state + 1, {"loss": np.array([float(state)])}

    # Both say of row 0, which they share, that it cannot be read; row 1 + process is of the same video.
    gone = tuple((row, "a.mp4: gone") for row in (0, 1 + process))
    batches = [Loaded(None, 2 - process, gone, (f"v{process}",), process) for _ in range(STEPS)]  # type: ignore[arg-type]
    with suppress(Left):
        run(step, 0, batches, 0, STEPS, [noted], leaving, Processes(process, 2, links))  # type: ignore[arg-type]
    links.close()
    return noted


ADDRESS = f"localhost:{free_port()}"


def both(asked_after: int | None = None) -> list[Noted]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(taken, (0, 1), (asked_after, asked_after)))


def test_every_process_knows_what_all_have_loaded() -> None:
    for noted in both():
        assert [(one.unmatched, one.skipped, one.videos, one.repeated) for one in noted.loaded] == [
            (3, tuple((row, "a.mp4: gone") for row in range(3)), ("v0", "v1"), 1)
        ] * STEPS
        assert noted.left_at == -1


def test_both_leave_after_the_step_in_which_one_was_asked() -> None:
    for noted in both(asked_after=3):
        assert (noted.left_at, len(noted.loaded)) == (3, 3)
