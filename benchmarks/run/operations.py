"""Floating-point operations of a compiled program, with the bodies of loops counted as often as they run.

XLA's own count takes a loop's body once. Here the text of the compiled program is read: a product counts two operations
per multiplication and addition, an elementwise operation one per element, and a loop its trip count, which XLA writes
down. It follows XLA's rules otherwise; transcendental functions count nothing.
"""

import functools
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\((.*)$")
_SHAPE = re.compile(r"\w+\[([\d,]*)\]")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_LABELS = re.compile(r"dim_labels=\w+_(\w+)->")
_WINDOW = re.compile(r"window=\{size=([\dx]+)")
_ELEMENTWISE = re.compile(
    "abs|add|and|ceil|clamp|compare|convert|divide|floor|is-finite|maximum|minimum|multiply|negate|not|or|remainder|"
    "round-nearest-(afz|even)|select|shift-(left|right-arithmetic|right-logical)|sign|subtract|xor"
)


class Instruction(NamedTuple):
    """A line of a computation: the dimensions of its result (the first, of a tuple), its operation, and the rest."""

    shape: tuple[int, ...]
    operation: str
    rest: str


def count_operations(compiled: Any) -> float:
    """Counts the operations of a compiled program (`jax.stages.Compiled`), if the backend writes it as HLO."""
    return count_in_text(compiled.as_text())


def count_in_text(text: str) -> float:
    """Counts the operations of a program given as the text of an optimised HLO module."""
    computations, entry = _parse(text)

    @functools.cache
    def count(name: str) -> float:
        lines = computations[name]
        return sum(one(lines, line) for line in lines.values())

    def one(lines: dict[str, Instruction], line: Instruction) -> float:
        match line.operation:
            case "while":
                trips = _TRIPS.search(line.rest)
                body, condition = (count(_named(line.rest, role)) for role in ("body", "condition"))
                return (int(trips[1]) if trips else 1) * (body + condition)
            case "fusion" | "call":
                return count(_named(line.rest, "calls" if line.operation == "fusion" else "to_apply"))
            case "conditional":
                return max(count(branch) for branch in _branches(line.rest))
            case "dot":
                left = lines[_operands(line.rest)[0]].shape
                axes = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", line.rest)
                return 2 * math.prod(line.shape) * math.prod(left[int(axis)] for axis in _integers(axes))
            case "convolution":
                return _of_convolution(lines, line)
            case "reduce":
                taken = math.prod(lines[_operands(line.rest)[0]].shape) - math.prod(line.shape)
                return taken * count(_named(line.rest, "to_apply"))
            case "reduce-window":
                window = _WINDOW.search(line.rest)
                size = math.prod(int(side) for side in window[1].split("x")) if window else 1
                return math.prod(line.shape) * (size - 1) * count(_named(line.rest, "to_apply"))
            case operation:
                return math.prod(line.shape) if _ELEMENTWISE.fullmatch(operation) else 0

    return float(count(entry))


def _parse(text: str) -> tuple[dict[str, dict[str, Instruction]], str]:
    """Returns the computations of a module, name -> name of an instruction -> instruction, and the first one's name."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry, lines = "", {}
    for row in text.splitlines():
        if head := _COMPUTATION.match(row):
            lines = computations[head[2]] = {}
            entry = head[2] if head[1] else entry
        elif found := _INSTRUCTION.match(row):
            shape = _SHAPE.search(found[2])
            lines[found[1]] = Instruction(tuple(_integers(shape)), found[3], found[4])
    return computations, entry


def _of_convolution(lines: dict[str, Instruction], line: Instruction) -> float:
    """Counts a convolution as if no tap fell on padding."""
    kernel = lines[_operands(line.rest)[1]].shape
    labels = _LABELS.search(line.rest)
    outputs = kernel[labels[1].index("o")] if labels else 1
    return 2 * math.prod(line.shape) * math.prod(kernel) / outputs


def _named(rest: str, role: str) -> str:
    """Returns the name of a computation that an instruction calls."""
    found = re.search(rf"\b{role}=%?([\w.\-]+)", rest)
    assert found is not None, f"no {role}= in {rest[:200]}"
    return found[1]


def _branches(rest: str) -> Iterator[str]:
    """Yields the names of a conditional's branches."""
    several = re.search(r"branch_computations=\{([^}]*)\}", rest)
    names = several[1] if several else ", ".join(_named(rest, f"{side}_computation") for side in ("true", "false"))
    yield from (name.strip().lstrip("%") for name in names.split(","))


def _operands(rest: str) -> list[str]:
    """Returns the names of an instruction's operands, up to the parenthesis that closes their list."""
    depth = 1
    for place, letter in enumerate(rest):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return re.findall(r"%([\w.\-]+)", rest[:place])
    return []


def _integers(found: re.Match[str] | None) -> list[int]:
    return [int(number) for number in found[1].split(",") if number] if found else []
