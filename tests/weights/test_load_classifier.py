"""Trained classifiers from runs, converted folders and files, with the names of their classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adatad_jax.classification.kinetics import kinetics_400
from adatad_jax.conversion.names import Layout
from adatad_jax.errors import UserError
from adatad_jax.weights.convert_file import convert_file
from adatad_jax.weights.export import export
from adatad_jax.weights.load_classifier import TrainedClassifier, load_classifier
from tests import clip_runs
from tests.clip_runs import CLASSES, finetuning, make_run, pretraining, same
from tests.conversion import live_models
from tests.conversion.release_detectors import Release, labels


def logits(trained: TrainedClassifier, frames: np.ndarray) -> np.ndarray:
    found: Any = trained.model.apply({"params": trained.params}, frames)
    return np.asarray(found)


def expected_logits(live: Any, pixels: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = live(pixels).logits.numpy()
    return found


def test_a_run_its_export_and_its_conversion_give_the_same(tmp_path: Path) -> None:
    averages = make_run(tmp_path / "run", finetuning(), CLASSES)
    paths = [tmp_path / "run"]
    for layout in (Layout.MMACTION, Layout.ORIGINAL, Layout.HUGGING_FACE):
        paths += [tmp_path / f"{layout.name}.pth", tmp_path / layout.name]
        export(tmp_path / "run", paths[-2], layout=layout)
        convert_file(paths[-2], paths[-1])
    model = load_classifier(paths[0]).model
    for path in paths:
        trained = load_classifier(path)
        same(trained.params, averages)
        assert (trained.classes, trained.crop, trained.stride) == (CLASSES, 32, 2)
        assert trained.model == model
        assert trained.origin.startswith(f"{path}: ")
    assert "step 30, epoch 3" in load_classifier(paths[0], 30).origin
    with pytest.raises(UserError, match=r"\bstep 31\b.*\bstep 30\b"):
        load_classifier(paths[0], 31)
    with pytest.raises(UserError, match=r"MMACTION\.pth: no run\b.*\(30\)"):
        load_classifier(paths[1], 30)


@pytest.mark.parametrize("form", ["hub", "flax", "mmaction.pth", "original.pth"])
@pytest.mark.parametrize("mean_pooling", [True, False], ids=["mean and fc_norm", "first token"])
def test_logits_are_torchs(form: str, mean_pooling: bool, tmp_path: Path) -> None:
    live = clip_runs.live("classifier", num_labels=400, use_mean_pooling=mean_pooling)
    live.save_pretrained(tmp_path / "hub")
    convert_file(tmp_path / "hub", tmp_path / "flax")
    for layout in (Layout.MMACTION, Layout.ORIGINAL):
        export(tmp_path / "flax", tmp_path / f"{layout.name.lower()}.pth", layout=layout)
    trained = load_classifier(tmp_path / form)
    assert trained.classes == kinetics_400()
    assert "Kinetics-400" in trained.origin
    assert (trained.crop, trained.stride) == (32, 4)
    frames, pixels = live_models.video(live)
    np.testing.assert_allclose(logits(trained, frames), expected_logits(live, pixels), rtol=0, atol=5e-5)


def test_a_file_of_the_authors_is_taken_with_the_published_settings(tmp_path: Path) -> None:
    """Without a record, and without positions."""
    torch.save({"module": live_models.to_original(clip_runs.live("classifier"))}, tmp_path / "k710.pth")
    trained = load_classifier(tmp_path / "k710.pth")
    config = trained.model.config
    assert (config.head_norm_eps, config.encoder.norm_eps, config.encoder.image_size) == (1e-6, 1e-6, 224)
    assert (trained.crop, trained.stride) == (224, 4)


def test_names_are_given_or_numbered(tmp_path: Path) -> None:
    clip_runs.live("classifier", num_labels=5).save_pretrained(tmp_path / "hub")
    assert load_classifier(tmp_path / "hub").classes == ("class 0", "class 1", "class 2", "class 3", "class 4")
    (tmp_path / "mine.txt").write_text("a\nb\nc\nd\ne\n")
    trained = load_classifier(tmp_path / "hub", classes=tmp_path / "mine.txt")
    assert trained.classes == ("a", "b", "c", "d", "e")
    assert "mine.txt" in trained.origin
    (tmp_path / "mine.txt").write_text("a\nb\n")
    make_run(tmp_path / "run", finetuning(), CLASSES)
    for path, outputs in (("hub", 5), ("run", 3)):
        with pytest.raises(UserError, match=rf"/{path}: .*\b{outputs} outputs\b.*mine\.txt has 2\b"):
            load_classifier(tmp_path / path, classes=tmp_path / "mine.txt")


def test_what_has_no_classifier_is_refused_with_what_it_has(tmp_path: Path) -> None:
    make_run(tmp_path / "run", pretraining())
    clip_runs.live("pre-training").save_pretrained(tmp_path / "mae")
    clip_runs.live("model").save_pretrained(tmp_path / "model")
    for path, words in (("run", "decoder"), ("mae", "decoder"), ("model", "alone")):
        with pytest.raises(UserError, match=rf"/{path}: has no classifier: .*\bencoder\b.*\b{words}\b"):
            load_classifier(tmp_path / path)
    torch.save({"state_dict": Release(adapters=(0, 1, 2)).state(0)}, tmp_path / "adatad.pth")
    convert_file(
        tmp_path / "adatad.pth", tmp_path / "flax", Release(adapters=(0, 1, 2)).config(labels(tmp_path / "l.txt", 3))
    )
    for path in ("adatad.pth", "flax"):
        with pytest.raises(UserError, match=rf"{path}: a detector\b"):
            load_classifier(tmp_path / path)
    with pytest.raises(UserError, match="nothing: no such file"):
        load_classifier(tmp_path / "nothing")


def test_a_classifier_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    state = live_models.to_original(clip_runs.live("classifier"))
    del state["head.bias"]
    torch.save({"model": state}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth: .*\n.*missing: .*cls_head\.fc_cls\.bias"):
        load_classifier(tmp_path / "a.pth")
    state = live_models.to_original(clip_runs.live("classifier"))
    for name in ("fc_norm.weight", "fc_norm.bias"):
        del state[name]
    torch.save({"model": state}, tmp_path / "b.pth")
    with pytest.raises(UserError, match=r"b\.pth: .*\bfc_norm\b"):
        load_classifier(tmp_path / "b.pth")
    live_models.make("classifier").save_pretrained(tmp_path / "custom")
    (tmp_path / "custom/config.json").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: .*\b24\b.*\battention heads\b"):
        load_classifier(tmp_path / "custom/model.safetensors")
