"""What the ablation says: its tables, the differences between arms, and a picture."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from adatad_jax.files import whole_file
from benchmarks.ablation.arms import ARMS
from benchmarks.ablation.runs import Outcome
from benchmarks.results import spread

PICTURE = Path(__file__).parents[2] / "docs/images/ablation.png"
MIB = 2**20
# One arm against another, on the same seeds.
COMPARED = (
    ("tia", "frozen"),
    ("tia", "adapter"),
    ("tia", "side"),
    ("tia", "full"),
    ("tia", "untrained"),
    ("adapter", "frozen"),
)
AVERAGE, AT_50 = ("#3b82c4", "average mAP"), ("#d9822b", "mAP@0.5")

ByArm = Mapping[str, Sequence[Outcome]]


def by_arm(found: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Returns arm -> its outcomes by rising seed, in the order of `ARMS`."""
    ordered = sorted(found, key=lambda one: one.seed)
    return {arm: of_arm for arm in ARMS if (of_arm := [one for one in ordered if one.arm == arm])}


def report(found: Sequence[Outcome], step_seconds: Mapping[str, float]) -> str:
    """Returns the tables and the differences as Markdown.

    Args:
      found: of at least one arm and seed.
      step_seconds: arm -> time of a step.
    """
    arms = by_arm(found)
    parts = ["\n".join(_means(arms, step_seconds)), "\n".join(_seeds(arms))]
    if lines := list(differences(arms)):
        parts.append(
            "\n".join(["Average mAP of one arm less that of another, on the same seeds, in points:", "", *lines])
        )
    return "\n\n".join(parts)


def _means(arms: ByArm, step_seconds: Mapping[str, float]) -> Iterator[str]:
    """Yields the table of means over seeds."""
    yield "| backbone | mAP@0.5 | average mAP | trained parameters | memory of a step, MiB | a step, ms |"
    yield "|---|---|---|---|---|---|"
    for arm, outcomes in arms.items():
        step_bytes = outcomes[0].step_bytes
        cells = (
            ARMS[arm].name,
            spread([100 * one.map_50 for one in outcomes]),
            spread([100 * one.average_map for one in outcomes]),
            f"{outcomes[0].trained:,}",
            "not told" if step_bytes is None else f"{step_bytes / MIB:.0f}",
            f"{1000 * step_seconds[arm]:.1f}",
        )
        yield f"| {' | '.join(cells)} |"


def _seeds(arms: ByArm) -> Iterator[str]:
    """Yields the table of all seeds."""
    seeds = sorted({one.seed for outcomes in arms.values() for one in outcomes})
    yield f"| mAP@0.5 / average mAP | {' | '.join(f'seed {seed}' for seed in seeds)} |"
    yield f"|---|{'---|' * len(seeds)}"
    for arm, outcomes in arms.items():
        own = {one.seed: f"{100 * one.map_50:.2f} / {100 * one.average_map:.2f}" for one in outcomes}
        yield f"| {ARMS[arm].name} | {' | '.join(own.get(seed, '') for seed in seeds)} |"


def differences(arms: ByArm) -> Iterator[str]:
    """Yields how arms compare in average mAP on the seeds that both have, a line of Markdown each."""
    for one, other in COMPARED:
        own, others = ({o.seed: 100 * o.average_map for o in arms.get(arm, ())} for arm in (one, other))
        points = [own[seed] - others[seed] for seed in sorted(own.keys() & others.keys())]
        if points:
            above = sum(point > 0 for point in points)
            yield (
                f"- {ARMS[one].name} against {ARMS[other].name}: {spread(points, signed=True)}, above on {above} of "
                f"{len(points)} seeds"
            )


def draw(found: Sequence[Outcome], path: Path = PICTURE) -> None:
    """Draws mAP of each arm, a point per seed and a line at the mean, and the memory of a step, as PNG.

    Args:
      found: as for `report`.
      path: to write.
    """
    arms = by_arm(found)
    figure = Figure(figsize=(9, 1.2 + 0.5 * len(arms)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    rows = range(len(arms))
    for (colour, name), shift, values in (
        (AT_50, -0.13, [[100 * one.map_50 for one in outcomes] for outcomes in arms.values()]),
        (AVERAGE, 0.13, [[100 * one.average_map for one in outcomes] for outcomes in arms.values()]),
    ):
        for row, of_arm in zip(rows, values, strict=True):
            left.plot(of_arm, [row + shift] * len(of_arm), "o", color=colour, alpha=0.6, markersize=5)
        means = [float(np.mean(of_arm)) for of_arm in values]
        left.plot(means, [row + shift for row in rows], "|", color=colour, markersize=14, markeredgewidth=2, label=name)
    left.set(xlabel="mAP on the test videos, % (points: seeds; lines: means)", xlim=(0, 100))
    left.set_yticks(rows, [ARMS[arm].name for arm in arms])
    left.invert_yaxis()
    left.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    memory = [(outcomes[0].step_bytes or 0) / MIB for outcomes in arms.values()]
    bars = right.barh(rows, memory, height=0.5, color="#8a8f3c")
    trained = [f"{outcomes[0].trained / 1000:,.0f} k trained" for outcomes in arms.values()]
    right.bar_label(bars, trained, padding=3, fontsize=8)
    right.set(xlabel="memory of a step, MiB", xlim=(0, 1.6 * max(memory) or 1))
    for axes in (left, right):
        axes.grid(axis="x", alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=110, format="png")
