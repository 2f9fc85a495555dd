"""Which checkpoints stay, worked out by hand; and that the library keeps them."""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adatad_jax.training import checkpoints
from adatad_jax.training.retention import KEPT_INSIDE, Retention, best_step, kept_steps
from tests.training.states import state_after


def epochs(**scores: float | None) -> dict[int, dict[str, Any]]:
    """`s10=0.5`: an epoch ends at step 10 and scored 0.5."""
    return {int(name[1:]): {} if score is None else {"average_mAP": score} for name, score in scores.items()}


def test_latest_best_and_inside_are_kept_apart() -> None:
    ends = epochs(s10=0.2, s20=0.9, s30=0.3, s40=None, s50=0.9)
    assert kept_steps([10, 13, 15, 17, 20, 30, 40, 43], ends, latest=2, evaluated=False) == {17, 20, 30, 40, 43}
    assert kept_steps([10, 13, 15, 17, 20, 30, 40, 43], ends, latest=2, evaluated=True) == {10, 17, 20, 30, 40, 43}
    assert kept_steps([10, 20, 30, 40, 50], ends, latest=1, evaluated=False) == {20, 50}
    assert kept_steps([10, 20, 30, 40, 41, 42, 43], ends, latest=1, evaluated=False) == {20, 40, 42, 43}
    assert kept_steps([5, 6, 7], {}, latest=3, evaluated=False) == {6, 7}


def test_the_best_is_the_earliest_of_equal_ones() -> None:
    ends = epochs(s10=0.2, s20=0.9, s30=None, s50=0.9)
    assert best_step([10, 20, 30, 50], ends) == 20
    assert best_step([10, 30, 50], ends) == 50
    assert best_step([30], ends) is None


@given(
    steps=st.sets(st.integers(1, 60), min_size=1),
    scores=st.dictionaries(st.integers(1, 6).map(lambda epoch: 10 * epoch), st.none() | st.integers(0, 3)),
    latest=st.integers(1, 4),
)
def test_no_kind_pushes_another_out(steps: set[int], scores: dict[int, int | None], latest: int) -> None:
    ends: dict[int, dict[str, Any]] = {s: {} if v is None else {"average_mAP": v} for s, v in scores.items()}
    kept = kept_steps(sorted(steps), ends, latest, evaluated=False)
    assert max(steps) in kept
    assert sorted(steps & set(ends))[-latest:] == sorted(kept & set(ends))[-latest:]
    assert sorted(steps - set(ends))[-KEPT_INSIDE:] == sorted(kept - set(ends))
    assert best_step(kept, ends) == best_step(steps, ends)
    assert len(kept) <= latest + 1 + KEPT_INSIDE


def test_a_score_that_comes_after_the_checkpoint_counts(tmp_path: Path) -> None:
    retention = Retention(1, False)
    with checkpoints.open_manager(tmp_path, retention) as manager:
        for step, score in ((10, 0.5), (20, 0.4), (25, None), (30, 0.1), (40, 0.2)):
            record: dict[str, Any] = {}
            if step % 10 == 0:
                retention.epochs[step] = record
            checkpoints.save(manager, step, state_after(step), {"epoch": step // 10})
            record |= {} if score is None else {"average_mAP": score}
        assert sorted(manager.all_steps()) == [10, 25, 40]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["10", "25", "40"]
