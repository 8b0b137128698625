"""One forward or backward pass of a layer by any backend: its buffers, and the matrix products that torch does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from plastic_search.network.kernels.buffers import (
    Buffers,
    Call,
    LayerTensors,
    Sizes,
    allocate,
    pack,
    pad_columns,
    padded_trace,
    receive,
    source_weight,
    unpack,
)
from plastic_search.network.kernels.layout import LITERALS, KernelSignature
from plastic_search.network.kernels.tracing.ir import Unsupported
from plastic_search.network.quantization import phases

__all__ = ["Backend", "Prepared", "Spacing", "Steps", "backward", "constants", "forward"]

_ALIGNED = 64  # bytes of a vector, at whose multiples rows begin


class Spacing(NamedTuple):
    """How far checkpoints lie apart (see `layout`)."""

    segment_steps: int
    inner_steps: int


class Steps(NamedTuple):
    """Which steps of a sequence one run of `forward` takes: from `first` to `end` - 1.

    The change of a step is written to the trace together with the read at the next one, which a later run may do.
    """

    first: int
    end: int
    written: int  # the step before which no change is left to write
    finish: bool  # whether the change of the last step is written, too


class Prepared(Protocol):
    """One of the two functions with all its arguments; each call runs it, over all steps unless some are given."""

    def __call__(self, steps: Steps | None = None) -> None: ...


class Backend(Protocol):
    """Compiles and runs the two functions of a layer, `forward` and `backward`."""

    name: str

    def unsupported(self, x: Tensor) -> Unsupported | None:
        """Why it cannot run on `x`; None where it can."""
        ...

    def partial_sums(self, call: Call) -> int:
        """How many groups of a member's episodes sum their derivatives separately."""
        ...

    def spacing(self, times: int, episodes: int, trace: int) -> Spacing:
        """How many steps apart checkpoints are, where one episode's trace has `trace` bytes."""
        ...

    def prepare(self, call: Call, function: str, tensors: dict[str, Tensor], sums: dict[str, Tensor]) -> Prepared:
        """One of the two functions with all its arguments.

        Args:
            tensors: what it reads and writes, by the names of `KernelSignature.table`, each [member, ...].
            sums: what it adds to, each [member, partial sum, ...].
        """
        ...


def forward(
    backend: Backend, call: Call, x: Tensor, tensors: LayerTensors, for_backward: bool
) -> tuple[Buffers, dict[str, Tensor]]:
    """Run a layer over a sequence.

    Args:
        x: [member, time, batch, sources].
        for_backward: whether to store checkpoints.

    Returns:
        What was written, and the `constants` that were read.
    """
    buffers, read = allocate(call, x, tensors, for_backward), constants(call, x, tensors)
    receive(buffers, call, x, tensors)
    backend.prepare(call, "forward", buffers._asdict() | read, {})()
    return buffers, read


def backward(
    backend: Backend, call: Call, x: Tensor, tensors: LayerTensors, buffers: Buffers, read: dict[str, Tensor],
    grads: Sequence[Tensor | None], needs_d_x: bool,
) -> list[Tensor | None]:  # fmt: skip
    """The derivatives of `x`, or None where it is not needed, and of `tensors.flat()`.

    Args:
        buffers, read: the results of `forward`.
        grads: the derivatives of `Buffers.results`.
    """
    s, signature = call.sizes, call.signature
    d = _gradients(call, x, grads, needs_d_x)
    sums = _sums(call, x, backend.partial_sums(call))
    backend.prepare(call, "backward", buffers._asdict() | read | d, sums)()
    d_drive = d["d_drive"].flatten(3).flatten(1, 2)
    others: list[Tensor | None] = list(unpack(d["d_state"], signature.program.state, call))
    others = [None if state is None else grad for state, grad in zip(tensors.others, others, strict=False)]
    others += unpack(sums["d_params"].sum(1), signature.program.params, call)
    others += [sums[f"d_{name}"].sum(1)[..., : s.width] for name in signature.matrices]
    d_weight, d_bias = _d_weights(call, d_drive, x, _before(call, tensors, buffers))
    result = LayerTensors(
        weight=d_weight,
        bias=d_bias,
        alpha=sums["d_alpha"].sum(1)[..., : s.width] if tensors.alpha is not None else None,
        output=_d_first_output(call, d["d_output"]) if tensors.output is not None else None,
        trace=d["d_trace"][..., : s.width] if tensors.trace is not None else None,
        eligibility=d["d_eligibility"][..., : s.width] if tensors.eligibility is not None else None,
        dither=None,
        signals=d.get("d_signals"),
        controls=None,
        others=tuple(others),
    )
    return [_d_sources(call, d_drive, d, tensors, x) if needs_d_x else None, *result.flat()]


def constants(call: Call, x: Tensor, tensors: LayerTensors) -> dict[str, Tensor]:
    """The tensors that a pass reads and does not change, by the names of `KernelSignature.table`."""
    s, signature = call.sizes, call.signature
    sizes = s._replace(times=0, batch=0, segment_steps=0, inner_steps=0)  # which they do not depend on
    common = _common_constants(signature, call.limit, call.top_level, sizes, x.dtype, x.device)
    read = {name: value.expand(s.members, *value.shape) for name, value in common.items()}
    if signature.recurrent:
        read["recurrent_weight"] = pad_columns(tensors.weight[..., s.sources :], s.post_padded)
    if tensors.alpha is not None:
        read["alpha"] = pad_columns(tensors.alpha, s.pre_padded)
    if signature.recurrent_plastic:
        read["weight"] = x.new_zeros(s.members, s.post, s.pre_padded)
        read["weight"][..., s.plastic_sources : s.width] = tensors.weight[:, signature.program.plastic, :, s.sources :]
    if tensors.dither is not None:
        read["dither"] = tensors.dither
    if tensors.signals is not None:
        read["signals"] = tensors.signals.contiguous()
    if tensors.controls is not None:
        read["controls"] = tensors.controls.contiguous()
    matrices = zip(signature.matrices, tensors.others[call.state_count + call.vector_count :], strict=True)
    return read | {name: pad_columns(matrix, s.pre_padded) for name, matrix in matrices if matrix is not None}


