"""The part of a layer's step that is linear in the units, and its derivative, traced from the parts themselves.

    y, state', u_k, v_k, decay, write, eta = F(drive, pre, recall, state, params)

so that what is left to be written by hand is the same for every part:

    trace' = bound(trace + sum_k C_k u_k (x) v_k - row col C * trace)       row holds the rate; or, retroactively,
    trace' = bound(trace + write * E),  E' = (1 - eta) E + sum_k C_k u_k (x) v_k - row col C * trace

where the coefficients C are matrices that do not change within an episode, and are left to torch.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from plastic_search.cells import Cell
from plastic_search.modulations import Modulation
from plastic_search.network.kernels.tracing.ir import Axis, Book, Declined
from plastic_search.network.kernels.tracing.lowering import Array, interpret
from plastic_search.network.kernels.tracing.program import Output, Program, Shares, Traced, layout, ordered
from plastic_search.network.kernels.tracing.step_function import Step
from plastic_search.network.spec import Layer
from plastic_search.rules import Rule

__all__ = ["trace"]

_SIZES = ((211, 223), (227, 229))  # units and plastic inputs while tracing: primes that nothing else has


_lock = threading.RLock()


def _renew() -> None:
    """A forked process may have been given a lock that another thread of its parent held."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew)


def trace(layer: Layer, plastic: bool, dtype: torch.dtype) -> Traced | str:
    """Trace a layer's parts; a text says why that cannot be. The same parts give the same object again."""
    parts = (layer.rule, layer.modulation) if plastic else None
    try:
        hash((layer.cell, parts))
    except TypeError as error:
        return f"a setting of its parts is of a type that cannot be compared ({error})"
    with _lock:  # two threads get one object
        return _trace(layer.cell, parts, dtype)


@lru_cache(maxsize=512)
def _trace(cell: Cell, plastic: tuple[Rule, Modulation] | None, dtype: torch.dtype) -> Traced | str:
    try:
        with torch.autograd.set_detect_anomaly(False), torch.device("cpu"):  # undisturbed
            one, two = (_Tracer(cell, plastic, dtype, *sizes).traced() for sizes in _SIZES)
    except Declined as why:
        return str(why)
    except Exception as error:  # a part may do anything while it is traced
        told = str(error).strip().split("\n")[0][:200]
        return f"its step cannot be traced ({type(error).__name__}: {told})"
    if _told(one) != _told(two):
        return "its step depends on the number of units in a way of its own"
    return one


def _told(traced: Traced) -> list[object]:
    """What two traces must agree in."""
    told: list[object] = [traced.state, traced.params, traced.shares]
    for program in (traced.forward, traced.backward):
        told += [(o.buffer, o.axis, o.number, o.lane.index) for o in program.outputs]
        lanes = ordered([o.lane for o in program.outputs])
        told += [(x.index, x.op, x.axis, x.value, x.slot, [a.index for a in x.args]) for x in lanes]
    return told


