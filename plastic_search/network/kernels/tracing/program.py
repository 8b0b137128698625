"""What tracing a layer's parts gives: programs of lanes, and where states and parameters lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plastic_search.network.kernels.tracing.ir import Axis, Lane

__all__ = ["Leaf", "Leaves", "Output", "Program", "Shares", "Traced", "layout", "ordered"]


class Leaf(NamedTuple):
    """One tensor among a part's state or parameters: as rows over its axis."""

    axis: Axis
    place: int  # of that axis, batch not counted; -1 where there is none
    lead: tuple[int, ...]  # its other axes
    first: int  # its first row among the rows of its axis

    @property
    def rows(self) -> int:
        return int(torch.Size(self.lead).numel())


class Leaves(NamedTuple):
    """How a nest of tensors lies in one buffer: rows over post, then rows over pre, then single numbers."""

    of: tuple[Leaf | None, ...]  # None: a matrix, which is not in the buffer
    counts: tuple[int, int, int]  # rows of Axis.ONE, POST and PRE


class Shares(NamedTuple):
    """What a rule's change is made of, beside vectors."""

    matrices: tuple[bool, ...]  # for each outer product, whether its coefficient is a matrix
    row: bool  # whether the decay has a factor for every unit
    column: bool  # ... for every input
    matrix: bool  # ... or for every pair
    retroactive: bool


class Output(NamedTuple):
    """One row that a program writes."""

    buffer: str
    axis: Axis  # that of the row; its lane may be one number for all of it
    number: int  # among the buffer's rows of that axis
    lane: Lane


class Program(NamedTuple):
    """What is computed for one time step of one episode."""

    outputs: tuple[Output, ...]

    def uses(self, buffer: str) -> bool:
        """Whether any output depends on an input of `buffer`."""
        return any(lane.slot[0] == buffer for lane in ordered([o.lane for o in self.outputs]))


class Traced(NamedTuple):
    """All that a kernel needs to know of a layer's parts."""

    drives: int
    plastic: int  # which drive
    state: Leaves  # of cell and rule
    params: Leaves  # of rule and modulation
    results: Leaves  # of a step, in the order of the rows that `forward` writes
    carried: Any  # states of cell and rule at the start, nested as the parts nest them; not of a layer's size
    shares: Shares | None  # None: nothing is plastic
    forward: Program
    backward: Program


def ordered(roots: Sequence[Lane]) -> list[Lane]:
    """The lanes that `roots` depend on, and they themselves, in the order in which they were made."""
    found: dict[int, Lane] = {}
    stack = list(roots)
    while stack:
        lane = stack.pop()
        if lane.index not in found:
            found[lane.index] = lane
            stack.extend(lane.args)
    return [found[i] for i in sorted(found)]


def layout(tensors: Sequence[Tensor], sizes: dict[int, Axis], batched: bool) -> Leaves:
    """Where each tensor of a nest lies in its buffer."""
    made: list[Leaf | None] = []
    counts = [0, 0, 0]
    for tensor in tensors:
        shape = tuple(tensor.shape)[batched:]
        places = [i for i, n in enumerate(shape) if n in sizes]
        if len(places) > 1:
            made.append(None)
            continue
        place = places[0] if places else -1
        axis = sizes[shape[place]] if places else Axis.ONE
        made.append(Leaf(axis, place, tuple(n for i, n in enumerate(shape) if i != place), counts[axis]))
        counts[axis] += made[-1].rows  # type: ignore[union-attr]
    return Leaves(tuple(made), (counts[0], counts[1], counts[2]))


def rows_of(tensor: Tensor, leaf: Leaf, batched: int) -> Tensor:
    """A tensor as [..., rows, n]."""
    lead = tensor.shape[:batched]
    if leaf.place < 0:
        return tensor.reshape(*lead, leaf.rows, 1)
    return tensor.movedim(batched + leaf.place, -1).reshape(*lead, leaf.rows, -1)


def _levels(lanes: Sequence[Lane]) -> dict[int, int]:
    """How many sums, one after another, a lane waits for."""
    level: dict[int, int] = {}
    for lane in lanes:
        level[lane.index] = max((level[a.index] for a in lane.args), default=0) + (lane.op == "sum")
    return level


def stored(program: Program) -> list[Lane]:
    """The lanes that a loop must leave in memory for a later one."""
    lanes = ordered([o.lane for o in program.outputs])
    level = _levels(lanes)
    kept: dict[int, Lane] = {}
    for lane in lanes:
        for each in _reach(lane):
            if each.axis and each.op != "input" and lane.op != "sum" and level[each.index] < level[lane.index]:
                kept[each.index] = each
    return [kept[i] for i in sorted(kept)]


def _reach(lane: Lane) -> list[Lane]:
    """A lane's arguments, seen through truth values, which are found again and not kept."""
    found = []
    for a in lane.args:
        found += _reach(a) if a.truth else [a]
    return found
