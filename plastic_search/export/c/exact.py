"""Compares a network in integers, compiled, with its golden model: every bit of every output and of the state."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np

from plastic_search.core.errors import PlasticSearchError
from plastic_search.export.c.golden_network import Golden
from plastic_search.export.c.network import Source
from plastic_search.export.c.text import width

__all__ = ["check_exact", "differs", "inputs_of", "saved"]

_LAST = 12  # bytes of a saved state around its numbers


def check_exact(program: Path | str, source: Source, inputs: int, steps: int, seed: int) -> None:
    """Run a compiled `check.c` beside the golden model, on the inputs of `inputs_of`.

    Raises:
        PlasticSearchError: an integer differs; the message says where.
    """
    golden = deepcopy(source.golden)  # it keeps a state
    assert golden is not None
    with subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        state = process.stdout.read(source.state + _LAST)
        for step, x in enumerate(inputs_of(inputs, steps, seed)):
            process.stdin.write(state + x.tobytes())
            process.stdin.flush()
            want = golden.step(x)
            found = process.stdout.read(2 * len(want))
            state = process.stdout.read(source.state + _LAST)
            if found != want.astype("<i2").tobytes() or state[8:-4] != saved(golden, source):
                raise differs(f"in step {step}")
        process.stdin.close()


def inputs_of(inputs: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """Random inputs [inputs] of so many steps, as a network in integers takes them; one in ten is at the limits."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        size = rng.choice((0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 100.0))
        yield np.clip(np.round(size * rng.standard_normal(inputs) * 2**12), -(2**15), 2**15 - 1).astype("<i2")


def saved(golden: Golden, source: Source) -> bytes:
    """The numbers of the golden model's state, as C saves them."""
    found = golden.state()
    return b"".join(found[m.path].astype(f"<i{width(m.kind)}").tobytes() for m in source.members if m.start.size)


def differs(when: str) -> PlasticSearchError:
    """The error of an integer that differs."""
    return PlasticSearchError(f"the network in C leaves its golden model {when}; do not use it")
