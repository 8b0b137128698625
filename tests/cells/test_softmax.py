"""Softmax, and what else reduces over units: largest values, sums of exponentials, and their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from parity import gaps, network, poison, results
from torch import Tensor

from plastic_search.cells import Cell, Response
from plastic_search.cells.softmax import Softmax
from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.contract import build
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules import Activity, Change, Rule
from plastic_search.rules.oja import Oja
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.grown import Grown

pytestmark = pytest.mark.usefixtures("quick_code")

REDUCED: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda d: d.softmax(-1),
    "log_softmax": lambda d: 0.1 * d.log_softmax(-1),
    "logsumexp": lambda d: (d - d.logsumexp(-1, keepdim=True)).exp(),
    "amax": lambda d: (d - d.amax(-1, keepdim=True)).tanh(),
    "amin": lambda d: (d - d.amin(-1, keepdim=True)).tanh(),
    "ties": lambda d: (d.round() - d.round().amax(-1, keepdim=True)).tanh() * d + d.relu().amax(-1, keepdim=True),
    "normed": lambda d: d / (1.0 + d.abs().amax(-1, keepdim=True)),
    "softplus": lambda d: torch.nn.functional.softplus(3 * d).log1p(),
    "expm1": lambda d: -torch.expm1(-d.square()),
}


class Gain(NamedTuple):
    gain: Tensor  # [post, 2]


@pytest.mark.parametrize("name", REDUCED)
def test_reductions_and_their_derivatives_equal_the_reference(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Reduced(Cell):
        """y = f(drive)"""

        name: str

        def params(self, post: int, rng: torch.Generator) -> Gain:
            return Gain(torch.randn(post, 2, generator=rng))

        def step(self, params: Gain, state: Any, drive: Tensor) -> Any:
            gain = torch.nn.functional.softplus(params.gain[:, 0])
            y = REDUCED[self.name](drive[:, 0] * gain + 0.1 * params.gain[:, 1])
            return state, Response(y, y.square())

    poison(monkeypatch)
    for units, pathway in ((1, Pathway.NONE), (33, Pathway.RECURRENT)):
        net = network(NetworkSpec((Layer(units, Reduced(name), plastic=pathway),)), 5, torch.float64)
        x = 2 * torch.randn(6, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        apart = gaps(results(net, "reference", x, None), results(net, "cpu", x, None))
        assert max(apart.values()) <= 1e-10, apart


@pytest.mark.parametrize("kernel", ["reference", "cpu"])
@pytest.mark.parametrize("size", [1.0, 1e4, 1e30])
def test_probabilities_of_any_drives(kernel: str, size: float) -> None:
    layer = Layer(21, Softmax(), Oja(), structure=FeedForward(), plastic=Pathway.INPUT)
    net, x = Network(NetworkSpec((layer,)), 4, kernel=kernel), size * torch.randn(5, 3, 4)
    y, state = net(x.requires_grad_())
    torch.testing.assert_close(y.sum(-1), torch.ones(5, 3))
    assert y.min() >= 0.0
    (y[..., 0].sum() + state[0].output.square().sum()).backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None) or size > 1e4


def test_a_unit_that_does_not_exist_would_emit_something() -> None:
    layers = (Layer(6, Softmax(), structure=Grown(start=2)), Layer(2))
    with pytest.raises(PlasticSearchError, match=r"cell Softmax .* must return 0 for units .* as Grown has"):
        build(NetworkSpec(layers), 3)
    build(NetworkSpec((Layer(6, structure=Grown(start=2)), Layer(2, Softmax()))), 3)


def test_the_largest_of_all_synapses_is_refused_by_name() -> None:
    @dataclass(frozen=True)
    class Normed(Rule):
        """dH = post (x) pre / max |H|"""

        def step(self, params: Any, state: Any, seen: Activity) -> Any:
            most = seen.trace.abs().amax((-2, -1), keepdim=True)
            return Change(dense=seen.post.unsqueeze(-1) * seen.pre.unsqueeze(-2) / (1.0 + most)), state

    net = Network(NetworkSpec((Layer(4, rule=Normed(), plastic=Pathway.INPUT),)), 3)
    with pytest.warns(UserWarning, match="a largest value over synapses"):
        net(torch.randn(2, 2, 3))
