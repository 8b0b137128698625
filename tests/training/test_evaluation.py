"""What is taken away from a network in an ablation, what it is compared with, and its graph."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import pytest
import torch

from plastic_search.cells.rnn import RNN
from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments.controls import dense, fixed, fixed_lstm, pruned, random_mask
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.abcd import ABCD
from plastic_search.structures import Structure
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.structures.graph import Graph
from plastic_search.structures.pooled import Pooled
from plastic_search.tasks import Split
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.topology import conversion, files
from plastic_search.trainers.gradient import Gradient
from plastic_search.training.evaluation import evaluate, frozen, shuffled

TASK = PatternCompletion(bits=4, patterns=1)
SPEC = NetworkSpec(
    (
        Layer(units=6, structure=Gated(density=0.4, support=FeedForward())),
        Layer(units=4, skip=(1,), plastic=Pathway.BOTH, structure=Gated(density=0.5, plastic=0.5)),
    )
)


def test_frozen_equals_the_network_without_its_trace() -> None:
    net = Network(SPEC, 4)
    bare = Network(replace(SPEC, layers=(SPEC.layers[0], replace(SPEC.layers[1], plastic=Pathway.NONE))), 4)
    shared = {n: p for n, p in net.state_dict().items() if n in bare.state_dict()}
    shared["layers.1.structure__plastic"] = bare.state_dict()["layers.1.structure__plastic"]
    shared["layers.1.alpha"] = bare.state_dict()["layers.1.alpha"]
    bare.load_state_dict(shared)
    x = torch.randn(5, 3, 4)
    torch.testing.assert_close(net(x, **frozen(5))[0], bare(x)[0])


def test_shuffling_keeps_every_entry_and_waits_for_the_question() -> None:
    net = Network(SPEC, 4)
    seeds = shuffled(query_step=2)(4).get("shuffle")
    assert seeds is not None
    assert seeds.tolist() == [-1, -1, 2, 3]
    state = net(torch.randn(5, 3, 4))[1]
    still = torch.tensor([True])  # the trace that a step leaves behind is the one that it began with
    after = net(torch.randn(1, 3, 4), state, shuffle=torch.tensor([0]), freeze=still)[1]
    before_trace, after_trace = state[1].trace, after[1].trace
    assert before_trace is not None
    assert after_trace is not None
    assert not torch.equal(before_trace, after_trace)
    torch.testing.assert_close(before_trace.flatten(1).sort().values, after_trace.flatten(1).sort().values)


def test_an_ablation_of_a_step_that_is_not_there_is_refused() -> None:
    with pytest.raises(PlasticSearchError, match="query_step must be a step of the sequence, 0 to 4, but is 999"):
        shuffled(999)(5)


def test_evaluation_is_the_same_at_every_call_and_in_range() -> None:
    net = Network(SPEC, 4)
    first = evaluate(net, TASK, Split.TEST, 700)
    assert first == evaluate(net, TASK, Split.TEST, 700)
    assert 0.0 <= first <= 1.0


def test_controls_take_away_what_they_say() -> None:
    count = Network(SPEC, 4).count()
    assert [type(x.structure) for x in dense(SPEC).layers] == [FeedForward, Dense]
    for control in (fixed(SPEC, 4, count), fixed_lstm(SPEC, 4, count)):
        assert all(x.plastic is Pathway.NONE for x in control.layers)
        assert Network(control, 4).count() >= count
        smaller = replace(control.layers[0], units=control.layers[0].units - 1)
        assert Network(replace(control, layers=(smaller, control.layers[1])), 4).count() < count


@pytest.mark.parametrize(
    "structure",
    [Dense(), FeedForward(), Gated(density=0.5, plastic=0.5), Graph(((0, 1),), ((1, 0), (2, 3)), FeedForward())],
)
def test_a_network_of_one_layer_has_a_control_of_as_many_parameters(structure: Structure) -> None:
    spec = NetworkSpec((Layer(units=4, cell=RNN(), rule=ABCD(), plastic=Pathway.INPUT, structure=structure),))
    count = Network(spec, 4).count()
    control = fixed(spec, 4, count)
    hidden, last = control.layers
    assert (hidden.plastic, last.plastic, last.units, last.skip) == (Pathway.NONE, Pathway.NONE, 4, (1,))
    assert hidden.structure.recurrent == last.structure.recurrent == structure.recurrent
    assert Network(control, 4).count() >= count
    if hidden.units > 1:
        smaller = replace(control, layers=(replace(hidden, units=hidden.units - 1), last))
        assert Network(smaller, 4).count() < count


def test_the_graph_has_the_networks_connections_and_makes_it_again() -> None:
    net = Network(SPEC, 4)
    graph = conversion.to_graph(net)
    assert graph.number_of_edges() == net.connections() == round(0.4 * 24) + round(0.5 * 4 * 14)
    again = files.from_json(files.to_json(graph))
    assert nx.utils.graphs_equal(graph, again)
    layers = [replace(x, structure=conversion.structure(graph, net, i)) for i, x in enumerate(SPEC.layers)]
    twin = Network(NetworkSpec(tuple(layers)), 4)
    same = {n: p for n, p in net.state_dict().items() if n in twin.state_dict()}
    twin.load_state_dict(same)
    x = torch.randn(5, 3, 4)
    torch.testing.assert_close(net(x)[0], twin(x)[0])


def test_half_of_the_plastic_pathways_connections_are_plastic() -> None:
    graph = conversion.to_graph(Network(SPEC, 4))
    into = [plastic for _, post, plastic in graph.edges(data="plastic") if post.startswith("layers.1.")]
    assert sum(into) == round(0.5 * len(into))


def test_an_edge_from_a_stranger_is_refused() -> None:
    graph = nx.DiGraph()
    graph.add_edge("layers.7.0", "layers.1.0")
    with pytest.raises(PlasticSearchError, match=r"node layers\.7\.0 is one too many: this network has layers 0 to 1"):
        conversion.structure(graph, Network(SPEC, 4), 1)


@pytest.mark.parametrize(("density", "plastic"), [(0.25, 0.5), (61, 7)])
def test_controls_of_a_pool_have_as_many_connections(density: float, plastic: float) -> None:
    task = PatternCompletion(bits=8)
    layers = (
        Layer(units=12, plastic=Pathway.INPUT, structure=Pooled(density, plastic, support=FeedForward())),
        Layer(units=5, structure=Dense()),
        Layer(units=task.outputs, plastic=Pathway.BOTH, structure=Pooled(density, plastic)),
    )
    spec = NetworkSpec(layers)
    counts = []
    for result in (spec, random_mask(spec, task.inputs), pruned(spec)):
        net = Network(result, task.inputs)
        list(Gradient(steps=6, batch=2).train(net, task, 0))
        counts.append((net.connections(), net.plastic_connections()))
    free = Network(NetworkSpec(tuple(replace(each, structure=Dense()) for each in layers)), task.inputs)
    assert counts[0][0] < free.connections()
    assert counts[1] == counts[2]
    assert abs(counts[0][0] - counts[1][0]) <= 1  # each layer's share is rounded
    if plastic > 1.0:  # a share of what exists on plastic pathways depends on where the pool spends
        assert counts[0][1] == counts[1][1] == plastic
