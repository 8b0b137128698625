"""Lowers a graph of ATen operations to the graph of `ir`.

A tensor becomes an array of nodes, in which an axis over units has length 1; all other axes keep their lengths, which
are known while tracing. So a view, slice or concatenation only rearranges the array. Axes over units are recognised by
their lengths, which are two primes that nothing else has.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import numpy as np
import torch
from torch import fx

from plastic_search.network.kernels.tracing.formulas import FORMULAS, maximum, minimum, power
from plastic_search.network.kernels.tracing.ir import Axis, GraphBuilder, Node, UnsupportedError
from plastic_search.network.kernels.tracing.straight_through import is_straight_through

__all__ = ["Array", "interpret"]

Array = np.ndarray  # of nodes
Sizes = dict[int, Axis]  # length while tracing -> the axis that it stands for

aten = torch.ops.aten
_UNARY = {
    aten.neg: "neg", aten.tanh: "tanh", aten.sigmoid: "sigmoid", aten.exp: "exp", aten.log: "log", aten.sqrt: "sqrt",
    aten.abs: "abs", aten.floor: "floor", aten.ceil: "ceil", aten.round: "round", aten.trunc: "trunc",
    aten.sin: "sin", aten.cos: "cos", aten.logical_not: "not", aten.bitwise_not: "not",
}  # fmt: skip
_BINARY = {
    aten.div: "div", aten.lt: "lt", aten.le: "le", aten.gt: "gt", aten.ge: "ge", aten.eq: "eq",
    aten.ne: "ne", aten.logical_and: "and", aten.bitwise_and: "and", aten.logical_or: "or", aten.bitwise_or: "or",
}  # fmt: skip
_IDENTITY = {aten.clone, aten.detach, aten.alias, aten.lift_fresh_copy, aten.contiguous, aten._to_copy}
_FULL = {aten.full: 1, aten.full_like: 1, aten.new_full: 2}
_FILLED = {aten.zeros: 0.0, aten.zeros_like: 0.0, aten.new_zeros: 0.0, aten.ones: 1.0, aten.ones_like: 1.0}
_FILLED |= {aten.new_ones: 1.0, aten.empty_like: 0.0}


def interpret(graph: fx.GraphModule, inputs: Sequence[Array], sizes: Sizes, builder: GraphBuilder) -> list[Array]:
    """The outputs of a captured graph, as nodes of `builder`.

    Args:
        sizes: the lengths that stand for an axis over units.

    Raises:
        UnsupportedError: an operation is not known, or a value has more axes than a synapse.
    """
    return _Interpreter(graph, sizes, builder).run(inputs)


class _Interpreter:
    """One pass over a graph."""

    def __init__(self, graph: fx.GraphModule, sizes: Sizes, builder: GraphBuilder) -> None:
        self.graph, self.sizes, self.builder = graph, sizes, builder
        self.values: dict[fx.Node, Any] = {}
        self.dtype = torch.float32

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        arguments = iter(inputs)
        for node in self.graph.graph.nodes:
            if node.op == "placeholder":
                self.values[node] = values = next(arguments)
                if node.users and any(value is None for value in values.flat):
                    raise UnsupportedError("a parameter that is neither [post, pre] nor a row for each unit")
                self.dtype = node.meta["val"].dtype
            elif node.op == "get_attr":
                self.values[node] = self._constant(getattr(self.graph, str(node.target)))
            elif node.op == "call_function" and node.users:
                self._check_value(node)
                self.values[node] = self._call(node)
            elif node.op == "output":
                outputs: Any = node.args[0]
                return [self._array(each) for each in outputs]
        raise UnsupportedError("a graph without outputs")

    def _check_value(self, node: fx.Node) -> None:
        """Refuse what is no value for each unit, input or synapse, and values of another precision."""
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            return
        axes = [self.sizes[n] for n in value.shape if n in self.sizes]
        if len(set(axes)) < len(axes):
            raise UnsupportedError(f"a value for every pair of units of one kind ({node.target})")
        if value.dim() and value.is_floating_point() and value.dtype != self.dtype:
            raise UnsupportedError(f"numbers of {value.dtype} beside those of {self.dtype}")

    def _constant(self, value: torch.Tensor) -> Array:
        if value.numel() > 16:
            raise UnsupportedError(f"a constant tensor of {value.numel()} numbers")
        flat = [self.builder.constant(float(v)) for v in value.flatten()]
        return _filled(flat, tuple(value.shape))

    def _array(self, value: Any) -> Array:
        if isinstance(value, fx.Node):
            value = self.values[value]
        if isinstance(value, bool | int | float):
            return _filled([self._number(value)], ())
        if isinstance(value, np.ndarray):
            return value
        raise UnsupportedError(f"a {type(value).__name__} among its tensors")

    def _number(self, value: float) -> Node:
        """A constant; or, where it is the length of an axis over units, that length."""
        axis = None if isinstance(value, bool) else self.sizes.get(value)  # type: ignore[arg-type]
        return (
            self.builder.constant(float(value)) if axis is None else self.builder.input("lengths", axis - 1, Axis.ONE)
        )

    def _call(self, node: fx.Node) -> Any:
        args: list[Any] = [self.values[a] if isinstance(a, fx.Node) else a for a in node.args]
        if node.target is operator.getitem:
            return args[0][args[1]]
        packet: Any = getattr(node.target, "overloadpacket", node.target)
        if packet in _IDENTITY:
            return self._cast(node, self._array(args[0]))
        if packet in _UNARY and len(args) == 1 and not node.kwargs:
            return self._each(lambda a: self.builder.unary(_UNARY[packet], a), args[0])
        if packet in _BINARY and not node.kwargs:
            return self._each(lambda a, b: self.builder.binary(_BINARY[packet], a, b), *args[:2])
        if packet in FORMULAS:
            return self._each(partial(FORMULAS[packet], self.builder), *args)
        if packet in _FULL:
            return self._full(node, float(args[_FULL[packet]]))
        if packet in _FILLED:
            return self._full(node, _FILLED[packet])
        handler = getattr(self, f"_{getattr(packet, '__name__', '')}", None)
        if handler is None:
            raise UnsupportedError(f"the operation {packet} is not known to it")
        return handler(node, *args, **node.kwargs)

    def _cast(self, node: fx.Node, a: Array) -> Array:
        """The same numbers, or truth values as numbers, or the other way round."""
        old, new = (n.meta["val"].dtype for n in (node.args[0], node))  # type: ignore[union-attr]
        if old == new:
            return a
        if new == torch.bool:
            return self._each(self.builder.as_bool, a)
        if old != torch.bool or new != self.dtype:
            raise UnsupportedError(f"numbers of {new} from {old}")
        return self._each(self.builder.as_number, a)

    # -- elementwise

    def _each(self, function: Callable[..., Node], *operands: Any) -> Array:
        arrays = np.broadcast_arrays(*(self._array(o) for o in operands))
        nodes = [function(*row) for row in zip(*(a.flat for a in arrays), strict=True)]
        return _filled(nodes, arrays[0].shape)

    def _add(self, node: fx.Node, a: Any, b: Any, alpha: float = 1) -> Array:
        return self._scaled("add", a, b, alpha)

    def _sub(self, node: fx.Node, a: Any, b: Any, alpha: float = 1) -> Array:
        return self._full(node, 0.0) if is_straight_through(node) else self._scaled("sub", a, b, alpha)

    def _mul(self, node: fx.Node, a: Any, b: Any) -> Array:
        if any(map(is_straight_through, node.args)):  # with a surrogate as its gradient
            return self._full(node, 0.0)
        return self._each(partial(self.builder.binary, "mul"), a, b)

    def _rsub(self, node: fx.Node, a: Any, b: Any, alpha: float = 1) -> Array:
        return self._scaled("sub", b, a, alpha)

    def _scaled(self, op: str, a: Any, b: Any, alpha: float) -> Array:
        factor = self.builder.constant(alpha)
        return self._each(lambda x, y: self.builder.binary(op, x, self.builder.binary("mul", y, factor)), a, b)

    def _pow(self, node: fx.Node, a: Any, exponent: Any) -> Array:
        if not isinstance(exponent, int | float):
            raise UnsupportedError("a power whose exponent is a tensor (write torch.exp(exponent * torch.log(x)))")
        return self._each(lambda x: power(self.builder, x, exponent), a)

    def _clamp(self, node: fx.Node, a: Any, low: Any = None, high: Any = None, **kw: Any) -> Array:
        low, high = kw.get("min", low), kw.get("max", high)
        clamped = self._array(a)
        if low is not None:
            clamped = self._each(partial(maximum, self.builder), clamped, low)
        return clamped if high is None else self._each(partial(minimum, self.builder), clamped, high)

    def _full(self, node: fx.Node, value: float) -> Array:
        shape = self._shape(node)
        return _filled([self.builder.constant(value)] * int(np.prod(shape, dtype=int)), shape)

    def _scalar_tensor(self, node: fx.Node, value: Any, **kw: Any) -> Array:
        return self._array(float(value))

    # -- shapes

    def _shape(self, node: fx.Node) -> tuple[int, ...]:
        """A node's shape, axes over units being 1."""
        return tuple(1 if n in self.sizes else n for n in node.meta["val"].shape)

    def _axes(self, value: Any) -> list[Axis]:
        """The meaning of each dimension of a node's value."""
        return [self.sizes.get(n, Axis.ONE) for n in value.meta["val"].shape]

    def _view(self, node: fx.Node, a: Array, *_: Any) -> Array:
        source, shape = node.args[0], self._shape(node)
        if self._order(source) != self._order(node) or a.size != np.prod(shape, dtype=int):
            raise UnsupportedError("a view that mixes units with other axes")
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
        self._no_unit_axis(node, axis)
        return np.take(a, index, axis)

    def _slice(
        self, node: fx.Node, a: Array, axis: int = 0, start: Any = None, end: Any = None, step: int = 1
    ) -> Array:
        if node.meta["val"].shape == node.args[0].meta["val"].shape:  # type: ignore[union-attr]
            return a
        self._no_unit_axis(node, axis)
        return a[(slice(None),) * axis + (slice(start, None if end is None else min(end, a.shape[axis]), step),)]

    def _unbind(self, node: fx.Node, a: Array, axis: int = 0) -> list[Array]:
        self._no_unit_axis(node, axis)
        return [np.take(a, i, axis) for i in range(a.shape[axis])]

    def _cat(self, node: fx.Node, parts: Sequence[fx.Node], axis: int = 0) -> Array:
        for part in parts:
            if self._axes(part)[axis]:
                raise UnsupportedError("a concatenation along units")
        return np.concatenate([self._array(part) for part in parts], axis)

    def _stack(self, node: fx.Node, parts: Sequence[fx.Node], axis: int = 0) -> Array:
        return np.stack([self._array(part) for part in parts], axis)

    def _select_scatter(self, node: fx.Node, a: Array, part: Array, axis: int, index: int) -> Array:
        self._no_unit_axis(node, axis)
        return _replaced(a, axis, index, part)

    def _slice_scatter(
        self, node: fx.Node, a: Array, part: Array, axis: int = 0, start: Any = None, end: Any = None, step: int = 1
    ) -> Array:
        if a.shape == part.shape and self._axes(node) == self._axes(node.args[1]):
            return part
        self._no_unit_axis(node, axis)
        return _replaced(a, axis, slice(start, None if end is None else min(end, a.shape[axis]), step), part)

    def _no_unit_axis(self, node: fx.Node, axis: int) -> None:
        if self._axes(node.args[0])[axis]:
            raise UnsupportedError("a selection of single units")

    # -- sums and maxima

    def _amax(self, node: fx.Node, a: Array, axes: Sequence[int] = (), keep: bool = False) -> Array:
        return self._reduced(node, axes, keep, self.builder.max, partial(maximum, self.builder))

    def _amin(self, node: fx.Node, a: Array, axes: Sequence[int] = (), keep: bool = False) -> Array:
        return self._reduced(node, axes, keep, self._min, partial(minimum, self.builder))

    def _min(self, a: Node, over: Axis) -> Node:
        return self.builder.unary("neg", self.builder.max(self.builder.unary("neg", a), over))

    def _sum(self, node: fx.Node, a: Array, axes: Sequence[int] | None = None, keep: bool = False, **kw: Any) -> Array:
        return self._summed(node, axes, keep)

    def _mean(self, node: fx.Node, a: Array, axes: Sequence[int] | None = None, keep: bool = False, **kw: Any) -> Array:
        total = self._summed(node, axes, keep)
        shape = node.args[0].meta["val"].shape  # type: ignore[union-attr]
        for axis in axes or range(len(shape)):
            total = self._each(lambda x, y: self.builder.binary("div", x, y), total, shape[axis])
        return total

    def _summed(self, node: fx.Node, axes: Sequence[int] | None, keep: bool) -> Array:
        return self._reduced(node, axes, keep, self._sum_over, partial(self.builder.binary, "add"))

    def _sum_over(self, a: Node, over: Axis) -> Node:
        if not a.axis & over:
            raise UnsupportedError("a sum over units of one number")
        return self.builder.sum(a, over)

    def _reduced(
        self, node: fx.Node, axes: Sequence[int] | None, keep: bool, over_units: Callable[[Node, Axis], Node],
        of_two: Callable[[Node, Node], Node],
    ) -> Array:  # fmt: skip
        """A reduction, over axes of units by `over_units`, and over others by `of_two`, from one number to the next."""
        source = node.args[0]
        a, meaning = self.values[source], self._axes(source)  # type: ignore[index]
        over = [axis % max(a.ndim, 1) for axis in (axes or range(a.ndim))]
        for axis in sorted(over, reverse=True):
            if meaning[axis]:
                a = self._each(lambda each, over=meaning[axis]: over_units(each, over), a)
            a = reduce(partial(self._each, of_two), [np.take(a, [i], axis) for i in range(a.shape[axis])])
        return a if keep else a.reshape([n for axis, n in enumerate(a.shape) if axis not in over])

    def _added(self, parts: Sequence[Array]) -> Array:
        return reduce(partial(self._each, partial(self.builder.binary, "add")), parts)

    def _mm(self, node: fx.Node, a: Array, b: Array) -> Array:
        """A matrix product, as a sum of elementwise products."""
        products = self._each(partial(self.builder.binary, "mul"), a[..., :, :, None], b[..., None, :, :])
        if meaning := self._axes(node.args[0])[-1]:
            products = self._each(partial(self._sum_over, over=meaning), products)
        return self._added([np.take(products, i, -2) for i in range(products.shape[-2])])

    _bmm = _mm

    def _mv(self, node: fx.Node, a: Array, b: Array) -> Array:
        return self._mm(node, a, b.reshape(-1, 1)).reshape(-1)


def _filled(nodes: Sequence[Node], shape: tuple[int, ...]) -> Array:
    array = np.empty(len(nodes), object)
    array[:] = nodes
    return array.reshape(shape)


def _replaced(a: Array, axis: int, index: int | slice, part: Array) -> Array:
    """`a` with `part` at an index of one axis."""
    a = a.copy()
    a[(slice(None),) * axis + (index,)] = part
    return a
