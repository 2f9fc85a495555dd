"""Pre-training and fine-tuning from videos to checkpoints: what they write, and that they continue bit by bit."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from adatad_jax.devices.processes import ALONE
from adatad_jax.errors import UserError
from adatad_jax.pipelines.finetune_classifier import finetune
from adatad_jax.pipelines.pretrain_autoencoder import Pretraining, pretrain
from adatad_jax.pipelines.training import train
from adatad_jax.training.history import read_history
from adatad_jax.training.step_log import read_steps
from tests.pipelines.clip_trainings import finetuning, make_videos, pretraining, recording

EACH = 5  # videos of a label


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_videos(tmp_path_factory.mktemp("videos") / "all", EACH)


@pytest.fixture(scope="module")
def pretrained(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs of 10 videos."""
    folder = tmp_path_factory.mktemp("pretraining") / "run"
    pretrain(pretraining(videos), folder, recording())
    return folder


def test_a_pretraining_writes_its_steps_its_errors_and_a_picture(pretrained: Path) -> None:
    assert [(record["epoch"], record["step"]) for record in read_history(pretrained)] == [(1, 5), (2, 10)]
    assert all(0 < record["reconstruction_error"] < 10 for record in read_history(pretrained))
    steps = read_steps(pretrained)
    # The highest rate is 0.1 x 2/256, reached after the 5 steps of warm-up, which begin with 0.
    np.testing.assert_allclose(steps["rate_encoder"][:6], 0.1 * 2 / 256 * np.array([0, 1, 2, 3, 4, 4]) / 4, rtol=1e-5)
    assert {"grad_norm_encoder", "grad_norm_decoder"} <= steps.keys()
    assert (pretrained / "reconstructions.png").stat().st_size > 1000
    assert (pretrained / "curves.png").is_file()
    assert json.loads((pretrained / "config.json").read_text())["task"] == "masked pre-training"


def test_a_pretraining_that_was_stopped_continues_bit_by_bit(videos: Path, pretrained: Path, tmp_path: Path) -> None:
    one = pretrain(pretraining(videos, train__epochs=1), tmp_path / "run", recording())
    assert int(one.step) == 5
    console = recording()
    two = pretrain(pretraining(videos), tmp_path / "run", console)
    assert "after step 5" in console.export_text()
    whole = pretrain(pretraining(videos), pretrained, recording())  # is done: nothing is computed again
    jax.tree.map(np.testing.assert_array_equal, two, whole)


def test_an_evaluation_goes_on_without_a_video_that_is_gone_and_without_a_picture_that_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    videos = make_videos(tmp_path / "videos", 3)
    (tmp_path / "run" / "reconstructions.png").mkdir(parents=True)
    fields = {"data__skip_broken": True, "data__in_memory": False, "train__epochs": 1}
    config = pretraining(videos, **fields)
    task = Pretraining(config, tmp_path / "run", recording())
    (videos / "down" / "1.mkv").unlink()
    train(lambda: task, lambda _: [], config, tmp_path / "run", recording(), ALONE)
    (record,) = read_history(tmp_path / "run")
    assert record["windows_skipped"] == 1
    assert 0 < record["reconstruction_error"] < 10
    warnings = [one.getMessage() for one in caplog.records]
    assert any("down/1" in one and "not reconstructed" in one for one in warnings)
    assert any("reconstructions.png" in one and "not drawn" in one for one in warnings)


def test_accumulated_batches_learn_the_same(videos: Path, pretrained: Path, tmp_path: Path) -> None:
    pretrain(pretraining(videos, train__accumulate=2), tmp_path / "run", recording())
    ours, theirs = (read_steps(folder)["loss"] for folder in (tmp_path / "run", pretrained))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_a_finetuning_starts_from_a_pretraining_and_learns_its_labels(
    videos: Path, pretrained: Path, tmp_path: Path
) -> None:
    """Two motions that no single frame tells apart from a mirrored other; 4 of 5 videos of each train."""
    fields = {"weights": str(pretrained), "train__epochs": 2, "train__mixup": True}
    console = recording()
    finetune(finetuning(videos, **fields), tmp_path / "run", console)
    text = console.export_text()
    assert "2 to test" in text
    assert "2 classes" in text
    assert "top-1 accuracy" in text
    record = read_history(tmp_path / "run")[-1]
    assert record["top1"] in (0.0, 0.5, 1.0)
    assert record["top5"] == 1.0  # of two classes
    assert record["recall"].keys() == {"down", "right"}
    rows = (tmp_path / "run" / "confusion.csv").read_text().splitlines()
    assert rows[0] == "label,down,right"
    assert sum(int(count) for row in rows[1:] for count in row.split(",")[1:]) == 2
    assert (tmp_path / "run" / "confusion.png").is_file()
    assert json.loads((tmp_path / "run" / "config.json").read_text())["classes"] == ["down", "right"]


def test_the_folder_of_another_task_is_refused(videos: Path, pretrained: Path) -> None:
    with pytest.raises(UserError, match=r"masked pre-training.*clip classification"):
        finetune(finetuning(videos), pretrained, recording())


def test_other_videos_are_refused(videos: Path, pretrained: Path, tmp_path: Path) -> None:
    more = make_videos(tmp_path / "all", EACH + 1)
    with pytest.raises(UserError, match=r"10 so far, now 12"):
        pretrain(pretraining(more), pretrained, recording())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"data__videos": "nowhere"}, "nowhere"),
        ({"weights": "missing.pth"}, "missing.pth"),
    ],
)
def test_what_is_missing_is_named_before_anything_is_written(
    fields: dict[str, str], said: str, videos: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        pretrain(pretraining(videos, **fields), tmp_path / "run", recording())
    assert not (tmp_path / "run").exists()
