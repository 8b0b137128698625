"""A layer's whole sequence, forward and backward, by code that is made from its parts.

It equals `step.step` run over time. Products with the sources are one matrix product for the whole sequence, and left
to torch; everything that waits for the step before is in two functions, which a backend runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.kernels.buffers import Call, Given, Memory, Sizes
from plastic_search.network.kernels.layout import Kind
from plastic_search.network.kernels.passes import Backend, backward, forward
from plastic_search.network.kernels.tracing.trace import trace
from plastic_search.network.kernels.tracing.verify import agrees
from plastic_search.network.pytree import leaves, unflatten
from plastic_search.network.quantization import next_dither, start_dither
from plastic_search.network.spec import Bound, Layer
from plastic_search.network.step import LayerState, Ready
from plastic_search.precisions import Format
from plastic_search.rules import Activity
from plastic_search.structures import Shape

__all__ = ["declined", "kind", "laid_out", "nested", "noises", "sequence"]


def declined(layer: Layer, shape: Shape, x: Tensor) -> str:
    """Why no backend can run this layer; "" where one can."""
    if x.dtype not in (torch.float32, torch.float64):
        return f"its numbers are {x.dtype}"
    made = trace(layer, _plastic(shape), x.dtype)
    if isinstance(made, str):
        return made
    parts = (layer.rule, layer.modulation) if _plastic(shape) else None
    sizes = (shape.post, _width(shape), x.shape[-2])
    if not agrees(made, layer.cell, parts, x.dtype, sizes):
        return "its step looks at {} units, {} plastic inputs or {} episodes in a way of its own".format(*sizes)
    return ""


def kind(layer: Layer, shape: Shape, form: Format | None, dtype: torch.dtype) -> Kind:
    """What code a layer needs.

    Raises:
        ValueError: the layer is declined.
    """
    plastic = _plastic(shape)
    made = trace(layer, plastic, dtype)
    if isinstance(made, str):
        raise ValueError(made)
    own_plastic = plastic and shape.recurrent > 0 and shape.plastic.stop == shape.pre
    bound = layer.bound if plastic else Bound.NONE
    rounding = form.rounding if plastic and form is not None else None
    return _kind(made, dtype == torch.float64, bound, shape.recurrent > 0, own_plastic, rounding)


_kind = lru_cache(maxsize=512)(Kind)


def _plastic(shape: Shape) -> bool:
    return _width(shape) > 0


def _width(shape: Shape) -> int:
    return shape.width


def sequence(
    backend: Backend, layer: Layer, shape: Shape, form: Format | None, ready: Ready, state: LayerState | None,
    x: Tensor,
) -> tuple[Tensor, LayerState]:  # fmt: skip
    """All time steps of one layer that is not declined.

    Args:
        state: where the episodes go on from; None starts them.
        x: [time, batch, sources], what the layer hears of others; or [member, time, batch, sources], where every
            other tensor begins with that axis too.

    Returns:
        Its outputs [..., time, batch, post], and its state after the last step.
    """
    call, given, dither = laid_out(backend, layer, shape, form, ready, state, x)
    run = _Sequence.apply if _followed(x, given) else _unfollowed
    said, trace_, eligibility, *after = run(backend, call, x, *given.flat())  # type: ignore[misc]
    y = said.clone() if said.requires_grad else said.contiguous()  # so that it may be changed in place
    return y, LayerState(said.select(-3, -1).clone(), *nested(call, after, trace_, eligibility), dither)


def _followed(x: Tensor, given: Given) -> bool:
    """Whether torch has to be told what is done: a derivative may be asked for."""
    if torch.autograd.forward_ad._current_level >= 0:  # there is none of that kind, which is then told
        return True
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, *given.flat()))


def laid_out(
    backend: Backend, layer: Layer, shape: Shape, form: Format | None, ready: Ready, state: LayerState | None,
    x: Tensor,
) -> tuple[Call, Given, Tensor | None]:  # fmt: skip
    """What a call is given, and the noise of the step after it."""
    which = kind(layer, shape, form, x.dtype)
    params = leaves((ready.rule, ready.modulation)) if ready.alpha is not None else []
    vectors = [p for p, leaf in zip(params, which.traced.params.of, strict=True) if leaf is not None]
    output, trace_, eligibility, dither, states = _first(layer, shape, form, x) if state is None else _given(state)
    call = Call(
        which, _sizes(backend, which, shape, x), layer.limit, form.top if form else 0, len(states), len(vectors)
    )
    dithers, dither = (None, None) if dither is None else noises(dither, x.shape[-3])
    others = (*states, *vectors, *_matrices(layer, shape, ready, which, x))
    given = Given(ready.weight, ready.bias, ready.alpha, output, trace_, eligibility, dithers, others)
    return call, given, dither


def _given(state: LayerState) -> tuple[Any, ...]:
    """Output, traces, noise, and the parts' states."""
    return state.output, state.trace, state.eligibility, state.dither, leaves((state.cell, state.rule))


def _first(layer: Layer, shape: Shape, form: Format | None, x: Tensor) -> tuple[Any, ...]:
    """The same at the start of episodes, None for outputs and traces, which are 0."""
    plastic, batch = _plastic(shape), x.shape[-2]
    rule = layer.rule.state(batch, shape.post, _width(shape), x) if plastic else ()
    states = leaves((layer.cell.state(batch, shape.post, x), rule))
    dither = start_dither(batch, x) if form is not None and plastic else None
    lead = x.shape[:-3]
    if lead:
        dither, *states = [None if t is None else t.expand(*lead, *t.shape) for t in (dither, *states)]
    return None, None, None, dither, states


