"""From a graph of ATen operations to lanes. A tensor is an array of lanes, one for every index that is known now.

An axis over units has length 1 in that array; what a tensor's axes mean is told by their lengths while tracing, which
are two primes. So every view, slice and concatenation over other axes is a rearrangement of the array, done here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from plastic_search.network.kernels.tracing.ir import Axis, Book, Declined, Lane

__all__ = ["Array", "interpret"]

Array = np.ndarray  # of lanes
Sizes = dict[int, Axis]  # length while tracing -> what it stands for

aten = torch.ops.aten
_UNARY = {
    aten.neg: "neg", aten.tanh: "tanh", aten.sigmoid: "sigmoid", aten.exp: "exp", aten.log: "log", aten.sqrt: "sqrt",
    aten.abs: "abs", aten.floor: "floor", aten.ceil: "ceil", aten.round: "round", aten.trunc: "trunc",
    aten.sin: "sin", aten.cos: "cos", aten.logical_not: "not", aten.bitwise_not: "not",
}  # fmt: skip
_BINARY = {
    aten.mul: "mul", aten.div: "div", aten.lt: "lt", aten.le: "le", aten.gt: "gt", aten.ge: "ge", aten.eq: "eq",
    aten.ne: "ne", aten.logical_and: "and", aten.bitwise_and: "and", aten.logical_or: "or", aten.bitwise_or: "or",
}  # fmt: skip
_SAME = {aten.clone, aten.detach, aten.alias, aten.lift_fresh_copy, aten.contiguous, aten._to_copy}
_FULL = {aten.full: 1, aten.full_like: 1, aten.new_full: 2}
_ZEROS = {aten.zeros: 0.0, aten.zeros_like: 0.0, aten.new_zeros: 0.0, aten.ones: 1.0, aten.ones_like: 1.0}
_ZEROS |= {aten.new_ones: 1.0, aten.empty_like: 0.0}


def interpret(graph: fx.GraphModule, inputs: Sequence[Array], sizes: Sizes, book: Book) -> list[Array]:
    """The outputs of a traced graph, as lanes.

    Raises:
        Declined: an operation is not known, or needs a value for every pair of units.
    """
    return _Reader(graph, sizes, book).run(inputs)


class _Reader:
    """One pass over a graph."""

    def __init__(self, graph: fx.GraphModule, sizes: Sizes, book: Book) -> None:
        self.graph, self.sizes, self.book = graph, sizes, book
        self.known: dict[fx.Node, Any] = {}
        self.dtype = torch.float32

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        given = iter(inputs)
        for node in self.graph.graph.nodes:
            if node.op == "placeholder":
                self.known[node] = next(given)
                self.dtype = node.meta["val"].dtype
            elif node.op == "get_attr":
                self.known[node] = self._stored(getattr(self.graph, str(node.target)))
            elif node.op == "call_function" and node.users:
                self._no_pairs(node)
                self.known[node] = self._call(node)
            elif node.op == "output":
                outputs: Any = node.args[0]
                return [self._array(each) for each in outputs]
        raise Declined("a graph without outputs")

    def _no_pairs(self, node: fx.Node) -> None:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            return
        if sum(n in self.sizes for n in value.shape) > 1:
            raise Declined(f"a value for every pair of units ({node.target})")
        if value.dim() and value.is_floating_point() and value.dtype != self.dtype:
            raise Declined(f"numbers of {value.dtype} among its own of {self.dtype}")

    def _stored(self, value: torch.Tensor) -> Array:
        if value.numel() > 16:
            raise Declined(f"a constant tensor of {value.numel()} numbers")
        flat = [self.book.constant(float(v)) for v in value.flatten()]
        return _filled(flat, tuple(value.shape))

    def _array(self, value: Any) -> Array:
        if isinstance(value, fx.Node):
            value = self.known[value]
        if isinstance(value, bool | int | float):
            return _filled([self._number(value)], ())
        if isinstance(value, np.ndarray):
            return value
        raise Declined(f"a {type(value).__name__} among its tensors")

    def _number(self, value: float) -> Lane:
        """A constant; or, where it is the length of an axis over units, that length."""
        axis = None if isinstance(value, bool) else self.sizes.get(value)  # type: ignore[arg-type]
        return self.book.constant(float(value)) if axis is None else self.book.input("lengths", axis - 1, Axis.ONE)

    def _call(self, node: fx.Node) -> Any:
        args: list[Any] = [self.known[a] if isinstance(a, fx.Node) else a for a in node.args]
        if node.target is operator.getitem:
            return args[0][args[1]]
        packet: Any = getattr(node.target, "overloadpacket", node.target)
        if packet in _SAME:
            return self._cast(node, self._array(args[0]))
        if packet in _UNARY and len(args) == 1 and not node.kwargs:
            return self._each(lambda a: self.book.unary(_UNARY[packet], a), args[0])
        if packet in _BINARY and not node.kwargs:
            return self._each(lambda a, b: self.book.binary(_BINARY[packet], a, b), *args[:2])
        if packet in _FULL:
            return self._full(node, float(args[_FULL[packet]]))
        if packet in _ZEROS:
            return self._full(node, _ZEROS[packet])
        handler = getattr(self, f"_{getattr(packet, '__name__', '')}", None)
        if handler is None:
            raise Declined(f"the operation {packet} is not known to it")
        return handler(node, *args, **node.kwargs)

    def _cast(self, node: fx.Node, a: Array) -> Array:
        """The same numbers, or truth values as numbers, or the other way round."""
        old, new = (n.meta["val"].dtype for n in (node.args[0], node))  # type: ignore[union-attr]
        if old == new:
            return a
        if new == torch.bool:
            return self._each(self.book.truth, a)
        if old != torch.bool or new != self.dtype:
            raise Declined(f"numbers of {new} made of {old}")
        return self._each(self.book.number, a)

    # -- elementwise

    def _each(self, function: Callable[..., Lane], *operands: Any) -> Array:
        arrays = np.broadcast_arrays(*(self._array(o) for o in operands))
        made = [function(*row) for row in zip(*(a.flat for a in arrays), strict=True)]
        return _filled(made, arrays[0].shape)

    def _add(self, node: fx.Node, a: Any, b: Any, alpha: float = 1) -> Array:
        return self._scaled("add", a, b, alpha)

    def _sub(self, node: fx.Node, a: Any, b: Any, alpha: float = 1) -> Array:
        return self._scaled("sub", a, b, alpha)

    def _rsub(self, node: fx.Node, a: Any, b: Any, alpha: float = 1) -> Array:
        return self._scaled("sub", b, a, alpha)

    def _scaled(self, op: str, a: Any, b: Any, alpha: float) -> Array:
        factor = self.book.constant(alpha)
        return self._each(lambda x, y: self.book.binary(op, x, self.book.binary("mul", y, factor)), a, b)

    def _where(self, node: fx.Node, condition: Any, a: Any, b: Any) -> Array:
        return self._each(self.book.select, condition, a, b)

    def _pow(self, node: fx.Node, a: Any, exponent: Any) -> Array:
        if not isinstance(exponent, int | float) or exponent not in (-2, -1, -0.5, 0.5, 1, 2, 3, 4):
            raise Declined(f"a power of {exponent}")
        return self._each(lambda x: self._power(x, exponent), a)

    def _power(self, x: Lane, exponent: float) -> Lane:
        if exponent < 0:
            return self.book.binary("div", self.book.constant(1.0), self._power(x, -exponent))
        if exponent == 0.5:
            return self.book.unary("sqrt", x)
        made = x
        for _ in range(int(exponent) - 1):
            made = self.book.binary("mul", made, x)
        return made

    def _reciprocal(self, node: fx.Node, a: Any) -> Array:
        return self._each(lambda x: self._power(x, -1), a)

    def _rsqrt(self, node: fx.Node, a: Any) -> Array:
        return self._each(lambda x: self._power(x, -0.5), a)

    def _relu(self, node: fx.Node, a: Any) -> Array:
        return self._clamp(node, a, 0.0)

    def _sign(self, node: fx.Node, a: Any) -> Array:
        zero, one, minus = (self.book.constant(v) for v in (0.0, 1.0, -1.0))
        book = self.book
        return self._each(
            lambda x: book.select(book.binary("gt", x, zero), one, book.select(book.binary("lt", x, zero), minus, x)), a
        )

    def _clamp(self, node: fx.Node, a: Any, low: Any = None, high: Any = None, **kw: Any) -> Array:
        low, high = kw.get("min", low), kw.get("max", high)
        made = self._array(a)
        if low is not None:
            made = self._each(lambda x, y: self.book.select(self.book.binary("lt", x, y), y, x), made, low)
        if high is not None:
            made = self._each(lambda x, y: self.book.select(self.book.binary("gt", x, y), y, x), made, high)
        return made

    def _maximum(self, node: fx.Node, a: Any, b: Any) -> Array:
        return self._each(lambda x, y: self.book.select(self.book.binary("lt", x, y), y, x), a, b)

    def _minimum(self, node: fx.Node, a: Any, b: Any) -> Array:
        return self._each(lambda x, y: self.book.select(self.book.binary("gt", x, y), y, x), a, b)

    def _full(self, node: fx.Node, value: float) -> Array:
        shape = self._shape(node)
        return _filled([self.book.constant(value)] * int(np.prod(shape, dtype=int)), shape)

    def _scalar_tensor(self, node: fx.Node, value: Any, **kw: Any) -> Array:
        return self._array(float(value))

    # -- shapes

    def _shape(self, node: fx.Node) -> tuple[int, ...]:
        """A node's shape, axes over units being 1."""
        return tuple(1 if n in self.sizes else n for n in node.meta["val"].shape)

    def _axes(self, value: Any) -> list[Axis]:
        """What each axis of a node's value stands for."""
        return [self.sizes.get(n, Axis.ONE) for n in value.meta["val"].shape]

    def _view(self, node: fx.Node, a: Array, *_: Any) -> Array:
        source, shape = node.args[0], self._shape(node)
        if self._order(source) != self._order(node) or a.size != np.prod(shape, dtype=int):
            raise Declined("a view that mixes units with other axes")
        return a.reshape(shape)

    _reshape = _unsqueeze = _squeeze = _flatten = _unsafe_view = _view

    def _order(self, node: Any) -> list[tuple[Axis, int]]:
        """The axes over units of a node's value, each with the count of numbers before it."""
        before, found = 1, []
        for n in node.meta["val"].shape:
            if n in self.sizes:
                found.append((self.sizes[n], before))
            before *= 1 if n in self.sizes else n
        return found

    def _expand(self, node: fx.Node, a: Array, *_: Any, **kw: Any) -> Array:
        return np.broadcast_to(a, self._shape(node))

    def _permute(self, node: fx.Node, a: Array, order: Sequence[int]) -> Array:
        return a.transpose(order)

    def _transpose(self, node: fx.Node, a: Array, one: int, other: int) -> Array:
        return a.swapaxes(one, other)

    def _t(self, node: fx.Node, a: Array) -> Array:
        return a.T

    def _select(self, node: fx.Node, a: Array, axis: int, index: int) -> Array:
        self._known_axis(node, axis)
        return np.take(a, index, axis)

    def _slice(
        self, node: fx.Node, a: Array, axis: int = 0, start: Any = None, end: Any = None, step: int = 1
    ) -> Array:
        if node.meta["val"].shape == node.args[0].meta["val"].shape:  # type: ignore[union-attr]
            return a
        self._known_axis(node, axis)
        where: list[Any] = [slice(None)] * a.ndim
        where[axis] = slice(start, None if end is None else min(end, a.shape[axis]), step)
        return a[tuple(where)]

    def _unbind(self, node: fx.Node, a: Array, axis: int = 0) -> list[Array]:
        self._known_axis(node, axis)
        return [np.take(a, i, axis) for i in range(a.shape[axis])]

    def _cat(self, node: fx.Node, parts: Sequence[fx.Node], axis: int = 0) -> Array:
        for part in parts:
            if self._axes(part)[axis]:
                raise Declined("units of two layers joined into one axis")
        return np.concatenate([self._array(part) for part in parts], axis)

    def _stack(self, node: fx.Node, parts: Sequence[fx.Node], axis: int = 0) -> Array:
        return np.stack([self._array(part) for part in parts], axis)

    def _select_scatter(self, node: fx.Node, a: Array, part: Array, axis: int, index: int) -> Array:
        self._known_axis(node, axis)
        made = a.copy()
        where: list[Any] = [slice(None)] * a.ndim
        where[axis] = index
        made[tuple(where)] = part
        return made

    def _slice_scatter(
        self, node: fx.Node, a: Array, part: Array, axis: int = 0, start: Any = None, end: Any = None, step: int = 1
    ) -> Array:
        if a.shape == part.shape and self._axes(node) == self._axes(node.args[1]):
            return part
        self._known_axis(node, axis)
        made = a.copy()
        where: list[Any] = [slice(None)] * a.ndim
        where[axis] = slice(start, None if end is None else min(end, a.shape[axis]), step)
        made[tuple(where)] = part
        return made

    def _known_axis(self, node: fx.Node, axis: int) -> None:
        if self._axes(node.args[0])[axis]:
            raise Declined("one unit picked out of many")

    # -- sums

    def _sum(self, node: fx.Node, a: Array, axes: Sequence[int] | None = None, keep: bool = False, **kw: Any) -> Array:
        return self._summed(node, axes, keep)

    def _mean(self, node: fx.Node, a: Array, axes: Sequence[int] | None = None, keep: bool = False, **kw: Any) -> Array:
        total = self._summed(node, axes, keep)
        shape = node.args[0].meta["val"].shape  # type: ignore[union-attr]
        for axis in axes or range(len(shape)):
            total = self._each(lambda x, y: self.book.binary("div", x, y), total, shape[axis])
        return total

    def _summed(self, node: fx.Node, axes: Sequence[int] | None, keep: bool) -> Array:
        source = node.args[0]
        a, meaning = self.known[source], self._axes(source)  # type: ignore[index]
        over = [axis % max(a.ndim, 1) for axis in (axes or range(a.ndim))]
        for axis in sorted(over, reverse=True):
            if meaning[axis]:
                a = self._over_units(a, meaning[axis])
            parts = [np.take(a, [i], axis) for i in range(a.shape[axis])]
            a = parts[0]
            for part in parts[1:]:
                a = self._each(lambda x, y: self.book.binary("add", x, y), a, part)
        return a if keep else a.reshape([n for axis, n in enumerate(a.shape) if axis not in over])

    def _over_units(self, a: Array, axis: Axis) -> Array:
        if any(lane.axis is not axis for lane in a.flat):
            raise Declined("a sum over units of one number")
        return self._each(self.book.sum, a)

    def _mm(self, node: fx.Node, a: Array, b: Array) -> Array:
        return self._product(node, a, b)

    def _product(self, node: fx.Node, a: Array, b: Array) -> Array:
        """A matrix product, one of whose results is a number for each unit."""
        meaning = self._axes(node.args[0])[-1]
        if not meaning or a.shape[0] != 1 or b.shape[1] != 1 or sum(map(bool, self._axes(node.args[0]))) > 1:
            raise Declined("a product with a matrix of its own")
        return self._over_units(self._each(lambda x, y: self.book.binary("mul", x, y), a, b), meaning)

    def _mv(self, node: fx.Node, a: Array, b: Array) -> Array:
        return self._mm(node, a, b.reshape(-1, 1)).reshape(-1)


def _filled(lanes: Sequence[Lane], shape: tuple[int, ...]) -> Array:
    made = np.empty(len(lanes), object)
    made[:] = lanes
    return made.reshape(shape)
