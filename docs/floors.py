"""Draws the floors of the package from its imports: `python docs/floors.py` writes `docs/images/floors.png`.

An arrow runs from a unit to a unit that it imports. Arrows that follow from others are left out: where `report` imports
`analysis` and `analysis` imports `evaluation`, none runs from `report` to `evaluation`. The picture carries what it was
drawn from (`architecture`) as JSON in its metadata; `tests/test_architecture.py` compares that with the code.
"""

import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path as Curve
from PIL import Image
from scipy.optimize import linprog

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.test_layout import FLOORS, arrows, modules, unit_of  # noqa: E402 - found through the path above

PICTURE = ROOT / "docs" / "images" / "floors.png"
METADATA = "architecture"  # the text chunk of the PNG

# A node is a unit, or the place where the arrows to a unit cross a floor between: (unit, floor).
Node = tuple[str, int]

# Inches.
BOX_HEIGHT, FLOOR_HEIGHT, MARGIN = 0.42, 0.86, 0.5
BOX_WIDTH, BOX_GAP, LANE_GAP = 1.22, 0.2, 0.16
LANES = 0.8  # room beside the longest row, for arrows

STARTS, SWEEPS = 1000, 12  # random orders that are tried, and how often each is improved
SPREAD = 30  # how many of the best are spread
CROSSING = 2.0  # inches aside that are as bad as a crossing

FILLS = ("#eceff4", "#dcebf7", "#d9efe3", "#fbeecf", "#f6dfd6")  # from the ground up
EDGES = ("#8a94a6", "#4f8fc0", "#4a9c72", "#c2962c", "#bb6a4b")
INK, FAINT, STRIPE = "#22272e", "#6b7480", "#f7f8fa"


def architecture() -> dict[str, Any]:
    """Returns what the picture shows: floors from the ground up, unit -> number of modules, unit -> units it imports.

    A package's `__init__` counts as a module of its own only where it is all that there is. Arrows that follow from
    others are left out.
    """
    known = modules()
    counts = Counter(unit_of(name) for name in known)
    graph: dict[str, set[str]] = defaultdict(set)
    for module, targets in arrows().items():
        graph[unit_of(module)] |= {unit_of(target) for target in targets} - {unit_of(module)}
    return {
        "floors": [list(units) for units in FLOORS],
        "modules": {unit: counts[unit] - (counts[unit] > 1) for units in FLOORS for unit in units},
        "arrows": {unit: sorted(direct(graph, unit)) for unit in sorted(graph) if graph[unit]},
    }


def direct(graph: dict[str, set[str]], unit: str) -> set[str]:
    """Returns the units that a unit imports and does not reach through another one that it imports."""
    return {
        target
        for target in graph[unit]
        if not any(target in reached(graph, other) for other in graph[unit] if other != target)
    }


def reached(graph: dict[str, set[str]], unit: str) -> set[str]:
    """Returns all units that a unit imports, itself or through others."""
    found: set[str] = set()
    waiting = [unit]
    while waiting:
        new = graph.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def drawn_from(picture: Path) -> dict[str, Any]:
    """Reads back what a picture was drawn from."""
    with Image.open(picture) as image:
        result: dict[str, Any] = json.loads(image.info[METADATA])
        return result


def by_unit(floors: Sequence[Sequence[str]]) -> dict[str, int]:
    """Returns unit -> its floor."""
    return {unit: floor for floor, units in enumerate(floors) for unit in units}


def links_of(floors: Sequence[Sequence[str]], imports: dict[str, list[str]]) -> set[tuple[Node, Node]]:
    """Cuts arrows into links from floor to floor; all arrows to a unit share their way from where they meet."""
    floor_of = by_unit(floors)
    links = set()
    for source, targets in imports.items():
        for target in targets:
            upper: Node = (source, floor_of[source])
            for floor in range(floor_of[source] - 1, floor_of[target] - 1, -1):
                links.add((upper, (target, floor)))
                upper = (target, floor)
    return links


