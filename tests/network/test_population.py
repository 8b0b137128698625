"""A population does what its members do alone, by the reference and by the kernels, forward and backward."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import discover
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.network.state import named
from plastic_search.precisions import Rounding
from plastic_search.precisions.integer import Integer
from plastic_search.rules import Rule
from plastic_search.rules.oja import Oja
from plastic_search.structures.gated import Gated
from plastic_search.structures.self_recurrent import SelfRecurrent
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.trainers.gradient import Gradient

RULES = discover(Rule)
KERNELS = ("reference", "cpu")
STACK = NetworkSpec(
    (
        Layer(9, plastic=Pathway.INPUT, structure=SelfRecurrent()),
        Layer(7, LSTM(), Oja(), Retroactive(), Gated(0.5), Pathway.BOTH, Bound.SOFT, skip=(1,)),
    ),
    Integer(4, 4, 6, Rounding.STOCHASTIC),
)


def members(spec: NetworkSpec, kernel: str, inputs: int = 3, count: int = 3) -> list[Network]:
    return [Network(spec, inputs, seed, kernel).double() for seed in range(count)]


def noise(*sizes: int) -> Tensor:
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def same(nets: list[Network], x: Tensor) -> None:
    """Run twice, the second time from where the first ended, alone and together; and compare derivatives."""
    population = Population(nets)
    first, state = population(x)
    second, last = population(x, state)
    (first.square().sum() + second.square().sum() + sum(t.sum() for t in named(last).values())).backward()
    for k, net in enumerate(nets):
        inputs = x if x.dim() == 3 else x[k]
        y, begun = net(inputs)
        torch.testing.assert_close(first[k], y, rtol=0, atol=1e-11)
        z, end = net(inputs, begun)
        torch.testing.assert_close(second[k], z, rtol=0, atol=1e-11)
        for name, value in named(end).items():
            torch.testing.assert_close(named(last)[name][k], value, rtol=0, atol=1e-11)
        (y.square().sum() + z.square().sum() + sum(t.sum() for t in named(end).values())).backward()
        for name, p in net.named_parameters():
            grad = population.get_parameter(name).grad
            if p.grad is not None and p.numel():
                assert grad is not None, name
                torch.testing.assert_close(grad[k], p.grad, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("kernel", "rule"), list(itertools.product(KERNELS, RULES.values())))
@pytest.mark.parametrize("batch", [1, 5])
def test_every_rule(kernel: str, rule: type[Rule], batch: int) -> None:
    layer = Layer(7, rule=rule(), modulation=Retroactive(), plastic=Pathway.BOTH, limit=0.5)
    same(members(NetworkSpec((layer,)), kernel), noise(3, 6, batch, 3))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("spec", [STACK, NetworkSpec((Layer(5),))], ids=["stack", "unplastic"])
def test_stacks_gates_skips_and_rounded_numbers(kernel: str, spec: NetworkSpec) -> None:
    same(members(spec, kernel), noise(3, 5, 4, 3))


@pytest.mark.parametrize("kernel", KERNELS)
def test_one_input_for_all_and_a_population_of_one(kernel: str) -> None:
    spec = NetworkSpec((Layer(6, plastic=Pathway.RECURRENT),))
    same(members(spec, kernel), noise(5, 4, 3))
    same(members(spec, kernel, count=1), noise(1, 5, 4, 3))


def test_a_member_can_be_taken_out() -> None:
    nets = members(STACK, "cpu")
    taken = Population(nets).member(2)
    assert all(torch.equal(a, b) for a, b in zip(taken.parameters(), nets[2].parameters(), strict=True))
    x = noise(4, 2, 3)
    assert torch.equal(taken(x)[0], nets[2](x)[0])
    with pytest.raises(PlasticSearchError, match="no member 3; known: 0 to 2"):
        Population(nets).member(3)


def test_two_threads_change_nothing() -> None:
    population = Population(members(NetworkSpec((Layer(40, plastic=Pathway.RECURRENT),)), "cpu", count=5))
    x, before = noise(5, 20, 3, 3), torch.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            population.zero_grad()
            y, _ = population(x)
            y.square().sum().backward()
            results.append([y.detach(), *(p.grad.clone() for p in population.parameters() if p.grad is not None)])
    finally:
        torch.set_num_threads(before)
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_what_is_not_alike_is_refused() -> None:
    spec = NetworkSpec((Layer(6),))
    with pytest.raises(PlasticSearchError, match="at least one network"):
        Population([])
    with pytest.raises(PlasticSearchError, match="inputs of member 1 is 4, of member 0 3"):
        Population([Network(spec, 3), Network(spec, 4)])
    with pytest.raises(PlasticSearchError, match=r"member 1 is of torch\.float64, member 0 of torch\.float32"):
        Population([Network(spec, 3), Network(spec, 3).double()])
    for odd in (Network(spec, 3), [1, 2]):
        with pytest.raises(PlasticSearchError, match="made of a list of networks, but got a"):
            Population(odd)  # type: ignore[arg-type]
    population = Population([Network(spec, 3), Network(spec, 3, 1)])
    with pytest.raises(PlasticSearchError, match=r"2 members.*inputs=3.*but is \[3, 5, 4, 3\]"):
        population(torch.zeros(3, 5, 4, 3))
    with pytest.raises(PlasticSearchError, match=r"but is \[5, 3\]"):
        population(torch.zeros(5, 3))
    with pytest.raises(PlasticSearchError, match=r"layers\.0\.output must be"):
        population(torch.zeros(2, 5, 4, 3), Network(spec, 3)(torch.zeros(5, 4, 3))[1])


def test_members_train_as_each_would_alone() -> None:
    task, trainer = PatternCompletion(bits=6), Gradient(steps=6, batch=4, clip=0.05, reports=2)
    spec = NetworkSpec((Layer(8, plastic=Pathway.RECURRENT), Layer(task.outputs, Linear())))
    nets = [Network(spec, task.inputs, seed) for seed in range(3)]
    population = Population(nets)
    together = list(trainer.train_together(population, task, (4, 5, 6)))
    for k, net in enumerate(nets):
        alone = list(trainer.train(net, task, 4 + k))
        assert [p.step for p in alone] == [each[k].step for each in together]
        torch.testing.assert_close([p.loss for p in alone], [each[k].loss for each in together], rtol=1e-4, atol=0)
        for name, value in population.member(k).state_dict().items():
            torch.testing.assert_close(value, net.get_parameter(name), rtol=1e-3, atol=1e-4)


def test_a_seed_is_wanted_for_each_member() -> None:
    with pytest.raises(PlasticSearchError, match="3 members want as many seeds, but there are 2"):
        next(Gradient().train_together(Population(members(STACK, "cpu")), PatternCompletion(), (0, 1)))
