"""The demo's backbone: the packaged file is a VideoMAE in the published layout, and one command makes such a file."""

import json
from pathlib import Path

import numpy as np
import pytest

from adatad_jax.config.load import load_config
from adatad_jax.conversion.torch_file import read_tensors
from adatad_jax.conversion.videomae import convert_backbone
from adatad_jax.demo import backbone
from adatad_jax.demo.clips import LABELS
from adatad_jax.models.positions import sinusoid_table
from tests.tiny_videomae import published_shapes

ROOT = Path(__file__).parents[2]
CLASSIFIER = {"cls_head.fc_cls.weight": (len(LABELS), 64), "cls_head.fc_cls.bias": (len(LABELS),)}
SIZE_LIMIT = 6 * 10**6  # bytes


def check_layout(path: Path) -> None:
    """Expects the published file's keys, with the clips' classes and the positions of the configured image size."""
    image_size = load_config(ROOT / "configs/demo.py").model.image_size
    positions = 8 * (image_size // 16) ** 2
    expected = {**published_shapes(), **CLASSIFIER, "backbone.pos_embed": (1, positions, 64)}
    tensors = read_tensors(path).tensors
    assert {key: value.shape for key, value in tensors.items()} == expected
    np.testing.assert_allclose(tensors["backbone.pos_embed"][0], sinusoid_table(positions, 64), atol=1e-6)
    converted = convert_backbone(read_tensors(path))
    assert (converted.size, converted.image_size) == ("tiny", image_size)


def test_packaged_weights_have_the_published_layout() -> None:
    assert backbone.PACKAGED.stat().st_size < SIZE_LIMIT
    check_layout(backbone.PACKAGED)


def test_record_of_the_packaged_weights_is_of_the_configured_trainings() -> None:
    """Compares epochs of the committed histories with the configurations."""
    for name, config in zip(("pretraining", "finetuning"), backbone.clip_configs(Path("anywhere")), strict=True):
        lines = (ROOT / backbone.RECORD / f"{name}.jsonl").read_text().splitlines()
        assert json.loads(lines[-1])["epoch"] == len(lines) == config.train.epochs
    assert (ROOT / backbone.RECORD / "reconstructions.png").stat().st_size < 500_000


def test_one_command_makes_clips_trains_twice_and_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    output, record = tmp_path / "made.pth", tmp_path / "record"
    arguments = ["--workdir", str(tmp_path / "work"), "--output", str(output), "--record", str(record)]
    backbone.main([*arguments, "--clips", "2", "--epochs", "1"])
    check_layout(output)
    assert sorted(path.name for path in record.iterdir()) == [
        "finetuning.jsonl",
        "pretraining.jsonl",
        "reconstructions.png",
    ]
    (epoch,) = (record / "pretraining.jsonl").read_text().splitlines()
    assert 0 < json.loads(epoch)["loss"] < 2
    started = json.loads((tmp_path / "work/finetuning/config.json").read_text())
    assert started["config"]["weights"] == str(tmp_path / "work/pretraining")
    packaged, made = (read_tensors(path).tensors for path in (backbone.PACKAGED, output))
    name = "backbone.blocks.1.attn.proj.weight"
    assert not np.array_equal(packaged[name], made[name])
