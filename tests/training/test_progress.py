"""What a training prints of its progress where no one looks on."""

import io
import re

import jax
import numpy as np
import pytest
from rich.console import Console

from adatad_jax.devices.memory import GIB, Memory, memory_used
from adatad_jax.training import progress
from adatad_jax.training.loop import Done
from adatad_jax.training.meter import Meter
from adatad_jax.training.progress import PrintProgress, duration, memory_text


def test_a_line_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    out, now = io.StringIO(), 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    meter = Meter(total=40, first=8, frames_per_step=128)
    console = Console(file=out, width=300)
    hook = PrintProgress(console, meter, np.linspace(0, 0.39, 40), 10, jax.devices()[:1], shift=5)
    for step in range(8, 20):  # 25 s each, of which 5 s wait for data
        done = Done(step, None, {"loss": step / 8}, 200.0 if step == 8 else 25.0, 5.0)  # type: ignore[arg-type]
        meter.after_step(done)
        hook.after_step(done)
        now += 25
    lines = out.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["9/40", "12/40", "15/40", "18/40"]
    assert "epoch 2  loss 1.0000  rate 8.00e-02  first step 200.0 s" in lines[0]
    assert "ETA" not in lines[0]
    assert "epoch 3  loss 2.1250  rate 1.70e-01  5.12 frames/s  waiting for data 20%  host" in lines[3]
    assert re.search(r"ETA 0:09:1\d$", lines[3])  # 22 steps of 25 s


def test_memory_is_shown_as_far_as_it_is_known() -> None:
    assert memory_text(Memory(3 * GIB, None, None)) == "host 3.0 GiB"
    assert memory_text(Memory(3 * GIB, 2 * GIB, None)) == "host 3.0 GiB  device 2.0 GiB"
    assert memory_text(Memory(3 * GIB, 2 * GIB, 80 * GIB)) == "host 3.0 GiB  device 2.0 of 80.0 GiB"


def test_host_memory_grows_with_what_is_held() -> None:
    before = memory_used(jax.local_devices()).host
    held = np.ones(1 << 25)  # 256 MiB
    assert memory_used(jax.local_devices()).host - before > 0.9 * held.nbytes


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0, 59.6, 3599, 360000)] == ["0:00:00", "0:01:00", "0:59:59", "100:00:00"]
