"""The terminal: progress bars."""

import io

import numpy as np
import pytest
from rich.console import Console

from adatad_jax.console import progress_bar
from adatad_jax.training.loop import Done
from adatad_jax.training.progress import ShowProgress


@pytest.mark.parametrize("steps", [12, 21000])
def test_the_bar_of_a_training_fits_80_columns(steps: int) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None, legacy_windows=False)
    with progress_bar(console, stays=True) as bar:
        hook = ShowProgress(bar, np.full(steps, 2e-4), first=0, steps_per_epoch=steps // 6)
        hook.after_step(Done(steps - 2, None, {"loss": 0.834}, 12.25))  # type: ignore[arg-type]
    last = out.getvalue().split("\r")[-1]
    assert "epoch 6 " in last
    assert f"{steps - 1}/{steps} loss 0.83 rate 2e-04 12.25 s/step 0:00:0" in last
    assert "ETA" in last
    assert "…" not in last
