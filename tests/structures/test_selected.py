"""A layer that receives a selection of its sources is the layer that receives them all, without those connections."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from parity import gaps, results

from plastic_search.cells.lstm import LSTM
from plastic_search.core.errors import PlasticSearchError
from plastic_search.export.onnx import export_step
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.oja import Oja
from plastic_search.structures import Structure
from plastic_search.structures.blocks import Blocks
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.structures.graph import Graph
from plastic_search.structures.grown import Grown
from plastic_search.structures.hard_concrete import HardConcrete
from plastic_search.structures.pooled import Pooled
from plastic_search.structures.pruned import Pruned
from plastic_search.structures.rewired import Rewired
from plastic_search.structures.selected import Selected
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.topology import conversion
from plastic_search.trainers.gradient import Gradient

PLACES = (1, 4, 6, 8, 9)  # of 6 units and 4 inputs


def spec(structure: object, plastic: Pathway = Pathway.BOTH) -> NetworkSpec:
    last = Layer(3, rule=Oja(), structure=structure, plastic=plastic, skip=(1,))  # type: ignore[arg-type]
    return NetworkSpec((Layer(6, LSTM()), last))


@pytest.mark.parametrize("kernel", ["reference", "cpu"])
@pytest.mark.parametrize("plastic", Pathway)
def test_it_is_the_layer_that_hears_all_with_fewer_connections(plastic: Pathway, kernel: str) -> None:
    own = tuple(range(10, 13))
    some = Network(spec(Selected(PLACES), plastic), 4)
    columns = [*PLACES, *own]
    edges = [(post, pre) for post in range(3) for pre in columns]
    traced = {Pathway.NONE: (), Pathway.INPUT: PLACES, Pathway.RECURRENT: own, Pathway.BOTH: (*PLACES, *own)}[plastic]
    fixed = tuple(e for e in edges if e[1] not in traced)
    wide = Network(spec(Graph(fixed, tuple(e for e in edges if e[1] in traced)), plastic), 4)
    with torch.no_grad():
        for name, p in some.named_parameters():
            theirs = wide.get_parameter(name)
            if name == "layers.1.weight":
                theirs.zero_()[:, :, columns] = p
            elif name == "layers.1.alpha" and p.numel():
                first = wide.shapes[1].plastic.start
                theirs.zero_()[:, [c - first for c in traced]] = p
            elif theirs.shape == p.shape:
                theirs.copy_(p)
    x = torch.randn(6, 2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    some, wide = some.double(), wide.double()
    some.kernel, wide.kernel = kernel, "reference"
    torch.testing.assert_close(some(x)[0], wide(x)[0], rtol=0, atol=1e-12)
    if kernel == "cpu":
        assert max(gaps(results(some, "reference", x, None), results(some, "cpu", x, None)).values()) < 1e-10


def test_gates_may_be_learned_within_it() -> None:
    task = PatternCompletion(bits=6)
    layers = (Layer(8, structure=FeedForward()), Layer(task.outputs, structure=Gated(0.5, support=Selected((0, 2, 5)))))
    net = Network(NetworkSpec(layers), task.inputs)
    for _ in Gradient(steps=30, batch=8).train(net, task, 0):
        pass
    assert [len(source.units) for source in net.shapes[1].feedforward] == [3]
    assert int(net._gates()[1].exists.sum()) == round(0.5 * task.outputs * (3 + task.outputs))  # type: ignore[union-attr]


def test_members_of_a_population_select_alike() -> None:
    nets = [Network(spec(Selected(PLACES)), 4, seed) for seed in range(2)]
    x = torch.randn(2, 5, 3, 4)
    y, _ = Population(nets)(x)
    for k, net in enumerate(nets):
        torch.testing.assert_close(y[k], net(x[k])[0], rtol=0, atol=1e-6)


def test_its_graph_has_the_names_of_whom_it_hears() -> None:
    net = Network(spec(Selected(PLACES, FeedForward()), Pathway.INPUT), 4)
    graph = conversion.to_graph(net)
    assert set(graph.predecessors("layers.1.0")) == {"layers.0.1", "layers.0.4", "input.0", "input.2", "input.3"}
    again = conversion.structure(graph, net, 1)
    assert again.selection == PLACES
    assert conversion.to_graph(Network(spec(again, Pathway.INPUT), 4)).edges == graph.edges
    graph.add_edge("input.1", "layers.1.0", plastic=False, exists=True)
    with pytest.raises(PlasticSearchError, match=r"input\.1 -> layers\.1\.0 starts at a node that layer 1 does not"):
        conversion.structure(graph, net, 1)


def test_it_is_exported_and_said_in_json(tmp_path: Path) -> None:
    net = Network(spec(Selected(PLACES)), 4)
    assert NetworkSpec.from_json(net.spec.to_json()) == net.spec
    assert export_step(net, tmp_path / "step.onnx", steps=20).largest < 1e-5


def test_what_cannot_be_selected_is_refused() -> None:
    with pytest.raises(PlasticSearchError, match=r"layers\.1 selects column 10, but its sources emit 10 outputs"):
        Network(spec(Selected((0, 10))), 4)
    with pytest.raises(PlasticSearchError, match="wants ascending indices from 0"):
        Selected((3, 3))
    with pytest.raises(PlasticSearchError, match="wants ascending indices from 0"):
        Selected((-1, 3))
    with pytest.raises(PlasticSearchError, match="wants a structure that learns nothing"):
        Selected((3,), Gated(0.5))
    with pytest.raises(PlasticSearchError, match="selects already"):
        Selected((3,), Graph(support=Selected((1,))))
    grown = NetworkSpec((Layer(6, structure=Grown(start=3)), Layer(4, structure=Selected((0, 1)))))
    task = PatternCompletion(bits=4)
    with pytest.raises(PlasticSearchError, match=r"layers\.1 receives a selection of .*layers\.0, whose Grown needs"):
        next(iter(Gradient(steps=2, batch=2).train(Network(grown, task.inputs), task, 0)))


@pytest.mark.parametrize(
    "structure", [Gated(0.5), Pooled(0.5), HardConcrete(0.5), Rewired(0.5), Pruned(0.5), Blocks(1)]
)
def test_what_it_hears_may_learn_its_connections(structure: Structure) -> None:
    task = PatternCompletion(bits=4)
    layers = (Layer(6, structure=structure), Layer(task.outputs, structure=Selected((0, 2, 5))))
    net = Network(NetworkSpec(layers), task.inputs)
    for progress in Gradient(steps=6, batch=2).train(net, task, 0):
        assert progress.loss == progress.loss
    assert [len(source.units) for source in net.shapes[1].feedforward] == [3]


def test_blocks_chooses_among_sources_of_which_something_is_selected() -> None:
    task = PatternCompletion(bits=4)
    width = task.inputs
    structure = Blocks(1, support=Selected((8, 9), FeedForward()))
    net = Network(NetworkSpec((Layer(8), Layer(task.outputs, structure=structure, skip=(1,)))), width)
    for seed in range(8):
        for _ in Gradient(steps=4, batch=2).train(net, task, seed):
            pass
        assert net._gates()[1].exists.sum() == 2 * task.outputs  # type: ignore[union-attr]