def nested(
    call: Call, states: Sequence[Tensor], trace_: Tensor | None, eligibility: Tensor | None
) -> tuple[Any, Tensor | None, Any, Tensor | None]:
    """A state's cell, trace, rule and eligibility trace, formed as the parts form them."""
    cell, rule = unflatten(call.kind.traced.carried, iter(states))
    return cell, trace_, rule, eligibility


def noises(first: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """The noise [..., time, batch] of each step, and that of the step after."""
    made = [first]
    for _ in range(times):
        made.append(next_dither(made[-1]))
    return torch.stack(made[:-1], -4).flatten(-3), made[-1]


def _matrices(layer: Layer, shape: Shape, ready: Ready, which: Kind, x: Tensor) -> list[Tensor]:
    """The coefficients that have a number for every synapse, as the rule makes them from its parameters."""
    if not which.matrices:
        return []
    width = _width(shape)
    post, pre = x.new_zeros(1, shape.post), x.new_zeros(1, width)

    def made(params: Any) -> list[Tensor]:
        change, _ = layer.rule.step(params, layer.rule.state(1, shape.post, width, x), Activity(pre, post, post))
        found = {f"coef{i}": term.coef for i, term in enumerate(change.terms)} | {"decay": change.decay}
        return [torch.as_tensor(found[name]).expand(shape.post, width) for name in which.matrices]

    if x.dim() == 3:
        return made(ready.rule)
    members = [made(pytree.tree_map(lambda t, k=k: t[k], ready.rule)) for k in range(len(x))]
    return [torch.stack(each) for each in zip(*members, strict=True)]


def _sizes(backend: Backend, which: Kind, shape: Shape, x: Tensor) -> Sizes:
    lanes = which.number.lanes
    sources, width = shape.pre - shape.recurrent, _width(shape)
    heard = max(min(shape.plastic.stop, sources) - shape.plastic.start, 0)
    post_room = -(-shape.post // lanes) * lanes
    pre_room = -(-(heard + post_room * which.own_plastic) // lanes) * lanes if width else lanes
    times, batch = x.shape[-3:-1]
    members = len(x) if x.dim() == 4 else 1
    every, short = backend.spacing(times, members * batch, shape.post * pre_room * x.element_size())
    return Sizes(shape.post, sources, heard, width, members, times, batch, post_room, pre_room, every, short)


class _Sequence(torch.autograd.Function):
    """Forward and backward of one layer's sequence. Below it, a network that is alone is a population of one."""

    @staticmethod
    def forward(ctx: Any, backend: Backend, call: Call, x: Tensor, *tensors: Tensor | None) -> Any:
        needed, ctx.alone = any(ctx.needs_input_grad), x.dim() == 3
        ctx.set_materialize_grads(False)
        x, *tensors = _lifted(ctx.alone, (x, *tensors))  # type: ignore[assignment]
        memory, still = forward(backend, call, x, Given.of(tensors), keep=needed)
        if needed:
            ctx.backend, ctx.call, ctx.still = backend, call, still
            ctx.save_for_backward(x, *tensors, *memory)
        return _lowered(ctx.alone, memory.results(call))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():  # as create_graph=True does
            raise PlasticSearchError(
                f"the {ctx.backend.name} kernel has no second derivative; use Network(..., kernel='reference')"
            )
        inside: Any = torch._C
        functorch = inside._functorch
        if any(functorch.is_batchedtensor(g) or functorch.is_legacy_batchedtensor(g) for g in grads if g is not None):
            raise PlasticSearchError(
                f"the {ctx.backend.name} kernel takes one derivative at a time, not a batch of them (as vectorize=True "
                "and is_grads_batched=True give it); use Network(..., kernel='reference')"
            )
        x, *saved = ctx.saved_tensors
        count = len(saved) - len(Memory._fields)
        given, memory = Given.of(saved[:count]), Memory(*saved[count:])
        lifted = _lifted(ctx.alone, grads)
        made = backward(ctx.backend, ctx.call, x, given, memory, ctx.still, lifted, ctx.needs_input_grad[2])
        return (None, None, *_lowered(ctx.alone, made))

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise PlasticSearchError("the kernels have no derivative in forward mode; use Network(..., kernel='reference')")


def _unfollowed(backend: Backend, call: Call, x: Tensor, *tensors: Tensor | None) -> Any:
    """What `_Sequence` gives, where no derivative will be asked for."""
    alone = x.dim() == 3
    x, *given = _lifted(alone, (x, *tensors))  # type: ignore[assignment]
    memory, _ = forward(backend, call, x, Given.of(given), keep=False)
    return _lowered(alone, memory.results(call))


def _lifted(alone: bool, tensors: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """Tensors with an axis over members."""
    return [t if t is None else t.unsqueeze(0) for t in tensors] if alone else tensors


def _lowered(alone: bool, tensors: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """Tensors without that axis, where there was none."""
    return tuple(t if t is None else t.squeeze(0) for t in tensors) if alone else tuple(tensors)
