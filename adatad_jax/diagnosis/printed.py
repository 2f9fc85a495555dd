"""A diagnosis as tables and lines in the terminal."""

import math
import os
from collections.abc import Callable, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from adatad_jax.diagnosis.report import FILE_PROBLEMS, FIT, Report, SubsetReport
from adatad_jax.errors import listed


def print_report(report: Report, console: Console) -> None:
    """Prints tables of what the data set holds, then every kind of problem, then the verdict."""
    for note in report.notes:
        console.print(note)
    if report.subsets:
        console.print(_contents(report, console))
        console.print(_levels(report, console))
        console.print(_costs(report, console))
    for finding in sorted(report.findings, key=lambda finding: finding.fatal):  # what matters most comes last
        kind, where = "error" if finding.fatal else "warning", f"{finding.subset}: " if finding.subset else ""
        count = f"{len(finding.lines)} " if finding.subset and finding.lines else ""
        console.print(f"{kind}: {where}{count}{finding.text}{listed(finding.lines)}")
    errors = sum(finding.fatal for finding in report.findings)
    verdict = "fit: a run can start" if report.fit else "unfit: a run cannot start"
    console.print(f"{verdict} ({errors} errors, {len(report.findings) - errors} warnings)")


def _table(console: Console, title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    if not console.is_terminal:
        table.box = None
    for column in columns:
        table.add_column(column, justify="right" if table.columns else "left")
    return table


def _contents(report: Report, console: Console) -> Table:
    """Makes the table of what the subsets hold."""

    def windows(subset: SubsetReport) -> str:
        counts = list(subset.windows.values())
        return f"{min(counts)} / {np.median(counts):g} / {max(counts)}" if counts else "-"

    def classes(subset: SubsetReport) -> str:
        return f"{np.count_nonzero(list(subset.per_class.values()))} of {len(subset.per_class)}"

    rows: list[tuple[str, Callable[[SubsetReport], object]]] = [
        ("videos annotated", lambda subset: subset.annotated),
        ("  hours", lambda subset: f"{subset.hours:.1f}"),
        ("  used", lambda subset: len(subset.videos)),
        *((f"  files {kind}", lambda subset, kind=kind: subset.files[kind]) for kind in (FIT, *FILE_PROBLEMS)),
        ("segments annotated", lambda subset: subset.segments),
        ("  with labels that are ignored", lambda subset: subset.ignored),
        ("  that no level can learn", lambda subset: int(subset.lost.sum())),
        ("classes with segments", classes),
        ("windows, laid out as for testing", lambda subset: sum(subset.windows.values())),
        ("  per video: min / median / max", windows),
    ]
    table = _table(console, "data set", ["", *(subset.name for subset in report.subsets)])
    for name, value in rows:
        table.add_row(name, *(str(value(subset)) for subset in report.subsets))
    return table


def _levels(report: Report, console: Console) -> Table:
    """Makes the table of segments per pyramid level; a segment can be learned at two levels."""
    assert report.detector is not None
    seconds = np.nanmedian([subset.seconds_per_position for subset in report.subsets])
    columns = ["level", "stride", "boundary distance", "in seconds", *(subset.name for subset in report.subsets)]
    table = _table(console, "segments by the pyramid levels that can learn them (some by two)", columns)
    pairs = zip(report.detector.strides, report.detector.regression_ranges, strict=True)
    for level, (stride, (low, high)) in enumerate(pairs):
        counts = [str(int(subset.levels[:, level].sum())) for subset in report.subsets]
        spans = f"{low:g} to {high:g}", f"{low * seconds:.1f} to {high * seconds:.1f}"
        table.add_row(str(level + 1), str(stride), *spans, *counts)
    table.add_row("none", "", "", "", *(str(int(subset.lost.sum())) for subset in report.subsets))
    return table


def _costs(report: Report, console: Console) -> Table:
    """Makes the table of disk space and time, as far as they could be measured."""
    cores = os.cpu_count() or 1
    columns = ["", *(cost.subset for cost in report.costs)]
    table = _table(console, f"cost, estimated from {sum(cost.measured for cost in report.costs)} videos", columns)

    def row(name: str, values: Sequence[float], form: Callable[[float], str]) -> None:
        table.add_row(name, *("not measured" if math.isnan(value) else form(value) for value in values))

    seconds = [cost.windows * cost.window_seconds for cost in report.costs]
    row("frames to keep in a cache", [cost.frames for cost in report.costs], lambda n: f"{n:,.0f}")
    row("  disk space for them", [cost.frames * cost.frame_bytes for cost in report.costs], _size)
    row("windows per epoch", [cost.windows for cost in report.costs], lambda n: f"{n:,.0f}")
    row("  decoding them, on one core", seconds, _duration)
    row(f"  on all {cores} cores here", [value / cores for value in seconds], _duration)
    return table


def _size(count: float) -> str:
    return f"{count / 1e6:.3g} MB" if count < 1e9 else f"{count / 1e9:,.1f} GB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
