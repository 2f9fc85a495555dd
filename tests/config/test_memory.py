"""The choice of a policy of memory: from budgets that lie between the estimates of settings."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import pytest

from adatad_jax.config.build import make_detector, make_vit
from adatad_jax.config.fields import Config, ModelConfig
from adatad_jax.config.load import load_config, record_from_fields
from adatad_jax.config.memory import Budget, budget_of, choose_policy, given_policy, settings
from adatad_jax.errors import UserError
from adatad_jax.models.memory_estimate import Work, estimate
from adatad_jax.models.policy import MemoryPolicy

GIB = 2**30
CONFIGS = Path(__file__).parents[2] / "configs"
MODEL = ModelConfig()
WORK = Work(make_vit(MODEL), make_detector(Config(), 20), 2, 768, 160, "float32", "float32", "gpu", is_training=True)
KEPT = MemoryPolicy(remat=False)
RECOMPUTED = MemoryPolicy(remat=True)
LEAST = MemoryPolicy(remat=True, attention_chunks=1)


def needs(policy: MemoryPolicy) -> int:
    return estimate(WORK, policy).total


def choose(model: ModelConfig, limit: int | None, kept: dict[str, object] | None = None) -> MemoryPolicy:
    return choose_policy(model, WORK, Budget(limit, "of a test"), kept, ["a shorter window"]).policy


def test_the_fastest_policy_that_fits_is_taken() -> None:
    model = ModelConfig()
    assert needs(KEPT) > needs(RECOMPUTED) > needs(LEAST)
    assert choose(model, needs(KEPT)) == KEPT
    assert choose(model, needs(RECOMPUTED)) == RECOMPUTED
    assert choose(model, needs(LEAST)) == LEAST
    between = choose(model, (needs(RECOMPUTED) + needs(LEAST)) // 2)
    assert between.remat
    assert 1 < between.attention_chunks < 96
    assert needs(between) <= (needs(RECOMPUTED) + needs(LEAST)) // 2


def test_few_chunks_at_once_are_faster_on_a_cpu() -> None:
    work = dataclasses.replace(WORK, platform="cpu")
    limit = estimate(work, KEPT).total
    assert choose_policy(MODEL, work, Budget(limit, ""), None, []).policy == KEPT
    found = choose_policy(MODEL, work, Budget(limit - 1, ""), None, []).policy
    assert (found.remat, found.attention_chunks) == (True, 2)
    given = choose_policy(ModelConfig(remat=True), work, Budget(limit, ""), None, []).policy
    assert (given.remat, given.attention_chunks) == (True, 2)
    prediction = dataclasses.replace(work, is_training=False)
    assert choose_policy(MODEL, prediction, Budget(limit, ""), None, []).policy.attention_chunks == 2
    short = dataclasses.replace(work, windows=1, frames=16)  # one chunk
    assert choose_policy(ModelConfig(remat=True), short, Budget(limit, ""), None, []).policy == RECOMPUTED


def test_a_field_that_is_given_stands() -> None:
    model = ModelConfig(remat=True, attention_chunks=4)
    for limit in (needs(KEPT), needs(LEAST) + needs(LEAST) // 10):
        found = choose(model, limit)
        assert (found.remat, found.attention_chunks) == (True, 4)
    assert choose(ModelConfig(remat=False, attention_chunks=0, mlp_chunks=0), needs(KEPT)) == KEPT
    assert given_policy(ModelConfig(stream_dtype="bfloat16")).stream_dtype == jnp.bfloat16


def test_what_does_not_fit_names_the_estimate_the_device_and_what_would() -> None:
    model, limit = ModelConfig(remat=False), needs(LEAST)
    with pytest.raises(UserError) as caught:
        choose_policy(model, WORK, Budget(limit, "of 2.0 GiB that cuda:0 has"), None, ["a shorter window"])
    text = str(caught.value)
    least = min(needs(dataclasses.replace(LEAST, remat=False)), needs(KEPT))
    for part in (f"{least / GIB:.1f} GiB", "2.0 GiB that cuda:0 has", f"{limit / GIB:.1f} GiB", "model.remat=True"):
        assert part in text
    assert "model.memory=" in text
    assert "a shorter window" not in text


def test_where_nothing_fits_the_message_says_what_to_lower() -> None:
    with pytest.raises(UserError, match=r"(?s)No setting.*a shorter window.*model\.memory="):
        choose(ModelConfig(), needs(LEAST) - 1)


def test_a_run_keeps_what_it_was_computed_with() -> None:
    kept = settings(RECOMPUTED)
    assert kept == {"remat": True, "attention_chunks": 0, "mlp_chunks": 0}
    assert choose(ModelConfig(), needs(KEPT), kept) == RECOMPUTED
    assert choose(ModelConfig(remat=False), needs(KEPT), kept) == KEPT  # the command's own value stands
    with pytest.raises(UserError, match=r"model\.attention_chunks=\d"):
        choose(ModelConfig(), needs(LEAST), kept)


def test_nothing_is_assumed_of_a_device_that_does_not_tell() -> None:
    model = ModelConfig()
    assert choose(model, None).remat
    budget = budget_of(model, None, "METAL:0")
    assert budget.limit is None
    assert "METAL:0" in budget.words
    assert "model.memory" in budget.words


def test_a_budget_is_stated_or_most_of_what_the_device_has() -> None:
    assert budget_of(ModelConfig(memory=12), 80 * GIB, "cuda:0").limit == 12 * GIB
    found = budget_of(ModelConfig(), 80 * GIB, "cuda:0")
    assert found.limit == round(0.9 * 80 * GIB)
    assert "80.0 GiB that cuda:0" in found.words


def test_a_prediction_recomputes_nothing() -> None:
    work = dataclasses.replace(WORK, is_training=False)
    for limit in (estimate(work, KEPT).total, estimate(work, dataclasses.replace(LEAST, remat=False)).total):
        found = choose_policy(ModelConfig(), work, Budget(limit, ""), None, [])
        assert not found.policy.remat
        assert "activations" not in found.describe()


@pytest.mark.parametrize(
    ("override", "value"),
    [("memory=12", 12), ("memory=1.5", 1.5), ("remat=False", False), ("mlp_chunks=8", 8), ("remat=auto", "auto")],
)
def test_a_field_of_memory_is_auto_or_a_value(override: str, value: object) -> None:
    model = load_config(CONFIGS / "thumos_s.py", [f"--config.model.{override}"]).model
    assert getattr(model, override.partition("=")[0]) == value


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("memory=0", "above 0"),
        ("memory=much", "auto"),
        ("remat=1", "True or False"),
        ("mlp_chunks=-1", "at least 0"),
        ("mlp_chunks=True", "whole number"),
        ("attention_chunks=1.5", "whole number"),
    ],
)
def test_other_values_are_refused(override: str, expected: str) -> None:
    with pytest.raises(UserError, match=rf"config\.model\.{override.partition('=')[0]}=.*{expected}"):
        load_config(CONFIGS / "thumos_s.py", [f"--config.model.{override}"])


def test_a_stream_in_bfloat16_needs_recomputation() -> None:
    assert choose(ModelConfig(stream_dtype="bfloat16"), needs(KEPT)).remat
    overrides = ["--config.model.remat=False", "--config.model.stream_dtype=bfloat16"]
    with pytest.raises(UserError, match=r"model\.stream_dtype='bfloat16'.*model\.remat=False"):
        load_config(CONFIGS / "thumos_s.py", overrides)


def test_frozen_weights_in_bfloat16_need_frozen_weights() -> None:
    overrides = ["--config.model.adaptation=full", "--config.model.frozen_dtype=bfloat16"]
    with pytest.raises(UserError, match=r"model\.frozen_dtype='bfloat16'.*full"):
        load_config(CONFIGS / "thumos_s.py", overrides)


@pytest.mark.parametrize("remat", [True, False])
def test_a_run_of_before_these_fields_means_the_same(remat: bool) -> None:
    before = {
        name: value for name, value in Config().flat().items() if name not in ("model.memory", "model.mlp_chunks")
    }
    config = record_from_fields({**before, "model.remat": remat}, Config)
    assert config.model.remat is remat
    assert (config.model.memory, config.model.mlp_chunks) == ("auto", "auto")
