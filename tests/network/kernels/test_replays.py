"""The replay of a rollout equals the sequence, forward and backward, for any parts, sizes and ways of recording."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from parity import CELLS, MODULATIONS, PATHWAYS, RULES, STACK, gaps, network, poison, started
from torch import Tensor

from plastic_search.cells.lstm import LSTM
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.network.kernels import autograd, stepping
from plastic_search.network.kernels.cpu import backend
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.rollout import Rollout
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.network.state import State, named
from plastic_search.precisions import Rounding
from plastic_search.precisions.integer import Integer
from plastic_search.rules.oja import Oja

pytestmark = pytest.mark.usefixtures("quick_code")
ROUNDED = NetworkSpec((Layer(5, LSTM(), Oja(), Retroactive(), plastic=Pathway.BOTH), Layer(3)), Integer(4, 4, 5))
STOCHASTIC = NetworkSpec(ROUNDED.layers, Integer(4, 4, 5, Rounding.STOCHASTIC))


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unwritten memory is NaN, little memory is there at first, and checkpoints lie a few steps apart."""
    poison(monkeypatch)
    monkeypatch.setattr(stepping, "_CAPACITY", 2)
    monkeypatch.setattr(backend, "_CHECKPOINT_BYTES", 1)
    monkeypatch.setattr(backend, "_INNER_BYTES", 1)


def found(net: Network | Population, run: Callable[[], tuple[Tensor, State]]) -> dict[str, Tensor]:
    """Outputs, last state, and the derivatives of all parameters by both."""
    net.zero_grad(set_to_none=True)
    y, last = run()
    made, rng = {"y": y} | named(last), torch.Generator().manual_seed(1)
    terms = [(t * torch.randn(t.shape, generator=rng, dtype=torch.float64).to(t)).sum() for t in made.values()]
    torch.stack(terms).sum().backward()
    made |= {f"d.{n}": p.grad for n, p in net.named_parameters() if p.grad is not None}
    return {name: value.detach().clone() for name, value in made.items()}


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(torch.inf if gap != gap else gap for gap in gaps(one, other).values())


