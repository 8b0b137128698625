"""One layer's whole sequence, with derivatives, by compiled code. Equal to `step.layer_step` run over time.

The drive from the inputs is one matrix product for the whole sequence, which torch does. Everything that depends on
the step before is in two functions, forward and backward, which a backend compiles for the layer's parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.controls import NOTHING, Controls
from plastic_search.network.formats import Formats
from plastic_search.network.kernels.buffers import Buffers, Call, LayerTensors, Sizes, step_of_each
from plastic_search.network.kernels.layout import KernelSignature
from plastic_search.network.kernels.passes import Backend, backward, forward
from plastic_search.network.kernels.torch_internals import has_forward_derivative, is_batched, tree_map
from plastic_search.network.kernels.tracing.capture import capture
from plastic_search.network.kernels.tracing.ir import Unsupported
from plastic_search.network.kernels.tracing.program import StepProgram
from plastic_search.network.kernels.tracing.step_function import Plastic, coefficients
from plastic_search.network.kernels.tracing.verify import difference
from plastic_search.network.pytree import leaves, unflatten
from plastic_search.network.quantization import next_dither, start_dither
from plastic_search.network.spec import Bound, Layer
from plastic_search.network.step import LayerState, Ready, separated
from plastic_search.precisions import Format
from plastic_search.rules import Activity
from plastic_search.structures import Shape

__all__ = ["Prepared", "dithers", "layer_state", "prepare", "seen_signals", "sequence", "unsupported"]


def unsupported(
    layer: Layer, shape: Shape, form: Formats, x: Tensor, controls: Controls = NOTHING
) -> Unsupported | None:
    """Why no backend can run this layer, whose trace and activity have formats; None where one can."""
    if x.dtype not in (torch.float32, torch.float64):
        return Unsupported(f"its numbers are {x.dtype}")
    plastic = _width(shape) > 0
    program = _captured(layer, shape, form, x.dtype, controls)
    if isinstance(program, Unsupported):
        return program
    if plastic and layer.bound is not Bound.NONE and not _in_range(layer.limit, form.trace, x.dtype):
        return Unsupported(f"a limit of {layer.limit:g} is too close to the smallest or largest number of {x.dtype}")
    parts = (layer.cell, Plastic.of(layer, form.trace, program.columns, program.units) if plastic else None)
    why = difference(program, parts, x.dtype, (shape.post, _width(shape), x.shape[-2]))
    return Unsupported(why) if why else None


def _in_range(limit: float, form: Format | None, dtype: torch.dtype) -> bool:
    """Whether the distance of two levels of a bounded trace is no denormal number, and the limit can be multiplied."""
    kind = torch.finfo(dtype)
    return kind.tiny * (form.top if form else 1) <= limit <= kind.max**0.5


def _names(controls: Controls, plastic: bool) -> tuple[str, ...]:
    """What is imposed on a layer's step; where nothing is plastic, it can only end."""
    if controls is NOTHING:
        return ()
    names = tuple(name for name, value in controls._asdict().items() if value is not None)
    return names if plastic else tuple(name for name in names if name == "ended")


def _captured(
    layer: Layer, shape: Shape, form: Formats, dtype: torch.dtype, controls: Controls
) -> StepProgram | Unsupported:
    names, units = _names(controls, shape.width > 0), shape.received - shape.inputs
    return capture(layer, shape.width > 0, dtype, form, names, shape.inputs, units)


def _signature(layer: Layer, shape: Shape, form: Formats, dtype: torch.dtype, controls: Controls) -> KernelSignature:
    plastic, program = _width(shape) > 0, _captured(layer, shape, form, dtype, controls)
    if isinstance(program, Unsupported):
        raise ValueError(program.reason)
    recurrent_plastic = plastic and shape.recurrent > 0 and shape.plastic.stop == shape.pre
    apart = recurrent_plastic and shape.plastic_sources > 0 and program.recurrent[program.plastic] != program.plastic
    return _unique(program, dtype == torch.float64, shape.recurrent > 0, recurrent_plastic, apart)


_unique = lru_cache(maxsize=512)(KernelSignature)  # equal layers share one object, and what is compiled for it


def _width(shape: Shape) -> int:
    return shape.width


def sequence(
    backend: Backend, layer: Layer, shape: Shape, form: Formats, ready: Ready, state: LayerState | None,
    x: Tensor, controls: Controls = NOTHING,
) -> tuple[Tensor, LayerState]:  # fmt: skip
    """All time steps of one layer that is not `unsupported`.

    Args:
        form: the formats of its trace and activity.
        state: where the episodes go on from; None starts them.
        x: [time, batch, received], what it receives from other layers; or [member, time, batch, received], where every
            other tensor has that first axis too, but `controls`.
        controls: what is imposed, [time, batch, 1] each.

    Returns:
        Its outputs [..., time, batch, post], and its state after the last step.
    """
    call, tensors, dither = prepare(backend, layer, shape, form, ready, state, x, controls)
    x, _ = separated(shape, x)
    run = _Sequence.apply if _needs_autograd(x, tensors) else _without_autograd
    output, trace, eligibility, *states = run(backend, call, x, *tensors.flat())  # type: ignore[misc]
    y = output.clone() if output.requires_grad else output.contiguous()  # so that the user may change it in place
    last = output.select(-3, -1).clone() if call.ends is None else _last(output, tensors.output, call.ends)
    return y, layer_state(call, last, states, trace, eligibility, dither)


