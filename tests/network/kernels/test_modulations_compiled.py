"""Modulations that see inputs or another layer, that remember, or that have a rate for every synapse, by every path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from parity import PATHWAYS, gaps, network, poison, results, started
from quick_code import compile_quickly

from plastic_search.cells.lstm import LSTM
from plastic_search.core.part import Part
from plastic_search.export.onnx import export_step
from plastic_search.modulations import FanOut, Modulation, Rate, Reads
from plastic_search.modulations.deviation import Deviation
from plastic_search.modulations.external import External
from plastic_search.modulations.from_layer import FromLayer
from plastic_search.modulations.learned import Learned
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.several import Several
from plastic_search.modulations.simple import Simple
from plastic_search.network.kernels.tracing.capture import capture
from plastic_search.network.kernels.tracing.ir import Unsupported
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.rollout import Rollout
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.network.state import named
from plastic_search.precisions import Rounding
from plastic_search.precisions.integer import Integer
from plastic_search.rules.abcd import ABCD
from plastic_search.rules.oja import Oja

SYNAPSE = FanOut.SYNAPSE
VARIANTS = (  # beside what each modulation does by default
    Simple(SYNAPSE),
    Simple(FanOut.NETWORK, reads=Reads.PREVIOUS),
    Simple(reads=Reads.MEMORY),
    Learned(per=SYNAPSE),
    Learned(per=FanOut.NEURON),
    External(2, learned=SYNAPSE),
    External(1, learned=FanOut.NEURON),
    Deviation(Simple()),
    FromLayer(2, 2),
    Retroactive(SYNAPSE),
    Retroactive(signal=Learned(per=SYNAPSE)),
    Retroactive(signal=Deviation(External(1))),
    Retroactive(signal=FromLayer(1, 3)),
    Retroactive(signal=Several(2, reads=Reads.PREVIOUS)),
)
EVERY = (
    Layer(4, modulation=External(1), plastic=Pathway.INPUT),
    Layer(7, LSTM(), ABCD(), Retroactive(signal=Simple(SYNAPSE, reads=Reads.MEMORY)), plastic=Pathway.BOTH, limit=0.5),
    Layer(5, LSTM(), Oja(), Retroactive(signal=Deviation(FromLayer(2, 3))), plastic=Pathway.RECURRENT, skip=(2,)),
    Layer(3, modulation=Deviation(External(6, learned=FanOut.NEURON)), plastic=Pathway.BOTH, skip=(1, 3)),
)


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch)
    compile_quickly(monkeypatch)
    torch.manual_seed(0)


def spec_of(modulation: Modulation, units: int, pathway: Pathway, bound: Bound = Bound.HARD) -> NetworkSpec:
    layer = Layer(units, LSTM(), Oja(), modulation, plastic=pathway, bound=bound, limit=0.3)
    return NetworkSpec((*(Layer(4),) * (modulation == FromLayer(2, 2)), layer))


def apart(net: Network, kernel: str, batch: int = 3, time: int = 6) -> float:
    x = 0.5 * torch.randn(time, batch, net.inputs, dtype=torch.float64)
    state = started(net, x[:2])
    return max(gaps(results(net, "reference", x, state), results(net, kernel, x, state)).values())


@pytest.mark.parametrize("modulation", VARIANTS, ids=str)
def test_variants_equal_the_reference(modulation: Modulation, every: bool) -> None:
    for k, pathway in enumerate(PATHWAYS):
        if not every and k != VARIANTS.index(modulation) % 3:
            continue
        units, batch, time = ((7, 1, 2), (1, 5, 1), (33, 2, 13))[k]
        net = network(spec_of(modulation, units, pathway, list(Bound)[k]), 3, torch.float64)
        assert apart(net, "cpu", batch, time) <= 1e-10, (modulation, pathway)


def test_a_stack_of_all_equals_the_reference_in_pieces_too() -> None:
    net = network(NetworkSpec(EVERY), 3, torch.float64)
    assert apart(net, "cpu", 5, 9) <= 1e-10
    x = torch.randn(7, 4, 3, dtype=torch.float64)
    whole, last = net(x)
    _, middle = net(x[:3])
    later, end = net(x[3:], middle)
    torch.testing.assert_close(later, whole[3:], rtol=0, atol=1e-12)
    torch.testing.assert_close(named(end), named(last), rtol=0, atol=1e-12)
    rollout = Rollout(net, 4)
    steps = torch.cat([rollout.step(x[0]).unsqueeze(0), rollout.run(x[1:5]), rollout.run(x[5:])])
    torch.testing.assert_close(steps, whole.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(named(rollout.state), {n: t.detach() for n, t in named(last).items()})


def test_rounded_numbers_equal_the_reference() -> None:
    spec = NetworkSpec(EVERY, Integer(4, 4, 6, Rounding.STOCHASTIC))
    assert apart(network(spec, 3, torch.float64), "cpu") <= 1e-10


def test_derivatives_are_those_of_finite_differences() -> None:
    net = network(NetworkSpec(EVERY), 3, torch.float64)
    net.kernel = "cpu"
    x = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    few = [p for name, p in net.named_parameters() if "modulation" in name]
    assert torch.autograd.gradcheck(lambda x, *_: net(x)[0], (x, *few))


def test_a_population_equals_its_members() -> None:
    nets = [Network(NetworkSpec(EVERY), 3, seed, "cpu").double() for seed in range(2)]
    x = torch.randn(2, 5, 3, 3, dtype=torch.float64)
    population = Population(nets)
    y, state = population(x)
    y, _ = population(x, state)
    for k, net in enumerate(nets):
        net.kernel = "reference"
        torch.testing.assert_close(y[k], net(x[k], net(x[k])[1])[0], rtol=0, atol=1e-11)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing(threads: int) -> None:
    net, before = network(NetworkSpec(EVERY), 3, torch.float64), torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert apart(net, "cpu", 45, 6) <= 1e-10
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="without Triton's interpreter")
@pytest.mark.parametrize("k", range(len(EVERY)))
def test_a_gpu_does_the_same(k: int) -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    net = network(NetworkSpec((*(Layer(3),) * 3, EVERY[k])), 3, torch.float64)
    assert apart(net, "gpu", 2, 3) <= 1e-10


def test_what_is_exported_goes_on_with_the_state(tmp_path: Path) -> None:
    parity = export_step(network(NetworkSpec(EVERY[:2]), 3, torch.float32), tmp_path / "step.onnx", steps=20)
    assert parity.steps == 20


def test_only_what_reads_inputs_is_captured_for_their_number() -> None:
    def captured(modulation: Modulation, columns: int) -> Any:
        return capture(Layer(4, modulation=modulation, plastic=Pathway.BOTH), True, torch.float64, columns=columns)

    assert captured(Simple(), 3) is captured(Simple(), 211)
    assert captured(External(2), 3) is not captured(External(2), 211)
    assert captured(External(2), 211).columns == 211
    assert captured(Simple(), 3).signals == 0


def test_a_modulation_of_a_users_sees_everything() -> None:
    known = dict(Part.kinds)

    @dataclass(frozen=True)
    class Loud(Modulation):
        """rate = mean(inputs) + tanh(|output - previous|) / (1 + mean(memory)^2), a low-pass of itself"""

        def state(self, batch: int, post: int, like: Any) -> Any:
            return Rate(like.new_zeros(batch, 1))  # any NamedTuple of tensors

        def step(self, params: Any, state: Any, seen: Any) -> Any:
            size = 1.0 + seen.cell.memory.mean(-1, keepdim=True).square()
            moved = (seen.output - seen.previous).abs().tanh().sum(-1, keepdim=True)
            low = 0.9 * state.write + 0.1 * (seen.inputs.mean(-1, keepdim=True) + moved / size)
            return Rate(low), Rate(low)

    try:
        spec = NetworkSpec((Layer(7, LSTM(), modulation=Loud(), plastic=Pathway.BOTH),))
        net = network(spec, 5, torch.float64)
        assert not isinstance(capture(spec.layers[0], True, torch.float64, columns=5), Unsupported)
        assert apart(net, "cpu") <= 1e-10
    finally:
        Part.kinds.clear()
        Part.kinds.update(known)


def test_what_is_imposed_is_the_same_by_kernels() -> None:
    net = network(NetworkSpec(EVERY), 3, torch.float64)
    x = torch.randn(6, 3, 3, dtype=torch.float64)
    frozen = torch.rand(6, 3, generator=torch.Generator().manual_seed(0)) < 0.3
    clamp = torch.where(frozen, 0.2, torch.nan).double()
    runs = []
    for kernel in ("reference", "cpu"):
        net.kernel = kernel
        y, state = net(
            x, lengths=torch.tensor([6, 2, 4]), reset=frozen.roll(2, 0), freeze=frozen.roll(1, 0), clamp=clamp
        )
        runs.append({"y": y} | named(state))
    torch.testing.assert_close(runs[0], runs[1], rtol=0, atol=1e-12)
