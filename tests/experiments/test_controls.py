"""What a winner is compared with: never itself, and nothing that could not differ from it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from small import study

from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.experiments.controls import _random_graph, controls, identity, is_plastic
from plastic_search.experiments.folder import begin
from plastic_search.experiments.search import _final_jobs
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway, shapes
from plastic_search.records.folder import RunFolder
from plastic_search.records.run import Finalist, Outcome, Run, Stage, read_study
from plastic_search.rules.hebb import Hebb
from plastic_search.rules.oja import Oja
from plastic_search.structures import Structure
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.structures.graph import Graph
from plastic_search.structures.pooled import Pooled
from plastic_search.structures.selected import Selected
from plastic_search.structures.self_recurrent import SelfRecurrent

INPUTS = 4


def network(structure: Structure, plastic: Pathway = Pathway.INPUT, rule: Hebb | Oja = Oja()) -> NetworkSpec:  # noqa: B008
    return NetworkSpec((Layer(6, structure=FeedForward()), Layer(4, structure=structure, plastic=plastic, rule=rule)))


def drawn(
    seed: int, edges: int, plastic: int, columns: range, pathway: range
) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Fixed and plastic edges of a layer of four units."""
    rng = random.Random(seed)
    every = [(post, pre) for post in range(4) for pre in columns]
    traced = rng.sample([edge for edge in every if edge[1] in pathway], plastic)
    return tuple(rng.sample([e for e in every if e not in traced], edges - plastic)), tuple(traced)


