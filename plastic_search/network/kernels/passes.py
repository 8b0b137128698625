"""One call of a layer's two functions, whatever runs them: what they are given, and the products left to torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from plastic_search.network.kernels.buffers import (
    Call,
    Given,
    Memory,
    Sizes,
    begun,
    own_weight,
    pack,
    padded,
    source_weight,
    unpack,
)  # fmt: skip
from plastic_search.network.kernels.layout import LITERALS, Kind
from plastic_search.network.quantization import phases

__all__ = ["Backend", "backward", "fixed", "forward"]


class Backend(Protocol):
    """What runs a layer's two functions, `forward` and `backward`."""

    name: str

    def declined(self, x: Tensor) -> str:
        """Why `x` cannot be run by it; "" where it can."""
        ...

    def parts(self, call: Call) -> int:
        """Into how many parts a member's episodes are divided backwards, each of which has sums of its own."""
        ...

    def spacing(self, times: int, episodes: int, trace: int) -> tuple[int, int]:
        """How many steps lie between two traces that forward keeps, and between two stations on the way back.

        Args:
            trace: bytes of one episode's trace.
        """
        ...

    def prepared(
        self, call: Call, function: str, tensors: dict[str, Tensor], sums: dict[str, Tensor]
    ) -> Callable[[], None]:
        """One of the two, with all that it is given; called, it runs.

        Args:
            tensors: what it reads and writes, by the names of `Kind.table`, each [member, ...].
            sums: what it adds to, each [member, part, ...].
        """
        ...


def forward(backend: Backend, call: Call, x: Tensor, given: Given, keep: bool) -> tuple[Memory, dict[str, Tensor]]:
    """Run a layer over a sequence; `keep` what the backward pass needs, beside what is `fixed`."""
    memory, still = begun(call, x, given, keep), fixed(call, x, given)
    backend.prepared(call, "forward", memory._asdict() | still, {})()
    return memory, still


def backward(
    backend: Backend, call: Call, x: Tensor, given: Given, memory: Memory, still: dict[str, Tensor],
    grads: Sequence[Tensor | None], d_x: bool,
) -> list[Tensor | None]:  # fmt: skip
    """The derivatives of `x`, which is left out where it is not wanted, and of `given.flat()`.

    Args:
        memory, still: what `forward` gave.
        grads: those of `Memory.results`.
    """
    s, kind = call.sizes, call.kind
    d = _begun(call, x, grads, d_x)
    sums = _sums(call, x, backend.parts(call))
    backend.prepared(call, "backward", memory._asdict() | still | d, sums)()
    flat = d["d_drive"].flatten(3).flatten(1, 2)
    lanes = kind.number.lanes
    others: list[Tensor | None] = list(unpack(d["d_state"], kind.traced.state, kind.state, s, lanes))
    others = [None if given.others[k] is None else each for k, each in enumerate(others)]
    others += unpack(sums["d_params"].sum(1), kind.traced.params, kind.params, s, lanes)
    others += [sums[f"d_{name}"].sum(1)[..., : s.width] for name in kind.matrices]
    made = Given(
        *_d_weights(call, flat, x, memory),
        sums["d_alpha"].sum(1)[..., : s.width] if given.alpha is not None else None,
        d["d_output"][:, 0, :, : s.post] if given.output is not None else None,
        d["d_trace"][..., : s.width] if given.trace is not None else None,
        d["d_eligibility"][..., : s.width] if given.eligibility is not None else None,
        None,
        tuple(others),
    )
    return [_d_sources(call, flat, d, given, x) if d_x else None, *made.flat()]


