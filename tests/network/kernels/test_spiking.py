"""Units that fire, by every kernel: spikes equal exactly, and derivatives those of the surrogate, which are not 0.

In float64, where a last bit crosses no threshold in these few numbers.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from parity import MODULATIONS, PATHWAYS, RULES, gaps, network, poison, results, started
from quick_code import compile_quickly

from plastic_search.cells import Reset
from plastic_search.cells.alif import ALIF
from plastic_search.cells.integrator import Integrator
from plastic_search.cells.lif import LIF
from plastic_search.core.part import discover
from plastic_search.network.kernels.tracing.capture import capture
from plastic_search.network.kernels.tracing.ir import Unsupported
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.surrogates import Surrogate

SURROGATES: list[Any] = list(discover(Surrogate).values())
CELLS: list[Any] = [LIF, ALIF]


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch)
    compile_quickly(monkeypatch)


def compare(kernel: str, number: int, size: int, time: int) -> None:
    """One of the combinations of a surrogate and a cell, with the rule and the modulation whose turn it is."""
    surrogate, kind = SURROGATES[number % len(SURROGATES)], CELLS[number // len(SURROGATES)]
    cell = kind(surrogate=surrogate(), synapse=3.0 * (number % 2), refractory=number % 3, reset=list(Reset)[number % 2])
    parts: list[Any] = [list(axis.values())[number % len(axis)] for axis in (RULES, MODULATIONS)]
    rule, modulation = parts
    plastic = Layer(size, cell, rule(), modulation(), plastic=PATHWAYS[number % 3], bound=Bound.HARD, limit=0.3)
    layers = (plastic, Layer(2, Integrator(), structure=FeedForward(), plastic=Pathway.INPUT))
    net = network(NetworkSpec(layers), 3, torch.float64)
    x = 6.0 * torch.randn(time, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(number))
    state = started(net, x[:2])
    exact, found = (results(net, each, x, state) for each in ("reference", kernel))
    assert torch.equal(exact["layers.0.output"], found["layers.0.output"])
    assert max(gaps(exact, found).values()) <= 1e-10, plastic
    for name in ("weight", "cell__membrane", "cell__threshold", "cell__resistance"):
        assert found[f"d.layers.0.{name}"].any(), f"{name} gets no gradient"


@pytest.mark.parametrize("number", range(len(SURROGATES) * len(CELLS)))
def test_they_equal_the_reference(number: int) -> None:
    compare("cpu", number, (7, 19, 4)[number % 3], 12)


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="Triton's interpreter is not on")
@pytest.mark.parametrize("number", range(0, len(SURROGATES) * len(CELLS), 3))
def test_they_equal_the_reference_on_a_gpu(number: int) -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    compare("gpu", number, 5, 5)


def test_a_surrogate_is_computed_backward_alone() -> None:
    program = capture(Layer(5, LIF()), False, torch.float32)
    assert not isinstance(program, Unsupported)
    forward, backward = ({node.op for node in each.nodes()} for each in (program.forward, program.backward))
    assert "gt" in forward
    assert "abs" not in forward, "the fast sigmoid of a distance"
    assert "abs" in backward
