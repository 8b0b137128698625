"""Rules with a formula of their own at the synapse are compiled: every kernel equals the reference, and exports too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from parity import gaps, network, poison, results, started
from torch import Generator, Tensor

from plastic_search.cells.lstm import LSTM
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part
from plastic_search.export.onnx import export_step
from plastic_search.modulations import Modulation
from plastic_search.modulations.constant import Constant
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.simple import Simple
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.precisions import Rounding
from plastic_search.precisions.floating import Floating
from plastic_search.precisions.integer import Integer
from plastic_search.rules import Activity, Change, Outer, Rule
from plastic_search.testing import rule_promises

KERNELS = ["cpu"]
try:
    import triton  # noqa: F401  # pyright: ignore[reportMissingImports]

    if os.environ.get("TRITON_INTERPRET") == "1":
        KERNELS.append("gpu")
except ImportError:
    pass


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch)
    torch.manual_seed(0)


class Recent(NamedTuple):
    pre: Tensor  # [batch, pre]
    post: Tensor  # [batch, post]


class Gain(NamedTuple):
    shift: Tensor  # [post, pre]
    power: Tensor  # [post]
    weight: Tensor  # [post, pre]


@pytest.fixture
def rules() -> Iterator[dict[str, Any]]:
    """User-defined rules, which are forgotten afterwards."""
    known = dict(Part.kinds)

    @dataclass(frozen=True)
    class Dependent(Rule):
        """dH = post (x) recent(pre) (1 - H)^2 - recent(post) (x) pre exp(H) / 2 + (1/4 - H) / 10"""

        def state(self, batch: int, post: int, pre: int, like: Tensor) -> Recent:
            return Recent(like.new_zeros(batch, pre), like.new_zeros(batch, post))

        def step(self, params: Any, state: Recent, seen: Activity) -> tuple[Change, Recent]:
            rise = torch.einsum("bm,bn->bmn", seen.post, state.pre) * (1.0 - seen.trace) ** 2
            fall = state.post.unsqueeze(-1) * seen.pre.unsqueeze(1) * (0.5 * seen.trace.exp())
            change = Change(dense=rise - fall + 0.1 * (0.25 - seen.trace))
            return change, Recent(*(0.7 * old + 0.3 * new for old, new in zip(state, seen[:2], strict=True)))

    @dataclass(frozen=True)
    class Saturating(Rule):
        """dH = sigmoid(w) post (x) pre - H |pre| / 3 + tanh(post (x) pre - p H + s) - [H > 0.1] |H|, all combined"""

        def params(self, post: int, pre: int, rng: Generator) -> Gain:
            return Gain(*(torch.randn(n, generator=rng) for n in ((post, pre), (post,), (post, pre))))

        def step(self, params: Gain, state: Any, seen: Activity) -> tuple[Change, Any]:
            power = params.power.unsqueeze(-1)
            dense = (seen.post.unsqueeze(-1) * seen.pre.unsqueeze(1) - power * seen.trace + params.shift).tanh()
            dense = dense - torch.where(seen.trace > 0.1, seen.trace, -seen.trace).clamp_min(0.0)
            terms = (Outer(seen.post, seen.pre, params.weight.sigmoid()), Outer(seen.recall, seen.pre, 0.5))
            return Change(terms, seen.pre.abs().unsqueeze(1) / 3.0, dense), state

    @dataclass(frozen=True)
    class Crossing(Rule):
        """dH = |post|^1.5 (x) pre^5 - |post| |pre| H, a decay for every synapse that changes within an episode"""

        def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
            decay = seen.post.abs().unsqueeze(-1) * seen.pre.abs().unsqueeze(1)
            return Change((Outer(seen.post.abs() ** 1.5, seen.pre**5),), decay), state

    @dataclass(frozen=True)
    class Inverse(Rule):
        """dH = post (x) pre / (H + pre), which is not a number in padding"""

        def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
            pre = seen.pre.unsqueeze(1)
            return Change(dense=0.1 * seen.post.unsqueeze(-1) * pre / (seen.trace.abs() + pre.abs())), state

    @dataclass(frozen=True)
    class Summing(Rule):
        """dH = post (x) pre - mean(H) H, with a sum that each synapse would have to wait for"""

        def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
            mean = seen.trace.mean(-1, keepdim=True)
            return Change((Outer(seen.post, seen.pre),), mean), state

    @dataclass(frozen=True)
    class Remembering(Rule):
        """dH = recent(recall) (x) pre, with a sum over the trace that a unit remembers"""

        def state(self, batch: int, post: int, pre: int, like: Tensor) -> Recent:
            return Recent(like.new_zeros(batch, pre), like.new_zeros(batch, post))

        def step(self, params: Any, state: Recent, seen: Activity) -> tuple[Change, Recent]:
            return Change((Outer(state.post, seen.pre),)), Recent(state.pre, seen.trace.sum(-1))

    defined = (Dependent, Saturating, Crossing, Inverse, Summing, Remembering)
    yield {kind.__name__: kind for kind in defined}
    Part.kinds.clear()
    Part.kinds.update(known)


NEAREST, STOCHASTIC, FEEDBACK = (Integer(None, None, 5, rounding) for rounding in Rounding)
CASES = [
    ("Dependent", Simple(), Bound.HARD, Pathway.BOTH, Floating()),
    ("Dependent", Retroactive(), Bound.SOFT, Pathway.RECURRENT, STOCHASTIC),
    ("Dependent", Constant(), Bound.NONE, Pathway.INPUT, Floating()),
    ("Saturating", Simple(), Bound.SOFT, Pathway.RECURRENT, NEAREST),
    ("Saturating", Retroactive(), Bound.HARD, Pathway.BOTH, Floating()),
    ("Crossing", Simple(), Bound.SOFT, Pathway.BOTH, STOCHASTIC),
    ("Inverse", Retroactive(), Bound.HARD, Pathway.INPUT, FEEDBACK),
]


@pytest.mark.usefixtures("quick_code")
@pytest.mark.filterwarnings("ignore:.* encountered in :RuntimeWarning")  # by Triton's interpreter, in padding
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("name", "modulation", "bound", "pathway", "precision"), CASES)
def test_a_formula_at_the_synapse_is_compiled(
    rules: dict[str, Any], name: str, modulation: Modulation, bound: Bound, pathway: Pathway, precision: Any,
    kernel: str,
) -> None:  # fmt: skip
    sizes = [(13, 3, 9), (1, 1, 2)] if kernel == "cpu" else [(7, 2, 4)]
    for units, batch, time in sizes:
        layer = Layer(units, LSTM(), rules[name](), modulation, plastic=pathway, bound=bound, limit=0.4)
        net = network(NetworkSpec((layer,), precision), 3, torch.float64)
        x = 0.5 * torch.randn(time, batch, 3, dtype=torch.float64)
        state = started(net, x[:2])
        found = gaps(results(net, "reference", x, state), results(net, kernel, x, state))
        assert max(found.values(), key=lambda gap: torch.inf if gap != gap else gap) <= 1e-10, (units, found)


def test_its_derivatives_are_those_of_finite_differences(rules: dict[str, Any]) -> None:
    for name in ("Dependent", "Saturating"):
        layer = Layer(3, rule=rules[name](), modulation=Retroactive(), plastic=Pathway.BOTH, bound=Bound.SOFT)
        net = network(NetworkSpec((layer,)), 2, torch.float64)
        net.kernel = "cpu"
        x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x, *_, net=net: net(x)[0], (x, *net.parameters()))


def test_threads_and_populations_change_nothing(rules: dict[str, Any]) -> None:
    spec = NetworkSpec((Layer(40, rule=rules["Saturating"](), plastic=Pathway.RECURRENT),))
    nets = [Network(spec, 3, seed).double() for seed in range(2)]
    x, before = torch.randn(2, 12, 9, 3, dtype=torch.float64), torch.get_num_threads()
    y, _ = Population(nets)(x)
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for k, net in enumerate(nets):
                net.kernel = "cpu"
                torch.testing.assert_close(net(x[k])[0], y[k], rtol=0, atol=1e-12)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Summing", "something at a synapse that waits for a sum over synapses"),
        ("Remembering", "a sum over synapses within the step"),
    ],
)
def test_what_no_kernel_can_do_is_refused_by_name(rules: dict[str, Any], name: str, why: str) -> None:
    net = Network(NetworkSpec((Layer(4, rule=rules[name](), plastic=Pathway.RECURRENT),)), 3, kernel="cpu")
    with pytest.raises(PlasticSearchError, match=rf"cpu kernel does not take a layer of RNN, {name} and Simple: {why}"):
        net(torch.randn(3, 2, 3))


@pytest.mark.parametrize("name", ["Dependent", "Saturating"])
def test_it_keeps_the_promises_of_a_rule_and_is_exported(rules: dict[str, Any], name: str, tmp_path: Path) -> None:
    rule_promises(rules[name])
    layer = Layer(5, rule=rules[name](), modulation=Retroactive(), plastic=Pathway.BOTH, bound=Bound.SOFT)
    parity = export_step(Network(NetworkSpec((layer,)), 3), tmp_path / "step.onnx", steps=20)
    assert parity.stepwise <= 1e-5
