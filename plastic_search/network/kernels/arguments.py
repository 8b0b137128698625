"""The arguments of a layer's compiled functions, from what the network holds of the layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plastic_search.network.controls import NOTHING, Controls
from plastic_search.network.formats import Formats
from plastic_search.network.kernels.buffers import Call, LayerTensors, Sizes
from plastic_search.network.kernels.layout import KernelSignature
from plastic_search.network.kernels.passes import Backend
from plastic_search.network.kernels.torch_internals import tree_map
from plastic_search.network.kernels.tracing.capture import capture
from plastic_search.network.kernels.tracing.ir import Unsupported
from plastic_search.network.kernels.tracing.program import StepProgram
from plastic_search.network.kernels.tracing.step_function import coefficients
from plastic_search.network.pytree import leaves, unflatten
from plastic_search.network.quantization import next_dither, start_dither
from plastic_search.network.spec import Layer
from plastic_search.network.step import LayerState, Ready
from plastic_search.rules import Activity
from plastic_search.structures import Shape

__all__ = ["Arguments", "arguments", "captured", "dithers", "layer_state", "matrices", "seen_signals"]


class Arguments(NamedTuple):
    """A call and its tensors, and the dither after its last step."""

    call: Call
    tensors: LayerTensors
    dither: Tensor | None


def arguments(
    backend: Backend, layer: Layer, shape: Shape, form: Formats, ready: Ready, state: LayerState | None,
    x: Tensor, controls: Controls = NOTHING,
) -> Arguments:  # fmt: skip
    """The arguments of `_Sequence` for those of `sequence`."""
    signature = _signature(layer, shape, form, x.dtype, controls)
    params = leaves((ready.cell, ready.rule, ready.modulation))
    vectors = [p for p, leaf in zip(params, signature.program.params.leaves, strict=True) if leaf is not None]
    if state is None:
        output = trace = eligibility = None
        states, dither = _first_states(layer, shape, form, x)
    else:
        output, trace, eligibility, dither = state.output, state.trace, state.eligibility, state.dither
        states = leaves((state.cell, state.rule, state.modulation))
    call = Call(
        signature=signature,
        sizes=_sizes(backend, signature, shape, x),
        limit=layer.limit,
        top_level=form.trace.top if form.trace else 0,
        state_count=len(states),
        vector_count=len(vectors),
        ends=None if controls.ended is None else (~controls.ended).sum((0, 2)),
    )
    noise, dither = (None, None) if dither is None else dithers(dither, x.shape[-3], call.ends)
    others = (*states, *vectors, *matrices(layer, shape, ready, signature.program, x))
    signals, imposed = seen_signals(signature.program, shape, x), _numbers(controls, call, x)
    tensors = LayerTensors(
        ready.weight, ready.bias, ready.alpha, output, trace, eligibility, noise, signals, imposed, others
    )
    return Arguments(call, tensors, dither)


def _numbers(controls: Controls, call: Call, x: Tensor) -> Tensor | None:
    """What is imposed, [..., time, batch, number]."""
    given = [getattr(controls, name) for name in call.signature.program.controls]
    return torch.cat(given, -1).to(x).expand(*x.shape[:-1], -1) if given else None


def _first_states(layer: Layer, shape: Shape, form: Formats, x: Tensor) -> tuple[list[Any], Any]:
    """The states of cell and rule, and the dither, at the start of episodes."""
    width, batch, members = shape.width, x.shape[-2], x.shape[:-3]
    rule = layer.rule.state(batch, shape.post, width, x) if width else ()
    modulation = layer.modulation.state(batch, shape.post, x) if width else ()
    states = leaves((layer.cell.state(batch, shape.post, x), rule, modulation))
    dither = start_dither(batch, x) if form.trace is not None and width else None
    if members:
        dither, *states = [None if t is None else t.expand(*members, *t.shape) for t in (dither, *states)]
    return states, dither


def seen_signals(program: StepProgram, shape: Shape, x: Tensor) -> Tensor | None:
    """What the modulation sees [..., signals] of what the layer receives, `x`; None where it reads nothing of it."""
    return x[..., 0 if program.columns else shape.inputs :] if program.signals else None


def layer_state(
    call: Call, output: Tensor, states: Sequence[Tensor], trace: Tensor | None, eligibility: Tensor | None,
    dither: Tensor | None,
) -> LayerState:  # fmt: skip
    """A state, from the flat states of the parts."""
    cell, rule, modulation = unflatten(call.signature.program.initial_states, iter(states))
    return LayerState(output, cell, trace, rule, eligibility, dither, modulation)


def dithers(first: Tensor, times: int, ends: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The dither [..., time, batch] of each step, and that of the step after the last of each episode."""
    steps = [first]
    for _ in range(times):
        steps.append(next_dither(steps[-1]))
    last = steps[-1]
    if ends is not None:
        last = torch.stack([steps[end].select(-3, k) for k, end in enumerate(ends.tolist())], -3)
    return torch.stack(steps[:-1], -4).flatten(-3), last