GRAPHS = {  # edges, plastic ones, support, pathway, columns that it may use, columns that may be plastic
    "one edge": (1, 0, FeedForward(), Pathway.INPUT, range(6), range(6)),
    "one plastic edge": (1, 1, FeedForward(), Pathway.INPUT, range(6), range(6)),
    "no edge": (0, 0, FeedForward(), Pathway.INPUT, range(6), range(6)),
    "all plastic": (9, 9, FeedForward(), Pathway.INPUT, range(6), range(6)),
    "some": (11, 5, FeedForward(), Pathway.INPUT, range(6), range(6)),
    "recurrent": (20, 12, Dense(), Pathway.RECURRENT, range(10), range(6, 10)),
    "every edge but one": (39, 8, Dense(), Pathway.RECURRENT, range(10), range(6, 10)),
    "a selection": (7, 3, Selected((1, 3), Dense()), Pathway.BOTH, range(6), range(6)),
    "outside its support": (20, 16, SelfRecurrent(), Pathway.RECURRENT, range(10), range(6, 10)),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_a_graph_is_compared_with_its_support_and_with_a_random_graph_of_as_many_edges(case: str) -> None:
    edges, plastic, support, pathway, columns, traced = GRAPHS[case]
    for seed in range(5):
        graph = Graph(*drawn(seed, edges, plastic, columns, traced), support=support)
        spec = network(graph, pathway)
        found = controls(spec, INPUTS)
        assert found[Finalist.DENSE] == network(support, pathway)
        other = found[Finalist.RANDOM_MASK].layers[1].structure
        assert isinstance(other, Graph)
        assert (len({*other.fixed}), len({*other.plastic}), other.support) == (edges - plastic, plastic, support)
        if not isinstance(support, SelfRecurrent):
            assert {pre for _, pre in other.fixed + other.plastic} <= {*columns}
        nets = [Network(each, INPUTS) for each in (spec, found[Finalist.RANDOM_MASK])]
        assert nets[0].connections() == nets[1].connections() == edges + 24
        assert nets[0].plastic_connections() == nets[1].plastic_connections() == plastic
        assert identity(found[Finalist.PRUNED], INPUTS) == identity(spec, INPUTS)
        assert edges < 2 or other != graph


def test_a_graph_within_a_selection_is_one_too() -> None:
    structure = Selected((0, 2, 5), Graph(((0, 1), (3, 2)), ((1, 0),), FeedForward()))
    found = controls(network(structure), INPUTS)
    assert found[Finalist.DENSE] == network(Selected((0, 2, 5), FeedForward()))
    other = found[Finalist.RANDOM_MASK].layers[1].structure
    assert isinstance(other, Selected)
    assert isinstance(other.support, Graph)
    assert (len(other.support.fixed), len(other.support.plastic)) == (2, 1)
    assert isinstance(found[Finalist.FIXED].layers[1].structure, Selected)


def test_random_edges_are_spread_over_all_places() -> None:
    graph, shape = (
        Graph(*drawn(0, 12, 4, range(6), range(6)), support=FeedForward()),
        shapes(network(Dense()), INPUTS)[1],
    )
    shape = shape._replace(pre=6, recurrent=0)
    chosen = [edge for seed in range(300) for edge in _random_graph(graph, shape, seed).plastic]
    counts = [chosen.count((post, pre)) for post in range(4) for pre in range(6)]
    assert min(counts) > 25
    assert max(counts) < 75, "50 are expected, with a standard deviation of 7"


ALL = Graph(
    tuple((i, j) for i in range(4) for j in range(3, 6)),
    tuple((i, j) for i in range(4) for j in range(3)),
    FeedForward(),
)
EVERY = replace(ALL, fixed=(), plastic=ALL.fixed + ALL.plastic)
ALIKE = {
    "plain": (network(FeedForward()), network(FeedForward())),
    "a graph of every edge": (network(EVERY), network(FeedForward())),
    "a graph in another order": (network(ALL), network(replace(ALL, fixed=ALL.fixed[::-1]))),
    "a budget of everything": (network(Gated(support=FeedForward(), density=1.0)), network(FeedForward())),
    "a budget of more than everything": (network(Gated(support=FeedForward(), density=99)), network(FeedForward())),
    "a pool of everything": (network(Pooled(support=FeedForward(), density=1.0)), network(FeedForward())),
    "a rule that is not used": (network(Dense(), Pathway.NONE, Hebb(0.5)), network(Dense(), Pathway.NONE)),
    "every input selected": (network(Selected((), FeedForward())), network(FeedForward())),
}  # fmt: skip
UNLIKE = {
    "fewer plastic": (network(ALL), network(FeedForward())),
    "a rule": (network(Dense(), rule=Hebb()), network(Dense())),
    "plastic by a budget": (network(Gated(support=FeedForward(), density=1.0, plastic=0.5)), network(FeedForward())),
    "a budget": (network(Gated(support=FeedForward(), density=0.5)), network(FeedForward())),
    "a pool": (network(Pooled(support=FeedForward(), density=23)), network(FeedForward())),
    "a recurrent block without edges": (network(Graph(ALL.fixed)), network(Graph(ALL.fixed, support=FeedForward()))),
    "what is held": (network(Dense()), replace(network(Dense()), held=("layers.0.bias",))),
    "a cell": (replace(network(Dense()), layers=(Layer(4, cell=LSTM()),)), NetworkSpec((Layer(4, cell=Linear()),))),
}  # fmt: skip


@pytest.mark.parametrize("case", ALIKE)
def test_one_network_has_one_identity(case: str) -> None:
    ours, theirs = ALIKE[case]
    assert identity(ours, INPUTS) == identity(theirs, INPUTS)


@pytest.mark.parametrize("case", UNLIKE)
def test_two_networks_have_two(case: str) -> None:
    ours, theirs = UNLIKE[case]
    assert identity(ours, INPUTS) != identity(theirs, INPUTS)


def finalists(winner: NetworkSpec, other: NetworkSpec, out: Path) -> tuple[list[str], dict[str, str]]:
    """What is trained where the two searches found these networks, and which names stand for another."""
    with RunFolder.open(out, create=True) as folder:
        begin(folder, study(), "small")
        for arm, spec, score in (("tpe", winner, 0.9), ("random", other, 0.5)):
            metrics = {"score": score, "connections": 9.0}
            folder.append(Run("small", Stage.SEARCH, arm, 0, 0, Outcome.COMPLETE, spec.to_json(), {}, metrics))
        jobs = _final_jobs(study(), folder)
        assert all(("frozen" in job.measures) == is_plastic(job.spec, INPUTS) for job in jobs)
        assert len({identity(job.spec, INPUTS) for job in jobs}) == len(jobs) / 2, (
            "each is trained once, with two seeds"
        )
    return [job.name for job in jobs if job.seeds == (0,)], read_study(out).get("same", {})


DISTINCT = network(FeedForward(), rule=Hebb(0.25))
CASES = [
    (network(Dense()), ["fixed", "fixed_lstm"], {"dense", "random_mask", "pruned"}),
    (network(Gated(density=0.5)), ["dense", "random_mask", "pruned", "fixed", "fixed_lstm"], set()),
    (network(Gated(density=1.0)), ["fixed", "fixed_lstm"], {"dense", "random_mask", "pruned"}),
    (network(ALL), ["dense", "random_mask", "fixed", "fixed_lstm"], {"pruned"}),
    (network(EVERY), ["fixed", "fixed_lstm"], {"dense", "random_mask", "pruned"}),
    (network(Dense(), Pathway.NONE), ["fixed_lstm"], {"dense", "random_mask", "pruned"}),
    (network(Gated(plastic=0.0)), ["dense", "random_mask", "pruned", "fixed_lstm"], set()),
    (network(Gated(density=0.5), Pathway.NONE), ["dense", "random_mask", "pruned", "fixed_lstm"], set()),
]  # fmt: skip


@pytest.mark.parametrize(("winner", "names", "same"), CASES)
def test_only_what_differs_from_the_winner_is_trained(
    winner: NetworkSpec, names: list[str], same: set[str], tmp_path: Path
) -> None:
    found = finalists(winner, DISTINCT, tmp_path / "a")
    assert found == (["winner", "best_random", *names], dict.fromkeys(same, "winner"))


def test_a_network_that_both_searches_found_is_trained_once(tmp_path: Path) -> None:
    ours, theirs = ALIKE["a rule that is not used"]
    names, same = finalists(ours, theirs, tmp_path / "a")
    assert "best_random" not in names
    assert same["best_random"] == "winner"
    names, same = finalists(network(Gated(density=0.5)), network(Dense()), tmp_path / "b")
    assert "dense" not in names
    assert same == {"dense": "best_random"}
