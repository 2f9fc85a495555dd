"""The curves of a run: loss and its parts, gradient norm, learning rates, and mAP, over epochs."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adatad_jax.errors import UserError
from adatad_jax.files import whole_file
from adatad_jax.training.clip_parameters import DECODER, ENCODER
from adatad_jax.training.history import read_history
from adatad_jax.training.loop import Hook, Place
from adatad_jax.training.parameters import BACKBONE, HEAD, TIA
from adatad_jax.training.scores import score_of
from adatad_jax.training.state import TrainState
from adatad_jax.training.step_log import read_steps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES_FILE = "curves.png"
MOST_POINTS = 300  # of a line; of more steps, each point is a mean, and a band shows the least and greatest values
SHARE = 0.005  # of the time that drawing may take
COLOURS = ("#3b82c4", "#d9822b", "#2f9e6e")  # legible on white and on black
WHOLE: Mapping[str, Any] = {"linewidth": 4, "alpha": 0.35}  # below lines that it may coincide with
GROUPS = {
    BACKBONE: ("#9467c9", "solid"),
    TIA: ("#d9822b", "solid"),
    HEAD: ("#2f9e6e", (0, (4, 2))),
    ENCODER: ("#9467c9", "solid"),
    DECODER: ("#d9822b", (0, (4, 2))),
}
RATE, NORM = "rate_", "grad_norm_"  # of a group of parameters, whose name follows
_logger = logging.getLogger(__name__)


class Curves(NamedTuple):
    """What is drawn of a run.

    Attributes:
      steps: name -> `[N]` values of its steps, `epoch` among them (`step_log.read_steps`).
      history: the records of its epochs.
    """

    steps: Mapping[str, np.ndarray]
    history: Sequence[Mapping[str, Any]]


def read_curves(workdir: Path) -> Curves | None:
    """Reads the curves of the run in a folder; None where it has taken no step, or is of a version without them."""
    steps = read_steps(workdir)
    return Curves(steps, read_history(workdir)) if steps else None


class DrawCurves(Hook):
    """Draws `curves.png` at the end of every epoch, or every few where epochs are short: that takes 0.5% at most."""

    def __init__(self, workdir: Path) -> None:
        """Prepares to draw into a run's folder; `draw` draws what was not drawn at the end."""
        self._workdir = workdir
        self._next = 0.0

    def due(self, place: Place) -> bool:
        return place.within == 0

    def pause(self, place: Place, state: TrainState, record: dict[str, Any]) -> None:
        if time.monotonic() >= self._next:
            self.draw()

    def draw(self) -> None:
        """Draws the steps and epochs so far; what cannot be read, or a picture that cannot be written, is a warning."""
        started = time.monotonic()
        try:
            curves = read_curves(self._workdir)
            if curves is None:
                return
            with whole_file(self._workdir / CURVES_FILE) as partial:
                draw(curves).savefig(partial, dpi=110, format="png")
        except UserError as error:
            _logger.warning("%s", error)
        self._next = time.monotonic() + (time.monotonic() - started) / SHARE


def draw(curves: Curves, ink: str = "black") -> Figure:
    """Draws four panels, or three where nothing was evaluated.

    Args:
      curves: of at least one step.
      ink: colour of text and axes.
    """
    # A training draws at ends of epochs: its first step need not wait until matplotlib is imported.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    scored = [record for record in curves.history if score_of(record) is not None]
    figure = Figure(figsize=(11, 7) if scored else (15, 3.8), layout="constrained")
    axes = figure.subplots(*((2, 2) if scored else (1, 3))).ravel()
    _draw_losses(axes[0], curves)
    _draw_norms(axes[1], curves)
    _draw_rates(axes[2], curves)
    if scored:
        _draw_scores(axes[3], scored, ink)
    end = max(curves.steps["epoch"][-1], *(record["epoch"] for record in scored), 0)
    for panel in axes:
        panel.set_xlim(0, end)
        panel.set_xlabel("epoch", color=ink)
        panel.xaxis.set_major_locator(MaxNLocator(8, integer=end >= 2))
        panel.set_title(panel.get_title(loc="left"), loc="left", color=ink)
        panel.yaxis.get_offset_text().set_color(ink)
        panel.tick_params(colors=ink, which="both")
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["left", "bottom"]].set_color(ink)
        panel.grid(color=ink, alpha=0.12, linewidth=0.6)
        if (legend := panel.get_legend()) is not None:
            for text in legend.get_texts():
                text.set_color(ink)
    return figure


