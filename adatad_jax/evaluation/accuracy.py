"""Accuracy of a classifier on videos, and its confusion table."""

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Accuracy(NamedTuple):
    """How often a classifier is right.

    Attributes:
      top1, top5: shares of the videos whose label is the most probable class, or among the five most probable ones.
      confusion: `[K, K]` int64, videos by label (row) and most probable class (column).
    """

    top1: float
    top5: float
    confusion: NDArray[np.int64]

    @property
    def recalls(self) -> NDArray[np.float64]:
        """Returns the share of each class's videos that are found, `[K]`; NaN for a class without videos."""
        counts = self.confusion.sum(1)
        shares = np.full(len(counts), np.nan)
        np.divide(np.diag(self.confusion), counts, out=shares, where=counts > 0)
        return shares


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> Accuracy:
    """Measures a classifier. Of equal probabilities, the class of the lower number comes first.

    Args:
      probabilities: `[V, K]` of V videos, at least one.
      labels: `[V]` int, class indices.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    found = order == labels[:, None]
    classes = probabilities.shape[1]
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, order[:, 0]), 1)
    return Accuracy(float(found[:, 0].mean()), float(found[:, :5].any(1).mean()), confusion)


def confusion_csv(confusion: np.ndarray, classes: Sequence[str]) -> str:
    """Returns a confusion table as CSV: a row per label, a column per most probable class, names in both headers."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label", *classes])
    writer.writerows([name, *row] for name, row in zip(classes, confusion.tolist(), strict=True))
    return text.getvalue()
