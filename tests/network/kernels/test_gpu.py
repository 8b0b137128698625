"""The GPU kernel equals the reference, in Triton's interpreter; and it compiles for GPUs, on a machine without one."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from parity import CELLS, MODULATIONS, PATHWAYS, RULES, STACK, bounds_of, gaps, network, poison, results, started

from plastic_search.cells import Cell
from plastic_search.cells.lstm import LSTM
from plastic_search.cells.rnn import RNN
from plastic_search.core.errors import PlasticSearchError
from plastic_search.modulations import Modulation
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.simple import Simple
from plastic_search.network.formats import Formats
from plastic_search.network.kernels.dispatch import choose
from plastic_search.network.kernels.gpu import function
from plastic_search.network.kernels.gpu.backend import loaded
from plastic_search.network.kernels.gpu.layer import source
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.rollout import Rollout
from plastic_search.network.spec import AlphaShape, Bound, Layer, NetworkSpec, Pathway, shapes
from plastic_search.network.state import State, named
from plastic_search.precisions import Rounding
from plastic_search.precisions.integer import Integer
from plastic_search.rules import Rule
from plastic_search.rules.abcd import ABCD
from plastic_search.rules.delta import Delta

pytest.importorskip("triton", reason="triton is not installed")
ON_GPU = torch.cuda.is_available()
pytestmark = pytest.mark.skipif(
    not ON_GPU and os.environ.get("TRITON_INTERPRET") != "1", reason="neither a GPU nor Triton's interpreter"
)


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch)
    torch.manual_seed(0)  # in single precision some draws cancel to more than others


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No trace is small enough to stay in registers; tiles of some rows come from memory."""
    source.cache_clear()
    for name, budget in function.BUDGETS.items():
        monkeypatch.setitem(function.BUDGETS, name, budget._replace(whole=0, tile=256))
    yield
    source.cache_clear()


def apart(net: Network, x: torch.Tensor, state: State | None) -> float:
    if ON_GPU:
        net, x, state = net.cuda(), x.cuda(), None
    reference = results(net, "reference", x, state)
    return max(
        gaps(reference, results(net, "gpu", x, state)).values(), key=lambda gap: torch.inf if gap != gap else gap
    )


COMBINATIONS = list(itertools.product(CELLS.values(), RULES.values(), MODULATIONS.values()))


