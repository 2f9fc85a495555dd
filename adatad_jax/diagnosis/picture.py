"""A picture of a data set: its files, how its segments fall on the pyramid levels, its windows and its classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from adatad_jax.diagnosis.report import FILE_PROBLEMS, FIT, Report

SUBSET_COLOURS = ("#4477aa", "#ddaa33")
BAD = "#bb2233"
FILE_COLOURS = dict(zip((FIT, *FILE_PROBLEMS), ("#55a868", "#999999", BAD, "#e28743", "#8c5a9e"), strict=True))
NAMED_CLASSES = 40  # more are drawn as a curve
LONGEST_NAME, LONGEST_LINE = 24, 135  # characters
FINDINGS_SHOWN = 14


def draw_report(report: Report, output: Path, title: str) -> None:
    """Writes the picture as PNG.

    Args:
      report: a report with at least one subset.
      output: the file to write.
      title: the title, before the verdict.
    """
    assert report.detector is not None
    classes = len(report.subsets[0].per_class)
    named = classes <= NAMED_CLASSES
    lines = _finding_lines(report)
    heights = [0.25 * len(lines) + 0.1, 0.35 + 0.62 * len(report.subsets), 3.6]
    heights.append(max(2.2, 0.6 + 0.27 * classes) if named else 3.2)
    figure = Figure(figsize=(13, sum(heights) + 2.6), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.1, w_pad=0.1)  # type: ignore[union-attr,call-arg]
    verdict, colour = ("fit", FILE_COLOURS[FIT]) if report.fit else ("unfit", BAD)
    figure.suptitle(f"{_short(title, 90)}: {verdict}", color=colour, fontsize=16, weight="bold", parse_math=False)
    patches = [
        Patch(color=colour, label=subset.name) for subset, colour in zip(report.subsets, SUBSET_COLOURS, strict=False)
    ]
    figure.legend(handles=patches, loc="upper right", ncols=2, frameon=False, fontsize=11)
    grid = figure.add_gridspec(4, 2, height_ratios=heights, width_ratios=[2, 1])
    _draw_findings(figure.add_subplot(grid[0, :]), lines)
    _draw_files(figure.add_subplot(grid[1, :]), report)
    _draw_lengths(figure.add_subplot(grid[2, 0]), report)
    _draw_levels(figure.add_subplot(grid[2, 1]), report)
    (_draw_classes if named else _draw_class_curve)(figure.add_subplot(grid[3, 0]), report)
    _draw_windows(figure.add_subplot(grid[3, 1]), report)
    figure.savefig(output, dpi=110)


def _finding_lines(report: Report) -> list[tuple[str, str]]:
    """Returns one line per finding, as colour and text, errors first."""
    found = sorted(report.findings, key=lambda finding: not finding.fatal)
    lines = []
    for finding in found[:FINDINGS_SHOWN]:
        where = f"{finding.subset}: " if finding.subset else ""
        count = f"{len(finding.lines)} " if finding.subset and finding.lines else ""
        text = f"{'error' if finding.fatal else 'warning'}: {where}{count}{finding.text}"
        lines.append((BAD if finding.fatal else "black", _short(text, LONGEST_LINE)))
    if len(found) > FINDINGS_SHOWN:
        lines.append(("black", f"... and {len(found) - FINDINGS_SHOWN} more"))
    return lines or [("black", "no problem was found")]


def _draw_findings(axes: Any, lines: Sequence[tuple[str, str]]) -> None:
    axes.set_axis_off()
    axes.set_ylim(len(lines), 0)
    for number, (colour, text) in enumerate(lines):
        axes.text(0, number + 0.5, text, color=colour, fontsize=10, va="center", parse_math=False)


def _draw_files(axes: Any, report: Report) -> None:
    """Draws one bar per subset: the numbers of files that passed, or failed each check."""
    names = [
        f"{subset.name}\n{len(subset.videos)} videos, {subset.hours:.1f} h\n"
        f"{len(subset.levels)} segments, {sum(subset.windows.values())} windows"
        for subset in report.subsets
    ]
    left = np.zeros(len(names))
    for kind in (FIT, *FILE_PROBLEMS):
        counts = np.array([subset.files[kind] for subset in report.subsets])
        if counts.any():
            label = f"{kind}: {counts.sum()}"
            axes.barh(range(len(names)), counts, left=left, color=FILE_COLOURS[kind], height=0.6, label=label)
        left += counts
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, max(left.max(), 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("video files", loc="left")
    _legend_above(axes)
    _plain(axes)


def _draw_lengths(axes: Any, report: Report) -> None:
    """Draws the histogram of segment lengths over the ranges of length that the levels cover."""
    assert report.detector is not None
    every = np.concatenate([subset.lengths for subset in report.subsets])
    positive = every[every > 0]
    least, most = (positive.min(), positive.max()) if len(positive) else (1.0, 10.0)
    most = min(most, 2 * report.window_limit)
    edges = np.geomspace(least * 0.95, max(most, 2 * least) * 1.05, 61)
    shown = [
        np.clip(subset.lengths, edges[0], edges[-1]) for subset in report.subsets
    ]  # longer and shorter ones count at the ends
    _draw_histograms(axes, shown, edges)
    lost = np.concatenate([values[subset.lost] for values, subset in zip(shown, report.subsets, strict=True)])
    if len(lost):
        axes.hist(lost, edges, color=BAD, label=f"no level can learn: {len(lost)}", zorder=4)
    axes.set_xscale("log")
    axes.set_xlim(edges[0], edges[-1])
    top = axes.get_ylim()[1] * 1.12
    axes.set_ylim(0, top)
    for level, (low, high) in enumerate(report.detector.regression_ranges):
        # A point at the centre is half the length away from either end.
        start, end = max(2 * low, edges[0]), min(2 * high, edges[-1])
        if start >= end:
            continue
        axes.axvspan(start, end, color="0.94" if level % 2 else "white", linewidth=0, zorder=0)
        share = np.log(end / start) / np.log(edges[-1] / edges[0])
        if share > 0.02:
            text = f"level {level + 1}" if share > 0.1 else f"{level + 1}"
            axes.text(np.sqrt(start * end), top * 0.985, text, ha="center", va="top", fontsize=9)
    if edges[0] < report.window_limit < edges[-1]:
        axes.axvline(report.window_limit, color=BAD, linestyle="--", linewidth=1, label="longer: in no window")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if edges[-1] / edges[0] > 20 else (1, 1.5, 2, 3, 4, 5, 7)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("grid positions")
    axes.set_title("segment lengths", loc="left")
    _legend_above(axes)
    _plain(axes)


def _draw_histograms(axes: Any, values: Sequence[np.ndarray], edges: np.ndarray) -> None:
    """Draws the first subset filled, the second as a line over it."""
    for number, (data, colour) in enumerate(zip(values, SUBSET_COLOURS, strict=False)):
        style = {"histtype": "step", "linewidth": 1.8, "zorder": 3} if number else {"zorder": 2}
        axes.hist(data, edges, color=colour, **style)


def _draw_levels(axes: Any, report: Report) -> None:
    """Draws the number of segments that each level can learn."""
    assert report.detector is not None
    ranges = report.detector.regression_ranges
    far = 2 * report.detector.max_length
    names = [
        f"{level + 1}\n{low:g}" + (f"\N{EN DASH}{high:g}" if high < far else " on")
        for level, (low, high) in enumerate(ranges)
    ]
    names.append("none")
    width = 0.8 / len(report.subsets)
    for number, (subset, colour) in enumerate(zip(report.subsets, SUBSET_COLOURS, strict=False)):
        counts = [*subset.levels.sum(0).tolist(), int(subset.lost.sum())]
        places = np.arange(len(counts)) + (number - (len(report.subsets) - 1) / 2) * width
        bars = axes.bar(places, counts, width, color=[*[colour] * len(ranges), BAD])
        axes.bar_label(bars, fontsize=7, padding=1, rotation=90 if max(counts) > 999 else 0)
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.margins(y=0.14)
    axes.set_xlabel("level and its boundary distances in grid positions")
    axes.set_title("segments per level that can learn them", loc="left")
    _plain(axes)


def _draw_classes(axes: Any, report: Report) -> None:
    """Draws one bar per class and subset, most frequent class first."""
    order = _by_frequency(report)
    height = 0.8 / len(report.subsets)
    most = max((count for subset in report.subsets for count in subset.per_class.values()), default=0)
    for number, (subset, colour) in enumerate(zip(report.subsets, SUBSET_COLOURS, strict=False)):
        counts = np.array([subset.per_class[name] for name in order])
        places = np.arange(len(order)) + (number - (len(report.subsets) - 1) / 2) * height
        axes.barh(places, counts, height, color=colour)
        for place in places[counts == 0]:
            axes.text(0.004 * most, place, "none", color=BAD, va="center", fontsize=7)
    axes.set_yticks(range(len(order)), [_short(name) for name in order], fontsize=9, parse_math=False)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlabel("segments")
    axes.set_title(f"{len(order)} classes", loc="left")
    _plain(axes)


def _draw_class_curve(axes: Any, report: Report) -> None:
    """Draws the number of segments per class, most frequent first, where there are too many classes to name."""
    order = _by_frequency(report)
    for subset, colour in zip(report.subsets, SUBSET_COLOURS, strict=False):
        counts = np.array([subset.per_class[name] for name in order])
        none = counts == 0
        axes.plot(np.arange(len(order)), np.where(none, np.nan, counts), ".", color=colour)
        if none.any():
            label = f"no segment in {subset.name}: {none.sum()}"
            axes.plot(np.flatnonzero(none), np.full(none.sum(), 0.5), "|", color=BAD, label=label)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _legend_above(axes)
    axes.set_xlabel(f"class, by frequency: {_short(order[0])} ... {_short(order[-1])}", parse_math=False)
    axes.set_title(f"segments of {len(order)} classes", loc="left")
    _plain(axes)


def _draw_windows(axes: Any, report: Report) -> None:
    """Draws the histogram of windows per video."""
    counts = [np.array(list(subset.windows.values()) or [0]) for subset in report.subsets]
    most = max(int(values.max()) for values in counts)
    step = -(-most // 30)
    _draw_histograms(axes, counts, np.arange(0.5, max(most, 3) + step + 0.5, step))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("windows")
    axes.set_title("videos by number of windows", loc="left")
    _plain(axes)


def _by_frequency(report: Report) -> Sequence[str]:
    first = report.subsets[0].per_class
    return sorted(first, key=lambda name: -first[name])


def _short(text: str, length: int = LONGEST_NAME) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}\N{HORIZONTAL ELLIPSIS}"


def _legend_above(axes: Any) -> None:
    """Places the legend on the line of the title, so that it hides nothing."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=5, frameon=False, borderaxespad=0.2, fontsize=9)


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