def fixed(call: Call, x: Tensor, given: Given) -> dict[str, Tensor]:
    """What the functions read and do not change."""
    s, kind = call.sizes, call.kind
    alike = _alike(kind, call.limit, call.top, s._replace(times=0, batch=0, every=0, short=0), x.dtype, x.device)
    made = {name: value.expand(s.members, *value.shape) for name, value in alike.items()}
    if kind.recurrent:
        made["own_weight"] = own_weight(given.weight, s)
    if given.alpha is not None:
        made["alpha"] = padded(given.alpha, s)
    if kind.own_plastic:
        made["weight"] = x.new_zeros(s.members, s.post, s.pre_room)
        made["weight"][..., s.heard : s.width] = given.weight[:, kind.traced.plastic, :, s.sources :]
    if given.dither is not None:
        made["dither"] = given.dither
    matrices = zip(kind.matrices, given.others[call.states + call.vectors :], strict=True)
    return made | {name: padded(matrix, s) for name, matrix in matrices if matrix is not None}


@lru_cache(maxsize=64)
def _alike(kind: Kind, limit: float, top: int, s: Sizes, dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
    """What is the same in every call and for every member. Nothing changes it."""
    like = torch.empty(0, dtype=dtype, device=device)
    limits = (limit, limit / max(top, 1), top, s.post, s.width)
    made = {"constants": like.new_tensor((*kind.constants, *LITERALS)), "limits": like.new_tensor(limits)}
    return made | {"phases": padded(phases(s.post, s.width, like), s)} if kind.rounding else made


def _begun(call: Call, x: Tensor, grads: Sequence[Tensor | None], keep_pre: bool) -> dict[str, Tensor]:
    """Derivatives of each episode's own, before the last step."""
    s, kind = call.sizes, call.kind
    lanes, shares = kind.number.lanes, kind.traced.shares
    d_y, d_trace, d_eligibility, *d_states = grads
    output = x.new_zeros(s.members, 1 + s.times, s.batch, s.post_room)
    if d_y is not None:
        output[:, 1:, :, : s.post] = d_y
    state = x.new_zeros(s.members, s.batch, kind.state.size(s.post_room, s.pre_room, lanes))
    pack(state, d_states, kind.traced.state, kind.state, s, lanes)
    made = {
        "d_output": output,
        "d_state": state,
        "d_drive": x.new_empty(s.members, s.times, s.batch, kind.traced.drives, s.post_room),
        "d_pre": x.new_empty(s.members, s.times, s.batch, s.pre_room if keep_pre and shares else 0),
    }
    if shares is not None:
        zeros = x.new_zeros(s.members, s.batch, s.post, s.pre_room)
        made["d_trace"] = padded(d_trace, s) if d_trace is not None else zeros
        if shares.retroactive:
            made["d_eligibility"] = padded(d_eligibility, s) if d_eligibility is not None else torch.zeros_like(zeros)
    return made


def _sums(call: Call, x: Tensor, parts: int) -> dict[str, Tensor]:
    """Derivatives that are sums over episodes, one for each part of them."""
    s, kind = call.sizes, call.kind
    made = {"d_params": x.new_zeros(s.members, parts, kind.params.size(s.post_room, s.pre_room, kind.number.lanes))}
    if kind.traced.shares is not None:
        for name in ("alpha", *kind.matrices):
            made[f"d_{name}"] = x.new_zeros(s.members, parts, s.post, s.pre_room)
    return made


def _d_sources(call: Call, flat: Tensor, d: dict[str, Tensor], given: Given, x: Tensor) -> Tensor:
    s = call.sizes
    made = (flat @ source_weight(given.weight, s)).view(x.shape)
    return made + d["d_pre"][..., : s.heard] if s.heard else made


def _d_weights(call: Call, flat: Tensor, x: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
    s, shape, across = call.sizes, (call.sizes.members, call.kind.traced.drives, call.sizes.post_room), flat.mT
    parts = [(across @ x.reshape(s.members, -1, s.sources)).view(*shape, s.sources)]
    if call.kind.recurrent:
        said = memory.output[:, :-1].reshape(s.members, -1, s.post_room)
        parts.append((across @ said).view(*shape, s.post_room)[..., : s.post])
    return torch.cat(parts, -1)[:, :, : s.post], flat.sum(1).view(shape)[..., : s.post]