@pytest.mark.parametrize(("cell", "rule", "modulation"), COMBINATIONS, ids=lambda kind: kind.__name__)
def test_any_parts_equal_the_reference(
    cell: type[Cell], rule: type[Rule], modulation: type[Modulation], every: bool
) -> None:
    names = (cell.__name__, rule.__name__, modulation.__name__)
    number = sum(map(ord, "".join(names)))
    single, thorough = bounds_of(cell, rule, modulation)
    if not (every or (thorough and COMBINATIONS.index((cell, rule, modulation)) % 5 == 0)):
        pytest.skip("some of every part are tested; --every tests all combinations in the interpreter")
    for k, bound in enumerate(Bound if every else (single,)):
        pathway, alpha = PATHWAYS[(number + k) % 3], list(AlphaShape)[(number // 3 + k) % 3]
        size, time, batch = ((7, 5, 2), (1, 1, 1), (17, 3, 1))[(number // 2 + k) % 3]
        layer = Layer(size, cell(), rule(), modulation(), plastic=pathway, bound=bound, limit=0.3, alpha=alpha)
        net = network(NetworkSpec((layer,)), 3, torch.float64)
        x = 0.5 * torch.randn(time, batch, 3, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
        assert apart(net, x, started(net, x[:2])) <= 1e-10, f"{layer}, batch {batch}, time {time}"


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("rule", RULES.values(), ids=lambda kind: kind.__name__)
def test_traces_too_large_for_registers(rule: type[Rule], every: bool) -> None:
    number = list(RULES.values()).index(rule)
    if not every and number % 3:
        pytest.skip("some rules are tested; --every tests all")
    for pathway in PATHWAYS if every else (PATHWAYS[number % 3],):
        layer = Layer(19, LSTM(), rule(), Retroactive(), plastic=pathway, bound=Bound.SOFT)
        net = network(NetworkSpec((layer,)), 3, torch.float64)
        x = torch.randn(3, 2, 3, dtype=torch.float64)
        assert apart(net, x, started(net, x[:1])) <= 1e-10


@pytest.mark.parametrize("bits", [1, 4])
def test_rounded_activity(bits: int) -> None:
    cell = (LSTM(), RNN())[bits // 2 % 2]
    layer = Layer(17, cell, modulation=Retroactive(), plastic=PATHWAYS[bits % 3], bound=Bound.SOFT)
    layers = (layer, Layer(3, plastic=Pathway.BOTH, skip=(1,)))
    net = network(NetworkSpec(layers, Integer(None, None, 4, activity=bits)), 3, torch.float64)
    x = 2.0 * torch.randn(5, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(bits))
    assert apart(net, x, started(net, x[:2])) <= 1e-10
    assert len(named(started(net, x))["layers.0.output"].unique()) > 1


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("modulation", [Simple(), Retroactive()])
def test_a_trace_that_is_clipped_where_it_is_read(modulation: Modulation) -> None:
    layer = Layer(19, rule=Delta(), modulation=modulation, plastic=Pathway.BOTH, bound=Bound.READ, limit=0.1)
    net = network(NetworkSpec((layer,)), 3, torch.float64)
    x = 2.0 * torch.randn(5, 2, 3, dtype=torch.float64)
    assert apart(net, x, started(net, x[:2])) <= 1e-10


def test_a_stack_with_skips_and_gates_equals_the_reference() -> None:
    net = network(STACK, 4, torch.float64)
    x = torch.randn(5, 2, 4, dtype=torch.float64)
    assert apart(net, x, started(net, x[:3])) <= 1e-10


@pytest.mark.parametrize(
    ("rounding", "modulation"), list(zip(Rounding, (Simple(), Retroactive(), Simple()), strict=True))
)
def test_a_rounded_trace_equals_the_reference(rounding: Rounding, modulation: Modulation) -> None:
    layers = tuple(Layer(11, modulation=modulation, plastic=Pathway.BOTH, bound=b) for b in (Bound.HARD, Bound.SOFT))
    net = network(NetworkSpec(layers, Integer(4, 4, 4, rounding)), 3, torch.float64)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    assert apart(net, x, started(net, x[:3])) <= 1e-10


def test_single_precision() -> None:
    net = network(NetworkSpec((Layer(20, plastic=Pathway.RECURRENT),)), 3, torch.float32)
    assert apart(net, torch.randn(6, 2, 3), None) <= 1e-5


def test_a_population_equals_its_members() -> None:
    spec = NetworkSpec((Layer(7, rule=ABCD(), plastic=Pathway.BOTH),))
    nets = [Network(spec, 3, seed, "gpu").double() for seed in range(2)]
    x = torch.randn(2, 4, 2, 3, dtype=torch.float64)
    if ON_GPU:
        nets, x = [net.cuda() for net in nets], x.cuda()
    y, _ = Population(nets)(x)
    for k, net in enumerate(nets):
        net.kernel = "reference"
        torch.testing.assert_close(y[k], net(x[k])[0], rtol=0, atol=1e-12)


def test_a_replay_is_the_rollout_with_gradients() -> None:
    layers = (Layer(9, LSTM(), modulation=Retroactive(), plastic=Pathway.BOTH), Layer(4, skip=(1,)))
    net, x = Network(NetworkSpec(layers), 3, kernel="gpu").double(), torch.randn(5, 3, dtype=torch.float64)
    if ON_GPU:
        net, x = net.cuda(), x.cuda()
    rollout = Rollout(net, 5)
    outputs = torch.stack([rollout.step(x * k) for k in range(4)])
    again, state = rollout.replay()
    torch.testing.assert_close(again, outputs, rtol=0, atol=1e-12)
    for name, value in named(state).items():
        torch.testing.assert_close(value, named(rollout.state)[name], rtol=0, atol=1e-12)
    again.square().sum().backward()
    assert all(p.grad is not None for p in net.parameters() if p.numel())


class _There:
    """The attributes that `choose` reads of a tensor, on a device that need not exist."""

    def __init__(self, device: str) -> None:
        self.device, self.dtype, self.shape = torch.device(device), torch.float32, torch.Size((1, 1, 3))


@pytest.mark.parametrize(
    ("device", "units", "kernel", "reason"),
    [
        ("cuda", 1024, "gpu", ""),
        ("cuda", 1025, "reference", "beyond 1,024 units the gpu kernel is not the faster"),
        ("xpu", 7, "reference", "no kernel runs on xpu"),
    ],
)
def test_it_is_chosen_where_it_is_faster(device: str, units: int, kernel: str, reason: str) -> None:
    spec = NetworkSpec((Layer(units, plastic=Pathway.INPUT),))
    found = choose(None, spec.layers[0], shapes(spec, 3)[0], Formats(), _There(device))  # type: ignore[arg-type]
    assert found.kernel == kernel
    assert found.reason.startswith(reason)


@pytest.mark.skipif(not ON_GPU, reason="there is no GPU")
def test_a_network_on_a_gpu_learns_by_it() -> None:
    net = Network(NetworkSpec((Layer(33, plastic=Pathway.BOTH),)), 3).cuda()
    x = torch.randn(6, 2, 3, device="cuda")
    y = net(x)[0]
    y.sum().backward()
    net.kernel = "gpu"
    assert torch.equal(net(x)[0], y)
    net.kernel = "reference"
    torch.testing.assert_close(net(x)[0], y, rtol=0, atol=1e-5)


def test_it_is_not_for_a_network_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    net = Network(NetworkSpec((Layer(7, plastic=Pathway.INPUT),)), 3, kernel="gpu")
    with pytest.raises(PlasticSearchError, match=r"gpu kernel does not take .*the network is on cpu; use kernel=None"):
        net(torch.zeros(2, 2, 3))


COMPILE = Path(__file__).parent / "compile_for_gpu.py"


@pytest.fixture(scope="module")
def compiled_for_gpus() -> str:
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, str(COMPILE), "80", "90"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("architecture", [80, 90])
def test_it_compiles_for_a_gpu(compiled_for_gpus: str, architecture: int) -> None:
    sizes = [line for line in compiled_for_gpus.splitlines() if line.startswith(f"sm_{architecture} ")]
    assert len(sizes) == 2 * 10
    assert all(line.endswith(" bytes") for line in sizes)


def test_a_text_is_loaded_once() -> None:
    assert loaded("x = 1") is loaded("x = 1")
