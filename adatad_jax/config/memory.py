"""The choice of what a backbone keeps in memory and computes at once, so that the work fits a device."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from adatad_jax.annotations.format_keys import AUTO
from adatad_jax.config.fields import ModelConfig
from adatad_jax.devices.memory import GIB
from adatad_jax.errors import UserError, listed
from adatad_jax.models.memory_estimate import Estimate, Work, estimate
from adatad_jax.models.policy import MemoryPolicy

FILLED = 0.9  # share of a device's memory that an estimate may fill: allocators leave gaps, and it is an estimate
CHOSEN = ("remat", "attention_chunks", "mlp_chunks")  # fields of `model` that may be auto
_GROUPS = (0, 16, 4, 1)  # chunks at once, from most memory to least; 0: all
_CPU_GROUPS = (2, 1)  # the cache of a CPU holds few chunks: small groups take less time, too


class Budget(NamedTuple):
    """What work may use of each device.

    Attributes:
      limit: bytes; None where neither the configuration nor the device tells.
      words: where the limit comes from, for messages.
    """

    limit: int | None
    words: str


class MemoryChoice(NamedTuple):
    """How work fits a device.

    Attributes:
      work: what is computed.
      policy: of the backbone.
      estimate: of the memory.
      budget: that it fits.
      how: what decided on the policy, in words.
    """

    work: Work
    policy: MemoryPolicy
    estimate: Estimate
    budget: Budget
    how: str

    def describe(self) -> str:
        """Returns the choice with the estimate, for the start of a run."""
        words = policy_in_words(self.work, self.policy)
        return f"memory: {words} ({self.how}); estimated {self.estimate.describe()}, {self.budget.words}"


def settings(policy: MemoryPolicy) -> dict[str, Any]:
    """Returns what was chosen of a policy, as JSON values by the names of the fields."""
    return {name: getattr(policy, name) for name in CHOSEN}


def given_policy(model: ModelConfig, chosen: Mapping[str, Any] | None = None) -> MemoryPolicy:
    """Returns the policy that a configuration gives; fields that are auto are as chosen, or else need the least time.

    Args:
      model: of the configuration.
      chosen: values of fields in `CHOSEN`.
    """
    fields = {name: getattr(model, name) for name in CHOSEN}
    given = {name: value for name, value in fields.items() if value != AUTO}
    return MemoryPolicy(**{**(chosen or {}), **given}, stream_dtype=jnp.dtype(model.stream_dtype))


def budget_of(model: ModelConfig, available: int | None, device: str) -> Budget:
    """Returns what may be used of each device.

    Args:
      model: of the configuration.
      available: bytes that the device has; None where it does not tell.
      device: its name, for messages.
    """
    if not isinstance(model.memory, str):
        return Budget(round(model.memory * GIB), f"of model.memory={model.memory:g} GiB")
    if available is None:
        return Budget(None, f"but {device} does not tell what it has: set model.memory to its GiB")
    return Budget(round(FILLED * available), f"of {available / GIB:.1f} GiB that {device} has")


def choose_policy(
    model: ModelConfig, work: Work, budget: Budget, kept: Mapping[str, Any] | None, savings: Sequence[str]
) -> MemoryChoice:
    """Chooses the fastest policy with which work fits a device, before anything is compiled.

    A field of the configuration that is not `auto` stands. Where the budget is not known, nothing is assumed, and the
    policy that needs the least is taken.

    Args:
      model: of the configuration.
      work: what is computed.
      budget: of each device.
      kept: what the run was computed with so far, by the fields of `CHOSEN`; None: it is chosen now.
      savings: what else needs less memory, for the message.

    Raises:
      UserError: it does not fit; the message says what would.
    """
    candidates = list(_candidates(work, model))
    chosen = candidates if kept is None else [kept]
    allowed = list(dict.fromkeys(given_policy(model, one) for one in chosen))
    how = "as the run was computed so far" if kept is not None else "chosen" if len(allowed) > 1 else "given"
    estimates = {policy: estimate(work, policy) for policy in allowed}
    least = min(allowed, key=lambda policy: estimates[policy].total)
    fitting = [least] if budget.limit is None else [p for p in allowed if estimates[p].total <= budget.limit]
    if not fitting:
        raise UserError(_too_much(work, budget, least, candidates, savings))
    return MemoryChoice(work, fitting[0], estimates[fitting[0]], budget, how)


def _candidates(work: Work, model: ModelConfig) -> Iterator[dict[str, Any]]:
    """Yields the values of the fields of `CHOSEN`, from the fastest, which needs the most memory.

    Activations that are kept are not computed in groups, in which they would be recomputed all the same. Without
    recomputation there is no stream that is kept by itself, for which a dtype could be wanted. Where recomputation is
    given, the groups are those that suit it.
    """
    if work.is_training and model.stream_dtype == "float32" and model.remat is not True:
        yield {"remat": False, "attention_chunks": 0, "mlp_chunks": 0}
    groups = _CPU_GROUPS if work.platform == "cpu" else _GROUPS
    for chunks in [chunks for chunks in groups if chunks < work.chunks] or [0]:
        yield {"remat": work.is_training, "attention_chunks": chunks, "mlp_chunks": 0}


def _too_much(
    work: Work,
    budget: Budget,
    policy: MemoryPolicy,
    candidates: Sequence[Mapping[str, Any]],
    savings: Sequence[str],
) -> str:
    """Says that work does not fit, and what would.

    Args:
      work: what is computed.
      budget: of each device.
      policy: the one that needs the least of those that were allowed.
      candidates: from `_candidates`.
      savings: what else needs less memory.
    """
    limit, own = budget.limit or 0, settings(policy)
    head = (
        f"{'the training step' if work.is_training else 'the prediction'} does not fit the memory: with "
        f"{policy_in_words(work, policy)}, it needs about {estimate(work, policy).describe()}, {budget.words}; at most "
        f"{limit / GIB:.1f} GiB can be filled. Nothing was compiled."
    )
    tail = "If you know better than this estimate, say what may be used: --config.model.memory=GIB"
    for candidate in candidates:
        needed = estimate(work, MemoryPolicy(**candidate, stream_dtype=policy.stream_dtype)).total
        if needed <= limit:
            changed = [f"--config.model.{name}={candidate[name]}" for name in CHOSEN if candidate[name] != own[name]]
            fits = f"The next smaller setting that fits, with about {needed / GIB:.1f} GiB: {' '.join(changed)}."
            return f"{head} {fits} {tail}"
    none = f"No setting of {', '.join(f'model.{name}' for name in CHOSEN)} fits; what needs less:{listed(savings)}"
    return f"{head} {none}\n{tail}"


def policy_in_words(work: Work, policy: MemoryPolicy) -> str:
    """Returns what a policy keeps and computes at once, in words; a prediction keeps nothing."""
    words = [f"chunks in a block at once: {policy.attention_chunks or 'all'}"]
    if policy.mlp_chunks:
        words.append(f"in its MLP: {policy.mlp_chunks}")
    if work.is_training:
        words.insert(0, "activations recomputed" if policy.remat else "activations kept")
        if policy.remat and jnp.dtype(policy.stream_dtype) != jnp.float32:
            words.append(f"stream kept in {jnp.dtype(policy.stream_dtype).name}")
    return ", ".join(words)
