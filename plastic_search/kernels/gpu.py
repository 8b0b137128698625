"""A layer's two functions on a GPU, by Triton; one instance of a function runs one episode.

Triton compiles them when they are first called, and keeps what it compiled in a cache of its own. Where the variable
TRITON_INTERPRET is 1, it runs them step by step on the CPU instead, slowly: that is how the tests run them.
"""

from __future__ import annotations

import linecache
import os
from functools import lru_cache
from typing import Any

from torch import Tensor

from plastic_search.kernels.gpu_text import text
from plastic_search.kernels.memory import Call

__all__ = ["GPU", "compiled_text", "declined", "loaded"]


def declined(x: Tensor) -> str:
    """Why `x` cannot be run here; "" where it can."""
    try:
        import triton  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        return "triton is not installed: python -m pip install triton"
    if x.device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1":
        return ""
    return f"the network is on {x.device.type}"


class GPU:
    """Runs them there (`passes.Machine`)."""

    name = "gpu"

    def parts(self, call: Call) -> int:
        return call.sizes.batch

    def run(self, call: Call, function: str, tensors: dict[str, Tensor], sums: dict[str, Tensor]) -> None:
        s, kind = call.sizes, call.kind
        given = {**tensors, **sums}
        if sums:
            given |= _rooms(call, tensors["drive"])
        names = tuple(sorted(given))
        made = loaded(compiled_text(call, names, given))[function]
        grid = (s.members * s.batch,)
        numbers = s.post * (s.pre_room if kind.traced.shares else s.post_room)
        warps = 16 if numbers > 8192 else 8 if numbers > 2048 else 4
        made[grid](*(given[name] for name in names), s.times, s.batch, num_warps=warps, num_stages=1)


def compiled_text(call: Call, names: tuple[str, ...], given: dict[str, Tensor]) -> str:
    """The text of both functions, for a call that is given these tensors."""
    sizes = call.sizes._replace(members=1, times=1, batch=1)  # which are not in the text
    heard = given.get("d_pre")
    return text(call.kind, sizes, names, given["traces"].numel() > 0, heard is not None and heard.numel() > 0)


def _rooms(call: Call, like: Tensor) -> dict[str, Tensor]:
    """Memory that each episode needs on the way back."""
    s, kind = call.sizes, call.kind
    episodes = s.members * s.batch
    area = kind.adjoints.area.size(s.post_room, s.pre_room, kind.number.lanes)
    made = {"adjoints": like.new_zeros(episodes, area)}
    if kind.traced.shares is not None:
        trace = (episodes, s.every, s.post, s.pre_room)
        made["segment"] = like.new_empty(trace)
        if kind.traced.shares.retroactive:
            made["segment_e"] = like.new_empty(trace)
    return made


@lru_cache(maxsize=512)
def loaded(source: str) -> dict[str, Any]:
    """The functions of a text, by name."""
    import triton  # pyright: ignore[reportMissingImports]
    import triton.language as tl  # pyright: ignore[reportMissingImports]

    name = f"<plastic_search kernel {hash(source):x}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)  # where Triton reads it
    space: dict[str, Any] = {"triton": triton, "tl": tl, "__name__": "plastic_search.kernels.made"}
    exec(compile(source, name, "exec"), space)
    return space
