"""What learned structures do between updates, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.spec import Layer, NetworkSpec, Pathway, shapes
from plastic_search.structures import LearnedStructure, Structure, TrainingContext
from plastic_search.structures._top import best, share
from plastic_search.structures.blocks import Blocks
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated, GatedParams
from plastic_search.structures.graph import Graph
from plastic_search.structures.hard_concrete import HardConcrete
from plastic_search.structures.pooled import Pooled
from plastic_search.structures.pruned import Pruned
from plastic_search.structures.rewired import Rewired, RewiredParams
from plastic_search.structures.self_recurrent import SelfRecurrent
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.topology.conversion import to_graph
from plastic_search.trainers.gradient import Gradient

SHAPE = shapes(NetworkSpec((Layer(4, plastic=Pathway.RECURRENT),)), 2)[0]


def rng() -> Generator:
    return torch.Generator().manual_seed(0)


def context(params: object, weight: Tensor, step: int, steps: int, grads: object = None) -> TrainingContext:
    alpha = torch.ones(1, 1)
    return TrainingContext(SHAPE, params, grads, weight, torch.zeros(1, 4), alpha, (), step, steps)


def exists(structure: Structure, params: object) -> Tensor:
    gate = structure.gates(params, SHAPE, torch.zeros(1)).exists
    assert gate is not None
    return gate.detach()


def test_a_budget_is_a_share_or_a_number() -> None:
    assert share(0.25, 8) == 0.25
    assert share(2, 8) == 0.25
    assert share(20, 8) == 1.0
    assert best(torch.tensor([3.0, 1.0, 2.0]), None, 2).tolist() == [1, 0, 1]
    assert best(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0.0, 1.0, 1.0]), 0.5).tolist() == [0, 0, 1]
    with pytest.raises(PlasticSearchError, match=r"Gated\.density is a share up to 1, or a whole number"):
        Gated(density=2.5)


def test_what_learns_is_a_learned_structure() -> None:
    for kind in (Dense, FeedForward, SelfRecurrent, Graph):
        assert not isinstance(kind(), LearnedStructure)
    for kind in (Blocks, Gated, HardConcrete, Pooled, Pruned, Rewired):
        assert isinstance(kind(), LearnedStructure)
    with pytest.raises(PlasticSearchError, match=r"Stray defines `adapt`.*derive it from .*LearnedStructure"):

        class Stray(Structure):
            def adapt(self, context: TrainingContext, rng: Generator) -> None: ...


@pytest.mark.parametrize("masked", [False, True])
def test_which_of_equal_scores_are_kept_is_the_same_everywhere(masked: bool) -> None:
    """NumPy chooses by how wide the processor's vectors are; then a run on one machine parts from that on another."""
    rng = torch.Generator().manual_seed(0)
    for _ in range(200):
        scores = torch.randint(6, (7, 19), generator=rng).float()
        allowed = torch.rand(7, 19, generator=rng) < 0.7 if masked else torch.ones(7, 19, dtype=torch.bool)
        places = scores.where(allowed, -torch.inf).view(-1).topk(40, sorted=False).indices
        found = best(scores, allowed if masked else None, 40)
        assert torch.equal(found.view(-1), torch.zeros(7 * 19).index_fill_(0, places, 1.0))


def test_the_best_are_the_same_to_a_transform() -> None:
    scores = torch.randn(3, 5, 7, generator=rng())
    together = torch.func.vmap(lambda own: best(own, None, 0.3))(scores)
    assert torch.equal(together, torch.stack([best(own, None, 0.3) for own in scores]))
    assert together.sum((1, 2)).tolist() == [10, 10, 10]
    assert best(torch.ones(4, 5), torch.eye(4, 5), 3).sum() == 3  # of equal ones some
    assert best(torch.ones(4, 5), torch.eye(4, 5), 3)[torch.eye(4, 5) < 0.5].sum() == 0
    assert best(scores, scores > 9.0, 0.3, least=2).sum() == 0


def through(scores: Tensor, hard: Tensor, allowed: Tensor, width: float) -> Tensor:
    """`hard`, with the gradient of a sigmoid around the last score kept, by autograd alone."""
    spread = scores.detach()[allowed > 0.5].std(correction=0)
    soft = torch.sigmoid((scores - scores.detach()[hard > 0.5].min()) / (width * spread)) * allowed
    return hard + soft - soft.detach()


