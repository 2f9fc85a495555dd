"""Where the values of a training go to be looked at: what every such place can take, and the hook that fills them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from adatad_jax.devices.memory import GIB, memory_used
from adatad_jax.training.loop import Done, Hook, Place
from adatad_jax.training.meter import Meter
from adatad_jax.training.scores import scalars
from adatad_jax.training.state import TrainState


class Sink(Protocol):
    """A place for values, pictures and texts; steps are numbers of steps taken."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds values by name, such as `train/loss`."""
        ...

    def pictures(self, step: int, files: Mapping[str, Path]) -> None:
        """Adds PNG files by name."""
        ...

    def text(self, name: str, content: str) -> None:
        """Adds a text."""
        ...

    def close(self) -> None:
        """Ends the use of the place."""
        ...


class FillSinks(Hook):
    """Hands the values of every n-th step to sinks, and the results and pictures of every evaluation."""

    def __init__(
        self,
        sinks: Sequence[Sink],
        every: int,
        meter: Meter,
        rates: Mapping[str, np.ndarray],
        devices: Sequence[jax.Device],
        pictures: Mapping[str, Path],
    ) -> None:
        """Prepares to fill.

        Args:
          sinks: to fill.
          every: n.
          meter: an earlier hook.
          rates: group of parameters -> `[steps]` learning rates of all steps.
          devices: whose memory is of interest.
          pictures: name -> PNG file of the last evaluation; the evaluation replaces its entries.
        """
        self._sinks, self._every, self._meter, self._rates = sinks, every, meter, rates
        self._devices, self._pictures = devices, pictures

    def after_step(self, done: Done) -> None:
        step = done.step + 1
        if step % self._every:
            return
        values = {f"train/{name}": value for name, value in done.metrics.items()}
        values |= {f"rate/{group}": float(rates[done.step]) for group, rates in self._rates.items()}
        meter = self._meter
        measured = {
            "speed/seconds_per_step": meter.seconds,
            "speed/frames_per_second": meter.frames_per_second,
            "speed/waiting_for_data": meter.waiting,
        }
        values |= {name: value for name, value in measured.items() if value is not None}
        memory = memory_used(self._devices)
        values["memory/host_GiB"] = memory.host / GIB
        if memory.device is not None:
            values["memory/device_GiB"] = memory.device / GIB
        for sink in self._sinks:
            sink.scalars(step, values)

    def due(self, place: Place) -> bool:
        return place.within == 0

    def pause(self, place: Place, state: TrainState, record: dict[str, Any]) -> None:
        if values := scalars(record):
            pictures = {name: path for name, path in self._pictures.items() if path.is_file()}
            for sink in self._sinks:
                sink.scalars(place.step, values)
                sink.pictures(place.step, pictures)
