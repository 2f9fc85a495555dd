"""What a run shows: a short training that is continued, and everything that it leaves in its folder."""

import io
import json
import logging
import os
import re
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from wandb.proto.wandb_internal_pb2 import Record

from adatad_jax.errors import Left
from adatad_jax.pipelines.train_detector import train
from adatad_jax.training.history import read_history
from adatad_jax.training.step_log import read_steps
from tests.event_files import shown
from tests.tiny_run import make_data, run_config

STEPS = 2  # of an epoch

SHOWN = {
    "train__epochs": 3,
    "train__batch_size": 1,
    "train__log_steps": 1,
    "train__wandb": "offline",
    "train__eval_from": 2,
    "train__eval_every": 1,
    "data__test_subset": "training",
}


class Finished(NamedTuple):
    """A run's folder, what its two starts printed, and which programs each of them compiled."""

    folder: Path
    first: str
    second: str
    compiled: list[list[str]]


class Compilations(logging.Handler):
    """The programs that JAX compiles, or reads from its cache, start by start."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[list[str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if found := re.match(r"Finished XLA compilation of (\S+) in", record.getMessage()):
            self.names[-1].append(found[1])

    @contextmanager
    def of_a_start(self) -> Iterator[None]:
        self.names.append([])
        logger = logging.getLogger("jax")
        logger.addHandler(self)
        with jax.log_compiles():
            yield
        logger.removeHandler(self)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run that is asked to leave after its first epoch and goes on to the third; the last two are evaluated."""
    folder = tmp_path_factory.mktemp("watched")
    data = make_data(folder / "data", STEPS)
    config = run_config(data, data / "all.json", **SHOWN)
    consoles, compilations = [], Compilations()
    consoles.append(AsksToLeave(file=io.StringIO(), width=200))
    with compilations.of_a_start(), pytest.raises(Left):
        train(config, folder / "run", consoles[0])
    consoles.append(Console(file=io.StringIO(), width=200))
    with compilations.of_a_start():
        train(config.with_fields({"train.profile_steps": (4, 9)}), folder / "run", consoles[1])
    printed = [console.file.getvalue() for console in consoles]  # type: ignore[attr-defined]
    return Finished(folder / "run", *printed, compilations.names)