def _last(output: Tensor, before: Tensor | None, ends: Tensor) -> Tensor:
    """The output of the last step of each episode [..., batch, post]; that of the step before, where it has none."""
    last = output.flatten(-3, -2).index_select(-2, step_of_each((ends - 1).clamp_min(0)))
    return torch.where((ends > 0).unsqueeze(-1), last, torch.zeros_like(last) if before is None else before)


def _needs_autograd(x: Tensor, tensors: LayerTensors) -> bool:
    """Whether a derivative may be asked for; one in forward mode, which does not exist, is then refused."""
    if has_forward_derivative():
        return True
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, *tensors.flat()))


class Prepared(NamedTuple):
    """A call and its tensors, and the dither after its last step."""

    call: Call
    tensors: LayerTensors
    dither: Tensor | None


def prepare(
    backend: Backend, layer: Layer, shape: Shape, form: Formats, ready: Ready, state: LayerState | None,
    x: Tensor, controls: Controls = NOTHING,
) -> Prepared:  # fmt: skip
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
    others = (*states, *vectors, *_matrices(layer, shape, ready, signature, x))
    signals, imposed = seen_signals(signature.program, shape, x), _numbers(controls, call, x)
    tensors = LayerTensors(
        ready.weight, ready.bias, ready.alpha, output, trace, eligibility, noise, signals, imposed, others
    )
    return Prepared(call, tensors, dither)


def _numbers(controls: Controls, call: Call, x: Tensor) -> Tensor | None:
    """What is imposed, [..., time, batch, number]."""
    given = [getattr(controls, name) for name in call.signature.program.controls]
    return torch.cat(given, -1).to(x).expand(*x.shape[:-1], -1) if given else None


def _first_states(layer: Layer, shape: Shape, form: Formats, x: Tensor) -> tuple[list[Any], Any]:
    """The states of cell and rule, and the dither, at the start of episodes."""
    width, batch, members = _width(shape), x.shape[-2], x.shape[:-3]
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


def _matrices(layer: Layer, shape: Shape, ready: Ready, signature: KernelSignature, x: Tensor) -> list[Tensor]:
    """The constants of an episode with a number for every synapse: parameters, and coefficients from the rule."""
    synapses = signature.program.synapses
    if not synapses or not synapses.matrices:
        return []
    width = _width(shape)
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
    return [torch.stack(matrices) for matrices in zip(*members, strict=True)]


def _sizes(backend: Backend, signature: KernelSignature, shape: Shape, x: Tensor) -> Sizes:
    lanes = signature.number.lanes
    sources, width = shape.inputs, _width(shape)
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


class _Sequence(torch.autograd.Function):
    """Forward and backward of one layer's sequence. A single network is run as a population of one."""

    @staticmethod
    def forward(ctx: Any, backend: Backend, call: Call, x: Tensor, *tensors: Tensor | None) -> Any:
        for_backward, ctx.single = any(ctx.needs_input_grad), x.dim() == 3
        ctx.set_materialize_grads(False)
        x, *tensors = _with_members(ctx.single, (x, *tensors))  # type: ignore[assignment]
        buffers, constants = forward(backend, call, x, LayerTensors.of(tensors), for_backward)
        if for_backward:
            ctx.backend, ctx.call, ctx.constants = backend, call, constants
            ctx.save_for_backward(x, *tensors, *buffers)
        return _without_members(ctx.single, buffers.results(call))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():  # as create_graph=True does
            raise PlasticSearchError(
                f"the {ctx.backend.name} kernel has no second derivative; use Network(..., kernel='reference')"
            )
        if any(is_batched(g) for g in grads if g is not None):
            raise PlasticSearchError(
                f"the {ctx.backend.name} kernel takes one derivative at a time, not a batch of them (as vectorize=True "
                "and is_grads_batched=True give it); use Network(..., kernel='reference')"
            )
        x, *saved = ctx.saved_tensors
        count = len(saved) - len(Buffers._fields)
        tensors, buffers = LayerTensors.of(saved[:count]), Buffers(*saved[count:])
        grads = tuple(_with_members(ctx.single, grads))
        d = backward(ctx.backend, ctx.call, x, tensors, buffers, ctx.constants, grads, ctx.needs_input_grad[2])
        return (None, None, *_without_members(ctx.single, d))

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise PlasticSearchError("the kernels have no derivative in forward mode; use Network(..., kernel='reference')")


def _without_autograd(backend: Backend, call: Call, x: Tensor, *tensors: Tensor | None) -> Any:
    """The results of `_Sequence`, where no derivative will be asked for."""
    single = x.dim() == 3
    x, *rest = _with_members(single, (x, *tensors))  # type: ignore[assignment]
    buffers, _ = forward(backend, call, x, LayerTensors.of(rest), for_backward=False)
    return _without_members(single, buffers.results(call))


def _with_members(single: bool, tensors: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """Tensors with a first axis over members, added where there is a single network."""
    return [t if t is None else t.unsqueeze(0) for t in tensors] if single else tensors


def _without_members(single: bool, tensors: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """The inverse of `_with_members`."""
    return tuple(t if t is None else t.squeeze(0) for t in tensors) if single else tuple(tensors)
