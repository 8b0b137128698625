"""The one module: what it gives back, what it refuses, and that every combination of parts runs and can be trained."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from plastic_search.cells import Cell, Response
from plastic_search.cells.rnn import RNN
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part, discover
from plastic_search.core.space import choice, real
from plastic_search.modulations import Modulation
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.simple import Simple
from plastic_search.network.module import Network
from plastic_search.network.spec import AlphaShape, Bound, Layer, NetworkSpec, Pathway
from plastic_search.network.state import State, load_named, named
from plastic_search.network.step import LayerState
from plastic_search.precisions.floating import Floating
from plastic_search.precisions.integer import Integer
from plastic_search.rules import Activity, Change, Outer, Rule
from plastic_search.rules.bcm import BCM
from plastic_search.rules.hebb import Hebb
from plastic_search.structures import Structure
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.structures.graph import Graph
from plastic_search.structures.self_recurrent import SelfRecurrent

pytestmark = pytest.mark.usefixtures("quick_code")
CELLS: Any = discover(Cell)
RULES: Any = discover(Rule)
MODULATIONS: Any = discover(Modulation)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rich() -> NetworkSpec:
    """Two layers with every kind of state there is: memory, thresholds, eligibility, dither."""
    return NetworkSpec(
        (
            Layer(5, CELLS["LSTM"](), BCM(), Retroactive(), plastic=Pathway.BOTH),
            Layer(4, rule=Hebb(decay=0.5), plastic=Pathway.INPUT, skip=(1,)),
        ),
        Integer(weight=4, alpha=4, trace=4),
    )


def test_time_goes_on_where_it_stopped() -> None:
    net, x = Network(rich(), 3), noise(10, 2, 3)
    y, end = net(x)
    first, middle = net(x[:4])
    second, later = net(x[4:], middle)
    assert torch.equal(torch.cat([first, second]), y)
    assert named(later).keys() == named(end).keys()
    assert all(torch.equal(named(later)[name], t) for name, t in named(end).items())


def test_what_comes_back() -> None:
    net = Network(rich(), 3)
    y, state = net(noise(6, 2, 3))
    assert y.shape == (6, 2, net.outputs)
    assert torch.equal(y[-1], state[-1].output)
    assert {name: list(t.shape) for name, t in named(state).items()} == {
        "layers.0.output": [2, 5],
        "layers.0.cell.memory": [2, 5],
        "layers.0.trace": [2, 5, 8],
        "layers.0.rule.threshold": [2, 5],
        "layers.0.eligibility": [2, 5, 8],
        "layers.0.dither": [2, 1, 1],
        "layers.1.output": [2, 4],
        "layers.1.trace": [2, 4, 8],
        "layers.1.dither": [2, 1, 1],
    }


def test_the_seed_is_all_that_decides_the_parameters() -> None:
    torch.manual_seed(0)
    one = Network(rich(), 3, seed=5)
    torch.manual_seed(1)
    two, three = Network(rich(), 3, seed=5), Network(rich(), 3, seed=6)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))
    assert not all(torch.equal(p, q) for p, q in zip(one.parameters(), three.parameters(), strict=True))


def test_named_and_load_named_are_inverse() -> None:
    net = Network(rich(), 3)
    _, state = net(noise(4, 2, 3))
    again = load_named(named(state), net.initial_state(2))
    assert named(again).keys() == named(state).keys()
    assert torch.equal(net(noise(4, 2, 3), again)[0], net(noise(4, 2, 3), state)[0])


def test_load_named_is_strict() -> None:
    net = Network(rich(), 3)
    tensors = named(net.initial_state(2))
    with pytest.raises(PlasticSearchError, match=r"has no place for layers\.7\.trace"):
        load_named(tensors | {"layers.7.trace": torch.zeros(1)}, net.initial_state(2))
    del tensors["layers.0.trace"]
    with pytest.raises(PlasticSearchError, match=r"lacks layers\.0\.trace"):
        load_named(tensors, net.initial_state(2))


def test_a_state_dict_goes_there_and_back() -> None:
    one, two = Network(rich(), 3, seed=0), Network(rich(), 3, seed=1)
    two.load_state_dict(one.state_dict())
    assert torch.equal(one(noise(3, 2, 3))[0], two(noise(3, 2, 3))[0])


WRONG_INPUTS = [
    (torch.zeros(4, 2, 5), r"inputs=3 .* shape \[4, 2, 5\]"),
    (torch.zeros(4, 3), r"inputs=3 .* shape \[4, 3\]"),
    (torch.zeros(0, 2, 3), r"at least one step, but has shape \[0, 2, 3\]"),
    (torch.zeros(4, 2, 3).double(), r"must be torch\.float32, .* but is torch\.float64"),
    (torch.zeros(4, 2, 3, device="meta"), "x must be on cpu, as the network is, but is on meta"),
    (torch.zeros(4, 2, 3).long(), r"must be torch\.float32, .* but is torch\.int64"),
]


@pytest.mark.parametrize(("x", "message"), WRONG_INPUTS, ids=[message for _, message in WRONG_INPUTS])
def test_a_wrong_input_is_refused(x: Tensor, message: str) -> None:
    with pytest.raises(PlasticSearchError, match=message):
        Network(rich(), 3)(x)


def changed(state: State, name: str, tensor: Tensor) -> State:
    return load_named(named(state) | {name: tensor}, state)


def test_a_wrong_state_is_refused() -> None:
    net, x = Network(rich(), 3), torch.zeros(1, 2, 3)
    start = net.initial_state(2)
    cases: list[tuple[tuple[LayerState, ...], str]] = [
        (net.initial_state(3), "layers.0.output must be [2, 5] of torch.float32"),
        (net.initial_state(3), "but is [3, 5] of torch.float32"),
        (changed(start, "layers.0.trace", torch.zeros(2, 5, 7)), "layers.0.trace must be [2, 5, 8]"),
        (changed(start, "layers.0.trace", torch.zeros(2, 5, 8).double()), "but is [2, 5, 8] of torch.float64"),
        (changed(start, "layers.0.rule.threshold", torch.zeros(5)), "layers.0.rule.threshold must be [2, 5]"),
        (changed(start, "layers.1.dither", torch.zeros(2, 1)), "layers.1.dither must be [2, 1, 1]"),
        (start[:1], "layers.1.output must be [2, 4] of torch.float32"),
        (Network(NetworkSpec((Layer(5), Layer(4))), 3).initial_state(2), "layers.0.cell.memory must be [2, 5]"),
    ]
    for state, message in cases:
        with pytest.raises(PlasticSearchError, match=re.escape(message)):
            net(x, state)


def test_what_is_not_even_of_the_right_type_is_refused() -> None:
    net, x = Network(rich(), 3), torch.zeros(1, 2, 3)
    cases: list[tuple[Any, str]] = [
        (lambda: net(x.numpy()), "x must be a tensor [time, batch, inputs], but is one of type ndarray"),
        (lambda: net([1, 2]), "but is [1, 2] of type list; `torch.as_tensor` makes one"),
        (lambda: net(x, 42), "a LayerState for each layer, but is 42 of type int"),
        (lambda: net(x, (None,)), "a LayerState for each layer, but is (None,) of type tuple"),
        (lambda: Network(rich(), inputs="8"), "inputs must be a whole number from 1, but is '8' of type str"),  # type: ignore[arg-type]
        (lambda: Network(rich(), inputs=0), "inputs must be a whole number from 1, but is 0 of type int"),
        (lambda: Network(rich().layers[0], 3), "spec must be a NetworkSpec, but is "),  # type: ignore[arg-type]
    ]
    for make, message in cases:
        with pytest.raises(PlasticSearchError, match=re.escape(message)):
            make()


def test_it_tells_what_it_is_made_of() -> None:
    net = Network(NetworkSpec((Layer(3), Layer(2, rule=Hebb(0.5), plastic=Pathway.INPUT))), 4)
    assert repr(net).splitlines() == [
        f"Network(4 -> 2, {net.connections()} connections, {net.count()} parameters)",
        "  layers.0: 3 units, RNN(), Dense()",
        f"  layers.1: 2 units, RNN(), Dense(), input plastic by Hebb(decay=0.5) and {Layer().modulation}",
        "  precision: Floating()",
    ]


def test_an_open_spec_is_refused_by_address() -> None:
    spec = NetworkSpec((Layer(choice(2, 3), rule=Hebb(decay=real(0.0, 1.0))),))
    with pytest.raises(
        PlasticSearchError,
        match=r"2 search parameters without a value: layers\.0\.units, layers\.0\.rule\.decay; give each",
    ):
        Network(spec, 3)


CHECKED = [
    Layer(3, plastic=Pathway.BOTH, alpha=AlphaShape.NEURON),
    Layer(3, CELLS["LSTM"](), RULES["ABCD"](), Retroactive(), plastic=Pathway.RECURRENT),
    Layer(3, rule=RULES["Oja"](), modulation=Simple(), plastic=Pathway.INPUT, bound=Bound.SOFT),
    Layer(3, rule=RULES["Delta"](), plastic=Pathway.BOTH, bound=Bound.NONE, alpha=AlphaShape.NETWORK),
    Layer(3, CELLS["Linear"](), BCM(), MODULATIONS["Learned"](), SelfRecurrent(), Pathway.BOTH),
]


@pytest.mark.parametrize("layer", CHECKED)
def test_gradients_are_those_of_finite_differences(layer: Layer) -> None:
    net = Network(NetworkSpec((layer, Layer(2, structure=FeedForward(), plastic=Pathway.INPUT))), 2).double()
    names = [name for name, p in net.named_parameters() if p.numel()]
    values = [net.get_parameter(name).detach().clone().requires_grad_() for name in names]
    x = noise(4, 2, 2, seed=1).double().requires_grad_()

    def run(x: Tensor, *tensors: Tensor) -> Tensor:
        return torch.func.functional_call(net, dict(zip(names, tensors, strict=True)), (x,))[0]

    assert torch.autograd.gradcheck(run, (x, *values))


@pytest.mark.parametrize(
    "cell", [name for name in CELLS if name not in ("ALIF", "Delayed", "Integrator")]
)  # LIF, LIF, Leaky are like them
@pytest.mark.parametrize("rule", RULES)
def test_every_combination_runs_and_every_parameter_gets_a_gradient(cell: str, rule: str) -> None:
    shapes, alphas = ((1, 1), (7, 1), (1, 7)), list(AlphaShape)
    pathways, turn = (Pathway.INPUT, Pathway.RECURRENT, Pathway.BOTH), list(CELLS).index(cell) + list(RULES).index(rule)
    for n, modulation in enumerate(MODULATIONS, turn):
        (units, inputs), pathway = shapes[n % 3], pathways[n // 3 % 3]
        layer = Layer(
            units, CELLS[cell](), RULES[rule](), MODULATIONS[modulation](), plastic=pathway, alpha=alphas[n // 2 % 3]
        )
        net = Network(NetworkSpec((layer,)), inputs, kernel="reference")
        y, state = net(noise(5, 2, inputs, seed=n))
        assert y.isfinite().all()
        assert all(t.isfinite().all() for t in named(state).values())
        y.square().sum().backward()
        for name, p in net.named_parameters():
            assert p.numel() == 0 or p.grad is not None, f"{layer}: {name}"
            assert p.grad is None or p.grad.isfinite().all(), f"{layer}: {name}"


STRUCTURES = [Dense(), FeedForward(), SelfRecurrent(), Gated(density=0.3, plastic=0.5), Gated(support=SelfRecurrent())]


@pytest.mark.parametrize("structure", [*STRUCTURES, Graph(plastic=((0, 0), (6, 2)))], ids=str)
@pytest.mark.parametrize("precision", [None, Integer(weight=2, alpha=3, trace=4)], ids=str)
def test_every_structure_in_float_and_in_integers(structure: Structure, precision: Integer | None) -> None:
    spec = NetworkSpec((Layer(7, structure=structure, plastic=Pathway.INPUT),), precision or Floating())
    net = Network(spec, 3)
    y, _ = net(noise(5, 2, 3))
    y.square().sum().backward()
    assert y.isfinite().all()
    assert all(p.numel() == 0 or (p.grad is not None and p.grad.isfinite().all()) for p in net.parameters())
    assert 0 < net.connections() <= 7 * 10


def test_connections_are_those_that_exist() -> None:
    counts = {
        Dense(): 7 * 10, FeedForward(): 7 * 3, SelfRecurrent(): 7 * 3 + 7, Gated(density=0.5): 35,
        Gated(density=0.01): 1, Gated(density=0.5, support=SelfRecurrent()): 14, Graph(fixed=((0, 1), (2, 9))): 2,
    }  # fmt: skip
    for structure, count in counts.items():
        net = Network(NetworkSpec((Layer(7, structure=structure),)), 3)
        assert net.connections() == count
        assert int((net.resolve()[0].weight != 0).any(0).sum()) == count, "what does not exist weighs exactly 0"


def test_batch_elements_never_meet() -> None:
    net = Network(rich(), 3).double()
    x = noise(6, 3, 3).double()
    start = net.initial_state(3)
    whole, _ = net(x)
    for b in range(3):
        alone, _ = net(x[:, b : b + 1], load_named({n: t[b : b + 1] for n, t in named(start).items()}, start))
        torch.testing.assert_close(alone[:, 0], whole[:, b])


def test_a_state_without_names_is_refused() -> None:
    @dataclass(frozen=True)
    class Nameless(Rule):
        """dH = post (x) pre"""

        def state(self, batch: int, post: int, pre: int, like: torch.Tensor) -> tuple[torch.Tensor]:
            return (like.new_zeros(batch, post),)

        def step(self, params: tuple[()], state: tuple[torch.Tensor], seen: Activity) -> tuple[Change, Any]:
            return Change((Outer(seen.post, seen.pre),)), state

    try:
        net = Network(NetworkSpec((Layer(units=3, rule=Nameless(), plastic=Pathway.INPUT),)), 2)
        with pytest.raises(PlasticSearchError, match=r"rule is a tuple; .* must be a NamedTuple"):
            named(net.initial_state(1))
    finally:
        Part.kinds.pop("Nameless")


class Start(NamedTuple):
    level: Tensor  # [batch, post]
    none: None = None


@dataclass(frozen=True)
class Begun(Cell):
    """y = tanh(drive) + level, level' = (level + y) / 2, from a level that differs from unit to unit"""

    def state(self, batch: int, post: int, like: Tensor) -> Start:
        return Start(torch.linspace(0.1, 0.9, post).to(like).repeat(batch, 1))

    def step(self, params: tuple[()], state: Start, drive: Tensor) -> tuple[Start, Response]:
        y = drive[:, 0].tanh() + state.level
        return Start((state.level + y) / 2), Response(y, y)


