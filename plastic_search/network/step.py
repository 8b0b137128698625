"""Reference implementation of one time step. All kernels and exporters are tested for equality with it.

One step of one layer, in the order of `layer_signals`; * is elementwise, (x) the outer product of each episode:

    pre     = concat(outputs of other layers, the layer's own previous output)
    drive   = W pre + b + (alpha * H) pre                        of several drives, one is plastic; some may be split
    cell', Response(output', post) = cell.step(params, cell, drive)
    output', post = round(output', post)                         if activity has a format, in all layers but the last
    dH      = rule.step(pre, post, recall = H pre, H)            = sum(coef * post (x) pre) - decay * H + dense
    rate, modulation' = modulation.step(output', output, inputs, cell', a modulatory layer's output)
    H'      = bound(H + rate * dH)                               at once; or, if the modulation is retroactive,
    H'      = bound(H + rate * E),  E' = (1 - eta) E + eta dH    through the eligibility trace E
    H'      = round(H')                                          if the precision gives traces a format

H is clipped, or rounded from what error feedback keeps, in drive and recall alone, and not in H', where that is asked.

Only the plastic pathway, the columns `Shape.plastic` of `pre`, has a trace. What does not change within an episode is
prepared by `resolve`: the structure's gates, and the rounding of W and alpha. Source: differentiable plasticity, Miconi
et al. 2018 (arXiv 1804.02464); modulation and eligibility traces, Miconi et al. 2019 (Backpropamine, arXiv 2002.10585).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from plastic_search.cells import Cell
from plastic_search.modulations import Observation, Rate
from plastic_search.network.blocks import without_gradients
from plastic_search.network.controls import NOTHING, Controls, begun, chosen, imposed
from plastic_search.network.formats import Formats, formats, sent
from plastic_search.network.quantization import next_dither, parameter_rounder, reading, round_trace, start_dither
from plastic_search.network.spec import Bound, Layer, NetworkSpec
from plastic_search.precisions import Role
from plastic_search.rules import Activity, Change
from plastic_search.structures import Shape, Source

__all__ = [
    "LayerParams", "LayerState", "Ready", "Signals", "layer_inputs", "layer_signals", "layer_start", "layer_step",
    "resolve", "separated", "start", "step", "step_signals", "synapse_step", "trace_read",
]  # fmt: skip


class LayerParams(NamedTuple):
    """The parameters of one layer, which training changes between episodes."""

    weight: Tensor  # [drives, post, pre]
    bias: Tensor  # [sums, post]; as many as drives, and one more for each that the cell splits
    alpha: Tensor  # [post, width], [post, 1] or [1, 1]; width is that of the plastic pathway
    cell: Any
    rule: Any
    modulation: Any
    structure: Any


class Ready(NamedTuple):
    """The parameters of one layer as the steps of an episode use them: gated, rounded, expanded to full shape."""

    weight: Tensor  # [drives, post, pre]
    bias: Tensor  # [sums, post]; as many as drives, and one more for each that the cell splits
    alpha: Tensor | None  # [post, width]; None where nothing is plastic
    cell: Any
    rule: Any
    modulation: Any


class LayerState(NamedTuple):
    """What one layer carries from step to step. All is zero at the start of an episode, except `dither`."""

    output: Tensor  # [batch, post]
    cell: Any
    trace: Tensor | None  # [batch, post, width], H; None where nothing is plastic
    rule: Any
    eligibility: Tensor | None  # [batch, post, width], E; None unless the modulation is retroactive
    dither: Tensor | None  # [batch, 1, 1], noise state of stochastic rounding; None where the trace is a float
    modulation: Any = ()


class Signals(NamedTuple):
    """What one step of a layer computes on the way to its next state."""

    pre: Tensor  # [batch, pre], what the layer receives
    drive: Tensor  # [batch, sums, post]
    post: Tensor  # [batch, post], the postsynaptic activity in the plasticity rule
    rate: Rate | None  # the plasticity rate, by which the modulation multiplies what is written


def step(
    spec: NetworkSpec, shapes: tuple[Shape, ...], ready: tuple[Ready, ...], state: tuple[LayerState, ...], x: Tensor
) -> tuple[Tensor, tuple[LayerState, ...]]:
    """One time step of the whole network.

    Args:
        x: [batch, inputs].

    Returns:
        The last layer's output [batch, post], and the next state.
    """
    after, _ = step_signals(spec, shapes, ready, state, x)
    return after[-1].output, after


def step_signals(
    spec: NetworkSpec, shapes: tuple[Shape, ...], ready: tuple[Ready, ...], state: tuple[LayerState, ...], x: Tensor,
    controls: Controls = NOTHING,
) -> tuple[tuple[LayerState, ...], tuple[Signals, ...]]:  # fmt: skip
    """One time step of the whole network: the next state, and what each layer computes on the way to it.

    Args:
        x: [batch, inputs].
    """
    outputs, after, signals = [x], [], []
    for layer, shape, params, before, form in zip(spec.layers, shapes, ready, state, formats(spec), strict=True):
        now, computed = layer_signals(layer, shape, params, before, layer_inputs(shape, outputs), form, controls)
        outputs.append(now.output)
        after.append(now)
        signals.append(computed)
    return tuple(after), tuple(signals)


def layer_inputs(shape: Shape, outputs: Sequence[Tensor]) -> Tensor:
    """What a layer receives from other layers.

    Args:
        outputs: [..., units] each, the network's input first, then the output of each layer before this one.

    Returns:
        [..., received]: the columns of `pre` that are not the layer's own previous output, and those that only its
        modulation sees (`Shape.modulator`).
    """
    sources = shape.feedforward if shape.modulator is None else (*shape.feedforward, shape.modulator)
    parts = [_selected(outputs[source.layer + 1], source) for source in sources]
    return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]


def separated(shape: Shape, received: Tensor) -> tuple[Tensor, Tensor | None]:
    """What a layer receives through its connections, and what its modulation sees of the layer that it names."""
    if shape.modulator is None:
        return received, None
    return received[..., : shape.inputs], received[..., shape.inputs :]


def _selected(output: Tensor, source: Source) -> Tensor:
    return output if source.complete else output.index_select(-1, torch.from_numpy(source.index).to(output.device))


def layer_step(
    layer: Layer, shape: Shape, ready: Ready, state: LayerState, inputs: Tensor, form: Formats,
    controls: Controls = NOTHING,
) -> LayerState:  # fmt: skip
    """One time step of one layer.

    Args:
        inputs: [batch, received], what the layer receives from other layers (`layer_inputs`).
        form: the precision's formats of the layer's trace and activity.
    """
    return layer_signals(layer, shape, ready, state, inputs, form, controls)[0]


def layer_signals(
    layer: Layer, shape: Shape, ready: Ready, state: LayerState, inputs: Tensor, form: Formats,
    controls: Controls = NOTHING,
) -> tuple[LayerState, Signals]:  # fmt: skip
    """`layer_step`, with what it computes on the way: the equations of this module, in their order."""
    state, (inputs, modulator) = begun(state, controls), separated(shape, inputs)
    received = pre = torch.cat([inputs, state.output], dim=1) if shape.recurrent else inputs
    drive = _drive(layer.cell, shape, ready, inputs, state.output, pre)
    if ready.alpha is None or state.trace is None:
        cell, response = layer.cell.step(ready.cell, state.cell, drive)
        response = sent(response, form.activity)
        after = LayerState(response.output, cell, trace=None, rule=(), eligibility=None, dither=None)
        return chosen(controls.ended, state, after), Signals(received, drive, response.post, rate=None)

    trace, dither, pre = state.trace, state.dither, _plastic(shape, inputs, state.output, pre)
    read = trace_read(trace, layer.bound, layer.limit, reading(form.trace, layer.limit))
    drive = drive + _plastic_drive(layer.cell, shape, ready.alpha * read, pre)
    cell, response = layer.cell.step(ready.cell, state.cell, drive)
    response = sent(response, form.activity)
    activity = Activity(pre, response.post, None if read is trace else _product(read, pre), trace)
    change, rule = layer.rule.step(ready.rule, state.rule, activity)
    seen = Observation(response.output, state.output, inputs, cell, modulator)
    rate, modulation = layer.modulation.step(ready.modulation, state.modulation, seen)
    rate = imposed(rate, controls)
    rounded = None
    if form.trace is not None and dither is not None:
        rounded = partial(round_trace, form=form.trace, limit=layer.limit, dither=dither)
        dither = next_dither(dither)
    trace, eligibility = synapse_step(
        change, rate, trace, state.eligibility, layer.bound, layer.limit, rounded, controls.frozen
    )
    after = LayerState(response.output, cell, trace, rule, eligibility, dither, modulation)
    after = chosen(controls.ended, state, after)
    return after, Signals(received, drive, response.post, rate)


def _plastic(shape: Shape, inputs: Tensor, output: Tensor, pre: Tensor) -> Tensor:
    """The columns `shape.plastic` of `pre`; where they are one of its halves, that half itself, which is no copy."""
    match shape.plastic.start, shape.plastic.stop:
        case 0, shape.pre:
            return pre
        case 0, _:
            return inputs
        case _:
            return output


def _product(matrix: Tensor, pre: Tensor) -> Tensor:
    """[batch, post, width] times [batch, width] is [batch, post]."""
    return torch.bmm(matrix, pre.unsqueeze(-1)).squeeze(-1)


def _drive(cell: Cell, shape: Shape, ready: Ready, inputs: Tensor, output: Tensor, pre: Tensor) -> Tensor:
    """W pre + b, as every sum that the cell receives, [batch, sums, post]."""
    if not cell.split:
        return linear(pre, ready.weight.flatten(0, 1), ready.bias.flatten()).unflatten(1, ready.bias.shape)
    first, size = shape.inputs, ready.weight.shape[:2]
    direct = linear(inputs, ready.weight[..., :first].flatten(0, 1)).unflatten(1, size)
    if not shape.recurrent:
        return pad(direct, (0, 0, 0, len(cell.split))) + ready.bias
    recurrent = linear(output, ready.weight[..., first:].flatten(0, 1)).unflatten(1, size)
    drives = [direct[:, d] if d in cell.split else direct[:, d] + recurrent[:, d] for d in range(cell.drives)]
    return torch.stack(drives + [recurrent[:, d] for d in cell.split], dim=1) + ready.bias


def _plastic_drive(cell: Cell, shape: Shape, matrix: Tensor, pre: Tensor) -> Tensor:
    """What the plastic weights [batch, post, width] add to every sum that the cell receives, [batch, sums, post]."""
    direct = cell.plastic
    if direct not in cell.split:
        return _among(cell, direct, _product(matrix, pre))
    added, first = [], shape.plastic_sources
    for index, columns in ((direct, slice(0, first)), (cell.recurrent[direct], slice(first, shape.width))):
        if columns.stop > columns.start:
            added.append(_among(cell, index, _product(matrix[..., columns], pre[:, columns])))
    return sum(added[1:], added[0])


def _among(cell: Cell, index: int, one: Tensor) -> Tensor:
    """One sum [batch, post] as one of all that a cell receives, of which the others are 0."""
    return one.unsqueeze(1) if cell.sums == 1 else pad(one.unsqueeze(1), (0, 0, index, cell.sums - 1 - index))


def trace_read(trace: Tensor, bound: Bound, limit: Any, rounded: Callable[[Tensor], Tensor] | None) -> Tensor:
    """H as drive and recall read it; kernels are compiled from what is captured of this function, too."""
    trace = trace.clamp(-limit, limit) if bound is Bound.READ else trace
    return trace if rounded is None else rounded(trace)


def synapse_step(
    change: Change, rate: Rate, trace: Tensor, eligibility: Tensor | None, bound: Bound, limit: Any,
    rounded: Callable[[Tensor], Tensor] | None, frozen: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """What happens at the synapses in one step. Every kernel is compiled from what is captured of this function.

    Args:
        change: the direction of the change, by the rule.
        trace, eligibility: H and E before the step, [batch, post, width]; E is None where changes are written at once.
        limit: a number, or a tensor that holds one.
        rounded: rounds a bounded trace; None leaves it as it is.
        frozen: [batch, 1], the episodes in which neither changes; None for none.

    Returns:
        H and E after the step.
    """
    before = trace, eligibility
    if rate.eligibility is None or eligibility is None:
        write, eligibility = _times(rate.write, change, trace), None
    else:  # the previous eligibility trace is what is written
        write = _of_synapses(rate.write) * eligibility
        keep = 1.0 - _of_synapses(rate.eligibility)
        eligibility = keep * eligibility + _times(rate.eligibility, change, trace)
    trace = _bounded(trace, write, bound, limit)
    trace = trace if rounded is None else rounded(trace)
    return chosen(frozen, before, (trace, eligibility))


def _of_synapses(rate: Tensor) -> Tensor:
    """A rate that broadcasts over [batch, post, width]."""
    return rate if rate.dim() == 3 else rate.unsqueeze(-1)


def _times(rate: Tensor, change: Change, trace: Tensor) -> Tensor:
    """rate * dH; a rate that is not one of every synapse multiplies vectors."""
    return rate * change.full(trace) if rate.dim() == 3 else change.scaled(rate).full(trace)


def _bounded(trace: Tensor, write: Tensor, bound: Bound, limit: Any) -> Tensor:
    match bound:
        case Bound.NONE | Bound.READ:
            return trace + write
        case Bound.HARD:
            return (trace + write).clamp(-limit, limit)
        case Bound.SOFT:  # a write beyond the limit leads to it, as one of its size does
            write, slope = write.clamp(-limit, limit), trace.new_ones(()) / limit
            distance = 1.0 + torch.where(write > 0, -slope, slope) * trace  # to the limit ahead, 0 to 2
            after = trace + distance * write  # beyond the limit by rounding alone, which decides no derivative
            return after.detach().clamp(-limit, limit) + (after - after.detach())


def start(spec: NetworkSpec, shapes: tuple[Shape, ...], batch: int, like: Tensor, ready: tuple[Ready, ...]) -> Any:
    """The state of every layer at the start of an episode, of `like`'s type and device."""
    return tuple(layer_start(spec, *each, batch, like) for each in zip(spec.layers, shapes, ready, strict=True))