def test_the_gradients_of_both_choices_meet_where_a_connection_exists() -> None:
    structure = Gated(density=0.9, plastic=0.6, width=0.7, support=SelfRecurrent())
    params = GatedParams(*structure.params(SHAPE, rng()))
    allowed = structure.support.gates((), SHAPE, torch.zeros(1)).exists
    noise = [torch.randn(4, n, generator=rng()) for n in (6, 4)]
    assert allowed is not None

    def loss(own: tuple[Tensor, ...], by_hand: bool) -> Tensor:
        tuned = params._replace(exists=own[0], post=own[1], pre=own[2], plastic=own[3])
        exists, plastic, _ = structure.gates(tuned, SHAPE, torch.zeros(1))
        assert exists is not None
        assert plastic is not None
        if by_hand:
            exists = through(own[0] + own[1] + own[2], exists.detach(), allowed, 0.7)
            there = exists[:, 2:]
            plastic = through(own[3], plastic.detach(), there.detach(), 0.7) * there
        return (noise[0] * exists).sum() + (noise[1] * plastic).sum()

    own = tuple(each.requires_grad_() for each in params[:4])
    grads = torch.autograd.grad(loss(own, False), own)
    transformed = torch.func.grad(lambda tuned: loss(tuned, False))(own)
    for grad, other, wanted in zip(grads, transformed, torch.autograd.grad(loss(own, True), own), strict=True):
        assert wanted.abs().sum() > 0
        torch.testing.assert_close(grad, wanted)
        torch.testing.assert_close(other, wanted)


@pytest.mark.parametrize("structure", [Gated(0.5, 0.5), Gated(0.5, support=SelfRecurrent()), HardConcrete(0.5, 0.5)])
def test_second_derivatives_are_those_of_the_first(structure: Gated | HardConcrete) -> None:
    params: Any = structure.params(SHAPE, rng())
    params = type(params)(*(each.double() for each in params))
    noise = [torch.randn(4, n, generator=rng(), dtype=torch.float64) for n in (6, 4)]
    if isinstance(structure, HardConcrete):
        params = params._replace(soft=torch.ones(1), multipliers=torch.tensor([0.3, 0.7], dtype=torch.float64))

    def loss(exists: Tensor) -> Tensor:
        own = params._replace(exists=exists)
        gates, price = structure.gates(own, SHAPE, noise[0]), structure.constraint(own, SHAPE)
        text = [(n * g).sum() for n, g in zip(noise, gates[:2], strict=True) if g is not None]
        return torch.stack(text).sum() ** 2 + (0.0 if price is None else price)

    def first(exists: Tensor, again: bool) -> Tensor:
        return torch.autograd.grad(loss(exists), exists, create_graph=again)[0]

    at, way = params.exists.requires_grad_(), torch.randn(4, 6, generator=rng(), dtype=torch.float64)
    (second,) = torch.autograd.grad((first(at, True) * way).sum(), at)
    transformed = torch.func.grad(lambda exists: (torch.func.grad(loss)(exists) * way).sum())(at.detach())
    torch.testing.assert_close(first(at, False), torch.func.grad(loss)(at.detach()))
    torch.testing.assert_close(second, transformed)
    assert second.abs().sum() > 0.0


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # as torch.func.jvp uses it
@pytest.mark.parametrize("support", [Dense(), SelfRecurrent()])
def test_forward_mode_and_second_derivatives_of_both_choices(support: Structure) -> None:
    structure, draw = Gated(0.9, 0.6, support=support), rng()
    params = GatedParams(*(each.double() for each in structure.params(SHAPE, draw)))
    noise = [torch.randn(4, n, generator=draw, dtype=torch.float64) for n in (6, 4)]

    def loss(*scores: Tensor) -> Tensor:
        given = params._replace(**dict(zip(params._fields, scores, strict=False)))
        exists, plastic, _ = structure.gates(given, SHAPE, noise[0])
        assert exists is not None
        assert plastic is not None
        return ((noise[0] * exists).sum() + (noise[1] * plastic).sum()) ** 2

    own = [each.requires_grad_() for each in params[:4]]
    way = [torch.randn(each.shape, generator=draw, dtype=torch.float64) for each in own]
    grads = torch.autograd.grad(loss(*own), own, create_graph=True)

    def slope(gradient: tuple[Tensor, ...]) -> Tensor:
        return torch.stack([(g * w).sum() for g, w in zip(gradient, way, strict=True)]).sum()

    still, every = tuple(each.detach() for each in own), (0, 1, 2, 3)
    torch.testing.assert_close(torch.func.jvp(loss, still, tuple(way))[1], slope(grads).detach())
    first: Any = torch.func.grad(loss, every)
    again: Any = torch.func.grad(lambda *scores: slope(first(*scores)), every)
    second = again(*still)
    torch.testing.assert_close(torch.autograd.grad(slope(grads), own), second)
    assert all(each.abs().sum() > 0.0 for each in second)