@pytest.mark.parametrize("number", range(max(map(len, (CELLS, RULES, MODULATIONS)))))
def test_any_parts(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: Any = [list(axis.values())[number % len(axis)] for axis in (RULES, MODULATIONS, CELLS)]
    rule, modulation, cell = kinds
    size, batch, time = ((7, 5, 11), (16, 4, 9), (17, 3, 23), (1, 1, 6))[number % 4]
    bound, pathway = list(Bound)[number % len(Bound)], PATHWAYS[number // 3 % 3]
    layer = Layer(size, cell(), rule(), modulation(), plastic=pathway, bound=bound, limit=0.3)
    net = network(NetworkSpec((layer, Layer(2))), 3, torch.float64)
    x = 0.5 * torch.randn(time, batch, 3, generator=torch.Generator().manual_seed(number), dtype=torch.float64)
    state = started(net, x[:2]) if number % 2 else None
    net.kernel = "cpu"
    exact = found(net, lambda: net(x, state))
    rollout = Rollout(net, batch, state, [None, 4, time][number % 3])
    outputs = torch.stack([rollout.step(each) for each in x])
    monkeypatch.setattr(autograd, "forward", None)
    assert apart(exact, found(net, rollout.replay)) <= 1e-10, f"{layer}, batch {batch}, time {time}"
    torch.testing.assert_close(outputs, exact["y"], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("spec", [STACK, ROUNDED, STOCHASTIC], ids=["stack", "rounded", "stochastic"])
def test_a_recording_may_go_on_and_begin_anew(spec: NetworkSpec) -> None:
    net = network(spec, 4, torch.float64)
    net.kernel = "cpu"
    x = 0.5 * torch.randn(23, 3, 4, dtype=torch.float64)
    rollout, middle = Rollout(net, 3), net(x[:9])[1].detach()
    for each in x[:5]:
        rollout.step(each)
    part, _ = rollout.replay()  # whose backward pass comes later
    rollout.run(x[5:9])
    twice = [found(net, rollout.replay) for _ in range(2)]
    assert apart(found(net, lambda: net(x[:9])), twice[0]) <= 1e-10
    assert all(torch.equal(value, twice[1][name]) for name, value in twice[0].items())
    rollout.forget()
    rollout.run(x[9:20])
    for each in x[20:]:
        rollout.step(each)
    assert apart(found(net, lambda: net(x[9:], middle)), found(net, rollout.replay)) <= 1e-10
    rollout.reset(torch.ones(3, dtype=torch.bool))
    rollout.run(x[10:])
    for y in (part, net(x[:5])[0]):
        net.zero_grad()
        y.square().sum().backward()
        grads = {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}
    assert all(torch.allclose(p.grad, grads[n], 1e-9) for n, p in net.named_parameters() if p.grad is not None)
    assert apart(found(net, lambda: net(x[10:])), found(net, rollout.replay)) <= 1e-10


def test_changed_parameters_run_again() -> None:
    net = network(STACK, 4, torch.float64)
    x = torch.randn(7, 3, 4, dtype=torch.float64)
    rollout = Rollout(net, 3)
    rollout.run(x)
    with torch.no_grad():
        net.get_parameter("layers.1.alpha").data.mul_(0.5)
    assert apart(found(net, lambda: net(x)), found(net, rollout.replay)) <= 1e-10
    rollout.reset(torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close(rollout.run(x), net(x)[0])


@pytest.mark.parametrize("kernel", ["reference", "cpu"])
def test_a_population_equals_its_members(kernel: str) -> None:
    nets = [network(STACK if kernel == "cpu" else ROUNDED, 4, torch.float64, seed) for seed in range(3)]
    for net in nets:
        net.kernel = kernel
    population, x = Population(nets), 0.5 * torch.randn(3, 8, 2, 4, dtype=torch.float64)
    rollout = Rollout(population, 2)
    outputs = [rollout.step(each) for each in x[:, :5].unbind(1)]
    rest = rollout.run(x[:, 5:])
    replay = found(population, rollout.replay)
    assert apart(found(population, lambda: population(x)), replay) <= 1e-10
    torch.testing.assert_close(torch.cat([torch.stack(outputs, 1), rest], 1), replay["y"])
    rollout.reset(torch.tensor([True, False]))
    again = rollout.step(x[0, 0])  # the same for all members
    for k, net in enumerate(nets):
        torch.testing.assert_close(again[k, 0], net(x[:1, 0])[0][0, 0])
        torch.testing.assert_close(named(rollout.state)["layers.0.output"][k, 0], net(x[:1, 0])[1][0].output[0])


@pytest.mark.parametrize("population", [False, True])
def test_what_was_imposed_is_replayed(population: bool) -> None:
    net = network(STACK, 4, torch.float64)
    net.kernel = "cpu"
    x, rng = torch.randn(9, 5, 4, dtype=torch.float64), torch.Generator().manual_seed(2)
    (freeze, clear), rate = torch.rand(2, 9, 5, generator=rng) < 0.4, torch.rand(9, 5, generator=rng).double()
    clamp = torch.where(rate < 0.5, rate, torch.nan)
    runner = Population([net, net]) if population else net
    for first in (0, 4):  # the step from which on anything is imposed
        rollout, start = Rollout(runner, 5), torch.arange(9).unsqueeze(1) >= first
        given = {"freeze": freeze & start, "clamp": torch.where(start, clamp, torch.nan), "clear": clear & start}
        for t, each in enumerate(x):
            now = {name: value[t] for name, value in given.items()} if t >= first else {}
            rollout.step(each, **now)
        assert apart(found(runner, lambda given=given: runner(x, **given)), found(runner, rollout.replay)) <= 1e-10


@pytest.mark.parametrize("kernel", ["reference", "cpu"])
def test_members_are_cleared_at_times_of_their_own(kernel: str) -> None:
    nets = [network(NetworkSpec((Layer(5, LSTM(), plastic=Pathway.BOTH),)), 3, torch.float64, k) for k in range(2)]
    for net in nets:
        net.kernel = kernel
    x, clear = torch.randn(2, 7, 3, 3, dtype=torch.float64), torch.rand(2, 7, 3) < 0.4
    population = Population(nets)
    rollout = Rollout(population, 3)
    outputs = torch.stack([rollout.step(x[:, t], clear=clear[:, t]) for t in range(7)], 1)
    exact = [found(net, lambda net=net, k=k: net(x[k], clear=clear[k]))["y"] for k, net in enumerate(nets)]
    torch.testing.assert_close(outputs, torch.stack(exact))
    torch.testing.assert_close(rollout.replay()[0], outputs)
    for k, net in enumerate(nets):
        net.zero_grad()
        net(x[k], clear=clear[k])[0].sum().backward()
    population.zero_grad()
    rollout.replay()[0].sum().backward()
    for name, parameter in population.named_parameters():
        for k, net in enumerate(nets):
            grad = dict(net.named_parameters())[name].grad
            assert grad is None or torch.allclose(cast(Tensor, parameter.grad)[k], grad, 1e-9, 1e-11)


def test_nothing_is_recorded_where_nobody_replays() -> None:
    net = network(STACK, 4, torch.float64)
    x = torch.randn(40, 3, 4, dtype=torch.float64)
    rollout = Rollout(net, 3, steps=0)
    outputs = torch.stack([rollout.step(each) for each in x[:30]])
    torch.testing.assert_close(torch.cat([outputs, rollout.run(x[30:])]), net(x)[0])
    assert rollout._inputs == []
