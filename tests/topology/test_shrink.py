"""A network without its dead units has the same outputs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from plastic_search.cells import Cell, Response
from plastic_search.cells.gru import GRU
from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.cells.rnn import RNN
from plastic_search.core.errors import PlasticSearchError
from plastic_search.modulations import FanOut, Modulation, Rate, Reads
from plastic_search.modulations.constant import Constant
from plastic_search.modulations.deviation import Deviation
from plastic_search.modulations.external import External
from plastic_search.modulations.from_layer import FromLayer
from plastic_search.modulations.learned import Learned
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.several import Several
from plastic_search.modulations.simple import Simple
from plastic_search.network.module import Network
from plastic_search.network.spec import AlphaShape, Layer, NetworkSpec, Pathway
from plastic_search.precisions import Rounding
from plastic_search.precisions.integer import Integer
from plastic_search.rules import Change, Outer, Rule
from plastic_search.rules.abcd import ABCD
from plastic_search.rules.bcm import BCM
from plastic_search.rules.delta import Delta
from plastic_search.rules.hebb import Hebb
from plastic_search.rules.oja import Oja
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.structures.graph import Graph
from plastic_search.structures.grown import Grown
from plastic_search.structures.hard_concrete import HardConcrete
from plastic_search.structures.selected import Selected
from plastic_search.structures.self_recurrent import SelfRecurrent
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.topology import shrink as shrink_module
from plastic_search.topology.conversion import to_graph
from plastic_search.topology.liveness import plan
from plastic_search.topology.shrink import shrink
from plastic_search.trainers.gradient import Gradient

pytestmark = pytest.mark.usefixtures("quick_code")
SPARSE = Gated(density=0.06, plastic=0.5)
RANDOM = torch.Generator().manual_seed(3)


def units(net: Network) -> list[int]:
    return [layer.units for layer in net.spec.layers]


def equal(net: Network, steps: int = 7) -> Network:
    """The network shrunk, with its outputs checked."""
    small = shrink(net)
    x = torch.randn(steps, 3, net.inputs, generator=RANDOM)
    torch.testing.assert_close(small(x)[0], net(x)[0], rtol=1e-6, atol=1e-6)
    assert small.inputs == net.inputs
    assert small.outputs == net.outputs
    assert all(a <= b for a, b in zip(units(small), units(net), strict=True))
    assert not any("structure" in name for name, _ in small.named_parameters())
    assert small.connections() <= net.connections()
    assert units(shrink(small)) == units(small)
    return small


def biased(net: Network, share: float = 0.5) -> Network:
    with torch.no_grad():
        for bag in net.bags():
            bias = bag.tensors()["bias"]
            drawn = 0.3 * torch.randn(bias.shape, generator=RANDOM)
            bias.copy_(drawn * (torch.rand(bias.shape[1], generator=RANDOM) < share))
    return net


STRUCTURES = [Dense(), FeedForward(), SelfRecurrent(), SPARSE, Gated(density=0.05, support=FeedForward()),
              Gated(density=0.1, plastic=0.0)]  # fmt: skip
CELLS = [RNN(), Linear(), LSTM(), GRU()]
MODULATIONS = [Constant(), Learned(), Simple(), Simple(fan_out=FanOut.NETWORK), Retroactive()]
RULES = [Hebb(), Oja(), Delta(), ABCD(), BCM()]
EVERY = [
    (structure, *rest)
    for n, (structure, *rest) in enumerate(itertools.product(STRUCTURES, CELLS, MODULATIONS, RULES))
    if n % 31 == 0
]


@pytest.mark.parametrize(("structure", "cell", "modulation", "rule"), EVERY, ids=str)
def test_stacks_with_skips_have_equal_outputs(structure: Any, cell: Any, modulation: Any, rule: Any) -> None:
    pathway = Pathway.BOTH if structure.recurrent else Pathway.INPUT
    spec = NetworkSpec(
        (
            Layer(units=13, cell=cell, structure=structure),
            Layer(units=11, cell=cell, structure=structure, rule=rule, modulation=modulation, plastic=pathway),
            Layer(units=7, cell=RNN(), structure=structure, skip=(1, 2), rule=rule, modulation=modulation,
                  plastic=Pathway.INPUT),
            Layer(units=3, cell=cell, structure=Gated(density=0.2, support=FeedForward()), skip=(1,)),
        )
    )  # fmt: skip
    for share in (0.0, 0.5):
        equal(biased(Network(spec, 5, seed=4, kernel="reference"), share))


@pytest.mark.parametrize("alpha", AlphaShape)
@pytest.mark.parametrize("pathway", Pathway)
def test_every_pathway_and_shape_of_alpha(pathway: Pathway, alpha: AlphaShape) -> None:
    spec = NetworkSpec(
        (
            Layer(units=17, structure=SPARSE, plastic=pathway, modulation=Constant(), alpha=alpha),
            Layer(units=4, structure=SPARSE, plastic=pathway, rule=Oja(), modulation=Constant(), alpha=alpha),
        )
    )
    small = equal(biased(Network(spec, 6)))
    assert units(small)[0] < 17


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("alpha", AlphaShape)
def test_integers_keep_their_scale_and_their_noise(rounding: Rounding, bits: int, alpha: AlphaShape) -> None:
    spec = NetworkSpec(
        (
            Layer(units=19, structure=Gated(density=0.05, support=FeedForward())),
            Layer(units=12, structure=SPARSE, plastic=Pathway.RECURRENT, modulation=Constant(), alpha=alpha),
            Layer(units=5, structure=SPARSE, plastic=Pathway.INPUT, alpha=alpha),
        ),
        Integer(bits, bits, bits, rounding),
    )
    net = biased(Network(spec, 6, seed=1))
    with torch.no_grad():  # the largest weight belongs to a unit that no unit receives
        for bag in net.bags():
            bag.tensors()["weight"][0, ::2] *= 3
    small = equal(net)
    assert units(small)[0] < 19
    if rounding is Rounding.STOCHASTIC:
        assert any("noise" in reason for reason in plan(net).reasons)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_constant_units_are_folded_as_their_activity_is_rounded(bits: int) -> None:
    """At one bit, a unit that receives nothing sends 1."""
    spec = NetworkSpec(
        (
            Layer(units=19, structure=Gated(density=0.05, support=FeedForward())),
            Layer(units=12, cell=Linear(), structure=SPARSE, plastic=Pathway.RECURRENT, modulation=Constant()),
            Layer(units=5, structure=Gated(density=0.3, support=FeedForward())),
        ),
        Integer(None, None, None, activity=bits),
    )
    for share in (0.0, 0.5):
        assert units(equal(biased(Network(spec, 6, seed=1), share)))[0] < 19


def test_only_live_units_are_kept() -> None:
    first = Graph(fixed=((0, 0), (1, 1), (2, 0), (3, 1)), support=FeedForward())  # 4 receives nothing
    second = Graph(fixed=((0, 1), (1, 4)), support=FeedForward())  # receives 1 and 4; 0, 2 and 3 are dead
    net = Network(NetworkSpec((Layer(units=5, structure=first), Layer(units=2, structure=second))), 2)
    assert units(equal(net)) == [1, 2]
    with torch.no_grad():
        net.bags()[0].tensors()["bias"][0, 4] = 0.7  # 4 always emits tanh(0.7), a bias of the unit that receives it
    small = equal(net)
    assert units(small) == [1, 2]
    bias = small.bags()[1].tensors()["bias"][0, 1]
    torch.testing.assert_close(bias, net.bags()[1].tensors()["weight"][0, 1, 4] * torch.tensor(0.7).tanh())


def test_a_layer_receives_only_columns_with_plastic_synapses() -> None:
    first = Layer(units=6, structure=FeedForward())
    last = Layer(units=2, skip=(1,), plastic=Pathway.INPUT, modulation=Constant(),
                 structure=Graph(fixed=((0, 1), (0, 7)), plastic=((1, 4), (1, 9)), support=FeedForward()))  # fmt: skip
    net = Network(NetworkSpec((first, last)), 5)
    small = equal(biased(net, 1.0))
    assert units(small) == [2, 2]  # 1 and 4
    assert [len(source.units) for source in small.shapes[1].feedforward] == [2, 2]  # ... and inputs 1 and 3
    assert small.spec.layers[1].structure.selection == (0, 1, 3, 5)
    trace = small.initial_state(1)[1].trace
    assert trace is not None
    assert trace.shape == (1, 2, 4)
    assert to_graph(small).number_of_edges() == to_graph(net).number_of_edges() - 20


def test_a_layer_whose_trace_is_recalled_receives_all() -> None:
    graph = Graph(plastic=((0, 0), (1, 2)), support=FeedForward())
    layer = Layer(units=2, structure=graph, plastic=Pathway.INPUT, modulation=Constant())
    small = equal(Network(NetworkSpec((layer,)), 4))
    assert small.spec.layers[0].structure.selection == (0, 2)
    small = equal(Network(NetworkSpec((replace(layer, rule=Delta()),)), 4))
    assert small.shapes[0].pre == 4
    net = Network(NetworkSpec((layer,), Integer(4, 4, 4, Rounding.STOCHASTIC)), 4)
    assert equal(net).shapes[0].pre == 4
    why = "its trace is rounded with noise that depends on the position of each synapse"
    assert plan(net).reasons == (f"layer 0 keeps inputs that it does not need: {why}",)


def test_the_modulator_keeps_the_units_that_it_reads() -> None:
    structure = Graph(fixed=tuple((post, 0) for post in range(6)), plastic=((5, 8),))  # unit 5 receives itself
    layers = (
        Layer(units=6, structure=structure, plastic=Pathway.RECURRENT, modulation=Simple()),
        Layer(units=1, structure=Graph(fixed=((0, 5),))),
    )
    net = Network(NetworkSpec(layers), 3)
    assert units(equal(net)) == [6, 1]
    with torch.no_grad():
        net.bags()[0].tensors()["modulation.weight"][1:5] = 0.0
    assert units(equal(net)) == [2, 1]
    constant = replace(layers[0], modulation=Constant())
    assert units(equal(Network(NetworkSpec((constant, layers[1])), 3))) == [1, 1]
    recalling = replace(constant, rule=Delta())  # what the trace recalls is a sum over all columns
    assert units(equal(Network(NetworkSpec((recalling, layers[1])), 3))) == [6, 1]


def test_full_layers_become_plain_ones_and_recurrence_that_is_not_used_goes() -> None:
    spec = NetworkSpec((Layer(units=5, structure=Gated(density=1.0)), Layer(units=2, structure=Graph(((0, 0),)))))
    small = equal(Network(spec, 4))
    assert [type(layer.structure) for layer in small.spec.layers] == [Dense, Graph]
    assert not small.spec.layers[1].structure.recurrent


def test_of_a_dead_layer_one_unit_is_left() -> None:
    small = equal(Network(NetworkSpec((Layer(units=9), Layer(units=3, structure=Graph()))), 4))
    assert units(small) == [1, 3]


class MeanParams(NamedTuple):
    odd: Tensor  # [post + pre]


def sparse(**parts: Any) -> Network:
    graph = Graph(tuple((post, 0) for post in range(12)), ((3, 7),))
    first = Layer(units=12, structure=graph, plastic=Pathway.RECURRENT, modulation=Constant())
    last = Layer(units=2, structure=Graph(((0, 3), (1, 5))))
    return Network(NetworkSpec((replace(first, **parts), last)), 4, kernel="reference")


def test_parts_that_mix_their_units_stay_whole() -> None:
    @dataclass(frozen=True)
    class Centred(Rule):
        """dH = (post - mean(post)) (x) pre"""

        def step(self, params: Any, state: Any, seen: Any) -> Any:
            return Change((Outer(seen.post - seen.post.mean(-1, keepdim=True), seen.pre),)), state

    @dataclass(frozen=True)
    class Odd(Rule):
        """dH = post (x) pre, with a parameter of an odd shape"""

        def params(self, post: int, pre: int, rng: Any) -> Any:
            return MeanParams(torch.zeros(post + pre))

        def step(self, params: Any, state: Any, seen: Any) -> Any:
            return Change((Outer(seen.post, seen.pre),)), state

    @dataclass(frozen=True)
    class Crowd(Cell):
        """y = drive - mean(drive)"""

        def step(self, params: Any, state: Any, drive: Tensor) -> Any:
            y = drive[:, 0] - drive[:, 0].mean(-1, keepdim=True)
            return state, Response(y, y)

    for parts, reason in (
        ({"rule": Centred()}, "Centred mixes its synapses"),
        ({"rule": Odd()}, "Odd's parameter odd is"),
        ({"cell": Crowd()}, "Crowd mixes its units"),
    ):
        net = sparse(**parts)
        assert any(reason in each for each in plan(net).reasons), plan(net).reasons
        assert units(equal(net)) == [12, 2]
    assert units(equal(sparse())) == [2, 2]


def test_a_network_of_other_outputs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = shrink_module.plan

    def wrong(net: Network) -> Any:
        result = real(net)
        result.kept[0][:3], result.kept[0][-1] = False, True
        return result

    monkeypatch.setattr(shrink_module, "plan", wrong)
    with pytest.raises(PlasticSearchError, match="has other outputs"):
        shrink(Network(NetworkSpec((Layer(units=6), Layer(units=2))), 3))


@pytest.mark.parametrize("cell", [RNN(), LSTM(), Linear()], ids=str)
@pytest.mark.parametrize("pathway", [Pathway.NONE, Pathway.BOTH])
def test_units_that_were_deleted_go_whatever_their_biases(cell: Cell, pathway: Pathway) -> None:
    net = Network(NetworkSpec((Layer(9, cell, structure=Grown(start=6), plastic=pathway), Layer(4))), 3).double()
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name.endswith(("weight", "bias")):
                p.copy_(0.3 + 0.3 * torch.rand(p.shape, generator=torch.Generator().manual_seed(0)))
        net.layers[0].get_buffer("structure__exists")[[0, 2, 7]] = torch.tensor([0.0, 0.0, 1.0]).double()
    assert net.units() == (5, 4)
    small = shrink(net)
    assert [shape.post for shape in small.shapes] == [5, 4]
    x = torch.randn(12, 5, 3, generator=torch.Generator().manual_seed(1)).double()
    torch.testing.assert_close(small(x)[0], net(x)[0], rtol=1e-6, atol=1e-9)


def test_a_modulator_that_saturates_still_reads_its_units() -> None:
    graph = Graph(((0, 0), (1, 1), (4, 1)), ((4, 6),))
    first = Layer(5, structure=graph, plastic=Pathway.RECURRENT, modulation=Simple())
    net = Network(NetworkSpec((first, Layer(1, structure=Graph(((0, 4),))))), 2).double()
    with torch.no_grad():
        params = net.bags()[0].tensors()
        params["weight"][0, :, :2] *= 10
        params["alpha"].fill_(3.0)
        params["modulation.weight"].zero_()
        params["modulation.weight"][:2] = torch.tensor([30.0, 1.0])
    small = shrink(net)
    x = torch.randn(20, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[..., 0] = 0.0
    torch.testing.assert_close(small(x)[0], net(x)[0], rtol=1e-9, atol=1e-9)
    assert units(small) == [3, 1]


def test_a_rate_that_only_loud_units_move_keeps_them_all() -> None:
    @dataclass(frozen=True)
    class Alarm(Modulation):
        """M = 1 where any output exceeds 0.9"""

        def step(self, params: Any, state: Any, seen: Any) -> Any:
            return Rate((seen.output > 0.9).to(seen.output).amax(-1, keepdim=True)), state

    small = equal(sparse(modulation=Alarm()))
    assert units(small) == [12, 2]


@pytest.mark.parametrize(
    "modulation",
    [
        External(3),
        Deviation(Simple()),
        Simple(FanOut.SYNAPSE),
        Simple(reads=Reads.PREVIOUS),
        Retroactive(signal=Several(2)),
    ],
    ids=str,
)
def test_what_a_modulation_reads_is_kept(modulation: Modulation) -> None:
    equal(sparse(modulation=modulation))


def test_layers_that_modulate_and_the_columns_that_are_rates_are_kept() -> None:
    graph = Graph(((0, 1),), ((0, 0),), FeedForward())
    last = Layer(2, structure=graph, plastic=Pathway.INPUT, modulation=FromLayer(2, 3))
    assert units(equal(Network(NetworkSpec((Layer(4), Layer(5, structure=Graph(((0, 0),))), last)), 3))) == [4, 5, 2]
    column = replace(last, modulation=External(3))
    assert units(equal(Network(NetworkSpec((Layer(4), Layer(5), column)), 3))) == [4, 5, 2]


def test_a_layer_that_receives_only_dead_units_keeps_one() -> None:
    for structure in (Graph(support=Selected((3, 4))), Graph(((0, 2),), support=Selected((3, 4)))):
        small = equal(Network(NetworkSpec((Layer(5), Layer(2, structure=structure))), 3))
        assert units(small) == [1, 2]


def test_many_constants_are_folded_exactly() -> None:
    for seed in range(5):
        net = Network(NetworkSpec((Layer(30, structure=Graph()), Layer(20, Linear()))), 4, seed)
        with torch.no_grad():
            net.bags()[0].tensors()["bias"].normal_(generator=RANDOM)
            net.bags()[1].tensors()["weight"].mul_(4.0)
        small = shrink(net)
        assert units(small) == [1, 20]
        assert next(small.parameters()).dtype == torch.float32


def test_networks_that_cannot_be_shrunk_are_refused() -> None:
    task = PatternCompletion(bits=4)
    net = Network(NetworkSpec((Layer(task.outputs, structure=HardConcrete(0.5)),)), task.inputs)
    next(iter(Gradient(steps=20, batch=2).train(net, task, 0)))
    with pytest.raises(PlasticSearchError, match="layer 0: gates of HardConcrete are still soft, since its training"):
        shrink(net)
    net = Network(NetworkSpec((Layer(4),), Integer(4, 4, 4)), 3)
    with torch.no_grad():
        net.bags()[0].tensors()["weight"][0, 0, 0] = torch.nan
    with pytest.raises(PlasticSearchError, match=r"layers\.0\.weight holds numbers that are not finite"):
        shrink(net)
