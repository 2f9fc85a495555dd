"""The check of a configuration: each field by itself, and rules on several, all problems in one message."""

import math
from collections.abc import Collection, Iterable
from typing import NamedTuple

from adatad_jax.config.records import Record, fields_of
from adatad_jax.config.run_fields import StepsConfig
from adatad_jax.errors import UserError


class Rule(NamedTuple):
    """A rule on several fields, or on the parts of one.

    Attributes:
      field: the field to name.
      holds: whether the configuration keeps the rule.
      expected: what the field must be, in words.
    """

    field: str
    holds: bool
    expected: str


def wrong_values(config: Record, missing: Collection[str] = ()) -> dict[str, str]:
    """Returns the fields whose values are not allowed by themselves -> what is wrong.

    Args:
      config: to check.
      missing: open fields, which any value may stand for.
    """
    problems = {}
    for name, value, setting in fields_of(config):
        if not setting.allows(value) and name not in missing:
            infinite = isinstance(value, float) and not math.isfinite(value)
            problems[name] = _problem(name, value, "a finite number" if infinite else setting.expected)
    return problems


def check(config: Record, wrong: dict[str, str], rules: Iterable[Rule], missing: Collection[str] = ()) -> None:
    """Raises `UserError` if a value is wrong by itself, or a rule is broken; all problems are listed.

    Args:
      config: to check.
      wrong: from `wrong_values`.
      rules: on several fields.
      missing: open fields.
    """
    problems, values = dict(wrong), config.flat()
    for field, holds, expected in rules:
        if not holds and field not in missing:
            problems.setdefault(field, _problem(field, values[field], expected))
    if problems:
        raise UserError("the configuration cannot work:\n  " + "\n  ".join(problems.values()))


def rules_on_steps(train: StepsConfig) -> list[Rule]:
    """Lists the rules that hold for every run."""
    profiled = train.profile_steps
    rules = [
        Rule("train.eval_every", train.eval_from == 0 or train.eval_every >= 1, "at least 1"),
        Rule(
            "train.log_steps",
            train.wandb == "off" or train.log_steps >= 1,
            f"at least 1 where train.wandb={train.wandb}",
        ),
        Rule(
            "train.profile_steps",
            not profiled
            or (
                len(profiled) == 2
                and all(isinstance(step, int) and not isinstance(step, bool) for step in profiled)
                and 1 <= profiled[0] <= profiled[1]
            ),
            "the first and the last step, counted from 1, such as 10,20, or () for no profile",
        ),
    ]
    if train.batch_size >= 1 and train.accumulate >= 1:
        divisors = ", ".join(str(n) for n in range(1, train.batch_size + 1) if train.batch_size % n == 0)
        expected = f"a divisor of train.batch_size={train.batch_size}: {divisors}"
        rules.append(Rule("train.accumulate", train.batch_size % train.accumulate == 0, expected))
    return rules


def _problem(field: str, value: object, expected: str) -> str:
    return f"config.{field}={value!r}: expected {expected}"
