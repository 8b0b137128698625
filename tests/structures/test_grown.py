"""Units that come and go: they are silent where they do not exist, and what is published is what happens."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from plastic_search.cells import Cell
from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.cells.rnn import RNN
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import discover
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.spec import AlphaShape, Layer, NetworkSpec, Pathway
from plastic_search.network.state import named
from plastic_search.precisions.integer import Integer
from plastic_search.rules import Rule
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.grown import Grown
from plastic_search.structures.self_recurrent import SelfRecurrent
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.tasks.repeated_pairs import RepeatedPairs
from plastic_search.tasks.reversed_groups import ReversedGroups
from plastic_search.tasks.switched import Switched
from plastic_search.topology.conversion import to_graph
from plastic_search.trainers.gradient import Gradient
from plastic_search.trainers.windowed import Windowed
from plastic_search.training.adaptation import Adaptation

pytestmark = pytest.mark.usefixtures("quick_code")
RULES = discover(Rule)
READOUT = Layer(4, Linear(), structure=FeedForward())
STILL = Grown(adds=0.0, deletes=0.0)


def spec(grown: Grown, units: int = 6, **layer: Any) -> NetworkSpec:
    return NetworkSpec((Layer(units, structure=grown, **layer), READOUT))


def noise(*sizes: int) -> Tensor:
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@torch.no_grad()
def loud(net: Network) -> None:
    """Every weight, bias and alpha is far from 0, also where nothing exists."""
    for name, p in net.named_parameters():
        if "structure" not in name:
            p.copy_(1.0 + noise(*p.shape).abs())


def adapt(net: Network, steps: int, seed: int = 0) -> None:
    adaptation = Adaptation(net, (seed,), steps)
    for step in range(steps + 1):
        adaptation.after(step)


class TestAUnitThatDoesNotExist:
    @pytest.mark.parametrize("kernel", ["reference", "cpu"])
    @pytest.mark.parametrize(
        ("rule", "cell"), [*zip(RULES.values(), itertools.cycle((RNN(), LSTM(), Linear())), strict=False)]
    )
    def test_says_exactly_0_whatever_its_weights(self, kernel: str, cell: Cell, rule: type[Rule]) -> None:
        layer = Layer(6, cell, rule(), Retroactive(), Grown(start=2), Pathway.BOTH)
        net = Network(NetworkSpec((layer,)), 3, kernel=kernel).double()
        loud(net)
        x = 0.1 * noise(7, 2, 3)
        y, _ = net(x)
        assert y[..., :2].all(), "those that exist speak"
        assert not y[..., 2:].any()
        y.sum().backward()
        for name in ("weight", "bias", "alpha"):
            grad = net.layers[0].get_parameter(name).grad
            assert grad is not None
            assert not grad[..., 2:, :].any() if name != "bias" else not grad[:, 2:].any()

    def test_is_not_heard_by_its_own_layer_either(self) -> None:
        net = Network(NetworkSpec((Layer(6, structure=Grown(start=2)),)), 3).double()
        loud(net)
        start = net.initial_state(1)
        other = (start[0]._replace(output=start[0].output + torch.tensor([0.0, 0, 9, 9, 9, 9])),)
        x = noise(2, 1, 3)
        assert torch.equal(net(x, start)[0], net(x, other)[0])

    def test_is_no_connection_no_edge_and_is_not_counted(self) -> None:
        net = Network(spec(Grown(start=2)), 3)
        assert net.units() == (2, 4)
        assert net.connections() == 2 * (3 + 2) + 4 * 2
        assert to_graph(net).number_of_edges() == net.connections()

    def test_may_only_be_where_connections_may(self) -> None:
        net = Network(spec(Grown(start=3, support=SelfRecurrent())), 3)
        assert net.connections() == 3 * 3 + 3 + 4 * 3
        net = Network(spec(Grown(start=3, support=FeedForward())), 3)
        assert net.connections() == 3 * 3 + 4 * 3

    def test_is_silent_in_rounded_numbers_too(self) -> None:
        net = Network(replace(spec(Grown(start=2), plastic=Pathway.BOTH), precision=Integer(4, 4, 6)), 3)
        loud(net)
        _, state = net(noise(5, 2, 3).float())
        assert not state[0].output[:, 2:].any()

    def test_changes_nothing_when_it_goes(self) -> None:
        net = Network(spec(STILL), 3).double()
        loud(net)
        with torch.no_grad():
            net.layers[0].get_buffer("structure__exists").copy_(torch.tensor([1.0, 1, 1, 0, 0, 0]))
            for rows in (net.layers[0].get_parameter("weight")[:, 2], net.layers[0].get_parameter("bias")[:, 2]):
                rows.zero_()
        x = noise(6, 2, 3)
        before, _ = net(x)
        with torch.no_grad():
            net.layers[0].get_buffer("structure__exists")[2] = 0.0
        torch.testing.assert_close(net(x)[0], before, rtol=0, atol=1e-14)


class TestOneUpdate:
    def test_begins_small(self) -> None:
        net = Network(spec(Grown(start=3), units=50), 3)
        adapt(net, 0)
        weights = [net.layers[0].get_parameter("weight"), net.layers[1].get_parameter("weight")]
        for weight in weights:
            assert 0.008 < weight.detach().std().item() < 0.012
        assert net.units() == (3, 4)

    def test_adds_one_where_fewer_than_spare_are_low_and_stops_when_full(self) -> None:
        net = Network(spec(Grown(start=1, adds=1.0, deletes=0.0, spare=9, shrink=0.0)), 3)
        for steps, count in ((0, 1), (1, 2), (3, 4), (5, 6), (8, 6)):
            fresh = Network(net.spec, 3)
            adapt(fresh, steps)
            assert fresh.units()[0] == count

    def test_adds_none_while_one_is_low(self) -> None:
        net = Network(spec(Grown(adds=1.0)), 3)
        adapt(net, 20)
        assert net.units()[0] == 1, "the first is low from the beginning"

    def test_may_add_one_spontaneous(self) -> None:
        net = Network(spec(Grown(adds=0.0, deletes=0.0, spontaneous=1.0)), 3)
        adapt(net, 3)
        assert net.units()[0] == 4

    def test_deletes_all_low_ones_but_spare(self) -> None:
        for spare, left in ((0, 0), (1, 1), (2, 2)):
            net = Network(spec(Grown(start=5, adds=0.0, deletes=1.0, spare=spare)), 3)
            adapt(net, 1)
            assert net.units()[0] == left

    def test_keeps_a_unit_that_is_above(self) -> None:
        net = Network(spec(Grown(start=5, adds=0.0, deletes=1.0, spare=0)), 3)
        adaptation = Adaptation(net, (0,), 1)
        adaptation.after(0)
        with torch.no_grad():
            net.layers[1].get_parameter("weight")[0, :, 2] = 0.1
        adaptation.after(1)
        exists = net.layers[0].get_buffer("structure__exists")
        assert exists.tolist() == [0, 0, 1, 0, 0, 0]
        assert not net.layers[0].get_parameter("weight")[:, 0].any(), "its weights are reset"

    @pytest.mark.parametrize("birth", [0.5, 1.0])
    def test_gives_a_new_unit_its_norm_half_on_either_way(self, birth: float) -> None:
        grown = Grown(adds=1.0, deletes=0.0, spare=9, shrink=0.0, birth=birth)
        net = Network(spec(grown), 3)
        adapt(net, 1)
        weights = [net.layers[i].get_parameter("weight").detach()[0] for i in range(2)]
        own, received = weights[0][:2, 3 + 1], weights[1][:, 1]
        assert received.abs().sum().item() == pytest.approx(birth * grown.threshold, rel=1e-5)
        assert 4 / 2 * own.abs().sum().item() == pytest.approx(birth * grown.threshold, rel=1e-5)
        assert not net.layers[0].get_parameter("bias").any()

    @pytest.mark.parametrize("pathway", [Pathway.INPUT, Pathway.RECURRENT, Pathway.BOTH])
    @pytest.mark.parametrize("shape", list(AlphaShape))
    def test_the_alphas_of_a_new_unit_begin_anew(self, pathway: Pathway, shape: AlphaShape) -> None:
        net = Network(spec(Grown(adds=1.0, deletes=0.0, spare=9, shrink=0.0), plastic=pathway, alpha=shape), 3)
        alpha = net.layers[0].get_parameter("alpha")
        with torch.no_grad():
            alpha.fill_(1.0)
        adapt(net, 1)  # units 0 and 1 exist, and 1 is new
        anew = torch.zeros(alpha.shape)
        if shape is not AlphaShape.NETWORK:
            anew[1] = 1.0
        if shape is AlphaShape.SYNAPSE and pathway is not Pathway.INPUT:
            anew[:, 1 + 3 * (pathway is Pathway.BOTH)] = 1.0
        assert torch.equal(alpha.detach().abs() < 0.1, anew > 0.5)

    def test_shrinks_what_leaves_and_nothing_else(self) -> None:
        net = Network(spec(replace(STILL, shrink=0.25)), 3)
        adaptation = Adaptation(net, (0,), 1)
        adaptation.after(0)
        with torch.no_grad():
            for layer in (0, 1):
                net.layers[layer].get_parameter("weight").fill_(2.0)
            net.layers[1].get_parameter("bias").fill_(2.0)
        adaptation.after(1)
        weight = net.layers[0].get_parameter("weight")
        assert weight[..., :3].unique().tolist() == [2.0]
        assert weight[..., 3:].unique().tolist() == [1.75]
        assert net.layers[1].get_parameter("weight").unique().tolist() == [1.75]
        assert net.layers[1].get_parameter("bias").unique().tolist() == [2.0]

    def test_tells_adam_that_a_new_unit_has_no_past(self) -> None:
        task = PatternCompletion(bits=4, patterns=1, present=1, delay=0)
        grown = Grown(adds=1.0, deletes=0.0, spare=99, shrink=0.0)
        net = Network(spec(grown, units=30), task.inputs)
        for progress in Gradient(steps=10, batch=2, reports=10).train(net, task, 0):
            assert net.units()[0] == 1 + min(progress.step, 9), "nothing changes after the last update"


def test_the_last_layer_cannot_be_grown() -> None:
    with pytest.raises(PlasticSearchError, match="wants a layer that other layers receive"):
        adapt(Network(NetworkSpec((Layer(4, structure=Grown()),)), 3), 0)
    with pytest.raises(PlasticSearchError, match="starts with 9 units, but the layer has room for 6"):
        Network(spec(Grown(start=9)), 3)
    with pytest.raises(PlasticSearchError, match="probabilities"):
        Grown(adds=1.5)


def test_fields_of_earlier_versions_are_read() -> None:
    data = Grown(spontaneous=0.1, threshold=0.2).to_json()
    data["unasked"], data["least"] = data.pop("spontaneous"), data.pop("threshold")
    data["within"] = data.pop("support")
    assert Grown.from_json(data) == Grown(spontaneous=0.1, threshold=0.2)
    with pytest.raises(PlasticSearchError, match=r"Grown\.unasked is now called Grown\.spontaneous"):
        Grown(unasked=0.1)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("cell", [RNN(), LSTM()])
def test_a_population_does_what_its_members_do_alone(cell: Cell) -> None:
    grown = Grown(adds=0.6, deletes=0.6, spontaneous=0.1, shrink=1e-3)
    result = [Network(spec(grown, 8, cell=cell, plastic=Pathway.RECURRENT), 4, seed).double() for seed in range(3)]
    population, trainer = Population(result), Windowed(steps=30, reports=3)
    message = list(trainer.train_together(population, ReversedGroups(window=6), range(3)))
    assert set(population.units()) != {(1, 4)}, "something grew"
    for k, net in enumerate(result):
        alone = list(trainer.train(net, ReversedGroups(window=6), k))
        assert [p.loss for p in alone] == pytest.approx([each[k].loss for each in message])
        for name, p in net.named_parameters():
            torch.testing.assert_close(population.get_parameter(name)[k], p, rtol=1e-6, atol=1e-8)


class TestTexts:
    def test_floors_are_those_that_are_published(self) -> None:
        assert RepeatedPairs().floor == pytest.approx(9.00, abs=0.005)
        assert RepeatedPairs(more=0.6).floor == pytest.approx(9.61, abs=0.005)
        assert ReversedGroups().floor == pytest.approx(8.96, abs=0.005)

    def test_floors_are_what_the_best_predictor_costs(self) -> None:
        rng = torch.Generator().manual_seed(0)
        for more in (0.75, 0.6):
            emitted = "".join("ab()"[i] for i in RepeatedPairs(more=more).text(200_000, rng).tolist())
            again, ended = emitted.count("ba"), emitted.count("b)")
            cost = -(again * np.log(more) + ended * np.log(1 - more)) / len(emitted) * 40
            assert cost == pytest.approx(RepeatedPairs(more=more).floor, rel=0.02)

    def test_pairs_are_in_brackets(self) -> None:
        emitted = "".join("ab()"[i] for i in RepeatedPairs().text(500, torch.Generator().manual_seed(1)).tolist())
        assert emitted[0] == "("
        groups = emitted[1:].split(")(")
        assert all(group == "ab" * (len(group) // 2) and group for group in groups[:-1])

    @pytest.mark.parametrize("letters", [5, 6])
    def test_a_group_is_the_one_before_backwards_with_one_mistake(self, letters: int) -> None:
        text = ReversedGroups(letters=letters).text((letters + 2) * 2000, torch.Generator().manual_seed(0))
        groups = text.view(-1, letters + 2)
        assert (groups[:, 0] == 2).all()
        assert (groups[:, -1] == 3).all()
        wrong = groups[1:, 1:-1] != groups[:-1, 1:-1].flip(1)
        assert (wrong.sum(1) == 1).all()
        assert wrong.float().mean(0).sub(1 / letters).abs().max() < 0.03

    def test_they_are_switched_at_equal_shares(self) -> None:
        task = Switched()
        kinds = [type(task.phase(share)).__name__ for share in (0.0, 0.33, 0.34, 0.66, 0.67, 0.999)]
        assert kinds == ["RepeatedPairs"] * 2 + ["ReversedGroups"] * 2 + ["RepeatedPairs"] * 2
        with pytest.raises(PlasticSearchError, match="windows of"):
            Switched(window=7)

    def test_a_task_of_episodes_is_refused(self) -> None:
        net = Network(NetworkSpec((READOUT,)), 4)
        with pytest.raises(PlasticSearchError, match="use Gradient"):
            list(Windowed().train(net, PatternCompletion(bits=4), 0))


class Restated:
    """Version B in numpy, in its own words: y = Why h + by, h = tanh(Wxh x + Whh h + bh), loops over time."""

    def __init__(self, net: Network, units: int) -> None:
        weight, bias = (net.layers[0].get_parameter(n).detach().double().numpy()[0] for n in ("weight", "bias"))
        self.p = {"Wxh": weight[:, :4].copy(), "Whh": weight[:, 4:].copy(), "bh": bias.copy()}
        self.p["Why"] = net.layers[1].get_parameter("weight").detach().double().numpy()[0].copy()
        self.p["by"] = net.layers[1].get_parameter("bias").detach().double().numpy()[0].copy()
        self.m = {n: np.full_like(p, 0.01 if n in ("Wxh", "bh") else 0.0) for n, p in self.p.items()}
        self.h = np.zeros(units)

    def update(self, text: list[int]) -> float:
        p, hs, xs, ps, loss = self.p, [self.h], [], [], 0.0
        for now, following in itertools.pairwise(text):
            xs.append(np.eye(4)[now])
            hs.append(np.tanh(p["Wxh"] @ xs[-1] + p["Whh"] @ hs[-1] + p["bh"]))
            e = np.exp(p["Why"] @ hs[-1] + p["by"])
            ps.append(e / e.sum())
            loss -= np.log(ps[-1][following])
        d, carried = {n: np.zeros_like(v) for n, v in p.items()}, np.zeros_like(self.h)
        for t in reversed(range(len(xs))):
            dy = ps[t] - np.eye(4)[text[t + 1]]
            back = (p["Why"].T @ dy + carried) * (1 - hs[t + 1] ** 2)
            for name, value in (("Why", np.outer(dy, hs[t + 1])), ("by", dy), ("bh", back)):
                d[name] += value
            d["Wxh"], d["Whh"] = d["Wxh"] + np.outer(back, xs[t]), d["Whh"] + np.outer(back, hs[t])
            carried = p["Whh"].T @ back
        for name, g in d.items():
            self.m[name] = 0.99 * self.m[name] + 0.01 * g * g
            p[name] -= np.clip(0.01 * g / np.sqrt(self.m[name] + 1e-8), -0.01, 0.01)
        for name in ("Why", "Whh"):
            p[name] -= 1e-4 * np.sign(p[name])
        self.h = hs[-1]
        return loss


def test_the_trainer_does_what_is_published() -> None:
    net = Network(spec(replace(STILL, start=5), 5), 4).double()
    task = ReversedGroups()
    trainer, population = Windowed(steps=60), Population([net])
    course = trainer.begin(population, task, (7,))
    course.advance(1)
    text = task.text(60 * 40 + 1, torch.Generator().manual_seed(100_003 + 7)).tolist()
    first = Network(net.spec, 4).double()
    adapt_first = Adaptation(first, (7,), 60)
    adapt_first.after(0)
    plain, running = Restated(first, 5), 40 * np.log(4)
    for t in range(60):
        running = 0.99 * running + 0.01 * plain.update(text[40 * t : 40 * t + 41])
        if t:
            course.advance(1)
        got = population.member(0)
        weight = got.layers[0].get_parameter("weight").detach().numpy()[0]
        np.testing.assert_allclose(weight[:, 4:], plain.p["Whh"], atol=1e-9)
        np.testing.assert_allclose(weight[:, :4], plain.p["Wxh"], atol=1e-9)
        np.testing.assert_allclose(got.layers[1].get_parameter("weight").detach().numpy()[0], plain.p["Why"], atol=1e-9)
        assert float(course.running[0]) == pytest.approx(running)


def test_a_new_unit_begins_with_a_memory_of_its_own() -> None:
    net = Network(spec(Grown(adds=0.0, deletes=0.0, spontaneous=1.0)), 4)
    course = Windowed(steps=9).begin(Population([net]), ReversedGroups(), (0,))
    for born in (1, 2, 3):
        course.advance(1)
        kept = {name: t[0, 0] for name, t in course.saved().items() if name.startswith("squares") and t.dim() == 4}
        own, emitted = kept["squares.layers.0.weight"], kept["squares.layers.1.weight"]
        assert (own[born] == 0.01).all()
        assert (own[:, 4 + born] == 0.01).all()
        assert (emitted[:, born] == 0.01).all()
        assert not (emitted[:, 0] == 0.01).any()
    assert course.units() == [(4, 4)]


def test_a_course_that_is_put_down_and_taken_up_again_is_the_same() -> None:
    grown = Grown(adds=0.5, deletes=0.5, spontaneous=0.1)

    def begun() -> tuple[Population, Any]:
        population = Population([Network(spec(grown), 4, seed) for seed in range(2)])
        return population, Windowed(steps=30).begin(population, Switched(), (3, 4))

    (one, straight), (_, first), (other, second) = begun(), begun(), begun()
    straight.advance(30)
    first.advance(17)
    kept = first.saved()
    first.advance(5)  # what was kept is a copy
    second.restore(kept)
    second.advance(13)
    assert torch.equal(straight.running, second.running)
    assert one.units() == other.units()
    for name, p in one.named_parameters():
        assert torch.equal(p, other.get_parameter(name)), name
    assert named(straight.state).keys() == named(second.state).keys()
