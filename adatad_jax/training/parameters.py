"""The groups of parameters, the split into trained and frozen parameters, and a table of the groups."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

from adatad_jax.models.layers import Params

FROZEN, BACKBONE, TIA, HEAD = "frozen", "backbone", "tia", "head"
Path = tuple[str, ...]  # names from the root of a whole tree to a parameter


class Grouping(NamedTuple):
    """How a task divides its parameters.

    Attributes:
      label: returns the group of a parameter, `FROZEN` or one that is trained; raises `ValueError` if it is of none.
      decays: tells whether weight decay applies to a parameter.
      names: of the groups, in the order in which they are listed.
    """

    label: Callable[[Path], str]
    decays: Callable[[Path], bool]
    names: tuple[str, ...]


def label(path: Path, full: bool = False) -> str:
    """Returns the group of a parameter: `FROZEN`, `BACKBONE`, `TIA` or `HEAD`.

    Args:
      path: names from the root of the whole tree to the parameter.
      full: whether the backbone is trained. Even then, positions that came with its weights stay frozen (the release's
        rule).

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


def decays(path: Path) -> bool:
    """Tells whether weight decay applies to a parameter: to all in the backbone, to kernels in the detector.

    Args:
      path: as for `label`.
    """
    return path[0] == "backbone" or path[-1] == "kernel"


def detector_groups(full: bool = False) -> Grouping:
    """Returns the groups of a detector's parameters.

    Args:
      full: whether the backbone is trained.
    """
    return Grouping(functools.partial(label, full=full), decays, (FROZEN, BACKBONE, TIA, HEAD))


DETECTOR = detector_groups()


def map_paths(rule: Callable[[Path], Any], params: Params) -> Any:
    """Returns a tree with the structure of `params` and `rule(path)` at every leaf."""
    return jax.tree_util.tree_map_with_path(lambda path, _: rule(tuple(key.key for key in path)), params)


def split(params: Params, groups: Grouping = DETECTOR) -> tuple[Params, Params]:
    """Splits a whole tree into the trained and the frozen parameters, two trees that share no leaf.

    Args:
      params: the whole tree.
      groups: of the task.

    Returns:
      The trained parameters, and the frozen parameters.

    Raises:
      ValueError: a parameter belongs to no group.
    """

    def part(tree: Params, path: Path, frozen: bool) -> Params:
        kept = {}
        for name, node in tree.items():
            here = (*path, name)
            if isinstance(node, dict):
                if inner := part(node, here, frozen):
                    kept[name] = inner
            elif (groups.label(here) == FROZEN) == frozen:
                kept[name] = node
        return kept

    return part(params, (), False), part(params, (), True)


def with_frozen_in(params: Params, dtype: str, groups: Grouping = DETECTOR) -> Params:
    """Returns parameters as devices keep them: the kernels of the frozen ones in a dtype, all others as they are.

    Norms, biases and positions are less than 1% of the bytes, and act on float32 values.

    Args:
      params: a whole tree, or a part of it (`split`).
      dtype: `model.frozen_dtype`.
      groups: of the task.
    """

    def one(path: Any, leaf: Any) -> Any:
        names = tuple(key.key for key in path)
        return leaf.astype(dtype) if names[-1] == "kernel" and groups.label(names) == FROZEN else leaf

    if dtype == "float32":
        return params
    found: Params = jax.tree_util.tree_map_with_path(one, params)
    return found


def merge(one: Params, other: Params) -> Params:
    """Merges two trees that share no leaf; the inverse of `split`."""
    shared = {name: merge(one[name], other[name]) for name in one.keys() & other.keys()}
    return {**one, **other, **shared}


def trained_groups(trained: Params, groups: Grouping = DETECTOR) -> list[str]:
    """Returns the groups of parameters that are trained, as far as there are any.

    Args:
      trained: from `split`.
      groups: of the task.
    """
    found = set(jax.tree.leaves(map_paths(groups.label, trained)))
    return [group for group in groups.names if group in found]


def group_norms(gradients: Params, groups: Grouping = DETECTOR) -> dict[str, jax.Array]:
    """Computes the L2 norm of each group's gradient, inside a step.

    Args:
      gradients: of the trained parameters alone (`split`).
      groups: of the task.

    Returns:
      group, as far as it is trained -> float32 scalar. Their squares sum to the square of the
      global norm.
    """
    squares: dict[str, list[jax.Array]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        group = groups.label(tuple(key.key for key in path))
        squares.setdefault(group, []).append(jnp.sum(jnp.square(leaf)))
    return {group: jnp.sqrt(sum(members, start=jnp.float32(0))) for group, members in squares.items()}


class Group(NamedTuple):
    """Parameters with one learning rate and one weight decay: a row of the table at the start of a run.

    Attributes:
      name: `FROZEN`, or a group that is trained.
      tensors: number of arrays.
      parameters: number of scalars.
      rate: highest learning rate.
      weight_decay: decoupled decay.
    """

    name: str
    tensors: int
    parameters: int
    rate: float
    weight_decay: float


def parameter_groups(
    params: Params, rates: Mapping[str, float], weight_decay: float, groups: Grouping = DETECTOR
) -> list[Group]:
    """Lists the groups of parameters with size, rate and decay. Together they are the whole tree.

    Args:
      params: the whole tree; arrays, or their shapes.
      rates: group -> highest learning rate. A group without a rate does not learn.
      weight_decay: of the parameters that decay.
      groups: of the task.
    """
    members: dict[tuple[str, float], list[int]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        names = tuple(key.key for key in path)
        group = groups.label(names)
        decay = weight_decay if group != FROZEN and groups.decays(names) else 0.0
        members.setdefault((group, decay), []).append(int(np.prod(leaf.shape)))
    return [
        Group(name, len(sizes), sum(sizes), rates.get(name, 0.0), decay)
        for (name, decay), sizes in sorted(
            members.items(), key=lambda item: (groups.names.index(item[0][0]), -item[0][1])
        )
    ]


def groups_table(groups: list[Group]) -> Table:
    """Makes a table of the parameter groups for the terminal, with a last row of sums."""
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