@pytest.mark.parametrize("kind", [Gated, HardConcrete, Pooled, Pruned, Rewired])
def test_budgets_are_met_to_the_connection(kind: type[Gated]) -> None:
    task = PatternCompletion(bits=6)
    layer = Layer(task.outputs, plastic=Pathway.BOTH, structure=kind(density=17, plastic=5))
    net = Network(NetworkSpec((layer,)), task.inputs)
    list(Gradient(steps=10, batch=2).train(net, task, 0))
    assert (net.connections(), net.plastic_connections()) == (17, 5)


def test_units_compete_by_scores_of_their_own() -> None:
    structure = Gated(density=0.25, width=0.7)
    params = GatedParams(*(t.clone().requires_grad_() for t in structure.params(SHAPE, rng())))
    assert params.plastic.numel() == 0  # all that exists on the plastic pathway is plastic
    gates, noise = structure.gates(params, SHAPE, torch.zeros(1)), torch.randn(4, 6, generator=rng())
    assert gates.exists is not None
    assert gates.plastic is not None
    (noise * gates.exists).sum().backward()
    scores = (params.exists + params.post + params.pre).detach()
    kept = best(scores, None, 6) > 0.5
    assert torch.equal(gates.exists > 0.5, kept)
    assert torch.equal(gates.plastic, gates.exists[:, 2:])
    steps = (scores - scores[kept].min()) / (0.7 * scores.std(correction=0))
    wanted = noise * torch.sigmoid(steps) * (1 - torch.sigmoid(steps)) / (0.7 * scores.std(correction=0))
    torch.testing.assert_close(params.exists.grad, wanted)
    torch.testing.assert_close(params.post.grad, wanted.sum(1, keepdim=True))
    torch.testing.assert_close(params.pre.grad, wanted.sum(0, keepdim=True))
    with torch.no_grad():
        params.post[2] += 10.0  # a unit with all of its inputs, and one without outputs
        params.pre[0, 5] -= 100.0
    now = exists(structure, params)
    assert now[2].tolist() == [1, 1, 1, 1, 1, 0]
    assert now[:, 5].sum() == 0


@pytest.mark.parametrize(("density", "plastic"), [(0.1, 0.25), (31, 9), (0.2, 1.0)])
def test_a_pool_spends_one_budget_where_it_is_worth_most(density: float, plastic: float) -> None:
    task = PatternCompletion(bits=6)
    layers = (
        Layer(20, structure=Pooled(density=density, plastic=plastic, support=FeedForward())),
        Layer(10, structure=Dense()),
        Layer(task.outputs, plastic=Pathway.BOTH, structure=Pooled(density=density, plastic=plastic)),
    )
    nets = [Network(NetworkSpec(layers), task.inputs, seed) for seed in (0, 1, 0)]
    for net in nets:
        net.get_parameter("layers.2.structure__post").data += 0.5  # what is there is worth more
    room = [20 * task.inputs, task.outputs * (10 + task.outputs)]
    wanted = round(density * sum(room)) if density <= 1 else density
    list(Gradient(steps=20, batch=2).train(nets[0], task, 0))
    graph = to_graph(nets[0])
    own = [sum(graph.nodes[b]["layer"] == at for _, b in graph.edges) for at in (0, 2)]
    assert sum(own) == wanted
    assert min(own) >= 1
    assert own[0] / room[0] < 0.5 * own[1] / room[1]
    there = own[1]
    assert nets[0].plastic_connections() == (round(plastic * there) if plastic <= 1 else min(plastic, there))
    list(Gradient(steps=5, batch=2).train(nets[0], task, 1))
    assert set(to_graph(nets[0]).edges) == set(graph.edges)  # what has been found stays
    together = Population([nets[2], nets[1]])
    list(Gradient(steps=20, batch=2).train_together(together, task, (0, 1)))
    assert set(to_graph(together.member(0)).edges) == set(graph.edges)


def test_gates_open_wide_and_narrow_as_a_cube() -> None:
    structure = Gated(density=0.5, annealing_fraction=0.8)
    params = structure.params(SHAPE, rng())
    for step, kept in ((0, 24), (4, 12 + 12 * 0.125), (8, 12), (10, 12)):
        structure.adapt(context(params, torch.zeros(1, 4, 6), step, 10), rng())
        assert int(exists(structure, params).sum()) == round(kept)


def test_the_smallest_weights_go_and_do_not_come_back() -> None:
    structure, weight = Pruned(density=0.25, annealing_fraction=0.5, times=10), torch.randn(2, 4, 6, generator=rng())
    params = structure.params(SHAPE, rng())
    before = torch.ones(4, 6)
    for step in range(11):
        structure.adapt(context(params, weight, step, 10), rng())
        now = exists(structure, params)
        assert bool((now <= before).all())
        before = now
    carried = weight.norm(dim=0)
    carried[:, 2:] += 1.0  # alpha, in the plastic columns
    assert torch.equal(before, best(carried, None, 0.25))


