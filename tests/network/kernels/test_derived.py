"""What follows from parameters alone is computed once a sequence, and has the reference's values and derivatives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from parity import gaps, network, poison, results, started
from quick_code import compile_quickly
from torch import Generator, Tensor

from plastic_search.cells.alif import ALIF
from plastic_search.cells.gru import GRU
from plastic_search.cells.leaky import Leaky
from plastic_search.cells.lif import LIF
from plastic_search.core.part import Part
from plastic_search.modulations.simple import Simple
from plastic_search.network.kernels.tracing.capture import capture
from plastic_search.network.kernels.tracing.ir import Axis, Unsupported
from plastic_search.network.kernels.tracing.program import ordered
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.rollout import Rollout
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.rules import Activity, AmplitudeShape, Change, Outer, Rule
from plastic_search.rules.pair_stdp import PairSTDP

PER_NEURON = PairSTDP(per=AmplitudeShape.NEURON)


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch)
    compile_quickly(monkeypatch)


@pytest.fixture
def learned() -> Iterator[Rule]:
    """A rule with a number of each unit, of each input and of the layer, reduced and compared before they are used."""
    known = dict(Part.kinds)

    class Params(NamedTuple):
        gain: Tensor  # [post]
        scale: Tensor  # [pre]
        decay: Tensor  # []

    @dataclass(frozen=True)
    class OwnNumbers(Rule):
        """dH = a post (x) pre / (1 + exp(scale)) - sigmoid(decay) exp(-gain) H, where a depends on all gains"""

        def params(self, post: int, pre: int, rng: Generator) -> Params:
            return Params(torch.randn(post, generator=rng), torch.randn(pre, generator=rng), torch.zeros(()))

        def step(self, params: Params, state: Any, seen: Activity) -> tuple[Change, Any]:
            share = params.gain.softmax(-1) - params.gain.exp().mean()
            half = 1.0 - 0.5 * (params.gain.tanh() < 0.1).to(share)
            decay = params.decay.sigmoid() * (-params.gain).exp()
            return Change(
                (Outer(seen.post * share * half, seen.pre / (1.0 + params.scale.exp())),), decay.unsqueeze(-1)
            ), state

    yield OwnNumbers()
    Part.kinds.clear()
    Part.kinds.update(known)


def spec_of(cell: Any, rule: Rule | None = None) -> NetworkSpec:
    if rule is None:
        return NetworkSpec((Layer(5, cell),))
    return NetworkSpec((Layer(5, cell, rule, Simple(), plastic=Pathway.BOTH, bound=Bound.SOFT),))


def apart(spec: NetworkSpec, kernel: str, dtype: torch.dtype, time: int = 6) -> float:
    net = network(spec, 3, dtype)
    x = 4.0 * torch.randn(time, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).to(dtype)
    state = started(net, x[:2])
    exact, found = (results(net, each, x, state) for each in ("reference", kernel))
    return max(gaps(exact, found).values())


STATIC = (LIF(synapse=3.0), ALIF(), Leaky(), GRU())


@pytest.mark.parametrize("cell", STATIC, ids=lambda cell: type(cell).__name__)
def test_cells_equal_the_reference(cell: Any) -> None:
    assert apart(spec_of(cell), "cpu", torch.float64) <= 1e-10


def test_rules_equal_the_reference(learned: Rule) -> None:
    assert apart(spec_of(LIF(), PER_NEURON), "cpu", torch.float64) <= 1e-10
    assert apart(spec_of(Leaky(), learned), "cpu", torch.float64) <= 1e-10


def test_single_precision_equals_the_reference(learned: Rule) -> None:
    assert apart(spec_of(LIF(synapse=3.0)), "cpu", torch.float32) <= 1e-4
    assert apart(spec_of(Leaky(), learned), "cpu", torch.float32) <= 1e-4


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="Triton's interpreter is not on")
def test_a_gpu_does_the_same(learned: Rule) -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    assert apart(spec_of(LIF()), "gpu", torch.float64, 3) <= 1e-10
    assert apart(spec_of(Leaky(), learned), "gpu", torch.float64, 3) <= 1e-10


def test_each_member_of_a_population_has_its_own() -> None:
    nets = [network(spec_of(LIF(), PER_NEURON), 3, torch.float64, seed) for seed in range(2)]
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for net in nets:
            for name, p in net.named_parameters():
                if "__" in name:
                    p.add_(0.3 * torch.randn(p.shape, dtype=p.dtype, generator=rng))
    x = 4.0 * torch.randn(2, 6, 3, 3, dtype=torch.float64, generator=rng)
    for net in nets:
        net.kernel = "cpu"
    y, _ = Population(nets)(x)
    for k, net in enumerate(nets):
        net.kernel = "reference"
        torch.testing.assert_close(y[k], net(x[k])[0], rtol=0, atol=1e-11)


def test_a_rollout_follows_the_parameters() -> None:
    net = Network(spec_of(Leaky()), 3, 0, "cpu").double()
    x = torch.randn(4, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    for _ in range(2):
        rollout = Rollout(net, 2)
        steps = torch.stack([rollout.step(each).clone() for each in x])
        torch.testing.assert_close(steps, net(x)[0].detach(), rtol=0, atol=1e-12)
        with torch.no_grad():
            net.layers[0].get_parameter("cell__leak").add_(1.0)


@pytest.mark.parametrize("part", [*STATIC, PER_NEURON], ids=lambda part: type(part).__name__)
def test_no_step_computes_it_again(part: Any) -> None:
    spec = spec_of(LIF(), part) if isinstance(part, Rule) else spec_of(part)
    program = capture(spec.layers[0], isinstance(part, Rule), torch.float64)
    assert not isinstance(program, Unsupported)
    synapses = program.synapses
    programs = [program.forward, program.backward, *((synapses.forward, synapses.backward) if synapses else ())]
    for node in (node for each in programs for node in each.nodes() if node.axis is not Axis.PAIR):
        read = {x.slot[0] for x in ordered([node]) if x.op == "input"}
        assert read != {"params"} or node.op not in ("exp", "tanh", "sigmoid", "div"), node
    assert bool(program.derived.outputs) == (not isinstance(part, GRU))
