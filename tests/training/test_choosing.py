"""Which checkpoint is read, and what is said about missing and damaged ones."""

import logging
import re
from pathlib import Path

import pytest

from adatad_jax.errors import UserError
from adatad_jax.training import checkpoints
from adatad_jax.training.checksums import LIST_FILE, Damaged
from adatad_jax.training.choosing import origin, read_chosen, read_to_continue
from adatad_jax.training.history import read_history, write_history
from tests.training.states import state_after, write_run


def damage(folder: Path) -> None:
    """Flips a bit of the largest file."""
    path = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_run(tmp_path, [10, 20, 23], scores={10: 0.5, 20: 0.25})
    return tmp_path


def test_a_step_the_best_and_the_latest(run: Path) -> None:
    for choice, step, words in (
        (20, 20, "step 20, epoch 2, average mAP 25.00"),
        ("best", 10, "step 10, epoch 1, average mAP 50.00"),
        ("latest", 23, "step 23, inside epoch 3"),
    ):
        saved = read_chosen(run, choice)
        assert saved.step == saved.average["step"] == step
        assert origin(run, saved) == words
    (run / "history.jsonl").unlink()
    assert origin(run, read_chosen(run, 20)) == "step 20, epoch 2"


@pytest.mark.parametrize("choice", [30, "first"])
def test_a_step_that_is_missing_names_those_that_exist(run: Path, choice: int | str) -> None:
    with pytest.raises(UserError, match=rf"^{run}: .*\b{choice}\b.*step 10\b.*50\.00.*step 20\b.*25\.00.*step 23$"):
        read_chosen(run, choice)


@pytest.mark.parametrize("choice", ["20", "first", ""])
def test_a_choice_that_is_another_text_is_told_from_a_missing_step(run: Path, choice: str) -> None:
    with pytest.raises(UserError, match=rf"'{choice}': .*\bnumber\b.*'latest'.*'best'.*step 20"):
        read_chosen(run, choice)


def test_the_best_of_a_run_without_evaluations(run: Path) -> None:
    records = [{key: value for key, value in record.items() if key != "average_mAP"} for record in read_history(run)]
    write_history(run, records)
    with pytest.raises(UserError, match=r"\btrain\.eval_from\b.*step 10, epoch 1; step 20, epoch 2"):
        read_chosen(run, "best")


def test_a_best_that_is_gone_gives_way_with_a_warning(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / "checkpoints/10").rename(run / "elsewhere")
    assert read_chosen(run, "best").step == 20
    assert re.search(r"step 10\b.*\bgone\b.*step 20\b", caplog.text)


def test_a_damaged_latest_gives_way_to_the_one_before(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    damage(run / "checkpoints/23")
    damage(run / "checkpoints/20")
    assert read_chosen(run).step == 10
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert re.search(r"checkpoints/23: damaged.*\n.*checkpoints/20: damaged.*\bstep 10\b", caplog.text)
    for choice in (20, 23):
        with pytest.raises(Damaged, match=rf"checkpoints/{choice}: damaged"):
            read_chosen(run, choice)
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"10", "20", "23"}  # reading moves nothing


def test_training_goes_on_before_a_damaged_checkpoint_and_saves_its_step_again(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        damage(run / "checkpoints/23")
        with checkpoints.open_manager(run, keep=3) as manager:
            saved = read_to_continue(manager)
            assert saved is not None
            assert saved.step == 20
            checkpoints.save(manager, 23, state_after(23), {"epoch": 2, "tally": {"steps": 3}})
        assert len(caplog.records) == number
    assert read_chosen(run).step == 23
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {"10", "20", "23", "damaged-23", "damaged-23-2"}


def test_a_run_of_damaged_checkpoints_is_not_started_anew(run: Path) -> None:
    for step in (10, 20, 23):
        damage(run / "checkpoints" / str(step))
    with (
        checkpoints.open_manager(run, keep=3) as manager,
        pytest.raises(UserError, match=r"--workdir(.|\n)*/23: (.|\n)*/20: (.|\n)*/10: "),
    ):
        read_to_continue(manager)
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"10", "20", "23"}


def test_a_checkpoint_without_its_list_gets_one_when_training_goes_on(run: Path) -> None:
    path = run / "checkpoints/23" / LIST_FILE
    content = path.read_bytes()
    path.unlink()
    with checkpoints.open_manager(run, keep=3) as manager:
        assert read_to_continue(manager) is not None
    assert path.read_bytes() == content


def test_leftovers_of_a_killed_process_never_count(run: Path) -> None:
    partial = run / "checkpoints/30.orbax-checkpoint-tmp"
    (run / "checkpoints/20").rename(partial)
    (run / "checkpoints/removed/10").mkdir(parents=True)
    assert read_chosen(run).step == 23
    with checkpoints.open_manager(run, keep=3) as manager:
        assert sorted(manager.all_steps()) == [10, 23]
        checkpoints.save(manager, 30, state_after(30), {"epoch": 3})
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"10", "23", "30"}
    assert read_chosen(run).average["step"] == 30
