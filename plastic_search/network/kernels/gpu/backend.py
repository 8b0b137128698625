"""A layer's two functions on a GPU, by Triton; one instance of a function runs one episode.

Triton compiles them when they are first called, and keeps what it compiled in a cache of its own. Where the variable
TRITON_INTERPRET is 1, it runs them step by step on the CPU instead, slowly: that is how the tests run them.
"""

from __future__ import annotations

import linecache
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from plastic_search.network.kernels.buffers import Call
from plastic_search.network.kernels.gpu.layer import text, warps

__all__ = ["GPU", "compiled_text", "loaded", "names_of", "rooms"]


class GPU:
    """Runs them there (`passes.Backend`)."""

    name = "gpu"

    def declined(self, x: Tensor) -> str:
        """Why `x` cannot be run here; "" where it can."""
        try:
            import triton  # noqa: F401  # pyright: ignore[reportMissingImports]
        except ImportError:
            return "triton is not installed: python -m pip install triton"
        if x.device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1":
            return ""
        return f"the network is on {x.device.type}"

    def parts(self, call: Call) -> int:
        return call.sizes.batch

    def spacing(self, times: int, episodes: int, trace: int) -> tuple[int, int]:
        return max(1, round(times**0.5)), 1

    def prepared(
        self, call: Call, function: str, tensors: dict[str, Tensor], sums: dict[str, Tensor]
    ) -> Callable[[], None]:
        s, given = call.sizes, rooms(call, tensors, sums)
        made = loaded(compiled_text(call, given))[function]
        in_order = [given[name] for name in names_of(given)]
        options = {"num_warps": warps(call.kind, s, function), "num_stages": 1}

        def run() -> None:
            with torch.cuda.device_of(in_order[0]):
                made[(s.members * s.batch,)](*in_order, s.times, s.batch, **options)

        return run


def rooms(call: Call, tensors: dict[str, Tensor], sums: dict[str, Tensor]) -> dict[str, Tensor]:
    """All tensors of a call, with the room that each episode needs on the way back."""
    s, kind, like = call.sizes, call.kind, tensors["drive"]
    if not sums:
        return tensors
    episodes = s.members * s.batch
    made = {"adjoints": like.new_zeros(episodes, kind.adjoints.area.size(s.post_room, s.pre_room, kind.number.lanes))}
    if kind.traced.shares is not None:
        trace = (episodes, s.every, s.post, s.pre_room)
        made["segment"] = like.new_empty(trace)
        if kind.traced.shares.retroactive:
            made["segment_e"] = like.new_empty(trace)
    return tensors | sums | made


def names_of(given: dict[str, Tensor]) -> tuple[str, ...]:
    """The order in which a function is given its tensors."""
    return tuple(sorted(given))


def compiled_text(call: Call, given: dict[str, Tensor]) -> str:
    """The text of both functions, for a call that is given these tensors."""
    sizes = call.sizes._replace(members=1, times=1, batch=1)  # which are not in the text
    keep, heard = given["traces"].numel() > 0, given.get("d_pre")
    return text(call.kind, sizes, names_of(given), keep, heard is not None and heard.numel() > 0)


@lru_cache(maxsize=512)
def loaded(source: str) -> dict[str, Any]:
    """The functions of a text, by name."""
    import triton  # pyright: ignore[reportMissingImports]
    import triton.language as tl  # pyright: ignore[reportMissingImports]

    name = f"<plastic_search kernel {hash(source):x}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)  # where Triton reads it
    space: dict[str, Any] = {"triton": triton, "tl": tl, "__name__": "plastic_search.network.kernels.made"}
    exec(compile(source, name, "exec"), space)
    return space
