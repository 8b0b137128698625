"""Adaptation in a training loop of one's own: what it is made of, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.structures.pruned import Pruned
from plastic_search.training.adaptation import Adaptation

NET = Network(NetworkSpec((Layer(5, structure=Pruned(density=0.2)), Layer(4))), inputs=4)
TWO = Population([NET, NET])


def test_a_loop_of_ones_own_meets_the_budget() -> None:
    net = Network(NET.spec, 4)
    adam = torch.optim.Adam(net.parameters(), 0.01)
    adaptation = Adaptation(net, [0], steps=20)
    adaptation.after(0)
    assert net.connections() == 45 + 36
    for update in range(1, 21):
        net(torch.randn(3, 2, 4))[0].square().mean().backward()
        adam.step()
        adaptation.after(update)
    assert net.connections() == 9 + 36


@pytest.mark.parametrize(
    ("net", "seeds", "steps", "message"),
    [
        (NET.spec, (0,), 9, "net must be a Network or a Population, but is one of type NetworkSpec"),
        (NET, 0, 9, r"seeds must be one whole number, \(0,\), but is 0$"),
        (NET, (0, 1), 9, r"seeds must be one whole number, \(0,\), but is \(0, 1\)"),
        (NET, ("0",), 9, r"but is \('0',\)"),
        (TWO, (0,), 9, r"seeds must be a list of 2 whole numbers, one for each member, but is \(0,\)"),
        (NET, (0,), 0, "steps must be the number of updates, a whole number from 1, but is 0"),
        (NET, (0,), 2.0, "a whole number from 1, but is 2.0"),
    ],
)
def test_wrong_arguments_are_refused(net: Any, seeds: Any, steps: Any, message: str) -> None:
    with pytest.raises(PlasticSearchError, match=message):
        Adaptation(net, seeds, steps)


def test_a_network_that_was_moved_meanwhile_is_refused() -> None:
    net = Network(NET.spec, 4)
    adaptation = Adaptation(net, (0,), steps=20)
    adaptation.after(0)
    net.double()
    with pytest.raises(PlasticSearchError, match="moved or replaced after the Adaptation was made"):
        adaptation.after(1)
    Adaptation(net, (0,), steps=20).after(1)
