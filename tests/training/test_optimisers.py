"""Optimisers, learning rates and gradient factors by path, against torch's own optimisers used by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.space import choice, override
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.tasks import Split
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.trainers import Trainer
from plastic_search.trainers.gradient import Gradient
from plastic_search.training.contract import draw
from plastic_search.training.optimisers import SGD, Adam, AdamW, Optimiser, ParameterGroup

TASK = PatternCompletion(bits=4)
SPEC = NetworkSpec((Layer(4, plastic=Pathway.RECURRENT),))
CASES: list[tuple[Optimiser, Any, dict[str, Any]]] = [
    (Adam(), torch.optim.Adam, {}),
    (Adam(epsilon=1e-4, weight_decay=0.1), torch.optim.Adam, {"eps": 1e-4, "weight_decay": 0.1}),
    (AdamW(weight_decay=0.2), torch.optim.AdamW, {"weight_decay": 0.2}),
    (SGD(momentum=0.9, weight_decay=0.1), torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.1}),
]
GROUPS = (ParameterGroup("layers.*.alpha", rate=3.0, gradient=0.25), ParameterGroup("layers.0.modulation", rate=0.5))


def by_hand(kind: Any, settings: dict[str, Any], groups: bool, seed: int) -> Network:
    """Four updates, written out; the learning rate falls over the last two."""
    net, rng = Network(SPEC, 4, seed), torch.Generator().manual_seed(seed)
    named = dict(net.named_parameters())
    rates = {n: 3.0 if "alpha" in n else 0.5 if "modulation" in n else 1.0 for n in named} if groups else {}
    optimiser = kind([{"params": [p], "lr": 0.05 * rates.get(n, 1.0)} for n, p in named.items()], lr=0.05, **settings)
    for share in (1.0, 1.0, 1.0, 0.5):
        episodes = draw(TASK, 3, Split.TRAIN, rng, net.layers[0].get_parameter("weight"))
        net.zero_grad()
        TASK.loss(net(episodes.inputs)[0], episodes).backward()
        if groups and (grad := named["layers.0.alpha"].grad) is not None:
            grad.mul_(0.25)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.3)
        for n, group in zip(named, optimiser.param_groups, strict=True):
            group["lr"] = 0.05 * rates.get(n, 1.0) * share
        optimiser.step()
    return net


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize(("optimiser", "kind", "settings"), CASES, ids=[str(case[0]) for case in CASES])
def test_training_is_torchs_optimiser_by_hand(
    optimiser: Optimiser, kind: Any, settings: dict[str, Any], groups: bool
) -> None:
    trainer = Gradient(4, 0.05, batch=3, clip=0.3, optimiser=optimiser, groups=GROUPS if groups else ())
    population = Population([Network(SPEC, 4, seed) for seed in (0, 1)])
    list(trainer.train_together(population, TASK, (0, 1)))
    for seed in (0, 1):
        net, wanted = Network(SPEC, 4, seed), by_hand(kind, settings, groups, seed).state_dict()
        list(trainer.train(net, TASK, seed))
        for name, value in net.state_dict().items():
            torch.testing.assert_close(value, wanted[name], rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(population.member(seed).state_dict()[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimiser", [AdamW(weight_decay=0.5), Adam(weight_decay=0.5), SGD(0.5, weight_decay=0.5)])
def test_weight_decay_leaves_what_is_held(optimiser: Optimiser) -> None:
    held = ("layers.0.weight.input", "layers.0.bias")
    net = Network(NetworkSpec(SPEC.layers, held=held), 4)
    before = net.layers[0].get_parameter("weight").detach().clone()
    list(Gradient(3, batch=2, optimiser=optimiser).train(net, TASK, 0))
    same = net.layers[0].get_parameter("weight") == before
    assert same[..., :4].all()
    assert not same[..., 4:].all()


def test_what_is_set_is_a_value() -> None:
    trainer = Gradient(optimiser=SGD(0.9), groups=GROUPS)
    assert Trainer.from_json(trainer.to_json()) == trainer
    old = Gradient().to_json()
    del old["optimiser"], old["groups"]
    assert Trainer.from_json(old) == Gradient()
    assert override(trainer, "optimiser.momentum", "0.5").optimiser == SGD(0.5)
    assert Gradient(optimiser=choice(Adam(), SGD())) != Gradient()


def test_mistakes_are_refused() -> None:
    with pytest.raises(PlasticSearchError, match="momentum is a share"):
        SGD(1.0)
    with pytest.raises(PlasticSearchError, match=r"AdamW.weight_decay must be 0 or more"):
        AdamW(weight_decay=-1.0)
    with pytest.raises(PlasticSearchError, match=r"layers\.0\.weight"):
        list(Gradient(1, groups=(ParameterGroup("layers.1"),)).train(Network(SPEC, 4), TASK, 0))
