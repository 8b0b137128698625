"""Captures one step of a layer's parts, and its derivative, as a `StepProgram`.

    y, state', u_k, v_k, decay, write, eta = F(drive, pre, recall, state, params)

All that F leaves out is the same for every part, and written by the backends:

    H' = bound(H + sum_k C_k u_k (x) v_k - row col C * H)         row includes the rate; or, where retroactive,
    H' = bound(H + write * E),  E' = (1 - eta) E + sum_k C_k u_k (x) v_k - row col C * H

The coefficients C are matrices that are constant within an episode; torch computes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plastic_search.cells import Cell
from plastic_search.modulations import Modulation
from plastic_search.network.kernels.torch_internals import capture_graph
from plastic_search.network.kernels.tracing.ir import Axis, GraphBuilder, Unsupported, UnsupportedError
from plastic_search.network.kernels.tracing.lowering import Array, interpret
from plastic_search.network.kernels.tracing.program import ChangeTerms, Output, Program, StepProgram, layout_of
from plastic_search.network.kernels.tracing.step_function import StepFunction, written
from plastic_search.rules import Rule

__all__ = ["trace"]

# Units and plastic inputs while tracing: primes, so that a length identifies its axis. Two pairs, which must give the
# same program: else the step depends on the sizes.
_SIZES = ((211, 223), (227, 229))


def trace(cell: Cell, plastic: tuple[Rule, Modulation] | None, dtype: torch.dtype) -> StepProgram | Unsupported:
    """The program of parts, or why there is none."""
    try:
        with torch.autograd.set_detect_anomaly(False), torch.device("cpu"):  # whatever the caller has set
            with torch.inference_mode(False), torch.no_grad():
                if argument := written(StepFunction(cell, plastic, dtype, 2, 3)):
                    return Unsupported(f"its step writes into {argument}; let it return new tensors")
            one, two = (_Trace(cell, plastic, dtype, *sizes).program() for sizes in _SIZES)
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
    content: list[object] = [program.state, program.params, program.change]
    for each in (program.forward, program.backward):
        content += [(o.buffer, o.axis, o.number, o.node.index) for o in each.outputs]
        content += [(n.index, n.op, n.axis, n.value, n.slot, [a.index for a in n.args]) for n in each.nodes()]
    return content


class _Trace:
    """A step function at one pair of sizes, on its way to a program."""

    def __init__(
        self, cell: Cell, plastic: tuple[Rule, Modulation] | None, dtype: torch.dtype, post: int, pre: int
    ) -> None:
        self.step = StepFunction(cell, plastic, dtype, post, pre)
        self.sizes, self.builder = {post: Axis.POST, pre: Axis.PRE}, GraphBuilder()
        if any(not s.is_floating_point() for s in self.step.states):
            raise UnsupportedError("a state that is not of floating numbers")
        self.state = layout_of(self.step.states, self.sizes, batched=True)
        self.params = layout_of(self.step.params, self.sizes, batched=False)
        if None in self.state.leaves:
            raise UnsupportedError("a state for every pair of units")

    def program(self) -> StepProgram:
        self._check_episodes_are_independent()
        step, inputs = self.step, self._inputs()
        names, values = zip(*step.vectors(*step.examples), strict=True)
        change = self._change()
        outputs = interpret(capture_graph(step.flat, step.examples), inputs, self.sizes, self.builder)
        forward = Program(self._outputs(names, values, outputs))
        cotangents = [self._rows(f"d.{n}", v, i) for n, v, i in zip(names, values, self._firsts(names), strict=True)]
        pullback = capture_graph(self._pullback, [*step.examples, *(v.clone() for v in values)])
        grads = interpret(pullback, [*inputs, *cotangents], self.sizes, self.builder)
        all_names = ["drive", "pre", "recall", *["state"] * len(step.states), *["params"] * len(step.params)]
        free = self._differentiable()
        backward = Program(self._outputs([all_names[i] for i in free], [step.examples[i] for i in free], grads))
        return StepProgram(
            drives=step.cell.drives,
            plastic=step.cell.plastic,
            state=self.state,
            params=self.params,
            results=layout_of(values, self.sizes, batched=True),
            initial_states=step.initial_states,
            change=change,
            forward=forward,
            backward=backward,
        )

    # -- its derivative

    def _differentiable(self) -> list[int]:
        """The arguments whose derivative is part of the program: all but matrices."""
        first = self.step.first_param
        return [i for i in range(len(self.step.examples)) if i < first or self.params.leaves[i - first]]

    def _pullback(self, *both: Tensor) -> list[Tensor]:
        """From arguments and cotangents of the results to the derivatives of the differentiable arguments."""
        args, cotangents = both[: len(self.step.examples)], both[len(self.step.examples) :]
        free = self._differentiable()

        def of_free(*chosen: Tensor) -> tuple[Tensor, ...]:
            full = list(args)
            for i, value in zip(free, chosen, strict=True):
                full[i] = value
            return tuple(self.step.flat(*full))

        pullback: Any = torch.func.vjp(of_free, *(args[i] for i in free))[1]
        return list(pullback(tuple(cotangents)))

    # -- what is refused

    def _check_episodes_are_independent(self) -> None:
        """Refuse a part that lets one episode of a batch influence another."""
        step, n = self.step, self.step.first_param
        rng = torch.Generator().manual_seed(1)  # never the caller's
        one, two = ([torch.rand(t.shape, dtype=t.dtype, generator=rng) for t in step.examples[:n]] for _ in range(2))
        both = [torch.cat(pair) for pair in zip(one, two, strict=True)]
        results = [step.flat(*args, *step.params) for args in (one, two, both)]
        for a, b, together in zip(*results, strict=True):
            close = 16 * torch.finfo(together.dtype).eps  # of numbers of the size of 1
            if together.shape[0] == 2 and not torch.allclose(
                torch.cat([a, b]), together, rtol=close, atol=close, equal_nan=True
            ):
                raise UnsupportedError("episodes of a batch act on one another")

    def _change(self) -> ChangeTerms | None:
        """The form of the change; its matrices may depend on parameters alone."""
        step = self.step
        if not step.plastic:
            return None
        names = [name for name, _ in step.results(*step.examples)]
        if "C" in names or "M" in names:
            graph = capture_graph(step.matrices, step.examples).graph
            changing = [n for n in graph.nodes if n.op == "placeholder"][: step.first_param]
            if any(node.users for node in changing):
                raise UnsupportedError("a coefficient for every pair of units that changes within an episode")
        terms = [i for i, name in enumerate(names) if name == "v"]
        matrices = tuple(names[i + 1 : i + 2] == ["C"] for i in terms)
        return ChangeTerms(matrices, "row" in names, "column" in names, "M" in names, "write" in names)

    # -- rows of nodes

    def _inputs(self) -> list[Array]:
        step = self.step
        inputs = [self._rows(name, step.examples[i], 0) for i, name in enumerate(("drive", "pre", "recall"))]
        states = zip(step.states, self.state.leaves, strict=True)
        inputs += [self._rows("state", tensor, leaf.first) for tensor, leaf in states if leaf]
        for tensor, leaf in zip(step.params, self.params.leaves, strict=True):
            inputs.append(np.empty(tensor.shape, object) if leaf is None else self._rows("params", tensor, leaf.first))
        return inputs

    def _axis(self, tensor: Tensor) -> Axis:
        return next((self.sizes[n] for n in tensor.shape if n in self.sizes), Axis.ONE)

    def _rows(self, buffer: str, like: Tensor, first: int) -> Array:
        """An array of input nodes for a tensor."""
        shape, axis = [1 if n in self.sizes else n for n in like.shape], self._axis(like)
        array = np.empty(int(np.prod(shape)), object)
        array[:] = [self.builder.input(buffer, first + i, axis) for i in range(len(array))]
        return array.reshape(shape)

    def _firsts(self, names: Sequence[str]) -> list[int]:
        """The number of the first row of each result."""
        leaves, counts, firsts = iter(self.state.leaves), dict.fromkeys(names, 0), []
        for name in names:
            leaf = next(leaves) if name == "state" else None
            firsts.append(leaf.first if leaf else counts[name])
            counts[name] += 1
        return firsts

    def _outputs(self, names: Sequence[str], values: Sequence[Tensor], arrays: Sequence[Array]) -> tuple[Output, ...]:
        """Rows of each result; those of states and parameters are numbered as their leaves are."""
        leaves = {"state": iter(self.state.leaves), "params": (leaf for leaf in self.params.leaves if leaf)}
        counts, outputs = dict.fromkeys(names, 0), []
        for name, value, array in zip(names, values, arrays, strict=True):
            leaf = next(leaves[name]) if name in leaves else None
            first = leaf.first if leaf else counts[name]
            counts[name] += 1
            for i, node in enumerate(array.flat):
                outputs.append(Output(name, self._axis(value), first + i, self.builder.as_number(node)))
        return tuple(outputs)
