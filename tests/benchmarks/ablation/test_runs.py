"""The trainings of the ablation: what each arm trains, that finished ones are kept, and that budgets do not mix."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from adatad_jax.config.build import make_vit
from adatad_jax.config.fields import Config
from adatad_jax.demo.run import demo_config
from adatad_jax.errors import UserError
from adatad_jax.weights.backbone_store import load_backbone
from adatad_jax.weights.run_folder import write_config
from benchmarks.ablation.__main__ import chosen
from benchmarks.ablation.arms import ARMS, SAME_FOR_ALL, arm_config
from benchmarks.ablation.runs import Budget, outcome, run_all, time_steps

TINY = Budget(epochs=2, train_videos=8, test_videos=1)


def recording() -> Console:
    return Console(record=True, width=200, file=io.StringIO())


def test_arms_differ_in_the_backbone_alone(tmp_path: Path) -> None:
    demo = Config().with_fields(
        {"weights": "trained", "model.size": "tiny", "model.image_size": 48, "train.head_rate": 1e-3}
    )
    flat = {name: arm_config(demo, arm, tmp_path).flat() for name, arm in ARMS.items()}
    for name, fields in flat.items():
        differ = {field for field, value in fields.items() if value != demo.flat()[field]}
        assert differ - SAME_FOR_ALL.keys() <= {"weights", "model.adaptation", "train.backbone_rate"}, name
        assert fields["train.backbone_rate"] == pytest.approx(1e-4)
        assert (fields["weights"] == "trained") == (name != "untrained")
    adaptations = ["frozen", "adapter", "tia", "side", "full", "tia"]
    assert [fields["model.adaptation"] for fields in flat.values()] == adaptations


def test_untrained_weights_fit_the_model_and_are_drawn_from_the_seed(tmp_path: Path) -> None:
    """A linear layer's kernel is uniform in +-1/sqrt(inputs), of which the standard deviation is 1/sqrt(3 inputs)."""
    demo = Config().with_fields({"model.size": "tiny", "model.image_size": 48})
    kernels = []
    for seed in (0, 1):
        config = arm_config(demo.with_fields({"seed": seed}), ARMS["untrained"], tmp_path / str(seed))
        loaded = load_backbone(Path(config.weights))
        kernels.append(loaded.params["blocks_0_2"]["mlp"]["fc1"]["kernel"])
        vit = make_vit(config.model)
        assert kernels[-1].shape == (vit.depth, vit.width, vit.mlp_hidden)
        np.testing.assert_allclose(kernels[-1].std(), (3 * vit.width) ** -0.5, rtol=0.02)
    assert np.abs(kernels[0] - kernels[1]).max() > 0.01


def test_arms_are_chosen_by_name() -> None:
    assert chosen("tia, frozen") == ("frozen", "tia")
    assert chosen(None) == tuple(ARMS)
    with pytest.raises(
        UserError, match=r"--arms tia,lora: unknown lora; .*frozen, adapter, tia, side, full, untrained"
    ):
        chosen("tia,lora")


@pytest.mark.slow
def test_finished_runs_are_kept_and_budgets_do_not_mix(tmp_path: Path) -> None:
    """The demo's detector with its backbone frozen, four steps."""
    (first,) = run_all(["frozen"], [3], TINY, tmp_path, recording())
    assert first.seed == 3
    assert first.trained > 100_000
    assert first.step_bytes is None or first.step_bytes > 4 * first.trained
    seed = tmp_path / "seed_3"
    assert time_steps(["frozen"], demo_config(seed, 3, TINY.epochs), seed)["frozen"] > 0
    console = recording()
    assert list(run_all(["frozen"], [3], TINY, tmp_path, console)) == [first]
    assert "finished before" in console.export_text()
    with pytest.raises(UserError, match=r"8 training and 1 test videos, expected 4 and 1"):
        list(run_all(["frozen"], [3], TINY._replace(train_videos=4), tmp_path, recording()))
    with pytest.raises(UserError, match=r"schedule_epochs"):
        list(run_all(["frozen"], [3], TINY._replace(epochs=3), tmp_path, recording()))


def test_an_outcome_of_another_configuration_is_refused(tmp_path: Path) -> None:
    config, folder = Config(), tmp_path / "tia"
    folder.mkdir()
    write_config(folder, config, ("a", "b"))
    (folder / "outcome.json").write_text(
        '{"arm": "tia", "seed": 0, "map_50": 0.5, "average_map": 0.4, "trained": 7, "step_bytes": null, '
        '"step_seconds": 0.1, "seconds": 9}'
    )
    assert outcome("tia", config, folder, recording()).average_map == 0.4
    with pytest.raises(UserError, match=r"model\.width"):
        outcome("tia", replace(config, model=replace(config.model, width=64)), folder, recording())
