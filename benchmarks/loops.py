"""Operations of matrix products in a compiled program, with all steps of its loops; XLA counts one step."""

import functools
import math
import re

COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = \(?\w+\[([\d,]*)\].*? ([\w\-]+)\((.*)$")
CALLED = re.compile(r"(?:calls|to_apply|body|branch_computations)=\{?%?([\w.\-]+(?:, %[\w.\-]+)*)")
STEPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


def product_flops(program: str) -> float:
    """Counts the operations of all matrix products, 2 for each multiplication and addition.

    Args:
      program: the text of a compiled program (`jax.stages.Compiled.as_text`).

    Raises:
      ValueError: a loop's number of steps is not known.
    """
    computations, entry = _computations(program)

    @functools.cache
    def count(name: str) -> float:
        total, shapes = 0.0, {}
        for line in computations[name]:
            found = INSTRUCTION.match(line)
            if found is None:
                continue
            shapes[found[1]] = _sizes(found[2])
            if found[3] == "dot":
                left = shapes[re.findall(r"%([\w.\-]+)", found[4])[0]]
                axes = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", line)
                assert axes is not None
                total += 2 * math.prod(shapes[found[1]]) * math.prod(left[axis] for axis in _sizes(axes[1]))
            steps = 1
            if found[3] == "while":
                known = STEPS.search(line)
                if known is None:
                    raise ValueError(f"a loop of unknown length: {line.strip()[:200]}")
                steps = int(known[1])
            for names in CALLED.findall(line):
                total += steps * sum(count(called.lstrip("%")) for called in names.split(", "))
        return total

    return count(entry)


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(",") if size)


def _computations(program: str) -> tuple[dict[str, list[str]], str]:
    """Splits a program into the lines of its computations; returns them by name, and the name of the entry."""
    computations: dict[str, list[str]] = {}
    entry, current = "", ""
    for line in program.splitlines():
        if found := COMPUTATION.match(line):
            current = found[1]
            computations[current] = []
            entry = current if line.startswith("ENTRY") else entry
        elif current:
            computations[current].append(line)
    return computations, entry
