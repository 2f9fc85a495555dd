"""Terminal tables of the error analysis, in percent."""

from collections.abc import Sequence

from rich.table import Table

from adatad_jax.analysis.false_positives import KINDS, FalsePositives
from adatad_jax.analysis.sensitivity import Sensitivity

_RANKS_SHOWN = {"1st G": 0, "2nd G": 1, "5th G": 4, "10th G": 9}
_UNITS = {"length": "length, s", "coverage": "coverage, %", "instances": "instances"}


def false_positives_table(errors: FalsePositives) -> Table:
    """Builds the table of detections by kind: their number, share by rank, and the average mAP each kind costs."""
    table = Table(
        title=f"detections by kind at tIoU {errors.tiou:g}",
        caption="1st G: shares among each class's G best-scoring detections, where G is its number of segments",
    )
    table.add_column("kind")
    for name in ("detections", *_RANKS_SHOWN, "mAP gained"):
        table.add_column(name, justify="right")
    for row, kind in enumerate(("true positive", *KINDS)):
        shares = (errors.by_rank[rank] for rank in _RANKS_SHOWN.values())
        table.add_row(
            kind,
            str(errors.counts[row]),
            *(f"{100 * share[row]:.1f}" if share.any() else "-" for share in shares),
            f"{100 * errors.cost[row - 1]:.2f}" if row else "",
            end_section=not row,
        )
    return table


def sensitivity_table(sensitivities: Sequence[Sensitivity], average_map_n: float, tiou: float) -> Table:
    """Builds the table of average mAP_N and missed segments by bucket, beside the average mAP_N of all segments."""
    table = Table(
        title=f"segments by bucket (average mAP_N of all segments: {100 * average_map_n:.2f})",
        caption=f"missed: taken by no detection at tIoU {tiou:g} while the normalised precision is above 5%",
    )
    table.add_column("quantity")
    table.add_column("bucket")
    for name in ("above", "up to", "segments", "mAP_N", "missed"):
        table.add_column(name, justify="right")
    for sensitivity in sensitivities:
        _add_buckets(table, sensitivity)
    return table


def _add_buckets(table: Table, sensitivity: Sensitivity) -> None:
    scale = 100 if sensitivity.quantity == "coverage" else 1
    for b, name in enumerate(sensitivity.names):
        table.add_row(
            "" if b else _UNITS[sensitivity.quantity],
            name,
            f"{scale * sensitivity.edges[b]:g}",
            f"{scale * sensitivity.edges[b + 1]:g}",
            str(sensitivity.segments[b]),
            f"{100 * sensitivity.map_n[b]:.2f}",
            f"{100 * sensitivity.missed[b]:.1f}",
        )
    table.add_section()
