"""Precision-recall curves as SVG, drawn once for light and once for dark pages.

A picture holds no names, only curves and numbers: names stand beside it on the page, where every script can be shown,
and be selected.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

Array = np.ndarray

MOST_CURVES = 12  # with more classes, only the best and the worst few have their own
BEST, WORST = 3, 3
# Of medium lightness: legible on white and on black. A second dozen half is dashed.
COLOURS = ("#3b82c4", "#d9822b", "#2f9e6e", "#d64f5e", "#9467c9", "#8a8f3c")
LIGHT_INK, DARK_INK = "#1c2430", "#e6e9ef"


class Curve(NamedTuple):
    """A class's curve [101], and how it is drawn and named."""

    name: str
    precision: Array
    ap: float
    colour: str
    dashed: bool


@dataclass(frozen=True)
class PrecisionRecall:
    """The picture as data URIs for light and dark pages, and its key.

    Attributes:
      light, dark: data URIs.
      curves: of single classes, the best first.
      banded: whether the other classes are drawn as a band.
    """

    light: str
    dark: str
    curves: tuple[Curve, ...]
    banded: bool


def precision_recall(precision: Array, ap: Array, classes: Sequence[str]) -> PrecisionRecall:
    """The mean over classes in bold, above single classes; of more than 12, the best and worst three and a band.

    Args:
      precision: [K, 101] at recall 0, 0.01, ..., 1.
      ap: [K] average precisions, fractions, by which classes are ranked; equal ones by name.
      classes: [K] names.
    """
    ranked = sorted(range(len(classes)), key=lambda k: (-ap[k], classes[k]))
    banded = len(ranked) > MOST_CURVES
    if banded:
        ranked = ranked[:BEST] + ranked[-WORST:]
    curves = tuple(
        Curve(classes[k], precision[k], float(ap[k]), COLOURS[i % len(COLOURS)], i >= len(COLOURS))
        for i, k in enumerate(ranked)
    )
    light, dark = (_draw(precision, curves if len(classes) > 1 else (), banded, ink) for ink in (LIGHT_INK, DARK_INK))
    return PrecisionRecall(light, dark, curves, banded)


def _draw(precision: Array, curves: Sequence[Curve], banded: bool, ink: str) -> str:
    recall = np.linspace(0, 1, precision.shape[1])
    figure = Figure(figsize=(4.8, 3.5), layout="constrained")
    axes = figure.subplots()
    if banded:
        axes.fill_between(recall, *np.quantile(precision, [0.25, 0.75], axis=0), color=ink, alpha=0.13, linewidth=0)
    for curve in curves:
        style = (0, (4, 2)) if curve.dashed else "solid"
        axes.plot(recall, curve.precision, color=curve.colour, linewidth=1, linestyle=style)
    axes.plot(recall, precision.mean(axis=0), color=ink, linewidth=2.4)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall, %", ylabel="precision, %")
    ticks = np.linspace(0, 1, 6)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ticks, [f"{100 * tick:.0f}" for tick in ticks])
        axis.label.set_color(ink)
    axes.tick_params(colors=ink, length=0)
    axes.grid(color=ink, alpha=0.15, linewidth=0.6)
    axes.spines[:].set_visible(False)
    svg = io.BytesIO()
    # Numbers as text, in the reader's own font; a fixed salt, so that the same curves give the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report", "font.size": 9}):
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    return data_uri("image/svg+xml", svg.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    """Content that stands inside the page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
