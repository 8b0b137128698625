"""Compares a network in integers, compiled, with its golden model: every bit of every output and of the state."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from plastic_search.core.errors import PlasticSearchError
from plastic_search.export.c.network import Source
from plastic_search.export.c.text import width

__all__ = ["check_exact"]

_LAST = 12  # bytes of a saved state around its numbers


def check_exact(program: Path | str, source: Source, inputs: int, steps: int, seed: int) -> None:
    """Run a compiled `check.c` beside the golden model, on random inputs, one of which in ten is at the limits.

    Raises:
        PlasticSearchError: an integer differs; the message says where.
    """
    golden = source.golden
    assert golden is not None
    rng = np.random.default_rng(seed)
    with subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        state = process.stdout.read(source.state + _LAST)
        for step in range(steps):
            size = rng.choice((0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 100.0))
            x = np.clip(np.round(size * rng.standard_normal(inputs) * 2**12), -(2**15), 2**15 - 1).astype("<i2")
            process.stdin.write(state + x.tobytes())
            process.stdin.flush()
            want = golden.step(x)
            found = np.frombuffer(process.stdout.read(2 * len(want)), "<i2")
            state = process.stdout.read(source.state + _LAST)
            wanted = b"".join(
                golden.state()[m.path].astype(f"<i{width(m.kind)}").tobytes() for m in source.members if m.start.size
            )
            if not np.array_equal(found, want) or state[8:-4] != wanted:
                raise PlasticSearchError(f"the network in C leaves its golden model in step {step}; do not use it")
        process.stdin.close()