class AsksToLeave(Console):
    """Sends this process SIGTERM with the first line about a whole epoch."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*objects, **options)
        if str(objects[0] if objects else "").startswith("epoch "):
            os.kill(os.getpid(), signal.SIGTERM)


def test_each_program_is_compiled_once_and_only_when_it_is_needed(run: Finished) -> None:
    """The first start draws parameters and does not evaluate; the second evaluates twice, in partly filled batches."""
    of_interest = [[name for name in names if name in ("jit(drawn)", "jit(_fun)")] for names in run.compiled]
    step = prediction = "jit(_fun)"  # which are mapped over devices
    assert of_interest == [["jit(drawn)", step], [step, prediction]]


def test_tensorboard_has_the_values_of_every_step_once(run: Finished) -> None:
    found, steps = shown(run.folder / "tensorboard"), read_steps(run.folder)
    assert steps["step"].tolist() == list(range(1, 3 * STEPS + 1))
    assert steps["epoch"].tolist() == [0.5, 1, 1.5, 2, 2.5, 3]
    for name in ("loss", "classification", "regression", "positives", "normalizer", "grad_norm"):
        assert [step for step, _ in found.scalars[f"train/{name}"]] == steps["step"].tolist()
        np.testing.assert_allclose([value for _, value in found.scalars[f"train/{name}"]], steps[name], rtol=1e-5)
    squares = steps["grad_norm_tia"] ** 2 + steps["grad_norm_head"] ** 2
    np.testing.assert_allclose(np.sqrt(squares), steps["grad_norm"], rtol=1e-5)
    assert "grad_norm_backbone" not in steps  # frozen
    np.testing.assert_allclose(steps["rate_tia"][:3], [0, 2e-4, 2e-4])  # warm-up of one epoch
    np.testing.assert_allclose(steps["rate_head"][:3], [0, 1e-4, 1e-4])
    assert (steps["waited"] <= steps["seconds"]).all()
    assert "train.log_steps = 1" in found.texts["config"][0][1]


def test_tensorboard_has_evaluations_with_pictures(run: Finished) -> None:
    found, records = shown(run.folder / "tensorboard"), read_history(run.folder)[1:]
    ends = [2 * STEPS, 3 * STEPS]
    assert [step for step, _ in found.scalars["test/mAP@0.5"]] == ends
    assert found.scalars.keys() >= {"test_AP/jump", "test_AP/dance"}
    for record, (_, value) in zip(records, found.scalars["test/average_mAP"], strict=True):
        assert value == pytest.approx(record["average_mAP"])
        assert np.mean(list(record["mAP"].values())) == pytest.approx(record["average_mAP"])
        assert np.mean(list(record["class_AP"].values())) == pytest.approx(record["average_mAP"])
    assert [step for step, _ in found.pictures["samples/1"]] == ends
    assert found.pictures["samples/1"][-1][1] == (run.folder / "samples/1.png").read_bytes()
    assert len(found.pictures) == 2  # one of each video


def test_weights_and_biases_has_the_same_under_one_id(run: Finished) -> None:
    logged: dict[int, dict[str, float]] = {}
    files = sorted(run.folder.glob("wandb/offline-run-*/*.wandb"))
    identity = json.loads((run.folder / "run.json").read_text())["id"]
    assert [path.name for path in files] == [f"run-{identity}.wandb"] * 2
    for path in files:
        for data in leveldb_records(path.read_bytes()[7:]):  # after wandb's header
            record = Record.FromString(data)
            values = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            if record.WhichOneof("record_type") == "history" and "train/loss" in values:
                logged[record.history.step.num] = {"train/loss": json.loads(values["train/loss"])}
    steps = read_steps(run.folder)
    assert list(logged) == steps["step"].tolist()
    np.testing.assert_allclose([values["train/loss"] for values in logged.values()], steps["loss"], rtol=1e-5)


def leveldb_records(log: bytes) -> Iterator[bytes]:
    """Yields the records of a log in LevelDB's format: in blocks of 32 KiB, a record may be cut into fragments."""
    place, record, block, header, whole_or_last = 0, b"", 1 << 15, 7, (1, 4)
    while place + header <= len(log):
        room = block - (place + 7) % block  # wandb counts its own header into the first block
        if room < header:
            place += room
            continue
        size, kind = struct.unpack("<HB", log[place + 4 : place + header])
        record += log[place + header : place + header + size]
        place += header + size
        if kind in whole_or_last:
            yield record
            record = b""


def test_the_record_of_the_run_has_both_starts(run: Finished) -> None:
    starts = json.loads((run.folder / "run.json").read_text())["starts"]
    assert [(start["step"], start["end"]["how"], start["end"]["step"]) for start in starts] == [
        (0, "left as asked", STEPS),
        (STEPS, "finished", 3 * STEPS),
    ]
    assert starts[0]["versions"].keys() >= {"python", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy"}
    assert starts[0]["devices"] == {"platform": "cpu", "kind": "cpu", "count": 1}
    assert starts[0]["data"]["steps_per_epoch"] == STEPS
    assert starts[0]["seed"] == 0


def test_the_console_of_a_batch_job_has_lines_without_a_bar(run: Finished) -> None:
    lines = [line for line in run.second.splitlines() if line.startswith("step ")]
    for part in ("step 3/6", "epoch 2", "loss ", "rate 2.00e-04", "first step ", "host "):
        assert part in lines[0]
    assert "ETA" not in lines[0]


def test_chosen_steps_are_profiled(run: Finished) -> None:
    assert "this start takes the steps 3 to 6; of these, 4 to 6 are profiled" in run.second
    assert list(run.folder.glob("profile/plugins/profile/*/*.xplane.pb"))
    assert f"{run.folder / 'profile'}" in run.second


def test_curves_are_drawn(run: Finished) -> None:
    with Image.open(run.folder / "curves.png") as picture:
        assert min(picture.size) > 500
        assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 20
