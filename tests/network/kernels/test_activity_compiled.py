"""Rounded activity by every kernel: as the reference, forward and backward, but for ties."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from parity import CELLS, MODULATIONS, PATHWAYS, RULES, gaps, network, poison, results, started
from quick_code import compile_quickly
from torch import Tensor

from plastic_search.cells import Cell
from plastic_search.cells.lstm import LSTM
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.network.formats import Formats, formats
from plastic_search.network.kernels.tracing.capture import capture
from plastic_search.network.kernels.tracing.ir import Unsupported
from plastic_search.network.module import Network
from plastic_search.network.recording import record
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.network.state import State, named
from plastic_search.precisions import Format
from plastic_search.precisions.integer import Integer
from plastic_search.rules.oja import Oja
from plastic_search.structures.feed_forward import FeedForward

BITS, SIZES = (1, 2, 4, 8), (7, 33, 16, 1)
READ_OUT = Layer(3, LSTM(), structure=FeedForward())


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch)
    compile_quickly(monkeypatch)


def precision(bits: int | None, trace: int | None = None) -> Integer:
    return Integer(None, None, trace, activity=bits)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("cell", CELLS.values(), ids=lambda kind: kind.__name__)
def test_any_parts_equal_the_reference(cell: type[Cell], bits: int, every: bool) -> None:
    """In float64, where a last bit meets no threshold. Every rule takes turns at all bits, and so do modulations."""
    i, k = list(CELLS.values()).index(cell), BITS.index(bits)
    if not every and (i + k) % 2:
        pytest.skip("some of every part are tested; --every tests all")
    rule: Any = list(RULES.values())[(i + k) % len(RULES)]
    modulation: Any = list(MODULATIONS.values())[(3 * i + k) % len(MODULATIONS)]
    bound, pathway = (Bound.HARD, Bound.SOFT)[(i + k) % 2], PATHWAYS[(i + k) % 3]
    layer = Layer(SIZES[(i + k) % 4], cell(), rule(), modulation(), plastic=pathway, bound=bound, limit=0.3)
    net = network(NetworkSpec((layer, READ_OUT), precision(bits)), 3, torch.float64)
    x = 2.0 * torch.randn(7, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4 * i + k))
    state = started(net, x[:2])
    found = gaps(*(results(net, kernel, x, state) for kernel in ("reference", "cpu")))
    assert max(found.values()) <= 1e-10, f"{layer}, {bits} bits: {found}"


@pytest.mark.parametrize("bits", [1, 4])
def test_layers_of_every_kind_beside_a_rounded_trace(bits: int) -> None:
    layers = (
        Layer(9, structure=FeedForward()),
        Layer(11, LSTM(), Oja(), Retroactive(), plastic=Pathway.BOTH, skip=(1,)),
        Layer(5, plastic=Pathway.RECURRENT),
        Layer(4, plastic=Pathway.BOTH, skip=(1, 3)),
    )
    net = network(NetworkSpec(layers, precision(bits, trace=4)), 3, torch.float64)
    x = 2.0 * torch.randn(12, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(bits))
    for state in (None, started(net, x[:2])):
        reference, fast = (results(net, kernel, x, state) for kernel in ("reference", "cpu"))
        assert max(gaps(reference, fast).values()) <= 1e-10
        assert len(fast["layers.0.output"].unique()) > 1


@pytest.mark.parametrize("bits", BITS)
def test_in_float32_only_ties_differ(bits: int) -> None:
    """Each step from the reference's state: what is not equal is a level apart, and was as near to one as to the other.

    An episode with a tie is compared no further in that step, since all that follows from it differs too.
    """
    net = network(NetworkSpec((Layer(33, plastic=Pathway.BOTH), READ_OUT), precision(bits)), 3, torch.float32)
    plain = Network(NetworkSpec(net.spec.layers, precision(None)), 3)
    plain.load_state_dict(net.state_dict())
    x = 2.0 * torch.randn(40, 8, 3, generator=torch.Generator().manual_seed(bits))
    state, ties, level = net.initial_state(8), 0, 2.0 if bits == 1 else 1.0 / Format(bits).top
    for t in range(len(x)):
        steps = {kernel: _step(net, kernel, x[t : t + 1], state) for kernel in ("reference", "cpu")}
        after, found = (steps[kernel] for kernel in ("reference", "cpu"))
        exact, _ = record(plain, x[t : t + 1], "layers.0.output", state)
        apart = (after[0].output - found[0].output).abs()
        tied = apart > 1e-6
        if tied.any():
            place = exact["layers.0.output"][0][tied] / level + (0.5 if bits == 1 else 0.0)
            torch.testing.assert_close(apart[tied], torch.full_like(apart[tied], level))
            assert ((place - place.floor() - 0.5).abs() < 1e-4).all()
        ties += int(tied.sum())
        same = ~tied.any(1)
        for (name, one), other in zip(named(after).items(), named(found).values(), strict=True):
            torch.testing.assert_close(one[same], other[same], rtol=1e-5, atol=1e-5, msg=name)
        state = after
    assert ties <= 4


@torch.no_grad()
def _step(net: Network, kernel: str, x: Tensor, state: State) -> State:
    net.kernel = kernel
    return net(x, state)[1]


def test_nothing_is_compiled_for_it_where_it_is_not_asked_for() -> None:
    layer = Layer(5, plastic=Pathway.BOTH)
    plain, rounded = (capture(layer, True, torch.float32, form) for form in _forms(layer))
    assert not isinstance(plain, Unsupported)
    assert not isinstance(rounded, Unsupported)
    assert plain is capture(layer, True, torch.float32)
    ops = [[node.op for node in program.forward.nodes()] for program in (plain, rounded)]
    assert "round" not in ops[0]
    assert ops[1].count("round") == 1, "output and postsynaptic activity are one value, rounded once"


def _forms(layer: Layer) -> list[Formats]:
    return [formats(NetworkSpec((layer, layer), precision(bits)))[0] for bits in (None, 4)]


def test_threads_change_nothing() -> None:
    net = network(NetworkSpec((Layer(40, plastic=Pathway.BOTH), READ_OUT), precision(4)), 3, torch.float32)
    x, before, runs = torch.randn(20, 30, 3), torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            runs.append(results(net, "cpu", x, None))
    finally:
        torch.set_num_threads(before)
    for name, value in runs[0].items():
        if name.endswith(".weight"):  # a matrix product of torch's
            assert (value - runs[1][name]).norm() <= 1e-6 * value.norm()
        else:
            assert torch.equal(value, runs[1][name]), name