@lru_cache(maxsize=64)
def _common_constants(
    signature: KernelSignature, limit: float, top: int, s: Sizes, dtype: torch.dtype, device: torch.device
) -> dict[str, Tensor]:
    """Those that are equal in every call and for every member. Nothing may change them."""
    like = torch.empty(0, dtype=dtype, device=device)
    limits = (limit, limit / max(top, 1), top, s.post, s.width)
    common = {"constants": like.new_tensor((*signature.constants, *LITERALS)), "limits": like.new_tensor(limits)}
    if signature.uses_phases:
        common["phases"] = pad_columns(phases(s.post, s.width, like), s.pre_padded)
    return common


def _gradients(call: Call, x: Tensor, grads: Sequence[Tensor | None], needs_d_x: bool) -> dict[str, Tensor]:
    """The derivatives of each episode's own tensors, as they are before backward."""
    s, signature = call.sizes, call.signature
    empty = x.new_empty if call.ends is None else x.new_zeros  # after the end of an episode nothing is written
    d_y, d_trace, d_eligibility, *d_states = grads
    state = x.new_zeros(s.members, s.batch, call.size(signature.state))
    pack(state, d_states, signature.program.state, call)
    pre = s.pre_padded if needs_d_x and signature.plastic else 0
    d = {
        "d_output": _d_output(call, x, d_y),
        "d_state": state,
        "d_drive": empty(s.members, s.times, s.batch, signature.program.sums, s.post_padded),
        "d_pre": empty(s.members, s.times, s.batch, pre),
    }
    if signature.plastic:
        d["d_trace"] = padded_trace(x, d_trace, s)
    if signature.program.signals:
        d["d_signals"] = x.new_zeros(s.members, s.times, s.batch, signature.program.signals)
    if signature.retroactive:
        d["d_eligibility"] = padded_trace(x, d_eligibility, s)
    return d


def _d_output(call: Call, x: Tensor, d_y: Tensor | None) -> Tensor:
    """The derivatives of the outputs, to which backward adds those through the steps after them, if there are any."""
    s, on = call.sizes, call.signature.sends_on
    shape = (s.members, s.times + on, s.batch, s.post_padded)
    if not on and d_y is not None and d_y.shape == shape and d_y.is_contiguous() and d_y.data_ptr() % _ALIGNED == 0:
        return d_y
    output = x.new_zeros(shape)
    if d_y is not None:
        output[:, int(on) :, :, : s.post] = d_y
    return output


def _sums(call: Call, x: Tensor, count: int) -> dict[str, Tensor]:
    """Derivatives that are sums over episodes, as so many partial sums."""
    s, signature = call.sizes, call.signature
    sums = {"d_params": x.new_zeros(s.members, count, call.size(signature.params))}
    for name in ("alpha", *signature.matrices) if signature.plastic else ():
        sums[f"d_{name}"] = x.new_zeros(s.members, count, s.post, s.pre_padded)
    return sums


def _d_first_output(call: Call, d_output: Tensor) -> Tensor:
    """The derivative of the output before the first step [member, batch, post]."""
    first = d_output[:, 0, :, : call.sizes.post]
    return first if call.signature.sends_on else torch.zeros_like(first)


def _d_sources(call: Call, d_drive: Tensor, d: dict[str, Tensor], tensors: LayerTensors, x: Tensor) -> Tensor:
    s = call.sizes
    d_x = (d_drive @ source_weight(tensors.weight, s, call.signature.program.sums)).view(x.shape)
    return d_x + d["d_pre"][..., : s.plastic_sources] if s.plastic_sources else d_x


def _before(call: Call, tensors: LayerTensors, buffers: Buffers) -> Tensor:
    """The output before each step, as it was received [member, time, batch, post]."""
    names, before = call.signature.program.controls, buffers.output[:, :-1]
    if "cleared" not in names or tensors.controls is None or not call.signature.sends_on:
        return before
    return before.masked_fill(tensors.controls.narrow(-1, names.index("cleared"), 1) > 0.5, 0.0)


def _d_weights(call: Call, d_drive: Tensor, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """The derivatives of weight and bias, from that of the drive [member, time * batch, sums * post].

    Args:
        before: the outputs that were received [member, time, batch, post].
    """
    s, across = call.sizes, d_drive.mT
    sums, recurrent = call.signature.program.sums, call.signature.program.recurrent
    shape = (s.members, -1, s.post_padded)
    own = across[:, : len(recurrent) * s.post_padded]
    x = x.reshape(s.members, -1, s.sources)
    few = s.sources < s.post_padded  # then the transposed product is the faster one
    parts = [((x.mT @ own.mT).mT if few else own @ x).view(*shape, s.sources)]
    if call.signature.recurrent:
        found = (across @ before.reshape(s.members, -1, s.post_padded)).view(*shape, s.post_padded)[..., : s.post]
        parts.append(found if len(recurrent) == sums else found[:, list(recurrent)])
    return torch.cat(parts, -1)[:, :, : s.post], d_drive.sum(1).view(shape)[..., : s.post]