def test_a_part_of_ones_own_begins_where_it_says() -> None:
    spec, x = NetworkSpec((Layer(5, Begun(), plastic=Pathway.BOTH),)), torch.randn(4, 2, 3)
    net, reference = (Network(spec, 3, kernel=kernel) for kernel in ("cpu", "reference"))
    wanted = reference(x)[0]
    torch.testing.assert_close(net(x)[0], wanted)
    torch.testing.assert_close(net(x, net.initial_state(2))[0], wanted)
    with torch.no_grad():
        torch.testing.assert_close(net(x)[0], wanted)


def test_the_plastic_drive_is_one_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RNN, "plastic", -1)
    with pytest.raises(PlasticSearchError, match=r"RNN.plastic must be the index of one of its 1 drives, but is -1"):
        Layer(5)


def test_a_cell_of_the_signature_before_parameters_is_refused() -> None:
    @dataclass(frozen=True)
    class Older(Cell):
        """y = drive"""

        def step(self, state: Any, drive: Tensor) -> Any:  # type: ignore[override]
            return state, Response(drive[:, 0], drive[:, 0])

    with pytest.raises(PlasticSearchError, match=r"cell Older \(.*\): must be `step\(self, params, state, drive\)`"):
        Layer(5, Older())


def test_outputs_lie_in_one_piece() -> None:
    net, x = Network(NetworkSpec((Layer(5, plastic=Pathway.BOTH),)), 3), torch.randn(4, 2, 3)
    with torch.no_grad():
        assert net(x)[0].view(-1).shape == (40,)
