"""How fast a training goes: seconds per step, frames per second, share of time waiting for data, time left."""

import collections
import time

from adatad_jax.training.loop import Done, Hook

RECENT = 50  # steps that the speed is a mean over


class Meter(Hook):
    """Measures the steps of a start, without the first one, which compiles.

    Attributes:
      step: number of steps taken in the run.
      total: number of steps of the run.
    """

    def __init__(self, total: int, first: int, frames_per_step: int) -> None:
        """Starts to measure.

        Args:
          total: number of steps of the run.
          first: number of steps taken before.
          frames_per_step: frames of a batch, over all devices and processes.
        """
        self.total, self.step = total, first
        self._frames = frames_per_step
        self._recent: collections.deque[tuple[float, float]] = collections.deque(maxlen=RECENT)
        self._since: float | None = None  # when the first step was done
        self._counted, self._stepping = 0, 0.0

    def after_step(self, done: Done) -> None:
        self.step = done.step + 1
        if self._since is None:
            self._since = time.perf_counter()
            return
        self._recent.append((done.seconds, done.waited))
        self._counted += 1
        self._stepping += done.seconds

    @property
    def seconds(self) -> float | None:
        """Returns the mean time of the recent steps; None before the second step."""
        return sum(seconds for seconds, _ in self._recent) / len(self._recent) if self._recent else None

    @property
    def frames_per_second(self) -> float | None:
        """Returns the frames that are trained on per second; None before the second step."""
        seconds = self.seconds
        return self._frames / seconds if seconds else None

    @property
    def waiting(self) -> float | None:
        """Returns the share of the recent steps' time in which the loop waited for a batch; None as `seconds`."""
        whole = sum(seconds for seconds, _ in self._recent)
        return sum(waited for _, waited in self._recent) / whole if whole else None

    @property
    def left(self) -> float | None:
        """Returns the seconds until the last step is done, pauses such as evaluations among them; None as `seconds`.

        Pauses are expected to take as much time per step as they took so far.
        """
        seconds = self.seconds
        if seconds is None or self._since is None:
            return None
        paused = max(0.0, time.perf_counter() - self._since - self._stepping)
        return (self.total - self.step) * (seconds + paused / self._counted)
