"""Which parameters learn, and how: the groups, the split into trained and frozen ones, and a table of both."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.table import Table

from adatad_jax.models.layers import Params

FROZEN, BACKBONE, TIA, HEAD = "frozen", "backbone", "tia", "head"


def label(path: tuple[str, ...], full: bool = False) -> str:
    """Returns the group of the parameter at `path`.

    With `full` the backbone is trained; positions that came with its weights stay fixed even so (release rule).

    Raises:
      ValueError: the path belongs to no group; there is no default.
    """
    if path[0] == "backbone":
        if "tia" in path:
            return TIA
        return BACKBONE if full and path[1] != "pos_embed" else FROZEN
    if path[0] == "detector" and path[1] in ("projection", "neck", "head"):
        return HEAD
    raise ValueError(f"parameter {'/'.join(path)} belongs to no optimiser group")


def decays(path: tuple[str, ...]) -> bool:
    """Tells whether weight decay applies: to all of the backbone and its adapters; in the detector to kernels only."""
    return path[0] == "backbone" or path[-1] == "kernel"


def map_paths(rule: Callable[[tuple[str, ...]], Any], params: Params) -> Any:
    """Returns a tree shaped as `params` with `rule(path)` at every leaf."""
    return jax.tree_util.tree_map_with_path(lambda path, _: rule(tuple(key.key for key in path)), params)


def split(params: Params, full: bool = False) -> tuple[Params, Params]:
    """Splits a whole tree into the trained and the frozen parameters: two trees without the other's leaves."""

    def part(tree: Params, path: tuple[str, ...], frozen: bool) -> Params:
        kept = {}
        for name, node in tree.items():
            here = (*path, name)
            if isinstance(node, dict):
                if inner := part(node, here, frozen):
                    kept[name] = inner
            elif (label(here, full) == FROZEN) == frozen:
                kept[name] = node
        return kept

    return part(params, (), False), part(params, (), True)


def merge(one: Params, other: Params) -> Params:
    """Returns the whole tree of two that share no leaf: the inverse of `split`."""
    shared = {name: merge(one[name], other[name]) for name in one.keys() & other.keys()}
    return {**one, **other, **shared}


class Group(NamedTuple):
    """One row of the table printed at the start of a run."""

    name: str
    tensors: int
    parameters: int
    rate: float
    weight_decay: float


def parameter_groups(params: Params, rates: dict[str, float], weight_decay: float, full: bool = False) -> list[Group]:
    """Returns every group of parameters with its size, rate and decay; the rows' sums are the whole tree.

    Args:
      params: the whole tree; arrays, or their shapes.
      rates: group -> highest learning rate; a group that is not there does not learn.
      weight_decay: where it applies.
      full: whether the whole backbone is trained.
    """
    members: dict[tuple[str, float], list[int]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        names = tuple(key.key for key in path)
        group = label(names, full)
        decay = weight_decay if group != FROZEN and decays(names) else 0.0
        members.setdefault((group, decay), []).append(int(np.prod(leaf.shape)))
    order = [FROZEN, BACKBONE, TIA, HEAD]
    return [
        Group(name, len(sizes), sum(sizes), rates.get(name, 0.0), decay)
        for (name, decay), sizes in sorted(members.items(), key=lambda item: (order.index(item[0][0]), -item[0][1]))
    ]


def groups_table(groups: list[Group]) -> Table:
    """Returns the parameter groups as a table for the terminal."""
    table = Table(title="parameters")
    for column in ("group", "tensors", "parameters", "rate", "decay"):
        table.add_column(column, justify="left" if column == "group" else "right")
    for group in groups:
        table.add_row(
            group.name, str(group.tensors), f"{group.parameters:,}", f"{group.rate:g}", f"{group.weight_decay:g}"
        )
    table.add_section()
    table.add_row("all", str(sum(g.tensors for g in groups)), f"{sum(g.parameters for g in groups):,}", "", "")
    return table
