"""One layer's whole sequence, with derivatives, by compiled code. Equal to `step.layer_step` run over time.

The drive from the inputs is one matrix product for the whole sequence, which torch does. Everything that depends on
the step before is in two functions, forward and backward, which a backend compiles for the layer's parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.controls import NOTHING, Controls
from plastic_search.network.formats import Formats
from plastic_search.network.kernels.arguments import arguments, captured, layer_state
from plastic_search.network.kernels.buffers import Buffers, Call, LayerTensors, step_of_each
from plastic_search.network.kernels.passes import Backend, Spacing, backward, forward
from plastic_search.network.kernels.torch_internals import has_forward_derivative, is_batched
from plastic_search.network.kernels.tracing.ir import Unsupported
from plastic_search.network.kernels.tracing.step_function import Plastic
from plastic_search.network.kernels.tracing.verify import difference
from plastic_search.network.spec import Bound, Layer
from plastic_search.network.step import LayerState, Ready, separated
from plastic_search.precisions import Format
from plastic_search.structures import Shape

__all__ = ["Forward", "sequence", "unsupported"]


class Forward(NamedTuple):
    """What a forward pass wrote, and what it read."""

    buffers: Buffers
    constants: dict[str, Tensor]  # by the names of `KernelSignature.table`


def unsupported(
    layer: Layer, shape: Shape, form: Formats, x: Tensor, controls: Controls = NOTHING
) -> Unsupported | None:
    """Why no backend can run this layer, whose trace and activity have formats; None where one can."""
    if x.dtype not in (torch.float32, torch.float64):
        return Unsupported(f"its numbers are {x.dtype}")
    plastic = shape.width > 0
    program = captured(layer, shape, form, x.dtype, controls)
    if isinstance(program, Unsupported):
        return program
    if plastic and layer.bound is not Bound.NONE and not _in_range(layer.limit, form.trace, x.dtype):
        return Unsupported(f"a limit of {layer.limit:g} is too close to the smallest or largest number of {x.dtype}")
    parts = (layer.cell, Plastic.of(layer, form.trace, program.columns, program.units) if plastic else None)
    why = difference(program, parts, x.dtype, (shape.post, shape.width, x.shape[-2]))
    return Unsupported(why) if why else None


def _in_range(limit: float, form: Format | None, dtype: torch.dtype) -> bool:
    """Whether the distance of two levels of a bounded trace is no denormal number, and the limit can be multiplied."""
    kind = torch.finfo(dtype)
    return kind.tiny * (form.top if form else 1) <= limit <= kind.max**0.5


def sequence(
    backend: Backend, layer: Layer, shape: Shape, form: Formats, ready: Ready, state: LayerState | None,
    x: Tensor, controls: Controls = NOTHING, done: tuple[Spacing, Forward] | None = None,
) -> tuple[Tensor, LayerState]:  # fmt: skip
    """All time steps of one layer that is not `unsupported`.

    Args:
        form: the formats of its trace and activity.
        state: where the episodes go on from; None starts them.
        x: [time, batch, received], what it receives from other layers; or [member, time, batch, received], where every
            other tensor has that first axis too, but `controls`.
        controls: what is imposed, [time, batch, 1] each.
        done: a forward pass with checkpoints over the same steps, if there was one, and how far these lie apart.

    Returns:
        Its outputs [..., time, batch, post], and its state after the last step.
    """
    call, tensors, dither = arguments(backend, layer, shape, form, ready, state, x, controls)
    if done is not None:
        call = call._replace(sizes=call.sizes._replace(**done[0]._asdict()))
    x, _ = separated(shape, x)
    run = _Sequence.apply if _needs_autograd(x, tensors) else _without_autograd
    results = run(backend, call, done and done[1], x, *tensors.flat())
    output, trace, eligibility, *states = results  # type: ignore[misc]
    own = done is None and not (output.requires_grad and call.signature.sends_on)
    y = output.contiguous() if own else output.clone()  # so that the user may change it in place
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


class _Sequence(torch.autograd.Function):
    """Forward and backward of one layer's sequence. A single network is run as a population of one."""

    @staticmethod
    def forward(
        ctx: Any, backend: Backend, call: Call, done: Forward | None, x: Tensor, *tensors: Tensor | None
    ) -> Any:
        for_backward, ctx.single = any(ctx.needs_input_grad), x.dim() == 3
        ctx.set_materialize_grads(False)
        x, *tensors = _with_members(ctx.single, (x, *tensors))  # type: ignore[assignment]
        buffers, constants = done or forward(backend, call, x, LayerTensors.of(tensors), for_backward)
        if for_backward:
            ctx.backend, ctx.call, ctx.constants = backend, call, constants
            kept = buffers if call.signature.sends_on else buffers._replace(output=x.new_empty(len(x), 0))
            ctx.save_for_backward(x, *tensors, *kept)
        output, *others = _without_members(ctx.single, buffers.results(call))
        return (output if done else _alone(output), *others)

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
        d = backward(ctx.backend, ctx.call, x, tensors, buffers, ctx.constants, grads, ctx.needs_input_grad[3])
        return (None, None, None, *_without_members(ctx.single, d))

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise PlasticSearchError("the kernels have no derivative in forward mode; use Network(..., kernel='reference')")


def _alone(view: Any) -> Tensor:
    """The same numbers in the same memory, and for autograd no view of the buffer: one may be changed in place."""
    return view.new_empty(0).set_(view.untyped_storage(), view.storage_offset(), view.shape, view.stride())


def _without_autograd(backend: Backend, call: Call, done: Forward | None, x: Tensor, *tensors: Tensor | None) -> Any:
    """The results of `_Sequence`, where no derivative will be asked for."""
    single = x.dim() == 3
    x, *rest = _with_members(single, (x, *tensors))  # type: ignore[assignment]
    buffers, _ = done or forward(backend, call, x, LayerTensors.of(rest), for_backward=False)
    return _without_members(single, buffers.results(call))


def _with_members(single: bool, tensors: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """Tensors with a first axis over members, added where there is a single network."""
    return [t if t is None else t.unsqueeze(0) for t in tensors] if single else tensors


def _without_members(single: bool, tensors: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """The inverse of `_with_members`."""
    return tuple(t if t is None else t.squeeze(0) for t in tensors) if single else tuple(tensors)
