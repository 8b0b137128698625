"""The GPU backend: Triton compiles a layer's two functions when they are first called, and caches them itself.

With the environment variable TRITON_INTERPRET=1, Triton interprets them on the CPU instead, slowly: so the tests do.
"""

from __future__ import annotations

import linecache
import os
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from plastic_search.network.kernels.buffers import Call
from plastic_search.network.kernels.gpu.function import tile
from plastic_search.network.kernels.gpu.layer import source
from plastic_search.network.kernels.passes import Prepared, Spacing, Steps
from plastic_search.network.kernels.tracing.ir import Unsupported

__all__ = ["GPU", "argument_names", "call_source", "loaded", "with_scratch"]


class GPU:
    """Runs layers on an NVIDIA GPU (`passes.Backend`)."""

    name = "gpu"

    def unsupported(self, x: Tensor) -> Unsupported | None:
        try:
            import triton  # noqa: F401  # pyright: ignore[reportMissingImports]
        except ImportError:
            return Unsupported("triton is not installed: python -m pip install triton")
        if x.device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1":
            return None
        return Unsupported(f"the network is on {x.device.type}")

    def partial_sums(self, call: Call) -> int:
        return call.sizes.batch

    def spacing(self, times: int, episodes: int, trace: int) -> Spacing:
        return Spacing(segment_steps=max(1, round(times**0.5)), inner_steps=1)

    def prepare(self, call: Call, function: str, tensors: dict[str, Tensor], sums: dict[str, Tensor]) -> Prepared:
        s, tensors = call.sizes, with_scratch(call, tensors, sums)
        compiled = loaded(call_source(call, tensors))[function]
        arguments = [tensors[name].contiguous() for name in argument_names(tensors)]
        options = {"num_warps": tile(call.signature, s, function).warps, "num_stages": 1}

        def run(steps: Steps | None = None) -> None:
            with torch.cuda.device_of(arguments[0]):
                some = Steps(0, s.times, 0, True) if steps is None else steps
                compiled[(s.members * s.batch,)](*arguments, s.times, s.batch, *map(int, some), **options)

        return run


def with_scratch(call: Call, tensors: dict[str, Tensor], sums: dict[str, Tensor]) -> dict[str, Tensor]:
    """All tensors of a call; backward also needs scratch memory for each episode."""
    s, signature, like = call.sizes, call.signature, tensors["drive"]
    episodes = s.members * s.batch
    if signature.clears:
        rows = {"zero": like.new_zeros(s.post_padded), "unused": like.new_zeros(episodes, s.post_padded)}
        tensors = tensors | rows
    if not sums:
        return tensors
    scratch = {"adjoints": like.new_zeros(episodes, call.size(signature.adjoints.area))}
    for name in ["segment"] * signature.plastic + ["segment_e"] * signature.retroactive:
        scratch[name] = like.new_empty(episodes, s.segment_steps, s.post, s.pre_padded)
    return tensors | sums | scratch


def argument_names(tensors: dict[str, Tensor]) -> tuple[str, ...]:
    """The order in which a function takes its tensors."""
    return tuple(sorted(tensors))


def call_source(call: Call, tensors: dict[str, Tensor]) -> str:
    """The source of both functions, for a call with these tensors."""
    sizes = call.sizes._replace(members=1, times=1, batch=1)  # which are not written into the source
    keep, d_pre = tensors["checkpoints"].numel() > 0, tensors.get("d_pre")
    return source(call.signature, sizes, argument_names(tensors), keep, d_pre is not None and d_pre.numel() > 0)


@lru_cache(maxsize=512)
def loaded(text: str) -> dict[str, Any]:
    """The functions of a source, by name."""
    import triton  # pyright: ignore[reportMissingImports]
    import triton.language as tl  # pyright: ignore[reportMissingImports]

    name = f"<plastic_search kernel {hash(text):x}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)  # where Triton reads the source
    space: dict[str, Any] = {"triton": triton, "tl": tl, "__name__": "plastic_search.network.kernels.gpu.generated"}
    exec(compile(text, name, "exec"), space)
    return space
