"""Interventions do what they say, by whatever kernel, and what they cannot do is refused in one line."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
import torch
from parity import network, poison
from torch import Tensor

from plastic_search.cells import Cell, Response
from plastic_search.cells.lstm import LSTM
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part
from plastic_search.modulations import FanOut
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.simple import Simple
from plastic_search.network import episodes
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.pytree import leaves, map_tensors
from plastic_search.network.recording import record
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.network.state import State, named
from plastic_search.precisions import Rounding
from plastic_search.precisions.integer import Integer
from plastic_search.rules.bcm import BCM
from plastic_search.structures.feed_forward import FeedForward

pytestmark = pytest.mark.usefixtures("quick_code")
LAYERS = (
    Layer(6, LSTM(), BCM(), Retroactive(), plastic=Pathway.BOTH),
    Layer(3, modulation=Simple(FanOut.NETWORK), plastic=Pathway.RECURRENT, bound=Bound.SOFT, skip=(1,)),
)
SPEC, ROUNDED = NetworkSpec(LAYERS), NetworkSpec(LAYERS, Integer(8, 8, 4, Rounding.NEAREST))
TIME, BATCH = 9, 5
LENGTHS = torch.tensor([4, 0, 9, 1, 7])


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch)


@pytest.fixture(params=["reference", "cpu"])
def kernel(request: pytest.FixtureRequest) -> str:
    return request.param


def made(kernel: str, spec: NetworkSpec = SPEC) -> tuple[Network, Tensor, State]:
    """A network, inputs, and a state in the middle of an episode."""
    net = network(spec, 4, torch.float64)
    net.kernel = kernel
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(TIME + 3, BATCH, 4, generator=rng, dtype=torch.float64)
    return net, x[3:], net(x[:3])[1].detach()


def rows(state: State, which: slice) -> State:
    """The state of some episodes."""
    return map_tensors(lambda t: t[which], state)


def close(one: State, other: State) -> None:
    for name, value in named(one).items():
        torch.testing.assert_close(value, named(other)[name], rtol=1e-9, atol=1e-11, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("spec", [SPEC, ROUNDED, NetworkSpec((Layer(4, LSTM()),))])
def test_episodes_of_different_lengths_run_as_if_alone(kernel: str, spec: NetworkSpec) -> None:
    net, x, state = made(kernel, spec)
    padded = x.clone()
    for b, length in enumerate(LENGTHS):
        padded[length:, b] = torch.nan  # what lies after the end makes no difference
    y, last = net(padded, state, lengths=LENGTHS)
    for b, length in enumerate(LENGTHS.tolist()):
        here = slice(b, b + 1)
        assert not y[length:, b].any()
        if length:
            alone, after = net(x[:length, here], rows(state, here))
            torch.testing.assert_close(y[:length, here], alone, rtol=1e-9, atol=1e-11)
            close(rows(last, here), after)
        else:
            close(rows(last, here), rows(state, here))


def test_no_gradient_flows_from_what_lies_after_the_end(kernel: str) -> None:
    net, x, state = made(kernel)
    x.requires_grad_()
    y, last = net(x, state, lengths=LENGTHS)
    (y.square().sum() + sum(t.square().sum() for t in named(last).values())).backward()
    assert x.grad is not None
    for b, length in enumerate(LENGTHS.tolist()):
        assert not x.grad[length:, b].any()
        assert x.grad[:length, b].abs().sum(-1).gt(0).all()


def test_an_episode_that_begins_in_mid_sequence_runs_as_if_alone(kernel: str) -> None:
    net, x, state = made(kernel)
    reset = torch.zeros(TIME, BATCH, dtype=torch.bool)
    reset[4, 0] = reset[0, 1] = reset[2, 1] = reset[8, 2] = True
    y, last = net(x, state, reset=reset)
    parts = {0: (0, 4, 9), 1: (0, 2, 9), 2: (0, 8, 9), 3: (0, 9), 4: (0, 9)}
    for b, edges in parts.items():
        here, now = slice(b, b + 1), rows(state, slice(b, b + 1))
        for first, end in itertools.pairwise(edges):
            now = net.initial_state(1) if reset[first, b] else now
            alone, now = net(x[first:end, here], now)
            torch.testing.assert_close(y[first:end, here], alone, rtol=1e-9, atol=1e-11)
        close(rows(last, here), now)


def test_activity_begins_anew_where_it_is_cleared(kernel: str) -> None:
    net, x, state = made(kernel)
    clear = torch.zeros(TIME, BATCH, dtype=torch.bool)
    clear[4, :2] = clear[0, 1] = clear[8] = True
    y, last = net(x, state, clear=clear)
    now, outputs = state, []
    for t in range(TIME):
        before = []
        for layer in now:
            silent = [map_tensors(torch.clone, each) for each in (layer.output, layer.cell, layer.eligibility)]
            for each in leaves(tuple(silent)):
                each[clear[t]] = 0.0
            before.append(layer._replace(output=silent[0], cell=silent[1], eligibility=silent[2]))
        one, now = net(x[t : t + 1], State(before))
        outputs.append(one)
    torch.testing.assert_close(y, torch.cat(outputs), rtol=1e-9, atol=1e-11)
    close(last, now)
    inside, after = record(net, x, "layers.1.output", state, clear=clear)
    torch.testing.assert_close(inside["layers.1.output"], y, rtol=1e-9, atol=1e-11)
    close(after, last)


def test_no_gradient_flows_across_a_clear_but_through_the_trace(kernel: str) -> None:
    net, x, state = made(kernel)
    x.requires_grad_()
    clear = torch.arange(TIME) == 5
    net(x, state, clear=clear)[0][5:].sum().backward()
    assert x.grad is not None
    assert x.grad[:5].any()
    with torch.no_grad():
        for bag in net.bags():
            bag.get_parameter("alpha").zero_()  # nothing is read of the trace
    x.grad = None
    net(x, state, clear=clear)[0][5:].sum().backward()
    assert x.grad is not None
    assert not x.grad[:5].any()
    assert x.grad[5:].any()


def test_a_frozen_trace_stays_as_it_is(kernel: str) -> None:
    net, x, state = made(kernel)
    for freeze in (torch.ones(TIME, dtype=torch.bool), torch.ones(TIME, BATCH, dtype=torch.bool)):
        _, last = net(x, state, freeze=freeze)
        for before, after in zip(state, last, strict=True):
            torch.testing.assert_close(
                (before.trace, before.eligibility), (after.trace, after.eligibility), rtol=0, atol=0
            )
    assert all(layer.trace is not None and not layer.trace.any() for layer in net(x, freeze=freeze)[1])
    some = torch.arange(TIME) != 5  # one step writes
    inside, _ = record(net, x, "layers.1.trace", state, freeze=some)
    changes = inside["layers.1.trace"].diff(dim=0).flatten(1).any(1)
    assert changes.tolist() == [t == 5 for t in range(1, TIME)]


def test_a_clamped_rate_takes_the_place_of_the_modulators(kernel: str) -> None:
    net, x, state = made(kernel, NetworkSpec((Layer(5, modulation=Simple(FanOut.NETWORK), plastic=Pathway.BOTH),)))
    y, last = net(x, state)
    rates = record(net, x, "layers.0.rate.write", state)[0]["layers.0.rate.write"].squeeze(-1).detach()
    again, after = net(x, state, clamp=rates)
    torch.testing.assert_close(again, y)
    close(after, last)
    nothing = torch.full((TIME,), torch.nan)
    close(net(x, state, clamp=nothing)[1], last)
    nothing[:] = 0.0  # nothing is written
    torch.testing.assert_close(net(x, state, clamp=nothing)[1][0].trace, state[0].trace, rtol=0, atol=0)
    rate = net.get_parameter("layers.0.modulation__weight")
    net.zero_grad()
    net(x, state, clamp=rates)[0].sum().backward()
    assert rate.grad is None or not rate.grad.any()  # the modulator has no part in it


def test_a_shuffled_trace_has_the_same_entries_at_other_places(kernel: str) -> None:
    net, x, state = made(kernel)
    shuffle = torch.full((TIME,), -1)
    shuffle[3], shuffle[6] = 11, 12
    y, last = net(x, state, shuffle=shuffle)
    y1, now = net(x[:3], state)
    torch.testing.assert_close(y[:3], y1)
    frozen = {"freeze": torch.ones(1, dtype=torch.bool)}
    mixed = net(x[:1], now, shuffle=torch.tensor([11]), **frozen)[1]
    for before, after in zip(now, mixed, strict=True):
        assert not torch.equal(before.trace, after.trace)
        assert torch.equal(before.trace.flatten(1).sort().values, after.trace.flatten(1).sort().values)
    assert not torch.equal(y[3:], net(x, state)[0][3:])
    assert isinstance(last, State)


@pytest.mark.parametrize("begun", [False, True])
def test_few_episodes_at_a_time_are_shuffled_alike(begun: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    net, x, state = made("reference")
    given: Any = {"lengths": LENGTHS, "freeze": torch.rand(TIME, BATCH) < 0.3, "shuffle": torch.arange(TIME) - 1}
    y, last = net(x, state if begun else None, **given)
    monkeypatch.setattr(episodes, "_CACHED", 1)
    again, after = net(x, state if begun else None, **given)
    torch.testing.assert_close(again, y)
    close(after, last)


@pytest.mark.parametrize("spec", [SPEC, ROUNDED])
@pytest.mark.parametrize("begun", [False, True])
def test_all_together_equal_their_definition_step_by_step(kernel: str, spec: NetworkSpec, begun: bool) -> None:
    net, x, state = made(kernel, spec)
    rng = torch.Generator().manual_seed(5)
    given: Any = {
        "lengths": LENGTHS,
        "reset": torch.rand(TIME, BATCH, generator=rng) < 0.2,
        "freeze": torch.rand(TIME, BATCH, generator=rng) < 0.3,
        "clear": torch.rand(TIME, BATCH, generator=rng) < 0.3,
        "clamp": torch.where(torch.rand(TIME, generator=rng) < 0.3, 0.5, torch.nan),
        "shuffle": torch.tensor([-1, 4, -1, -1, -1, 5, 6, -1, -1]),
    }
    for names in ([*given], ["lengths", "shuffle"], ["reset", "freeze"]):
        some = {name: given[name] for name in names}
        y, last = net(x, state if begun else None, **some)
        inside, after = record(net, x, ["layers.1.output", "layers.0.drive"], state if begun else None, **some)
        ended = torch.arange(TIME).unsqueeze(1) >= (LENGTHS if "lengths" in some else torch.tensor(TIME))
        wanted = inside["layers.1.output"].masked_fill(ended.unsqueeze(-1), 0.0)
        torch.testing.assert_close(y, wanted, rtol=1e-9, atol=1e-11)
        close(last, after)
        assert not inside["layers.0.drive"][ended.expand(TIME, BATCH)].any()


def test_a_population_equals_its_members(kernel: str) -> None:
    nets = [network(SPEC, 4, torch.float64, seed) for seed in range(2)]
    for net in nets:
        net.kernel = kernel
    x = torch.randn(2, TIME, BATCH, 4, dtype=torch.float64)
    given: Any = {"lengths": LENGTHS, "freeze": torch.arange(TIME) > 5, "shuffle": (torch.arange(TIME) == 3).long() - 1}
    given["reset"] = torch.eye(TIME, BATCH, dtype=torch.bool)
    population = Population(nets)
    y, last = population(x, **given)
    z, _ = population(x, last, **given)
    for k, net in enumerate(nets):
        own, state = net(x[k], **given)
        torch.testing.assert_close(y[k], own)
        for name, value in named(state).items():
            torch.testing.assert_close(named(last)[name][k], value)
        torch.testing.assert_close(z[k], net(x[k], state, **given)[0])


@pytest.mark.parametrize("batch", [0, 1])
def test_batches_of_none_and_of_one(batch: int) -> None:
    net = network(SPEC, 4, torch.float64)
    x = torch.randn(3, batch, 4, dtype=torch.float64)
    y, last = net(x, lengths=torch.zeros(batch, dtype=torch.int64))
    assert y.shape == (3, batch, 3)
    assert not y.any()
    close(last, net.initial_state(batch))
    net(x, reset=torch.ones(3, batch, dtype=torch.bool))


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of what it finds
def test_torch_compiles_around_it() -> None:
    net, x, state = made("cpu")
    compiled = torch.compile(net, backend="eager")
    torch.testing.assert_close(compiled(x, state, lengths=LENGTHS)[0], net(x, state, lengths=LENGTHS)[0])


WRONG = [
    ("lengths", torch.tensor([1, 2]), "lengths must be [batch] = [5] of torch.int64, but is [2] of torch.int64"),
    ("lengths", torch.ones(5), "lengths must be [batch] = [5] of torch.int64, but is [5] of torch.float32"),
    ("lengths", [1, 2, 3, 4, 5], "lengths must be [batch] = [5] of torch.int64, but is [1, 2, 3, 4, 5] of type list"),
    ("lengths", torch.tensor([1, 2, 3, 4, 10]), "lengths must be from 0 to 9, the steps of x, but are 1, 2, 3, 4, 10"),
    ("lengths", torch.tensor([-1, 2, 3, 4, 1]), "lengths must be from 0 to 9"),
    ("reset", torch.ones(5, dtype=torch.bool), "reset must be [time, batch] or [time] = [9, 5] or [9] of torch.bool"),
    ("reset", torch.ones(9, 5), "of torch.bool, but is [9, 5] of torch.float32"),
    ("freeze", torch.ones(5, dtype=torch.bool), "freeze must be [time, batch] or [time] = [9, 5] or [9] of torch.bool"),
    ("clamp", torch.ones(9, dtype=torch.int64), "clamp must be [time, batch] or [time] = [9, 5] or [9] of"),
    ("clamp", torch.ones(9, requires_grad=True), "clamp is data, to which no gradient flows; give clamp.detach()"),
    ("shuffle", torch.ones(9, 5, dtype=torch.int64), "shuffle must be [time] = [9] of torch.int64, but is [9, 5]"),
    ("shuffle", torch.full((9,), -2), "shuffle must be seeds from 0, or -1 for none, but is -2, -2"),
    ("clear", torch.ones(9), "clear must be [time, batch] or [time] = [9, 5] or [9] of torch.bool, but is [9] of"),
    ("edit", None, "no intervention is called 'edit'; known: clamp, clear, freeze, lengths, reset, shuffle"),
    ("length", torch.ones(5), "Did you mean 'lengths'?"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG, ids=[f"{n}-{k}" for k, (n, *_) in enumerate(WRONG)])
def test_what_is_wrong_is_refused_in_one_line(name: str, value: Any, message: str) -> None:
    net, x, state = made("reference")
    for call in (net, Population([net])):
        with pytest.raises(PlasticSearchError, match=re.escape(message)) as error:
            call(x, **{name: value})
        assert "\n" not in str(error.value)
    with pytest.raises(PlasticSearchError, match=re.escape(message)):
        record(net, x, "layers.0", state, **{name: value})


@pytest.fixture
def normed() -> Iterator[type[Cell]]:
    """A cell whose derivative is not finite where all drives of a layer are equal; forgotten after the test."""
    before = dict(Part.kinds)

    @dataclass(frozen=True)
    class Normed(Cell):
        """y = tanh of the drive less its mean, over its deviation"""

        def step(self, params: tuple[()], state: tuple[()], drive: Tensor) -> tuple[tuple[()], Response]:
            apart = drive[:, 0] - drive[:, 0].mean(-1, keepdim=True)
            y = (apart / (apart.square().mean(-1, keepdim=True).sqrt() + 1e-5)).tanh()
            return state, Response(y, y)

    yield Normed
    Part.kinds.clear()
    Part.kinds.update(before)


@pytest.mark.parametrize("kernel", ["reference", "cpu"])
@pytest.mark.parametrize("layer", [Layer(4, structure=FeedForward()), Layer(4, plastic=Pathway.BOTH)])
def test_what_follows_an_end_has_no_part_in_gradients(layer: Layer, kernel: str, normed: type[Cell]) -> None:
    x, net = torch.randn(5, 2, 3), Network(NetworkSpec((replace(layer, cell=normed()),)), 3, kernel=kernel)
    net(x, lengths=torch.tensor([5, 3]))[0].sum().backward()
    found = [cast(Tensor, p.grad).clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    (net(x[:, :1])[0].sum() + net(x[:3, 1:])[0].sum()).backward()
    for grad, alone in zip(found, (p.grad for p in net.parameters() if p.grad is not None), strict=True):
        assert torch.allclose(grad, alone, rtol=1e-4, atol=1e-5)
    net.zero_grad()
    reset = torch.zeros(5, 2, dtype=torch.bool)
    reset[3, 0] = True
    net(x, reset=reset)[0].sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters() if p.grad is not None)


def test_on_the_meta_device_shapes_alone_are_computed_and_checked() -> None:
    net, x = Network(SPEC, 4).to("meta"), torch.zeros(TIME, BATCH, 4, device="meta")
    some = {name: torch.zeros(TIME, dtype=torch.bool, device="meta") for name in ("reset", "clear", "freeze")}
    clamp = torch.zeros(TIME, device="meta")
    y, state = net(x, lengths=LENGTHS.to("meta"), **some, clamp=clamp, shuffle=torch.arange(TIME))
    assert y.is_meta and y.shape == (TIME, BATCH, 3)  # noqa: PT018
    assert {n: t.shape for n, t in named(state).items()} == {n: t.shape for n, t in named(net(x)[1]).items()}
    with pytest.raises(PlasticSearchError, match=r"lengths must be \[batch\]"):
        net(x, lengths=LENGTHS[:2].to("meta"))
    with pytest.raises(PlasticSearchError, match="clamp is on the meta device and has no values, while x is on cpu"):
        Network(SPEC, 4)(torch.zeros(TIME, BATCH, 4), clamp=clamp)