def _draw_losses(axes: Any, curves: Curves) -> None:
    names = [name for name in ("loss", "classification", "regression") if name in curves.steps]
    for name, colour in zip(names, COLOURS, strict=False):
        _draw_line(axes, curves, name, name, color=colour)
    _set_from_zero(axes, curves.steps["loss"])
    axes.set_title("loss and its parts", loc="left")
    axes.legend(frameon=False, fontsize=9)


def _draw_norms(axes: Any, curves: Curves) -> None:
    _draw_line(axes, curves, "grad_norm", "all", color=COLOURS[0], **WHOLE)
    _draw_groups(axes, curves, NORM)
    axes.set_yscale("log")
    axes.set_title("gradient norm before clipping", loc="left")
    axes.legend(frameon=False, fontsize=9)


def _draw_rates(axes: Any, curves: Curves) -> None:
    _draw_groups(axes, curves, RATE)
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    axes.set_title("learning rates", loc="left")
    axes.legend(frameon=False, fontsize=9)


def _draw_scores(axes: Any, scored: Sequence[Mapping[str, Any]], ink: str) -> None:
    epochs = [record["epoch"] for record in scored]
    tious = list(dict.fromkeys(tiou for record in scored for tiou in record.get("mAP", {})))
    for number, tiou in enumerate(tious):
        values = [100 * record.get("mAP", {}).get(tiou, np.nan) for record in scored]
        alpha = 1 - 0.75 * number / len(tious)
        axes.plot(epochs, values, color=COLOURS[0], alpha=alpha, linewidth=1, marker=".", markersize=3)
        if number in (0, len(tious) - 1):
            axes.annotate(f" {tiou}", (epochs[-1], values[-1]), fontsize=8, color=ink, va="center")
    score = score_of(scored[-1])
    assert score is not None
    scale = 100 if score.is_share else 1
    values = [scale * record.get(score.key, np.nan) for record in scored]
    axes.plot(epochs, values, color=COLOURS[1], marker=".", linewidth=2, label=score.words)
    axes.set_ylim(0, None)
    axes.set_title(
        f"{score.words}{', %' if score.is_share else ''} (last: {values[-1]:.{2 if score.is_share else 4}f})",
        loc="left",
    )
    axes.legend(frameon=False, fontsize=9)


def _draw_groups(axes: Any, curves: Curves, prefix: str) -> None:
    """Draws the values of each group of parameters."""
    for group, (colour, style) in GROUPS.items():
        if prefix + group in curves.steps:
            _draw_line(axes, curves, prefix + group, group, color=colour, linestyle=style)


def _draw_line(axes: Any, curves: Curves, name: str, label: str, color: str, **style: Any) -> None:
    """Draws the values of a name over epochs."""
    place, mean, low, high = thinned(curves.steps["epoch"], curves.steps[name])
    marker = "." if len(place) < 3 else None
    axes.plot(place, mean, color=color, label=label, marker=marker, **{"linewidth": 1.3, **style})
    if len(place) < np.isfinite(curves.steps[name]).sum():
        axes.fill_between(place, low, high, color=color, alpha=0.15, linewidth=0)


def thinned(
    place: np.ndarray, values: np.ndarray, most: int = MOST_POINTS
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Thins a line out: means of neighbouring values, and their least and greatest.

    Args:
      place: `[N]` ascending.
      values: `[N]`; those that are not finite are left out.
      most: points that are left, at most.

    Returns:
      Mean place, mean value, least value and greatest value, `[M]` each.
    """
    finite = np.isfinite(values)
    place, values = place[finite], values[finite]
    if not len(values):
        return place, values, values, values
    parts = np.array_split(np.arange(len(values)), min(most, len(values)))
    starts = [part[0] for part in parts]
    counts = np.array([len(part) for part in parts])
    return (
        np.add.reduceat(place, starts) / counts,
        np.add.reduceat(values, starts) / counts,
        np.minimum.reduceat(values, starts),
        np.maximum.reduceat(values, starts),
    )


def _set_from_zero(axes: Any, losses: np.ndarray) -> None:
    """Lets the axis start at 0, and end where all but the first few losses fit."""
    finite = losses[np.isfinite(losses)]
    if len(finite):
        axes.set_ylim(0, 1.1 * max(float(np.quantile(finite, 0.99)), 1e-12))