class Layout:
    """Places nodes so that few links cross and most run straight.

    Args:
      floors: units, from the ground up.
      links: (node, node one floor below).
    """

    def __init__(self, floors: Sequence[Sequence[str]], links: set[tuple[Node, Node]]) -> None:
        self.units = {(unit, floor) for floor, units in enumerate(floors) for unit in units}
        self.links = sorted(links)
        self.above: dict[Node, list[Node]] = defaultdict(list)
        self.below: dict[Node, list[Node]] = defaultdict(list)
        for upper, lower in self.links:
            self.above[lower].append(upper)
            self.below[upper].append(lower)
        nodes = self.units | {node for link in links for node in link}
        self.width = max(len(units) for units in floors) * (BOX_WIDTH + BOX_GAP) + LANES
        self.rows = [sorted(node for node in nodes if node[1] == floor) for floor in range(len(floors))]

    def place(self) -> dict[Node, float]:
        """Returns the x of each node, inches from the left, from the best of many random starts."""
        chance = random.Random(0)
        tried: list[tuple[float, list[list[Node]]]] = []
        for _ in range(STARTS):
            rows = [chance.sample(row, len(row)) for row in self.rows]
            for sweep in range(SWEEPS):
                self._reorder(rows, downward=sweep % 2 == 0)
            tried.append((self._crossings(rows), rows))
        tried.sort(key=lambda one: one[0])
        spread = [(crossings, *self._spread(rows)) for crossings, rows in tried[:SPREAD]]
        _, _, places = min(spread, key=lambda one: CROSSING * one[0] + one[1])
        return places

    def _reorder(self, rows: list[list[Node]], downward: bool) -> None:
        """Sorts each row by the mean rank of its neighbours in the row before it."""
        order = range(len(rows) - 1, -1, -1) if downward else range(len(rows))
        neighbours = self.above if downward else self.below
        rank: dict[Node, float] = {}
        for floor in order:
            row = rows[floor]
            own = {node: (place + 0.5) / len(row) for place, node in enumerate(row)}
            wanted = {
                node: sum(rank[other] for other in neighbours[node]) / len(neighbours[node])
                if neighbours[node]
                else own[node]
                for node in row
            }
            row.sort(key=wanted.__getitem__)
            rank |= {node: (place + 0.5) / len(row) for place, node in enumerate(row)}

    def _crossings(self, rows: list[list[Node]]) -> int:
        rank = {node: place for row in rows for place, node in enumerate(row)}
        by_floor: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for upper, lower in self.links:
            by_floor[upper[1]].append((rank[upper], rank[lower]))
        return sum(
            (a[0] - b[0]) * (a[1] - b[1]) < 0
            for pairs in by_floor.values()
            for place, a in enumerate(pairs)
            for b in pairs[:place]
        )

    def _spread(self, rows: list[list[Node]]) -> tuple[float, dict[Node, float]]:
        """Returns how far links run aside, weighted, where that is least, and the places of the nodes there.

        Rows keep their order and leave room between nodes. It is a linear programme: nodes' places, then for each link
        how far it runs aside.
        """
        column = {node: number for number, node in enumerate(node for row in rows for node in row)}
        limits, bounds = [], []
        for row in rows:
            for left, right in pairwise(row):
                limits.append({column[left]: 1.0, column[right]: -1.0})
                bounds.append(-self._distance(left, right))
        for number, link in enumerate(self.links, len(column)):
            upper, lower = (column[node] for node in link)
            limits += [{upper: 1.0, lower: -1.0, number: -1.0}, {upper: -1.0, lower: 1.0, number: -1.0}]
            bounds += [0.0, 0.0]
        matrix = np.zeros((len(limits), len(column) + len(self.links)))
        for number, limit in enumerate(limits):
            for place, factor in limit.items():
                matrix[number, place] = factor
        sides = [BOX_WIDTH / 2 if node in self.units else 0.0 for node in column]
        ranges = [(side, self.width - side) for side in sides] + [(0.0, self.width)] * len(self.links)
        costs = [0.0] * len(column) + [self._weight(*link) for link in self.links]
        solved = linprog(costs, matrix, bounds, bounds=ranges)
        if not solved.success:
            raise ValueError(f"{self.width:.1f} inches have no room for the floors: {solved.message}")
        return solved.fun, {node: solved.x[number] for node, number in column.items()}

    def _distance(self, left: Node, right: Node) -> float:
        """Returns how far apart the middles of neighbours on a floor are at least."""
        boxes = sum(node in self.units for node in (left, right))
        return boxes * BOX_WIDTH / 2 + (BOX_GAP if boxes == 2 else LANE_GAP)

    def _weight(self, *ends: Node) -> float:
        """Returns how bad an inch aside is: the worse, the more of a link's ends lie on a way past boxes."""
        return (1.0, 2.0, 8.0)[sum(end not in self.units for end in ends)]


