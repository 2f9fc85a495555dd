"""Runs on object stores, with fsspec's store in memory and its local one."""

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from adatad_jax.errors import UserError
from adatad_jax.weights import object_store
from adatad_jax.weights.object_store import LIST, NAME, RunStore, address_of, scratch_folder, working_copy
from adatad_jax.weights.run_folder import check_unlocked, locked

ADDRESS = "memory://bucket/run"


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for working copies; the store in memory is empty before and after."""
    monkeypatch.setenv("ADATAD_SCRATCH", str(tmp_path / "scratch"))
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield tmp_path / "scratch"
    memory.store.clear()


def stored(address: str = ADDRESS) -> dict[str, bytes]:
    """Path -> content of what lies at an address."""
    system, root = fsspec.core.url_to_fs(address)
    return {path[len(root) :].lstrip("/"): system.cat_file(path) for path in system.find(root)}


def train(folder: Path, *steps: int) -> None:
    """Leaves what a run with checkpoints after these steps leaves in its folder."""
    for name, text in {"config.json": "{}", "history.jsonl": f"{steps}", "frozen/params/a": "frozen"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for path in (folder / "checkpoints").glob("*"):
        for file in path.rglob("*"):
            file.unlink()
        path.rmdir()
    for step in steps:
        path = folder / f"checkpoints/{step}"
        path.mkdir(parents=True)
        (path / "d").write_text(f"state after {step}")
    unfinished = folder / "checkpoints/99.orbax-checkpoint-tmp-0"
    unfinished.mkdir(exist_ok=True)
    (unfinished / "d").write_text("half")
    (folder / ".lock").touch()
    (folder / "features").mkdir(exist_ok=True)
    (folder / "features/one.npz").write_text("large")


def files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("gs://bucket/run", "gs://bucket/run"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("file:///data/run", "file:///data/run"),
        ("runs/demo", None),
        ("/data/a:b", None),
        ("", None),
    ],
)
def test_addresses_are_known_from_paths(text: str, address: str | None) -> None:
    assert address_of(Path(text)) == address


@pytest.mark.parametrize("address", [ADDRESS, "file://{tmp}/store/run"])
def test_a_run_goes_on_on_another_machine(address: str, tmp_path: Path, scratch: Path) -> None:
    address = address.format(tmp=tmp_path)
    with working_copy(Path(address)) as folder:
        assert folder == scratch_folder(address)
        assert folder.is_relative_to(scratch)
        train(folder, 2, 4)
    kept = {"config.json", "history.jsonl", "frozen/params/a", "checkpoints/2/d", "checkpoints/4/d"}
    assert set(stored(address)) == {*kept, LIST}
    os.rename(scratch, tmp_path / "first machine")
    with working_copy(Path(address)) as folder:
        assert set(files(folder)) == {*kept, NAME}
        assert files(folder)["checkpoints/4/d"] == "state after 4"
        train(folder, 4, 6)
    assert {path for path in stored(address) if path.startswith("checkpoints")} == {
        "checkpoints/4/d",
        "checkpoints/6/d",
    }
    # The first machine, where the run was before, takes over what is later, and loses what is gone.
    os.rename(scratch, tmp_path / "second machine")
    os.rename(tmp_path / "first machine", scratch)
    with working_copy(Path(address), writes=False) as folder:
        assert files(folder)["history.jsonl"] == "(4, 6)"
        assert {path.name for path in (folder / "checkpoints").iterdir() if path.name.isdecimal()} == {"4", "6"}


def test_a_checkpoint_that_was_not_stored_whole_does_not_count(tmp_path: Path, scratch: Path) -> None:
    with working_copy(Path(ADDRESS)) as folder:
        train(folder, 2)
    fsspec.filesystem("memory").pipe_file("/bucket/run/checkpoints/4/d", b"half a checkpoint")
    os.rename(scratch, tmp_path / "gone")
    with working_copy(Path(ADDRESS), writes=False) as folder:
        assert {path.name for path in (folder / "checkpoints").iterdir()} == {"2"}


def test_a_run_that_was_killed_before_anything_was_stored_goes_on() -> None:
    train(scratch_folder(ADDRESS), 2)
    with working_copy(Path(ADDRESS)) as folder:
        assert "checkpoints/2/d" in files(folder)
    assert stored()["checkpoints/2/d"] == b"state after 2"


def test_a_later_checkpoint_of_a_killed_run_is_stored_at_the_next_start() -> None:
    with working_copy(Path(ADDRESS)) as folder:
        train(folder, 2)
    train(folder, 2, 4)
    assert "checkpoints/4/d" not in stored()
    with working_copy(Path(ADDRESS)) as folder:
        assert "checkpoints/4/d" in files(folder)
    assert stored()["checkpoints/4/d"] == b"state after 4"


def test_a_new_run_at_the_address_does_not_get_what_an_earlier_one_left_here(scratch: Path) -> None:
    with working_copy(Path(ADDRESS)) as folder:
        train(folder, 100)
    fsspec.filesystem("memory").rm("/bucket/run", recursive=True)
    with working_copy(Path(ADDRESS)) as folder:
        assert not files(folder)
        train(folder, 2)
    assert {path for path in stored() if path.startswith("checkpoints")} == {"checkpoints/2/d"}
    (aside,) = (path for path in scratch.iterdir() if path != scratch_folder(ADDRESS))
    assert (aside / "checkpoints/100/d").is_file()


def test_one_flipped_bit_at_the_address_is_found(tmp_path: Path, scratch: Path) -> None:
    with working_copy(Path(ADDRESS)) as folder:
        train(folder, 2)
    content = bytearray(stored()["checkpoints/2/d"])
    content[3] ^= 1
    fsspec.filesystem("memory").pipe_file("/bucket/run/checkpoints/2/d", bytes(content))
    os.rename(scratch, tmp_path / "gone")
    with pytest.raises(UserError, match=r"memory://bucket/run/checkpoints/2/d"), working_copy(Path(ADDRESS)):
        pass


def test_what_changes_is_stored_while_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Event()
    store = RunStore.store

    def noted(self: RunStore) -> None:
        store(self)
        if "checkpoints/2/d" in stored():
            looked.set()

    monkeypatch.setattr(object_store, "PERIOD", 0.01)
    monkeypatch.setattr(RunStore, "store", noted)
    with working_copy(Path(ADDRESS)) as folder:
        train(folder, 2)
        assert looked.wait(30)


def test_a_list_that_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    """Without it, the checkpoint that it names does not count."""
    store = RunStore(f"file://{tmp_path}/store/run", tmp_path / "copy")
    train(store.folder, 2)
    in_the_way = tmp_path / "store/run" / LIST
    in_the_way.mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be reached"):
        store.store()
    in_the_way.rmdir()
    store.store()
    assert "checkpoints/2" in in_the_way.read_text()


def test_a_training_that_is_going_on_here_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """A second start, or an evaluation, must not replace its files by older ones that are stored."""
    with working_copy(Path(ADDRESS)) as folder:
        train(folder, 2)
    with locked(folder):
        (folder / "history.jsonl").write_text("one epoch more")
        with working_copy(Path(ADDRESS)) as found:
            assert found == folder
            assert files(found)["history.jsonl"] == "one epoch more"
        with pytest.raises(UserError, match="another training"):
            check_unlocked(found)
    assert "a training is running" in caplog.text


def test_folders_that_go_away_while_files_are_looked_for_are_no_error(tmp_path: Path) -> None:
    """As a training's checkpoints do; the thread that stores would end."""
    end = threading.Event()

    def make_and_remove() -> None:
        while not end.is_set():
            for name in "abcdefgh":
                (tmp_path / name / "inside/deeper").mkdir(parents=True, exist_ok=True)
            for name in "abcdefgh":
                shutil.rmtree(tmp_path / name)

    thread = threading.Thread(target=make_and_remove)
    thread.start()
    try:
        for _ in range(1000):
            assert not object_store._files_below(tmp_path)
    finally:
        end.set()
        thread.join()


def test_a_run_that_fails_stores_what_it_has_and_raises_its_own_error() -> None:
    def fail() -> None:
        with working_copy(Path(ADDRESS)) as folder:
            train(folder, 2)
            raise UserError("a video is damaged")

    with pytest.raises(UserError, match="a video is damaged"):
        fail()
    assert "checkpoints/2/d" in stored()


def test_a_store_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match=r"nosuch://bucket/run"), working_copy(Path("nosuch://bucket/run")):
        pass


@pytest.mark.parametrize("text", ["memory://", "gs://", "file:///"])
def test_an_address_without_a_place_is_refused_before_anything_is_done(text: str, scratch: Path) -> None:
    with pytest.raises(UserError, match=rf"{text}: names no place.*gs://BUCKET/RUN"), working_copy(Path(text)):
        pass
    assert not scratch.exists() or not list(scratch.iterdir())