def matrices(layer: Layer, shape: Shape, ready: Ready, program: StepProgram, x: Tensor) -> list[Tensor]:
    """The constants of an episode with a number for every synapse: parameters, and coefficients from the rule.

    They are in the order of `SynapseProgram.matrices`, and `x` is what the layer receives, as in `arguments`.
    """
    synapses = program.synapses
    if not synapses or not synapses.matrices:
        return []
    width = shape.width
    post, pre, trace = x.new_zeros(1, shape.post), x.new_zeros(1, width), x.new_zeros(1, shape.post, width)

    def of_member(params: tuple[Any, Any, Any]) -> list[Tensor]:
        found = {f"param{k}": value for k, value in enumerate(leaves(params))}
        if not found.keys() >= {*synapses.matrices}:
            state = layer.rule.state(1, shape.post, width, x)
            change, _ = layer.rule.step(params[1], state, Activity(pre, post, post, trace))
            found |= {n: t.reshape(t.shape[-2:]).expand(shape.post, width) for n, t in coefficients(change).items()}
        return [found[name] for name in synapses.matrices]

    params = (ready.cell, ready.rule, ready.modulation)
    if x.dim() == 3:
        return of_member(params)
    members = [of_member(tree_map(lambda t, k=k: t[k], params)) for k in range(len(x))]
    return [torch.stack(each) for each in zip(*members, strict=True)]


def _sizes(backend: Backend, signature: KernelSignature, shape: Shape, x: Tensor) -> Sizes:
    lanes = signature.number.lanes
    sources, width = shape.inputs, shape.width
    post_padded = -(-shape.post // lanes) * lanes
    used = shape.plastic_sources + post_padded * signature.recurrent_plastic
    pre_padded = -(-used // lanes) * lanes if width else lanes
    times, batch = x.shape[-3:-1]
    members = len(x) if x.dim() == 4 else 1
    spacing = backend.spacing(times, members * batch, shape.post * pre_padded * x.element_size())
    return Sizes(
        post=shape.post,
        sources=sources,
        plastic_sources=shape.plastic_sources,
        width=width,
        members=members,
        times=times,
        batch=batch,
        post_padded=post_padded,
        pre_padded=pre_padded,
        segment_steps=spacing.segment_steps,
        inner_steps=spacing.inner_steps,
    )


def _names(controls: Controls, plastic: bool) -> tuple[str, ...]:
    """What is imposed on a layer's step; where nothing is plastic, it can only end or be cleared."""
    if controls is NOTHING:
        return ()
    names = tuple(name for name, value in controls._asdict().items() if value is not None)
    return names if plastic else tuple(name for name in names if name in ("ended", "cleared"))


def captured(
    layer: Layer, shape: Shape, form: Formats, dtype: torch.dtype, controls: Controls
) -> StepProgram | Unsupported:
    """The program of a layer's step, on which these controls are imposed, or why there is none."""
    names, units = _names(controls, shape.width > 0), shape.received - shape.inputs
    return capture(layer, shape.width > 0, dtype, form, names, shape.inputs, units)


def _signature(layer: Layer, shape: Shape, form: Formats, dtype: torch.dtype, controls: Controls) -> KernelSignature:
    plastic, program = shape.width > 0, captured(layer, shape, form, dtype, controls)
    if isinstance(program, Unsupported):
        raise ValueError(program.reason)
    recurrent_plastic = plastic and shape.recurrent > 0 and shape.plastic.stop == shape.pre
    apart = recurrent_plastic and shape.plastic_sources > 0 and program.recurrent[program.plastic] != program.plastic
    return _unique(program, dtype == torch.float64, shape.recurrent > 0, recurrent_plastic, apart)


_unique = lru_cache(maxsize=512)(KernelSignature)  # equal layers share one object, and what is compiled for it