def draw(shown: dict[str, Any], picture: Path) -> None:
    """Draws an `architecture` as a PNG that carries it."""
    floors = shown["floors"]
    links = links_of(floors, shown["arrows"])
    floor_of = by_unit(floors)
    layout = Layout(floors, links)
    places = layout.place()
    width, height = layout.width + 2 * MARGIN, len(floors) * FLOOR_HEIGHT
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-MARGIN, width - MARGIN)
    axes.set_ylim(0, height)
    axes.set_axis_off()
    for floor in range(0, len(floors), 2):
        axes.add_patch(Rectangle((-MARGIN, floor * FLOOR_HEIGHT), width, FLOOR_HEIGHT, color=STRIPE, lw=0))
    for floor in range(len(floors)):
        axes.text(-MARGIN + 0.2, middle(floor), str(floor), color=FAINT, fontsize=8, va="center", ha="center")
    for upper, lower in layout.links:
        draw_link(axes, layout, places, upper, lower, shade(floor_of[lower[0]], len(floors)))
    for unit, floor in sorted(layout.units):
        draw_unit(axes, unit, shown["modules"][unit], places[unit, floor], floor, shade(floor, len(floors)))
    figure.savefig(picture, dpi=130, metadata={METADATA: json.dumps(shown)})


def middle(floor: int) -> float:
    """Returns the height of the middle of a floor in the picture."""
    return (floor + 0.5) * FLOOR_HEIGHT


def shade(floor: int, floors: int) -> int:
    """Returns which of the colours a floor has."""
    return floor * len(FILLS) // floors


def draw_link(axes: Any, layout: Layout, places: dict[Node, float], upper: Node, lower: Node, colour: int) -> None:
    """Draws a link as a curve between two floors, with an arrowhead where it reaches a unit."""
    x0, x1 = places[upper], places[lower]
    y0, y1 = middle(upper[1]) - BOX_HEIGHT / 2, middle(lower[1]) + BOX_HEIGHT / 2
    half = (y0 - y1) / 2
    points = [(x0, y0), (x0, y0 - half), (x1, y1 + half), (x1, y1)]
    codes = [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4]
    reaches = lower in layout.units
    if not reaches:  # upright past the boxes of this floor
        points.append((x1, y1 - BOX_HEIGHT))
        codes.append(Curve.LINETO)
    style = "-|>,head_length=3.2,head_width=1.7" if reaches else "-"
    path = Curve(points, codes)
    axes.add_patch(FancyArrowPatch(path=path, arrowstyle=style, color=EDGES[colour], lw=1.0, shrinkA=0, shrinkB=0))


def draw_unit(axes: Any, unit: str, count: int, x: float, floor: int, colour: int) -> None:
    """Draws a unit's box with its name and its number of modules."""
    axes.add_patch(
        FancyBboxPatch(
            (x - BOX_WIDTH / 2, middle(floor) - BOX_HEIGHT / 2),
            BOX_WIDTH,
            BOX_HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.07",
            facecolor=FILLS[colour],
            edgecolor=EDGES[colour],
            lw=1.0,
            zorder=3,
        )
    )
    modules_text = f"{count} module{'s' * (count > 1)}"
    axes.text(x, middle(floor) + 0.07, unit, color=INK, fontsize=9, weight="bold", ha="center", va="center", zorder=4)
    axes.text(x, middle(floor) - 0.1, modules_text, color=FAINT, fontsize=7, ha="center", va="center", zorder=4)


if __name__ == "__main__":
    draw(architecture(), PICTURE)
    print(f"wrote {PICTURE.relative_to(ROOT)}")
