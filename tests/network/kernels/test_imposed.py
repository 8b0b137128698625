"""Interventions by the kernels equal the reference, forward and backward, for any parts and sizes."""

from __future__ import annotations

import pytest
import torch
from parity import CELLS, MODULATIONS, PATHWAYS, RULES, STACK, gaps, network, poison, results, started
from torch import Tensor

from plastic_search.cells import Cell
from plastic_search.cells.lstm import LSTM
from plastic_search.modulations import Modulation
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.network.interventions import Given
from plastic_search.network.kernels.cpu import backend
from plastic_search.network.module import Network
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.network.state import named
from plastic_search.precisions import Rounding
from plastic_search.precisions.integer import Integer
from plastic_search.rules import Rule
from plastic_search.rules.oja import Oja

pytestmark = pytest.mark.usefixtures("quick_code")
ONE = NetworkSpec((Layer(5, LSTM(), Oja(), Retroactive(), plastic=Pathway.BOTH),))
NAMES = ("lengths", "reset", "clear", "freeze", "clamp", "shuffle")


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch)


def drawn(time: int, batch: int, names: tuple[str, ...] = NAMES, seed: int = 0) -> Given:
    """Random interventions."""
    rng = torch.Generator().manual_seed(seed)
    some = torch.rand(4, time, batch, generator=rng)
    given = Given(
        lengths=torch.randint(0, time + 1, (batch,), generator=rng),
        reset=some[0] < 0.15,
        clear=some[3] < 0.2,
        freeze=some[1] < 0.3,
        clamp=torch.where(some[2] < 0.3, torch.randn(time, batch, generator=rng), torch.nan),
        shuffle=torch.where(torch.arange(time) % 5 == 2, torch.arange(time), -1),
    )
    return {name: value for name, value in given.items() if name in names}  # type: ignore[return-value]


def apart(net: Network, kernel: str, x: Tensor, given: Given) -> float:
    """The largest difference from the reference, from new episodes and from a state."""
    found = 0.0
    for state in (None, started(net, x[:2])):
        exact, fast = (results(net, name, x, state, **given) for name in ("reference", kernel))
        found = max(found, *(torch.inf if gap != gap else gap for gap in gaps(exact, fast).values()))
    return found


def parts() -> list[tuple[type[Rule], type[Modulation], type[Cell]]]:
    """Every rule, modulation and cell, each beside two or more of the others."""
    axes = [list(axis.values()) for axis in (RULES, MODULATIONS, CELLS)]
    longest = max(map(len, axes))
    return [tuple(axis[(k + k // longest * n) % len(axis)] for n, axis in enumerate(axes)) for k in range(2 * longest)]  # type: ignore[misc]


@pytest.mark.parametrize("number", range(len(parts())))
def test_any_parts_equal_the_reference(number: int) -> None:
    rule, modulation, cell = parts()[number]
    size, batch, time = ((7, 5, 11), (1, 4, 9), (17, 3, 23), (33, 2, 6))[number % 4]
    bound, pathway = list(Bound)[number % len(Bound)], PATHWAYS[number // 3 % 3]
    layer = Layer(size, cell(), rule(), modulation(), plastic=pathway, bound=bound, limit=0.3)
    net = network(NetworkSpec((layer,)), 3, torch.float64)
    x = 0.5 * torch.randn(time, batch, 3, generator=torch.Generator().manual_seed(number), dtype=torch.float64)
    assert apart(net, "cpu", x, drawn(time, batch)) <= 1e-10, f"{layer}, batch {batch}, time {time}"


@pytest.mark.parametrize("names", [("lengths",), ("freeze", "clamp"), ("reset", "shuffle"), ("clear",)])
def test_a_stack_equals_the_reference(names: tuple[str, ...]) -> None:
    net = network(STACK, 4, torch.float64)
    x = torch.randn(7, 3, 4, dtype=torch.float64)
    assert apart(net, "cpu", x, drawn(7, 3, names)) <= 1e-10


@pytest.mark.parametrize("rounding", Rounding)
def test_a_rounded_trace_equals_the_reference(rounding: Rounding) -> None:
    layers = tuple(Layer(5, modulation=Retroactive(), plastic=Pathway.BOTH, bound=b) for b in (Bound.HARD, Bound.SOFT))
    net = network(NetworkSpec(layers, Integer(4, 4, 4, rounding)), 3, torch.float64)
    assert apart(net, "cpu", torch.randn(12, 4, 3, dtype=torch.float64), drawn(12, 4)) <= 1e-10


@pytest.mark.parametrize("batch", [1, 9, 40])
def test_what_is_left_out_after_the_end_changes_nothing(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of two, three and more episodes, on one thread and on two."""
    monkeypatch.setattr(backend, "_SMALL", 0)
    net = network(NetworkSpec((Layer(9, LSTM(), Oja(), plastic=Pathway.BOTH), Layer(3))), 3, torch.float64)
    x, given = torch.randn(30, batch, 3, dtype=torch.float64), drawn(30, batch, ("lengths",))
    runs, exact = [], results(net, "reference", x, None, **given)
    before = torch.get_num_threads()
    try:
        for groups, threads in ((32, 1), (32, 2), (3, 2)):
            monkeypatch.setattr(backend, "_GROUPS", groups)
            torch.set_num_threads(threads)
            runs.append(results(net, "cpu", x, None, **given))
    finally:
        torch.set_num_threads(before)
    for each in runs:
        assert max(gaps(exact, each).values()) <= 1e-10
    assert all(torch.equal(value, runs[1][name]) for name, value in runs[0].items() if not name.startswith("d."))


def test_single_precision_and_a_segment_of_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_CHECKPOINT_BYTES", 1)
    monkeypatch.setattr(backend, "_INNER_BYTES", 1)
    net = network(NetworkSpec((Layer(20, plastic=Pathway.RECURRENT),)), 3, torch.float32)
    assert apart(net, "cpu", torch.randn(40, 5, 3), drawn(40, 5)) <= 1e-4


@pytest.mark.parametrize("modulation", [Retroactive(), Layer().modulation])
def test_derivatives_are_those_of_finite_differences(modulation: Modulation) -> None:
    layer = Layer(2, LSTM(), Oja(), modulation, plastic=Pathway.BOTH, bound=Bound.SOFT)
    net = network(NetworkSpec((layer,)), 2, torch.float64)
    x, given = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True), drawn(4, 2)
    state = started(net, x[:2])
    for kernel in ("reference", "cpu"):
        net.kernel = kernel

        def run(x: Tensor, *_: Tensor) -> list[Tensor]:
            y, last = net(x, state, **given)
            return [y, *named(last).values()]

        assert torch.autograd.gradcheck(run, (x, *net.parameters()), fast_mode=True)


@pytest.mark.parametrize(
    ("spec", "names"), [(STACK, NAMES), (ONE, NAMES), (ONE, ("lengths", "freeze")), (ONE, ("clear",))]
)
def test_the_gpu_kernel_equals_the_reference(spec: NetworkSpec, names: tuple[str, ...]) -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    if torch.cuda.is_available():
        pytest.skip("the interpreter is what is tested here")
    net = network(spec, 4, torch.float64)
    x = torch.randn(4, 3, 4, dtype=torch.float64)
    assert apart(net, "gpu", x, drawn(4, 3, names)) <= 1e-10
