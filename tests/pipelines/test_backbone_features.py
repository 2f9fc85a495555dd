"""Stored features of a frozen backbone: the same training as without, computed once, and safe against changes."""

import json
import os
import re
import shutil
from io import StringIO
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from adatad_jax.config.build import learner, make_loss, make_model
from adatad_jax.config.fields import Config
from adatad_jax.config.validation import validate
from adatad_jax.data.batch import Batch
from adatad_jax.data.stored_features import FeatureWindows, features_file, read_features
from adatad_jax.devices.processes import Processes
from adatad_jax.errors import UserError
from adatad_jax.models.backbone import Backbone
from adatad_jax.pipelines.backbone_features import store_features
from adatad_jax.pipelines.train_detector import check_inputs, train
from adatad_jax.training.detection_loss import make_detection_loss
from adatad_jax.training.parameters import split
from tests.pipelines.small_runs import EPOCHS, VIDEOS, make_data, small_config
from tests.tiny_detector import tiny_trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    make_data(path)
    return path


@pytest.fixture
def config(folder: Path) -> Config:
    """Windows of 48 positions: some videos are shorter, whole and padded; in others windows are drawn."""
    fields = {"model.adaptation": "frozen", "model.head_convs": 1, "model.input_dropout": 0.2, "data.window": 48}
    return small_config(folder).with_fields(fields)


class Run:
    """What the loss of a run needs, and the storing of its features."""

    def __init__(self, config: Config, workdir: Path, gone: Path | None = None) -> None:
        self.said = StringIO()
        console = Console(file=self.said, width=500)
        self.config = config
        inputs = check_inputs(config, workdir, console)
        self.windows, self.batches = inputs.windows, inputs.batches
        self.model = make_model(config, len(inputs.classes))
        self.params = tiny_trained(inputs.classes, config).params
        if gone is not None:
            gone.unlink()
        if isinstance(inputs.windows, FeatureWindows):
            frozen = split(self.params)[1]
            store_features(inputs.windows, config, self.model, frozen, Processes(), console)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Returns the numbers of distinct chunks, of chunks that all windows hold, and of those computed."""
        found = re.search(
            r"([\d,]+) chunks of 16 frames, .* GiB.* hold ([\d,]+); ([\d,]+) to compute", self.said.getvalue()
        )
        assert found is not None
        distinct, held, computed = (int(number.replace(",", "")) for number in found.groups())
        return distinct, held, computed

    def losses(self) -> list[float]:
        """Returns the loss of each batch, with the dropout of its step, at the initial parameters."""
        loss = make_detection_loss(learner(self.model, self.config), make_loss(self.config.train))

        def value(batch: Batch, step: int) -> jax.Array:
            divisor = loss.normalize(loss.count(batch), jnp.float32(100)).divisor
            return loss.of_rows(self.params, batch, divisor, jax.random.key(step))[0]

        compiled = jax.jit(value)
        steps = EPOCHS * self.batches.steps_per_epoch
        return [float(compiled(one.batch, step)) for step, one in enumerate(self.batches.from_step(0, steps))]


def test_features_and_losses_are_those_of_the_frames(config: Config, tmp_path: Path) -> None:
    without = Run(config, tmp_path / "without")
    stored = Run(config.with_fields({"train.cache_features": "auto"}), tmp_path / "with")
    distinct, held, computed = stored.counts
    assert held == VIDEOS * EPOCHS * 48 // 16
    assert computed == distinct <= held
    backbone, params = Backbone(stored.model.vit), stored.params["backbone"]
    encode = jax.jit(lambda frames: backbone.apply({"params": params}, frames))
    for index in range(VIDEOS):
        frames, ours = without.windows.load(1, index), stored.windows.load(1, index)
        np.testing.assert_allclose(ours.frames, encode(frames.frames[None])[0], atol=2e-5)
        for one, other in zip(frames[1:4], ours[1:4], strict=True):
            np.testing.assert_array_equal(one, other)
    assert stored.losses() == pytest.approx(without.losses(), rel=1e-5)


def test_what_is_not_stored_or_has_changed_is_computed_again(
    config: Config, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = config.with_fields({"train.cache_features": str(tmp_path / "features")})
    distinct, _, _ = Run(config, tmp_path / "first").counts
    assert Run(config, tmp_path / "second").counts[2] == 0
    changed, damaged = (features_file(tmp_path / "features", name) for name in ("train_000", "train_001"))
    before = [read_features(path) for path in (changed, damaged)]
    kept = distinct - sum(len(one.chunks) for one in before if one is not None)
    os.utime(folder / "videos/train_000.mp4", ns=(1, 1))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(str(damaged))):
        read_features(damaged)
    longer = config.with_fields({"train.epochs": EPOCHS + 2, "train.schedule_epochs": EPOCHS + 2})
    run = Run(longer, tmp_path / "longer")
    assert run.counts[2] == run.counts[0] - kept
    for path in (changed, damaged):
        assert str(path) in caplog.text
    assert Run(longer, tmp_path / "again").counts[2] == 0


def test_a_video_that_is_gone_is_named_or_skipped(config: Config, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "videos", tmp_path / "videos")
    config = config.with_fields({"train.cache_features": "auto", "data.videos": str(tmp_path / "videos")})
    gone = tmp_path / "videos/train_002.mp4"
    kept = gone.read_bytes()
    with pytest.raises(UserError, match=re.escape(str(gone))):
        Run(config, tmp_path / "run", gone)
    gone.write_bytes(kept)
    run = Run(config.with_fields({"data.skip_broken": True}), tmp_path / "run", gone)
    assert len(list((tmp_path / "run/features").iterdir())) == VIDEOS - 1
    skipped = [message for loaded in run.batches.from_step(0, 3) for _, message in loaded.skipped]
    assert len(skipped) == 1
    assert "train_002" in skipped[0]


@pytest.mark.slow
def test_a_run_learns_the_same_from_stored_features(config: Config, tmp_path: Path) -> None:
    def history(config: Config, workdir: Path) -> list[float]:
        train(config, workdir, Console(file=StringIO()))
        return [json.loads(line)["loss"] for line in (workdir / "history.jsonl").read_text().splitlines()]

    stores = config.with_fields({"train.cache_features": "auto"})
    assert history(stores, tmp_path / "with") == pytest.approx(history(config, tmp_path / "without"), rel=1e-5)


@pytest.mark.parametrize(
    ("field", "value"), [("data.flip", 0.5), ("data.random_resized_crop", True), ("model.adaptation", "tia")]
)
def test_what_is_random_before_the_backbone_is_refused(config: Config, field: str, value: object) -> None:
    validate(config.with_fields({"train.cache_features": "auto"}))
    with pytest.raises(UserError, match=rf"train\.cache_features.*{re.escape(field)}"):
        validate(config.with_fields({"train.cache_features": "auto", field: value}))
