"""The proof that kills lose nothing can fail: it finds one bit, and a wrong exit code."""

import random
import signal
from collections import Counter
from pathlib import Path

import jax
import numpy as np

from adatad_jax.training import checkpoints
from adatad_jax.training.history import write_history
from adatad_jax.training.state import TrainState
from benchmarks.kills.__main__ import unstruck, wrong_ends
from benchmarks.kills.compare import differences
from benchmarks.kills.runs import STRUCK, Moment, Struck, draw_moments
from benchmarks.kills.watched import NOTES, Notes


def write_run(folder: Path, value: np.float32, loss: float, seconds: float) -> Path:
    state = TrainState(
        step=np.int32(5),  # type: ignore[arg-type]
        trained={"scale": np.array([1, value], np.float32)},
        frozen={},
        average={"scale": np.array([1, 2], np.float32)},
        optimizer={"mean": np.zeros(2, np.float32)},
        normalizer=np.float32(99),  # type: ignore[arg-type]
        key=np.array([0, 1], np.uint32),  # type: ignore[arg-type]
    )
    folder.mkdir()
    with checkpoints.open_manager(folder, 3) as manager:
        checkpoints.save(manager, 5, state, {"epoch": 1, "tally": {}})
    write_history(folder, [{"epoch": 1, "step": 5, "loss": loss, "seconds": seconds}])
    return folder


def test_one_bit_is_found_and_seconds_do_not_count(tmp_path: Path) -> None:
    reference = write_run(tmp_path / "reference", np.float32(2), 0.5, 10)
    assert not differences(reference, write_run(tmp_path / "same", np.float32(2), 0.5, 20))
    (bit,) = differences(reference, write_run(tmp_path / "bit", np.nextafter(np.float32(2), np.float32(3)), 0.5, 10))
    assert "trained/scale" in bit
    (loss,) = differences(reference, write_run(tmp_path / "loss", np.float32(2), np.nextafter(0.5, 1), 10))
    assert "epoch 1" in loss


def test_a_counted_step_can_be_compiled_ahead(tmp_path: Path) -> None:
    (tmp_path / "notes").write_bytes(bytes(NOTES.size))
    counted = Notes(tmp_path / "notes").count(jax.jit(lambda state, batch: (state + batch, {})))
    counted.lower(1, 2).compile()  # type: ignore[attr-defined]
    assert counted(1, 2) == (3, {})  # type: ignore[arg-type,comparison-overlap]


def test_both_signals_come_in_all_phases() -> None:
    drawn = Counter((moment.signal, moment.phase) for moment in draw_moments(20, 20, random.Random(0)))
    assert drawn == {(number, phase): 5 for number in (signal.SIGKILL, signal.SIGTERM) for phase in STRUCK}


def test_a_phase_that_was_never_struck_is_named() -> None:
    term, kill = (Moment(number, "steps", 1, 0.5) for number in (signal.SIGTERM, signal.SIGKILL))
    struck = [Struck(term, "steps", 75, 1.0, 1, ""), Struck(kill, "save", -9, 0.1, 1, "")]
    (text,) = unstruck(struck)
    assert "kill -9" in text
    assert "steps" in text


def test_wrong_ends_are_named() -> None:
    term, kill = (Moment(number, "steps", 1, 0.5) for number in (signal.SIGTERM, signal.SIGKILL))
    right = [
        Struck(term, "steps", 75, 1.0, 1, ""),
        Struck(term, "starting", -15, 0.1, 0, ""),
        Struck(kill, "save", -9, 0.1, 4, ""),
    ]
    assert not wrong_ends(right)
    wrong = [
        Struck(term, "steps", -15, 1.0, 0, ""),
        Struck(term, "save", 75, 1.0, 2, ""),
        Struck(term, "evaluation", 75, 40.0, 0, ""),
        Struck(kill, "steps", 0, 0.1, 0, ""),
    ]
    assert len(wrong_ends(wrong)) == len(wrong)