def test_pruning_meets_the_plastic_budget_with_what_is_left() -> None:
    task = PatternCompletion(bits=6)
    own = Pruned(density=0.5, plastic=2, support=SelfRecurrent())
    for seed in range(12):  # in some of them one that was plastic is pruned away later
        net = Network(NetworkSpec((Layer(6, plastic=Pathway.RECURRENT, structure=own),)), task.inputs, seed)
        list(Gradient(steps=20, batch=4).train(net, task, seed))
        there = sum(a == b for a, b in to_graph(net).edges)
        assert net.plastic_connections() == min(there, 2)


def test_what_a_pool_was_told_last_is_what_stays() -> None:
    own = Pooled(density=0.25, annealing_fraction=0.5)
    params = [own.params(SHAPE, rng()) for _ in range(2)]
    for step, louder in ((9, 0), (10, 1)):
        params[louder].post.add_(9.0)
        own.adapt_pool([(own, context(each, torch.zeros(1, 4, 6), step, 10)) for each in params])
        assert [int(each.counts[0]) for each in params] == [11, 1]
    assert all(each.frozen for each in params)


def test_the_weakest_are_exchanged_for_those_that_are_asked_for() -> None:
    structure, weight = Rewired(density=0.5, exchanged=0.5, times=10), torch.randn(1, 4, 6, generator=rng())
    params = structure.params(SHAPE, rng())
    structure.adapt(context(params, weight, 0, 10), rng())
    before, requested = exists(structure, params), torch.rand(4, 6, generator=rng())
    assert bool((weight[0][before < 0.5] == 6**-0.5).all())
    strength = weight.abs()[0].clone()
    strength[:, 2:] += 1.0  # alpha, in the plastic columns
    grads = RewiredParams(None, None, requested, torch.rand(4, 4), None)  # type: ignore[arg-type]
    structure.adapt(context(params, weight, 1, 10, grads), rng())
    now = exists(structure, params)
    came, went = (now > before), (now < before)
    assert int(came.sum()) == int(went.sum()) > 0
    assert bool((weight[0][came] == 0.0).all())
    assert strength[went].max() <= strength[(before > 0.5) & (now > 0.5)].min()
    assert requested[came].min() >= requested[(before < 0.5) & (now < 0.5)].max()


def test_a_multiplier_rises_while_too_many_gates_are_open_and_begins_again_after() -> None:
    structure = HardConcrete(density=0.5, rise=0.1, annealing_fraction=0.0)
    params = structure.params(SHAPE, rng())
    seen = []
    for odds in (5.0, 5.0, -5.0):
        params.exists.fill_(odds)
        structure.adapt(context(params, torch.zeros(1, 4, 6), 1, 10), rng())
        seen.append(float(params.multipliers[0]))
    assert 0.0 < seen[0] < seen[1]
    assert seen[2] == 0.0
    params.exists.fill_(5.0)
    constraint = structure.constraint(params._replace(exists=params.exists.requires_grad_()), SHAPE)
    assert constraint is not None
    assert constraint.item() == 0.0  # the multiplier has begun again


def test_whole_projections_go() -> None:
    structure = Blocks(keep=1)
    params = structure.params(SHAPE, rng())
    assert len(params.scores) == 3  # the input, the other units, a unit itself
    for winner, kept in ((0, 8), (1, 12), (2, 4)):
        params.scores.zero_()[winner] = 1.0
        gate = exists(structure, params)
        assert int(gate.sum()) == kept
    assert torch.equal(gate[:, 2:], torch.eye(4))


def test_a_pools_plastic_budget_is_never_taken_for_a_number() -> None:
    structure = Pooled(100, plastic=1000)
    task = PatternCompletion(bits=8)
    layers = (Layer(30, structure=structure), Layer(task.outputs, structure=structure, plastic=Pathway.BOTH))
    for seed in range(6):
        net = Network(NetworkSpec(layers), task.inputs, seed)
        for _ in Gradient(steps=30, batch=4, cooldown_fraction=0.0, learning_rate=0.03).train(net, task, seed):
            pass
        gates = net._gates()[1]
        assert gates.exists is not None
        assert net.plastic_connections() == int(gates.exists.sum())


def test_hard_concrete_among_no_connections_stays_finite() -> None:
    task = PatternCompletion(bits=4)
    structure = HardConcrete(0.5, 0.5, support=Graph(support=FeedForward()))
    net = Network(NetworkSpec((Layer(task.outputs, structure=structure, plastic=Pathway.INPUT),)), task.inputs)
    for progress in Gradient(steps=6, batch=2).train(net, task, 0):
        assert progress.loss == progress.loss
