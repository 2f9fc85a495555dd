"""Precision-recall curves as SVG, drawn once for light and once for dark pages.

A picture holds no names, only curves and numbers. The names stand beside it on the page, where every script can be
shown and the text can be selected.
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

MOST_CURVES = 12  # with more classes, only the best and the worst few have a curve of their own
BEST, WORST = 3, 3
# Of medium lightness: legible on white and on black. The second six curves have the same colours, dashed.
COLOURS = ("#3b82c4", "#d9822b", "#2f9e6e", "#d64f5e", "#9467c9", "#8a8f3c")
LIGHT_INK, DARK_INK = "#1c2430", "#e6e9ef"


class Curve(NamedTuple):
    """Precision-recall curve of a class, and how it is drawn.

    Attributes:
      name: name of the class.
      precision: [101] float, precision at recall 0, 0.01, ..., 1.
      ap: average precision, a fraction.
      colour: of the line.
      dashed: whether the line is dashed.
    """

    name: str
    precision: Array
    ap: float
    colour: str
    dashed: bool


@dataclass(frozen=True)
class PrecisionRecall:
    """The picture and its key.

    Attributes:
      light, dark: data URIs of the picture for light and for dark pages.
      curves: curves of single classes, the best first.
      banded: whether the middle half of the classes is drawn as a band.
    """

    light: str
    dark: str
    curves: tuple[Curve, ...]
    banded: bool


def precision_recall(precision: Array, ap: Array, classes: Sequence[str]) -> PrecisionRecall:
    """Draws the mean over classes in bold, above the curves of single classes.

    Of more than 12 classes, only the best three and the worst three are drawn, with a band for the middle half of all.
    Of a single class, only the mean is drawn.

    Args:
      precision: [K, 101] float, precision at recall 0, 0.01, ..., 1.
      ap: [K] average precisions, fractions, by which classes are ranked; equal ones by name.
      classes: names of the K classes.
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
    return data_uri("image/svg+xml", to_svg(figure))


def to_svg(figure: Figure) -> bytes:
    """Returns a picture as SVG without a background."""
    svg = io.BytesIO()
    # Numbers stay text, in the reader's own font. The salt is fixed, so that the same curves give the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report", "font.size": 9}):
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    return svg.getvalue()


def data_uri(kind: str, content: bytes) -> str:
    """Returns a data URI of the content, to embed it in the page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
