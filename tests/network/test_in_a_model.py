"""A network inside a larger model keeps the conventions of nn.Module; a state can be detached, moved and copied."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import Tensor, nn

from plastic_search.core.errors import PlasticSearchError
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.rollout import Rollout
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.network.state import State, load_named, named

pytestmark = pytest.mark.usefixtures("quick_code")
SPEC = NetworkSpec((Layer(6, modulation=Retroactive(), plastic=Pathway.BOTH), Layer(3)))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.net, self.head = nn.Linear(5, 4), Network(SPEC, 4), nn.Linear(3, 2)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        y, after = self.net(self.encoder(x), state)
        return self.head(y), after


def model() -> tuple[Model, Tensor]:
    torch.manual_seed(0)
    made = Model()
    for p in made.net.parameters():  # so that traces matter
        p.data += 0.3 * torch.randn(p.shape)
    return made, torch.randn(7, 2, 5)


def test_gradients_reach_what_comes_before_and_after() -> None:
    one, x = model()
    one(x)[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in one.parameters() if p.numel())
    with torch.no_grad():
        assert not one(x)[0].requires_grad


def test_copies_and_saved_parameters_compute_the_same() -> None:
    one, x = model()
    y = one(x)[0]
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    other = Model()
    other.load_state_dict(torch.load(file))
    params = {name: p.detach() for name, p in one.named_parameters()}
    for again in (copy.deepcopy(one)(x), other(x), torch.func.functional_call(Model(), params, (x,))):
        assert torch.equal(again[0], y)


def test_types_change_as_those_of_other_modules() -> None:
    one, x = model()
    y, state = one(x)
    exact = copy.deepcopy(one).double()
    z, after = exact(x.double(), state.detach().to(torch.float64))
    assert {t.dtype for t in named(after).values()} == {z.dtype} == {torch.float64}
    torch.testing.assert_close(one(x, state.detach())[0].double(), z, rtol=1e-4, atol=1e-5)
    with pytest.raises(PlasticSearchError, match=r"of torch\.float64"):
        exact(x.double(), state)
    assert y.dtype == torch.float32


def test_hooks_on_the_network_fire() -> None:
    one, x = model()
    seen: list[str] = []
    one.net.register_forward_pre_hook(lambda *_: seen.append("before"))
    one.net.register_forward_hook(lambda *_: seen.append("after"))
    one.net.register_full_backward_hook(lambda *_: seen.append("back"))
    one(x)[0].sum().backward()
    assert seen == ["before", "after", "back"]


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor"
)  # torch's own, which it hides unless it is an error
def test_torch_compiles_around_it() -> None:
    one, x = model()
    y, state = one(x)
    compiled = torch.compile(one, backend="eager")
    z, after = compiled(x)
    assert isinstance(after, State)
    torch.testing.assert_close(z, y)
    torch.testing.assert_close(compiled(x, after.detach())[0], one(x, state)[0])
    z.sum().backward()
    assert one.encoder.weight.grad is not None


def test_detaching_a_state_ends_the_gradients_there() -> None:
    one, x = model()
    _, state = one(x)
    cut = state.detach()
    assert isinstance(cut, State)
    assert not any(t.requires_grad for t in named(cut).values())
    assert all(torch.equal(named(cut)[name], value) for name, value in named(state).items())
    one.zero_grad()
    one(x, cut)[0].sum().backward()
    short = one.encoder.weight.grad
    one.zero_grad()
    one(x, state)[0].sum().backward()
    whole = one.encoder.weight.grad
    assert short is not None
    assert whole is not None
    assert not torch.equal(short, whole)


def test_every_state_is_one_and_survives_what_is_done_to_it() -> None:
    net = model()[0].net
    population = Population([net, net])
    inputs = torch.randn(3, 2, 4)
    rollout = Rollout(net, 2)
    states = [net(inputs)[1], net.initial_state(2), population(inputs)[1], rollout.state]
    states.append(load_named(named(states[0]), states[0]))
    for state in states:
        assert isinstance(state, State)
        for again in (pickle.loads(pickle.dumps(state.detach())), copy.deepcopy(state.detach()), state.to("cpu")):
            assert isinstance(again, State)
            assert all(torch.equal(named(again)[name], value) for name, value in named(state).items())
    y = net(inputs, tuple(states[0]))[0]  # a plain tuple of layers' states will do
    assert torch.equal(y, net(inputs, states[0])[0])


@pytest.mark.parametrize("batch", [-1, 2.0, True, torch.tensor(2)])
def test_a_batch_is_a_whole_number(batch: int) -> None:
    with pytest.raises(PlasticSearchError, match="batch must be a whole number from 0"):
        Network(SPEC, 4).initial_state(batch)