class _Tracer(Step):
    """A layer's parts at one pair of sizes."""

    def __init__(
        self, cell: Cell, plastic: tuple[Rule, Modulation] | None, dtype: torch.dtype, post: int, pre: int
    ) -> None:
        super().__init__(cell, plastic, dtype, post, pre)
        self.sizes, self.book = {post: Axis.POST, pre: Axis.PRE}, Book()
        if any(not s.is_floating_point() for s in self.states):
            raise Declined("a state that is not of floating numbers")
        self.state = layout(self.states, self.sizes, batched=True)
        self.param = layout(self.params, self.sizes, batched=False)
        if None in self.state.of:
            raise Declined("a state for every pair of units")

    def traced(self) -> Traced:
        self._alone_and_together()
        inputs = self._inputs()
        names, values = zip(*self.vectors(*self.given), strict=True)
        shares = self._shares()
        outputs = interpret(_graph(self.flat, self.given), inputs, self.sizes, self.book)
        forward = Program(self._outputs(names, values, outputs))
        cotangents = [self._rows(f"d.{n}", v, i) for n, v, i in zip(names, values, self._firsts(names), strict=True)]
        grads = interpret(
            _graph(self._pulled, [*self.given, *(v.clone() for v in values)]),
            [*inputs, *cotangents],
            self.sizes,
            self.book,
        )
        all_names = ["drive", "pre", "recall", *["state"] * len(self.states), *["params"] * len(self.params)]
        free = self._free()
        backward = Program(self._outputs([all_names[i] for i in free], [self.given[i] for i in free], grads))
        results = layout(values, self.sizes, batched=True)
        leaves = self.state, self.param, results
        return Traced(self.cell.drives, self.cell.plastic, *leaves, self.carried, shares, forward, backward)

    # -- its derivative

    def _free(self) -> list[int]:
        """The leaves that have a derivative here: all but matrices."""
        return [i for i in range(len(self.given)) if i < self.first_param or self.param.of[i - self.first_param]]

    def _pulled(self, *both: Tensor) -> list[Tensor]:
        """The derivative with respect to the free leaves, from leaves and cotangents."""
        leaves, cotangents = both[: len(self.given)], both[len(self.given) :]
        free = self._free()

        def some(*chosen: Tensor) -> tuple[Tensor, ...]:
            full = list(leaves)
            for i, value in zip(free, chosen, strict=True):
                full[i] = value
            return tuple(self.flat(*full))

        pull: Any = torch.func.vjp(some, *(leaves[i] for i in free))[1]
        return list(pull(tuple(cotangents)))

    # -- what may not be

    def _alone_and_together(self) -> None:
        """Refuse a part in which episodes of a batch meet."""
        n = self.first_param
        rng = torch.Generator().manual_seed(1)  # never the caller's
        one, two = ([torch.rand(t.shape, dtype=t.dtype, generator=rng) for t in self.given[:n]] for _ in range(2))
        both = [torch.cat(pair) for pair in zip(one, two, strict=True)]
        each = [self.flat(*some, *self.params) for some in (one, two, both)]
        for a, b, together in zip(*each, strict=True):
            close = 16 * torch.finfo(together.dtype).eps  # of numbers of the size of 1
            if together.shape[0] == 2 and not torch.allclose(
                torch.cat([a, b]), together, rtol=close, atol=close, equal_nan=True
            ):
                raise Declined("episodes of a batch act on one another")

    def _shares(self) -> Shares | None:
        """What the change is made of; its matrices may depend on parameters alone."""
        if not self.plastic:
            return None
        names = [name for name, _ in self.all(*self.given)]
        if "C" in names or "M" in names:
            graph = _graph(self.matrices, self.given)
            places = [n for n in graph.graph.nodes if n.op == "placeholder"][: self.first_param]
            graph.graph.eliminate_dead_code()
            if any(node.users for node in places):
                raise Declined("a coefficient for every pair of units that changes within an episode")
        terms = [i for i, name in enumerate(names) if name == "v"]
        matrices = tuple(names[i + 1 : i + 2] == ["C"] for i in terms)
        return Shares(matrices, "row" in names, "column" in names, "M" in names, "write" in names)

    # -- rows of lanes

    def _inputs(self) -> list[Array]:
        made = [self._rows(name, self.given[i], 0) for i, name in enumerate(("drive", "pre", "recall"))]
        made += [self._rows("state", t, leaf.first) for t, leaf in zip(self.states, self.state.of, strict=True) if leaf]
        for tensor, leaf in zip(self.params, self.param.of, strict=True):
            made.append(np.empty(tensor.shape, object) if leaf is None else self._rows("params", tensor, leaf.first))
        return made

    def _rows(self, buffer: str, like: Tensor, first: int) -> Array:
        """An array of input lanes for a tensor."""
        axes = [self.sizes[n] for n in like.shape if n in self.sizes]
        shape = [1 if n in self.sizes else n for n in like.shape]
        axis = axes[0] if axes else Axis.ONE
        lanes = [self.book.input(buffer, first + i, axis) for i in range(int(np.prod(shape)))]
        made = np.empty(len(lanes), object)
        made[:] = lanes
        return made.reshape(shape)

    def _firsts(self, names: Sequence[str]) -> list[int]:
        """The number of the first row of each result."""
        leaves, seen, made = iter(self.state.of), dict.fromkeys(names, 0), []
        for name in names:
            leaf = next(leaves) if name == "state" else None
            made.append(leaf.first if leaf else seen[name])
            seen[name] += 1
        return made

    def _outputs(self, names: Sequence[str], values: Sequence[Tensor], made: Sequence[Array]) -> tuple[Output, ...]:
        """Rows of each result; those of states and parameters are numbered as their leaves are."""
        leaves = {"state": iter(self.state.of), "params": (leaf for leaf in self.param.of if leaf)}
        seen, outputs = dict.fromkeys(names, 0), []
        for name, value, array in zip(names, values, made, strict=True):
            axes = [self.sizes[n] for n in value.shape if n in self.sizes]
            leaf = next(leaves[name]) if name in leaves else None
            first = leaf.first if leaf else seen[name]
            seen[name] += 1
            for i, lane in enumerate(array.flat):
                outputs.append(Output(name, axes[0] if axes else Axis.ONE, first + i, self.book.number(lane)))
        return tuple(outputs)


@cache
def _decompositions() -> dict[Any, Any]:
    """How torch writes an operation in simpler ones; it takes 0.1 s to list them."""
    from torch._decomp import core_aten_decompositions

    table = core_aten_decompositions().items()
    return {op: how for op, how in table if not any(k in op.name() for k in ("_scatter", "::stack"))}


def _graph(function: Callable[..., list[Tensor]], given: Sequence[Tensor]) -> fx.GraphModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = make_fx(torch.func.functionalize(function), _decompositions(), tracing_mode="fake")(*given)
    made.graph.eliminate_dead_code()
    made.recompile()
    return made
