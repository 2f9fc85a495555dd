"""What evaluations of the tasks find out: one number that tells good checkpoints from bad ones, and others beside it.

Imports no library, as every command needs the names.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

EpochRecord = Mapping[str, Any]  # of an epoch


class Score(NamedTuple):
    """The number by which the checkpoints of a task are compared.

    Attributes:
      key: its name in records of epochs.
      words: its name in messages.
      is_share: whether it is a fraction of which more is better; if not, it is an error.
    """

    key: str
    words: str
    is_share: bool = True

    def describe(self, value: float) -> str:
        """Returns a value in words."""
        return f"{self.words} {100 * value:.2f}" if self.is_share else f"{self.words} {value:.4f}"


SCORES = (
    Score("average_mAP", "average mAP"),
    Score("top1", "top-1 accuracy"),
    Score("reconstruction_error", "error of reconstruction", is_share=False),
)


def score_of(record: EpochRecord) -> Score | None:
    """Returns the score that an epoch's record has; None if the epoch was not evaluated."""
    return next((score for score in SCORES if score.key in record), None)


def rank_of(record: EpochRecord) -> float | None:
    """Returns a number that is higher for the better of two records; None if the epoch was not evaluated."""
    score = score_of(record)
    if score is None:
        return None
    return float(record[score.key]) if score.is_share else -float(record[score.key])


def in_words(record: EpochRecord) -> str:
    """Returns the score of an epoch in words; empty if it was not evaluated."""
    score = score_of(record)
    return "" if score is None else score.describe(record[score.key])


def scalars(record: EpochRecord) -> dict[str, float]:
    """Returns the numbers of an epoch's evaluation by the names that TensorBoard shows; none without one."""
    if score_of(record) is None:
        return {}
    names = (*(score.key for score in SCORES), "top5")
    values = {f"test/{name}": record[name] for name in names if name in record}
    values |= {f"test/mAP@{tiou}": value for tiou, value in record.get("mAP", {}).items()}
    return values | {f"test_AP/{name}": value for name, value in record.get("class_AP", {}).items()}
