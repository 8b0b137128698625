"""A derivative that nothing asks for is 0 in the kernels, as in the reference, even where it is infinite."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from parity import gaps, network
from torch import Tensor

from plastic_search.core.part import Part
from plastic_search.modulations import Modulation, Observation, Rate
from plastic_search.network.spec import Layer, NetworkSpec, Pathway

pytestmark = pytest.mark.usefixtures("quick_code")


@pytest.fixture
def rooted() -> Iterator[type[Modulation]]:
    """A rate whose derivative is infinite in a silent layer; forgotten after the test."""
    before = dict(Part.kinds)

    @dataclass(frozen=True)
    class Rooted(Modulation):
        """rate = root of the mean square of the outputs"""

        def step(self, params: tuple[()], state: tuple[()], seen: Observation) -> tuple[Rate, tuple[()]]:
            return Rate(seen.output.square().mean(-1, keepdim=True).sqrt()), state

    yield Rooted
    Part.kinds.clear()
    Part.kinds.update(before)


def test_the_rate_of_the_last_step_is_the_root_of_nothing(rooted: type[Modulation]) -> None:
    net = network(NetworkSpec((Layer(5, modulation=rooted(), plastic=Pathway.BOTH),)), 3, torch.float64)
    x = torch.zeros(4, 2, 3, dtype=torch.float64)
    x[:3] = torch.randn(3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        net.get_parameter("layers.0.weight")[..., 3:] = 0.0
        net.get_parameter("layers.0.alpha")[..., 3:] = 0.0  # so that nothing drives the last step

    def found(kernel: str) -> dict[str, Tensor]:
        net.kernel = kernel
        net.zero_grad(set_to_none=True)
        net(x)[0].sum().backward()  # nobody reads the last trace
        return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}

    exact = found("reference")
    assert all(bool(value.isfinite().all()) for value in exact.values())
    assert max(gaps(exact, found("cpu")).values()) <= 1e-10