def layer_start(spec: NetworkSpec, layer: Layer, shape: Shape, ready: Ready, batch: int, like: Tensor) -> LayerState:
    """The state of one layer at the start of an episode."""
    output, cell = like.new_zeros(batch, shape.post), layer.cell.state(batch, shape.post, like)
    if ready.alpha is None:
        return LayerState(output, cell, trace=None, rule=(), eligibility=None, dither=None)
    trace = like.new_zeros(batch, shape.post, shape.width)
    rule = layer.rule.state(batch, shape.post, shape.width, like)
    modulation = layer.modulation.state(batch, shape.post, like)
    modulator = None if shape.modulator is None else like.new_zeros(batch, len(shape.modulator.units))
    seen = Observation(output, output, like.new_zeros(batch, shape.inputs), cell, modulator)
    rate, _ = layer.modulation.step(ready.modulation, modulation, seen)
    rounded = spec.precision.format(Role.TRACE) is not None
    return LayerState(
        output, cell, trace, rule,
        eligibility=None if rate.eligibility is None else trace,
        dither=start_dither(batch, like) if rounded else None,
        modulation=modulation,
    )  # fmt: skip


def resolve(spec: NetworkSpec, shapes: tuple[Shape, ...], params: tuple[LayerParams, ...]) -> tuple[Ready, ...]:
    """Gates, rounding of weight and alpha, and alpha's shape, applied once per episode."""
    if spec.held:
        params = without_gradients(spec, shapes, params)
    return tuple(_layer_ready(spec, *each) for each in zip(spec.layers, shapes, params, strict=True))


def _layer_ready(spec: NetworkSpec, layer: Layer, shape: Shape, params: LayerParams) -> Ready:
    gates = layer.structure.gates(params.structure, shape, params.weight)
    weight = params.weight if gates.exists is None else params.weight * gates.exists
    weight = _rounded(weight, spec, Role.WEIGHT)
    bias = params.bias if gates.units is None else params.bias * gates.units
    alpha = None
    if shape.width:
        alpha = _rounded(params.alpha, spec, Role.ALPHA).expand(shape.post, shape.width)
        alpha = alpha if gates.plastic is None else alpha * gates.plastic
    return Ready(weight, bias, alpha, params.cell, params.rule, params.modulation)


def _rounded(value: Tensor, spec: NetworkSpec, role: Role) -> Tensor:
    role_format = spec.precision.format(role)
    return value if role_format is None else parameter_rounder(role_format)(value)
