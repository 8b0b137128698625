"""A network that is trained without the adaptation that its structures need warns once; nothing else does."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Generator, Tensor

from plastic_search.core.part import discover
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.rollout import Rollout
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.structures import Gates, LearnedStructure, Shape, Structure
from plastic_search.structures.dense import Dense
from plastic_search.structures.gated import Gated
from plastic_search.structures.grown import Grown
from plastic_search.structures.pruned import Pruned
from plastic_search.structures.rewired import Rewired
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.tasks.repeated_pairs import RepeatedPairs
from plastic_search.trainers.gradient import Gradient
from plastic_search.trainers.windowed import Windowed
from plastic_search.training.adaptation import Adaptation

Net = Network | Population
TASK = PatternCompletion(bits=4, patterns=1, present=1, delay=0)
LEARNED = [kind for kind in discover(Structure).values() if issubclass(kind, LearnedStructure)]


def network(*structures: Structure, seed: int = 0) -> Network:
    hidden = [Layer(5, structure=each, plastic=Pathway.INPUT) for each in structures]
    return Network(NetworkSpec((*hidden, Layer(4))), inputs=4, seed=seed)


def adam(net: Net) -> Callable[[], object]:
    return torch.optim.Adam(net.parameters(), 0.01).step


def by_hand(net: Net) -> Callable[[], object]:
    """Updates that torch's version counters do not see."""

    def step() -> None:
        for p in net.parameters():
            if p.grad is not None:
                p.data.sub_(0.01 * p.grad)

    return step


def train(net: Any, step: Callable[[], object] = lambda: None, updates: int = 25) -> None:
    """A training loop of one's own, as one writes it for a network of fixed structure."""
    rng = torch.Generator().manual_seed(0)
    for _ in range(updates):
        y, _ = net(torch.randn(3, 2, 4, generator=rng))
        y.square().mean().backward()
        step()


@pytest.mark.parametrize("kind", LEARNED, ids=lambda kind: kind.__name__)
def test_one_warning_names_structure_reason_and_remedy(kind: type[LearnedStructure]) -> None:
    net = network(Dense(), kind())
    with pytest.warns(UserWarning, match="connections are learned") as caught:
        train(net, adam(net))
    assert len(caught) == 1
    text = str(caught[0].message)
    assert text.startswith(f"layers.1.structure ({kind.__name__}): connections are learned between updates")
    assert "Adaptation(net, seeds=(0,), steps=UPDATES)" in text
    assert caught[0].filename == __file__  # where the network is called


@pytest.mark.parametrize("update", [adam, by_hand])
@pytest.mark.parametrize(
    "of",
    [lambda net: net, lambda net: Population([net, network(Pruned(), Gated(), seed=1)])],
    ids=["net", "population"],
)
def test_whatever_updates_it_and_however_it_runs(of: Callable[[Network], Net], update: Callable[[Net], Any]) -> None:
    net = of(network(Pruned(), Gated()))
    with pytest.warns(UserWarning, match=r"layers.0.structure \(Pruned\), layers.1.structure \(Gated\): "):
        train(net, update(net))


def test_a_replayed_rollout_is_training_too() -> None:
    net = network(Rewired())

    def episodes(x: Tensor) -> Any:
        rollout = Rollout(net, batch=2)
        rollout.run(x)
        return rollout.replay()

    with pytest.warns(UserWarning, match="Rewired"):
        train(episodes, adam(net))


def test_a_copy_is_watched_too() -> None:
    net = copy.deepcopy(network(Pruned()))
    with pytest.warns(UserWarning, match="Pruned"):
        train(net, adam(net))


@pytest.mark.parametrize("kind", LEARNED, ids=lambda kind: kind.__name__)
def test_none_with_an_adaptation(kind: type[LearnedStructure]) -> None:
    net = network(kind())
    adaptation, step = Adaptation(net, seeds=(0,), steps=15), adam(net)
    adaptation.after(0)
    for update in range(1, 16):
        (net(torch.randn(3, 2, 4))[0].square().mean() + adaptation.constraint()).backward()
        step()
        adaptation.after(update)
    train(net, adam(net))  # and on


def test_none_where_only_the_end_of_training_is_told() -> None:
    net = network(Gated())
    adaptation = Adaptation(net, seeds=(0,), steps=25)
    train(net, adam(net))
    adaptation.after(25)
    train(net, adam(net))


def test_none_from_a_trainer() -> None:
    net, steps = network(Pruned(), Grown()), Gradient(steps=15, batch=2)
    for trained in (net, net):
        list(steps.train(trained, TASK, seed=0))
    population = Population([network(Pruned(), Grown()), network(Pruned(), Grown(), seed=1)])
    list(steps.train_together(population, TASK, seeds=(0, 1)))
    list(Windowed(steps=15).train(net, RepeatedPairs(window=4), seed=0))


def test_none_from_evaluation_however_long() -> None:
    net, other = network(Pruned()), network(Pruned(), seed=1)
    for turn in range(25):  # other parameters each time, with gradients that nobody asks for
        net.load_state_dict((other if turn % 2 else network(Pruned(), seed=2)).state_dict())
        net(torch.randn(3, 2, 4))
    train(net)  # gradients, but no updates, as for a saliency map
    with torch.no_grad():
        net(torch.randn(3, 2, 4))


def test_none_where_training_had_ended_before() -> None:
    trained = network(Pruned(), Gated())
    list(Gradient(steps=5, batch=2).train(trained, TASK, seed=0))
    again = network(Pruned(), Gated(), seed=1)
    again.load_state_dict(trained.state_dict())
    before = again.connections()
    train(again, adam(again))
    assert again.connections() == before


class MaskParams(NamedTuple):
    scores: Tensor  # [post, pre]


def test_none_for_a_users_structure_that_only_gradients_train() -> None:
    @dataclass(frozen=True)
    class Mask(LearnedStructure):
        """exists = 1 where s > 0"""

        def params(self, shape: Shape, rng: Generator) -> MaskParams:
            return MaskParams(torch.randn(shape.post, shape.pre, generator=rng))

        def gates(self, params: MaskParams, shape: Shape, like: Tensor) -> Gates:
            soft = params.scores.sigmoid()
            exists = (params.scores > 0).to(like) + (soft - soft.detach())
            return Gates(exists, exists[:, shape.plastic])

    @dataclass(frozen=True)
    class Costly(Mask):
        """the same under a penalty"""

        def constraint(self, params: MaskParams, shape: Shape) -> Tensor:
            return params.scores.sigmoid().mean()

    net = network(Mask())
    train(net, adam(net))
    net = network(Costly())
    with pytest.warns(UserWarning, match="Costly"):
        train(net, adam(net))


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_what_torch_does_around_it_is_not_disturbed() -> None:
    net, x = network(Gated()), torch.randn(3, 2, 4)
    params = {name: p.detach() for name, p in net.named_parameters()}

    def loss(params: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(net, params, (x.unsqueeze(1),))[0].square().mean()

    net.kernel = "reference"
    for _ in range(15):
        grads = torch.func.grad(loss)(params, x[:, 0])
        params = {name: p - 0.01 * grads[name] for name, p in params.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(net, backend="eager")
        assert torch.allclose(compiled(x)[0], net(x)[0], atol=1e-6)
