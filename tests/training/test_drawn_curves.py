"""The curves of a run: how lines are thinned out, and runs that are drawn."""

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from adatad_jax.training.curves import CURVES_FILE, Curves, DrawCurves, draw, read_curves, thinned
from adatad_jax.training.history import write_history
from adatad_jax.training.loop import Done
from adatad_jax.training.step_log import LogSteps


@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e3, 1e3)), st.integers(1, 20))
def test_a_thinned_line_keeps_mean_and_extremes(values: np.ndarray, most: int) -> None:
    place, mean, low, high = thinned(np.arange(len(values), dtype=float), values, most)
    assert len(place) == min(most, len(values))
    assert (low.min(), high.max()) == (values.min(), values.max())
    slack = 1e-9
    assert (low - slack <= mean).all()
    assert (mean <= high + slack).all()
    assert (np.diff(place) > 0).all()


def test_a_line_of_few_points_stays_as_it_is() -> None:
    place, mean, low, high = thinned(np.array([1.0, 2, 3, 4]), np.array([5.0, np.nan, 7, np.inf]), 10)
    for found, wanted in ((place, [1, 3]), (mean, [5, 7]), (low, [5, 7]), (high, [5, 7])):
        assert found.tolist() == wanted


def steps_of(count: int) -> dict[str, np.ndarray]:
    place = np.arange(1, count + 1, dtype=float)
    names = ("loss", "classification", "regression", "grad_norm", "grad_norm_head", "rate_head")
    return {"step": place, "epoch": place / 4, **dict.fromkeys(names, 1 / place)}


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_runs_of_all_lengths_are_drawn(count: int) -> None:
    figure = draw(Curves(steps_of(count), []))
    assert len(figure.axes) == 3
    loss = figure.axes[0].lines[0].get_xydata()
    assert loss is not None
    assert loss[0][0] >= 0.25
    assert figure.axes[0].get_xlim() == (0, count / 4)


def test_scores_are_drawn_in_percent_by_epoch() -> None:
    # A version without tIoU in the history came first.
    history = [
        {"epoch": 1, "step": 4},
        {"epoch": 2, "step": 8, "average_mAP": 0.2},
        {"epoch": 4, "step": 16, "average_mAP": 0.5, "mAP": {"0.3": 0.6, "0.7": 0.4}},
    ]
    lines = draw(Curves(steps_of(16), history)).axes[3].lines
    drawn = {tuple(map(tuple, np.asarray(line.get_xydata()).tolist())) for line in lines}
    assert ((2, 20), (4, 50)) in drawn
    assert {points[-1] for points in drawn} == {(4, 50), (4, 60), (4, 40)}


def test_a_run_without_finite_values_is_drawn() -> None:
    steps = steps_of(3)
    steps["loss"] = np.full(3, np.nan)
    assert len(draw(Curves(steps, [])).axes) == 3


def test_the_picture_of_a_run_folder(tmp_path: Path) -> None:
    assert read_curves(tmp_path) is None
    DrawCurves(tmp_path).draw()
    assert not (tmp_path / CURVES_FILE).exists()
    log = LogSteps(tmp_path, 0, {"tia": np.ones(4)}, 2)
    for step in range(4):
        log.after_step(Done(step, None, {"loss": 1.0, "grad_norm": 2.0}, 1.0))  # type: ignore[arg-type]
    write_history(tmp_path, [{"epoch": 2, "step": 4, "average_mAP": 0.5}])
    DrawCurves(tmp_path).draw()
    assert (tmp_path / CURVES_FILE).read_bytes().startswith(b"\x89PNG")
