"""Derivatives under a soft bound where traces are exactly at their limit, and rounding decides about the last bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from parity import gaps, network, results

from plastic_search.cells.linear import Linear
from plastic_search.modulations import Rate
from plastic_search.modulations.simple import Simple
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.network.step import synapse_step
from plastic_search.rules import Change
from plastic_search.structures.feed_forward import FeedForward

LIMITS = (0.7, 1.1, 1.3)


@pytest.mark.usefixtures("quick_code")
def test_at_the_limit_the_kernel_equals_the_reference() -> None:
    for limit in LIMITS:
        layer = Layer(5, Linear(), modulation=Simple(), structure=FeedForward(), plastic=Pathway.INPUT)
        layer = replace(layer, bound=Bound.SOFT, limit=limit)
        net = network(NetworkSpec((layer,)), 3, torch.float64)
        x = 1e4 * torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        exact = results(net, "reference", x, None)
        assert (exact["layers.0.trace"].abs() == limit).all()
        assert max(gaps(exact, results(net, "cpu", x, None)).values()) <= 1e-10


def test_the_derivative_at_the_limit_is_that_from_within() -> None:
    """H' = H + (1 - H / L) w of w > 0, and L of w > L: at H = L the derivatives are max(0, 1 - w / L), and 0."""
    for limit in LIMITS:
        write = torch.tensor([0.25, 0.5, 2.0, 1e6], dtype=torch.float64).mul(limit).view(1, -1, 1).requires_grad_()
        for sign in (1.0, -1.0):
            trace = torch.full_like(write, sign * limit).requires_grad_()
            rate = Rate(torch.ones_like(write))
            after, _ = synapse_step(Change(dense=sign * write), rate, trace, None, Bound.SOFT, limit, None)
            assert after.flatten().tolist() == [sign * limit] * 4
            d_trace, d_write = torch.autograd.grad(after.sum(), (trace, write))
            torch.testing.assert_close(d_trace.flatten(), trace.new_tensor([0.75, 0.5, 0.0, 0.0]))
            torch.testing.assert_close(d_write, torch.zeros_like(write))
