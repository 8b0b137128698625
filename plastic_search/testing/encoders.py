"""Promises of every encoder."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from plastic_search.encoders import Encoder
from plastic_search.testing.checks import BATCH, PRE, keep, promise, rng_of, variants
from plastic_search.testing.values import part_promises

__all__ = ["encoder_promises"]

_STEPS = 24


def encoder_promises(kind: type[Encoder] | Encoder) -> None:
    """Check an encoder: sizes, silence, that it is drawn from its generator alone, and leaves currents as they are."""
    part_promises(kind)
    currents = torch.rand(_STEPS, BATCH, PRE, generator=rng_of(1))
    for encoder in variants(kind):
        with promise(encoder, "inputs are [time, batch, channels], finite, and of the type of the currents"):
            inputs, wanted = encoder.encode(currents, rng_of(0)), (_STEPS, BATCH, encoder.channels(PRE))
            keep(inputs.shape == wanted and inputs.dtype == currents.dtype, f"got {list(inputs.shape)} {inputs.dtype}")
            keep(bool(inputs.isfinite().all()) and bool(inputs.any()), "they are not finite, or all 0")
            keep(encoder.encode(currents.double(), rng_of(0)).dtype == torch.float64, "float64 currents are converted")
        with promise(encoder, "the same generator gives the same inputs, and currents are not changed in place"):
            before = currents.clone()
            assert_close(encoder.encode(currents, rng_of(0)), inputs, rtol=0, atol=0)
            keep(torch.equal(before, currents), "they were changed")
        with promise(encoder, "no current, no input; and a single step is enough"):
            keep(not encoder.encode(torch.zeros_like(currents), rng_of(0)).any(), "silence gave inputs")
            keep(encoder.encode(currents[:1], rng_of(0)).shape[0] == 1, "one step became several")
