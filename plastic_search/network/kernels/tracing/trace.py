"""Captures one step of a layer's parts and synapses, and its derivative, as a `StepProgram`.

    y, state', H', E' = F(drive, pre, recall, state, params, H, E, coefficients)

F is the parts' own Python and `step.synapse_step`. It is captured whole, and then divided into what is computed once
for a unit and what is computed for every synapse (`division`). Coefficients of the change that have a number for every
synapse, and are constant within an episode, are computed by torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from operator import or_
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from plastic_search.cells import Cell
from plastic_search.network.controls import Controls
from plastic_search.network.kernels.torch_internals import capture_graph
from plastic_search.network.kernels.tracing.derived import derived
from plastic_search.network.kernels.tracing.division import Divided, divided
from plastic_search.network.kernels.tracing.guards import guarded
from plastic_search.network.kernels.tracing.ir import Axis, GraphBuilder, Node, Unsupported, UnsupportedError
from plastic_search.network.kernels.tracing.lowering import Array, interpret
from plastic_search.network.kernels.tracing.program import (
    LIMITS,
    Output,
    Program,
    StepProgram,
    SynapseProgram,
    layout_of,
)
from plastic_search.network.kernels.tracing.step_function import Plastic, StepFunction
from plastic_search.network.kernels.tracing.writes import equal, written
from plastic_search.network.quantization import half, round_to_levels
from plastic_search.network.spec import Bound
from plastic_search.network.step import trace_read
from plastic_search.precisions import Format, Rounding

__all__ = ["trace"]

# Units and plastic inputs while tracing: primes, so that a length identifies its axis. Two pairs, which must give the
# same program: else the step depends on the sizes. The first two are taken that are not numbers of signals, too.
_SIZES = ((211, 223), (227, 229), (233, 239), (241, 251), (257, 263))

_OF_EPISODES = (
    "drive", "pre", "recall", "previous", "signals", "state", "trace", "eligibility", "dither", *Controls._fields,
)  # fmt: skip
_SEEN = ("previous", "signals")  # what a modulation may see beside the layer's activity
_CONSTANT = (*LIMITS, "dither", "phases", *Controls._fields)  # ... that no derivative is taken of


def trace(
    cell: Cell, plastic: Plastic | None, dtype: torch.dtype, controls: tuple[str, ...] = (),
    activity: Format | None = None,
) -> StepProgram | Unsupported:  # fmt: skip
    """The program of parts on whose step these `controls` are imposed, or why there is none.

    Args:
        activity: the format of what the units send; None leaves it a float.
    """
    try:
        with torch.autograd.set_detect_anomaly(False), torch.device("cpu"):  # whatever the caller has set
            with torch.inference_mode(False), torch.no_grad():
                if argument := written(StepFunction(cell, plastic, dtype, 2, 3)):
                    return Unsupported(f"its step writes into {argument}; let it return new tensors")
            seen = plastic[-2:] if plastic else ()
            free = [sizes for sizes in _SIZES if not {*sizes} & {*seen, sum(n or 0 for n in seen)}]
            one, two = (_Trace(cell, plastic, dtype, *sizes, controls, activity).program() for sizes in free[:2])
    except UnsupportedError as error:
        return Unsupported(str(error))
    except Exception as error:  # a part may raise anything
        message = str(error).strip().split("\n")[0][:200]
        return Unsupported(f"its step cannot be traced ({type(error).__name__}: {message})")
    if _content(one) != _content(two):
        return Unsupported("its step depends on the number of units in a way of its own")
    return one


def _content(program: StepProgram) -> list[object]:
    """What two programs must have in common to be the same."""
    synapses = program.synapses
    programs = [program.forward, program.backward, program.derived]
    content: list[object] = [program.state, program.params]
    if synapses:
        programs += [synapses.forward, synapses.backward, synapses.read, synapses.read_backward]
        content += [synapses.matrices, synapses.formula]
    for each in programs:
        content += [(o.buffer, o.axis, o.number, o.node.index) for o in each.outputs]
        content += [(n.index, n.op, n.axis, n.value, n.slot, [a.index for a in n.args]) for n in each.nodes()]
    return content


class _Trace:
    """A step function at one pair of sizes, on its way to a program."""

    def __init__(
        self, cell: Cell, plastic: Plastic | None, dtype: torch.dtype, post: int, pre: int, controls: tuple[str, ...],
        activity: Format | None,
    ) -> None:  # fmt: skip
        self.step = StepFunction(cell, plastic, dtype, post, pre, controls=controls, activity=activity)
        self.sizes, self.builder = {post: Axis.POST, pre: Axis.PRE}, GraphBuilder()
        if any(not s.is_floating_point() for s in self.step.states):
            raise UnsupportedError("a state that is not of floating numbers")
        self.state = layout_of(self.step.states, self.sizes, batched=True)
        self.params = layout_of(self.step.params, self.sizes, batched=False)
        if None in self.state.leaves:
            raise UnsupportedError("a state for every pair of units")
        if plastic and (constant := self._constant_coefficients()):
            self.step = StepFunction(
                cell, plastic, dtype, post, pre, matrices=constant, controls=controls, activity=activity
            )

    def program(self) -> StepProgram:
        self._check_episodes_are_independent()
        step = self.step
        names, values = zip(*step.results(*step.examples), strict=True)
        inputs = [self._rows(*self._place(i), tensor) for i, tensor in enumerate(step.examples)]
        firsts = self._firsts(names)
        cotangents = [self._rows(f"d.{n}", first, v) for n, v, first in zip(names, values, firsts, strict=True)]
        graph = capture_graph(self._step_and_pullback, [*step.examples, *(v.clone() for v in values)])
        computed = interpret(graph, [*inputs, *cotangents], self.sizes, self.builder)
        results, grads = computed[: len(names)], computed[len(names) :]
        forward, backward = [], []
        for each in zip(names, firsts, values, results, strict=True):
            forward += self._outputs(*each)
        for i, grad in zip(self._differentiable(), grads, strict=True):
            (buffer, first), like = self._place(i), step.examples[i]
            name = f"d.{buffer}" if self._axis(like) is Axis.PAIR else buffer
            outputs = self._outputs(name, first, like, grad)
            backward += [o for o in outputs if not (name in _SEEN and _is_zero(o.node))]
        nodes = guarded(self.builder, [o.node for o in backward])
        backward = [o._replace(node=node) for o, node in zip(backward, nodes, strict=True)]
        found = derived(self.builder, forward, backward, self.params)
        parts = divided(found.rows, found.forward, found.backward, *self._reads())
        return StepProgram(
            sums=step.cell.sums,
            plastic=step.cell.plastic,
            recurrent=step.cell.recurrent,
            state=self.state,
            params=found.params,
            derived=parts.derived,
            initial_states=step.initial_states,
            controls=step.controls,
            activity=step.activity,
            forward=parts.forward,
            backward=parts.backward,
            synapses=self._synapses(parts) if step.plastic else None,
            columns=step.plastic.columns if step.plastic else None,
            units=step.plastic.units if step.plastic else 0,
        )

    def _reads(self) -> tuple[list[Output], list[Output]]:
        """The trace as it is read, and the derivative of that; nothing where that is the trace itself."""
        plastic = self.step.plastic
        feedback = plastic is not None and plastic.rounding is Rounding.FEEDBACK
        if plastic is None or not (feedback or plastic.bound is Bound.READ):
            return [], []
        own = self.step.of_synapses(self.step.examples)
        args = [own["trace"], *(own[name] for name in LIMITS), own["trace"].clone()]
        limits = [self._rows("limits", LIMITS.index(name), own[name]) for name in LIMITS]
        nodes = [self._rows("trace", 0, args[0]), *limits, self._rows("d.read", 0, args[-1])]

        def read(trace: Tensor, limit: Tensor, level: Tensor, top: Tensor) -> list[Tensor]:
            rounded = None
            if feedback:
                rounded = partial(round_to_levels, step=level, top=top, shift=half(plastic.remainder))
            return [trace_read(trace, plastic.bound, limit, rounded)]

        def pullback(trace: Tensor, *limits_and_d: Tensor) -> list[Tensor]:
            *limits, d = limits_and_d
            vjp: Any = torch.func.vjp(lambda h: read(h, *limits)[0], trace)[1]
            return list(vjp(d))

        (value,) = interpret(capture_graph(read, args[:-1]), nodes[:-1], self.sizes, self.builder)
        (grad,) = interpret(capture_graph(pullback, args), nodes, self.sizes, self.builder)
        return self._outputs("read", 0, args[0], value), self._outputs("d.trace", 0, args[0], grad)

    def _synapses(self, parts: Divided) -> SynapseProgram:
        """The program of the synapses, without the derivatives of what it does not read."""
        forward, backward = parts.synapses_forward, parts.synapses_backward
        read = {x.slot[0] for x in (*forward.inputs(), *backward.inputs())}
        pairs = [self._place(i)[0] for i in self._differentiable() if self._axis(self.step.examples[i]) is Axis.PAIR]
        matrices = tuple(name for name in pairs if name in read and name not in ("trace", "eligibility"))
        order = ("sum", *(f"d.{name}" for name in (*matrices, "trace", "eligibility")))
        outputs = sorted((o for o in backward.outputs if o.buffer in order), key=lambda o: order.index(o.buffer))
        reads = parts.read, parts.read_backward
        return SynapseProgram(forward, Program(tuple(outputs)), *reads, matrices, self.step.is_formula())

    # -- its derivative

    def _differentiable(self) -> list[int]:
        """The arguments whose derivative is part of the program."""
        return [i for i, name in enumerate(self.step.names) if name not in _CONSTANT and self._place(i)[0]]

    def _step_and_pullback(self, *both: Tensor) -> list[Tensor]:
        """From arguments and cotangents of the results to the results and the differentiable arguments' derivatives."""
        args, cotangents = both[: len(self.step.examples)], both[len(self.step.examples) :]
        free = self._differentiable()

        def of_free(*chosen: Tensor) -> tuple[Tensor, ...]:
            full = list(args)
            for i, value in zip(free, chosen, strict=True):
                full[i] = value
            return tuple(self.step.flat(*full))

        results, pullback, *_ = torch.func.vjp(of_free, *(args[i] for i in free))
        return [*results, *pullback(tuple(cotangents))]

    # -- what is refused, and what is constant

    def _check_episodes_are_independent(self) -> None:
        """Refuse a part that lets one episode of a batch influence another."""
        step, rng = self.step, torch.Generator().manual_seed(1)  # never the caller's
        batched = [name in _OF_EPISODES for name in step.names]

        def some() -> list[Tensor]:
            pairs = zip(step.examples, batched, strict=True)
            return [torch.rand(t.shape, dtype=t.dtype, generator=rng) if own else t for t, own in pairs]

        one, two = some(), some()
        if not all(equal(a, again) for a, again in zip(step.flat(*one), step.flat(*one), strict=True)):
            raise UnsupportedError("its step returns something else when it is called again, as random numbers do")
        both = [torch.cat([a, b]) if own else a for a, b, own in zip(one, two, batched, strict=True)]
        results = [step.flat(*args) for args in (one, two, both)]
        for a, b, together in zip(*results, strict=True):
            close = 16 * torch.finfo(together.dtype).eps  # of numbers of the size of 1
            if together.shape[0] == 2 and not torch.allclose(
                torch.cat([a, b]), together, rtol=close, atol=close, equal_nan=True
            ):
                raise UnsupportedError("episodes of a batch act on one another")

    def _constant_coefficients(self) -> tuple[str, ...]:
        """The coefficients for every synapse that depend on parameters alone: torch computes them, once an episode."""
        step = self.step
        names = list(step.coefficients(*step.examples))
        if not names:
            return ()
        graph = capture_graph(lambda *args: list(step.coefficients(*args).values()), step.examples).graph
        placeholders = [n for n in graph.nodes if n.op == "placeholder"]
        changing = {*placeholders[: step.first_param], *placeholders[step.first_of_synapses :]}
        results: Any = next(n for n in graph.nodes if n.op == "output").args[0]
        return tuple(name for name, node in zip(names, results, strict=True) if not changing & _ancestors(node))

    # -- rows of nodes

    def _place(self, i: int) -> tuple[str, int]:
        """The buffer of an argument and its first row there; ("", 0) for one that has no rows."""
        step, name = self.step, self.step.names[i]
        if name in LIMITS:
            return "limits", LIMITS.index(name)
        if name == "state":
            leaf = self.state.leaves[i - step.first_state]
            return "state", leaf.first if leaf else 0
        if name != "params":
            return name, 0
        number = i - step.first_param
        leaf = self.params.leaves[number]
        if leaf:
            return "params", leaf.first
        axes = [self.sizes.get(n) for n in step.examples[i].shape]
        return (f"param{number}" if axes == [Axis.POST, Axis.PRE] else ""), 0

    def _axis(self, tensor: Tensor) -> Axis:
        return Axis(reduce(or_, (self.sizes[n] for n in tensor.shape if n in self.sizes), Axis.ONE))

    def _rows(self, buffer: str, first: int, like: Tensor) -> Array:
        """An array of input nodes for a tensor; of None, where it has none."""
        shape, axis = [1 if n in self.sizes else n for n in like.shape], self._axis(like)
        array = np.empty(int(np.prod(shape)), object)
        if buffer:
            array[:] = [self.builder.input(buffer, first + i, axis) for i in range(len(array))]
        return array.reshape(shape)

    def _firsts(self, names: Sequence[str]) -> list[int]:
        """The number of the first row of each result."""
        leaves = iter(self.state.leaves)
        return [leaf.first if name == "state" and (leaf := next(leaves)) else 0 for name in names]

    def _outputs(self, buffer: str, first: int, like: Tensor, array: Array) -> list[Output]:
        """The rows of a result."""
        axis = self._axis(like)
        return [Output(buffer, axis, first + i, self.builder.as_number(node)) for i, node in enumerate(array.flat)]


def _is_zero(node: Node) -> bool:
    return node.op == "constant" and node.value == 0.0


def _ancestors(node: fx.Node) -> set[fx.Node]:
    """A node of a graph, and all that it depends on."""
    found, stack = set(), [node]
    while stack:
        each = stack.pop()
        if each not in found:
            found.add(each)
            stack += each.all_input_nodes
    return found
