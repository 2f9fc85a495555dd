"""The terminal: progress bars."""

import io

import numpy as np
import pytest
from rich.console import Console

from adatad_jax.console import progress_bar
from adatad_jax.training.loop import Done
from adatad_jax.training.meter import Meter
from adatad_jax.training.progress import ShowProgress


@pytest.mark.parametrize(("steps", "width"), [(12, 80), (21000, 80), (21000, 120)])
def test_the_bar_of_a_training_fits_80_columns(steps: int, width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, color_system=None, legacy_windows=False)
    with progress_bar(console, stays=True) as bar:
        meter = Meter(steps, steps - 4, frames_per_step=12345)
        hook = ShowProgress(bar, meter, np.full(steps, 2e-4), steps_per_epoch=steps // 6)
        for step in (steps - 4, steps - 3, steps - 2):
            for one in (meter, hook):
                one.after_step(Done(step, None, {"loss": 0.834}, 10.0, 3.0))  # type: ignore[arg-type]
    last = out.getvalue().split("\r")[-1]
    assert "epoch 6 " in last
    assert f"{steps - 1}/{steps} loss 0.83{' rate 2e-04' if width > 90 else ''} 1234 fps wait 30% 0:00:0" in last
    assert "ETA 0:00:10" in last
    assert "…" not in last
