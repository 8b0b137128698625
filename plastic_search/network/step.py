"""The law: what one time step of a plastic network is. Every fast path and every export must equal it.

pre      = concat(sources, own previous output)
drive    = W pre + (alpha * H) pre                 (one of a cell's drives is plastic)
cell', Response(output', post) = cell.step(cell, drive)
dH       = rule(pre, post, H pre)
rate     = modulation(output')
H'       = round(bound(H + rate * dH))             (or rate * E, E' = (1 - eta) E + eta dH, where retroactive)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plastic_search.cells import Cell
from plastic_search.modulations import Rate
from plastic_search.network.quantization import next_dither, parameter_rounder, round_trace, start_dither
from plastic_search.network.spec import Bound, Layer, NetworkSpec
from plastic_search.precisions import Format, Role
from plastic_search.rules import Activity
from plastic_search.structures import Shape, Source

__all__ = [
    "LayerParams",
    "LayerState",
    "Ready",
    "layer_inputs",
    "layer_start",
    "layer_step",
    "resolve",
    "start",
    "step",
]


class LayerParams(NamedTuple):
    """What training tunes in one layer."""

    weight: Tensor  # [drives, post, pre]
    bias: Tensor  # [drives, post]
    alpha: Tensor  # [post, width], [post, 1] or [1, 1]; width is that of the plastic pathway
    rule: Any
    modulation: Any
    structure: Any


class Ready(NamedTuple):
    """A layer's parameters made ready for one episode: gated, rounded, spread to full shape."""

    weight: Tensor  # [drives, post, pre]
    bias: Tensor  # [drives, post]
    alpha: Tensor | None  # [post, width]; None where nothing is plastic
    rule: Any
    modulation: Any


class LayerState(NamedTuple):
    """What one layer carries from step to step. All zero, but for `dither`, at the start of an episode."""

    output: Tensor  # [batch, post]
    cell: Any
    trace: Tensor | None  # [batch, post, width], H
    rule: Any
    eligibility: Tensor | None  # [batch, post, width], E
    dither: Tensor | None  # [batch, 1, 1], the noise of stochastic rounding


def resolve(spec: NetworkSpec, shapes: tuple[Shape, ...], params: tuple[LayerParams, ...]) -> tuple[Ready, ...]:
    """Gates, rounding and alpha's shape, applied once per episode."""
    return tuple(_ready(spec, *each) for each in zip(spec.layers, shapes, params, strict=True))


def _ready(spec: NetworkSpec, layer: Layer, shape: Shape, params: LayerParams) -> Ready:
    weight, width = params.weight, shape.width
    gates = layer.structure.gates(params.structure, shape, weight)
    weight = _rounded(weight if gates.exists is None else weight * gates.exists, spec, Role.WEIGHT)
    alpha = None
    if width:
        alpha = _rounded(params.alpha, spec, Role.ALPHA).expand(shape.post, width)
        alpha = alpha if gates.plastic is None else alpha * gates.plastic
    bias = params.bias if gates.units is None else params.bias * gates.units
    return Ready(weight, bias, alpha, params.rule, params.modulation)


def _rounded(value: Tensor, spec: NetworkSpec, role: Role) -> Tensor:
    form = spec.precision.format(role)
    return value if form is None else parameter_rounder(form)(value)


def start(spec: NetworkSpec, shapes: tuple[Shape, ...], batch: int, like: Tensor, ready: tuple[Ready, ...]) -> Any:
    """The state of every layer at the start of an episode, of `like`'s type and device."""
    return tuple(layer_start(spec, *each, batch, like) for each in zip(spec.layers, shapes, ready, strict=True))


def layer_start(spec: NetworkSpec, layer: Layer, shape: Shape, ready: Ready, batch: int, like: Tensor) -> LayerState:
    """The state of one layer at the start of an episode."""
    output, cell = like.new_zeros(batch, shape.post), layer.cell.state(batch, shape.post, like)
    if ready.alpha is None:
        return LayerState(output, cell, None, (), None, None)
    width = ready.alpha.shape[1]
    trace = like.new_zeros(batch, shape.post, width)
    rate = layer.modulation.step(ready.modulation, output)
    form = spec.precision.format(Role.TRACE)
    return LayerState(
        output,
        cell,
        trace,
        layer.rule.state(batch, shape.post, width, like),
        None if rate.eligibility is None else trace,
        None if form is None else start_dither(batch, like),
    )


def step(
    spec: NetworkSpec, shapes: tuple[Shape, ...], ready: tuple[Ready, ...], state: tuple[LayerState, ...], x: Tensor
) -> tuple[Tensor, tuple[LayerState, ...]]:
    """One time step of the whole network.

    Args:
        x: [batch, inputs].

    Returns:
        The last layer's output [batch, post], and the next state.
    """
    outputs, after = [x], []
    form = spec.precision.format(Role.TRACE)
    for layer, shape, own, before in zip(spec.layers, shapes, ready, state, strict=True):
        now = layer_step(layer, shape, own, before, layer_inputs(shape, outputs), form)
        outputs.append(now.output)
        after.append(now)
    return outputs[-1], tuple(after)


def layer_inputs(shape: Shape, outputs: Sequence[Tensor]) -> Tensor:
    """What a layer receives from others [..., inputs]; `outputs` are those of the network's input and of each layer."""
    parts = [_selected(outputs[source.layer + 1], source) for source in shape.feedforward]
    return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]


def _selected(output: Tensor, source: Source) -> Tensor:
    if source.complete:
        return output
    return output.index_select(-1, torch.from_numpy(source.index).to(output.device))


def layer_step(
    layer: Layer, shape: Shape, ready: Ready, state: LayerState, inputs: Tensor, form: Format | None
) -> LayerState:
    """One time step of one layer.

    Args:
        inputs: [batch, inputs], what it receives from other layers, as `layer_inputs` returns it.
        form: the format of its trace; None leaves it a float.
    """
    pre = torch.cat([inputs, state.output], dim=1) if shape.recurrent else inputs
    drive = torch.einsum("dmn,bn->bdm", ready.weight, pre) + ready.bias
    if ready.alpha is None or state.trace is None:
        cell, response = layer.cell.step(state.cell, drive)
        return LayerState(response.output, cell, None, (), None, None)
    trace, spoke = state.trace, pre[:, shape.plastic]
    drive = drive + _among(layer.cell, _answer(ready.alpha * trace, spoke))
    cell, response = layer.cell.step(state.cell, drive)
    seen = Activity(spoke, response.post, _answer(trace, spoke))
    change, rule = layer.rule.step(ready.rule, state.rule, seen)
    rate = layer.modulation.step(ready.modulation, response.output)
    changed, eligibility = _written(rate, change.dense(trace), state.eligibility)
    trace = _bounded(trace, changed, layer.bound, layer.limit)
    dither = state.dither
    if form is not None and dither is not None:
        trace = round_trace(trace, form, layer.limit, dither)
        dither = next_dither(dither)
    return LayerState(response.output, cell, trace, rule, eligibility, dither)


def _answer(matrix: Tensor, pre: Tensor) -> Tensor:
    """[batch, post, pre] times [batch, pre]."""
    return torch.matmul(matrix, pre.unsqueeze(-1)).squeeze(-1)


def _among(cell: Cell, answer: Tensor) -> Tensor:
    """What the plastic drive [batch, post] gets, as one of all drives [batch, drives, post]."""
    if cell.drives == 1:
        return answer.unsqueeze(1)
    return torch.nn.functional.pad(answer.unsqueeze(1), (0, 0, cell.plastic, cell.drives - 1 - cell.plastic))


def _written(rate: Rate, change: Tensor, eligibility: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """What is added to the trace, and the next eligibility trace; the write uses the old one."""
    write = rate.write.unsqueeze(-1)
    if rate.eligibility is None or eligibility is None:
        return write * change, None
    return write * eligibility, (1.0 - rate.eligibility) * eligibility + rate.eligibility * change


def _bounded(trace: Tensor, change: Tensor, bound: Bound, limit: float) -> Tensor:
    match bound:
        case Bound.NONE:
            return trace + change
        case Bound.HARD:
            return (trace + change).clamp(-limit, limit)
        case Bound.SOFT:
            room = torch.where(change > 0, limit - trace, limit + trace) / limit
            return (trace + room * change).clamp(-limit, limit)
