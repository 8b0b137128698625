"""Steps without gradients, and the same episode again with them."""

from __future__ import annotations

import pytest
import torch

from plastic_search.cells.lstm import LSTM
from plastic_search.core.errors import PlasticSearchError
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.network.module import Network
from plastic_search.network.rollout import Rollout
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.network.state import named
from plastic_search.precisions import Rounding
from plastic_search.precisions.integer import Integer
from plastic_search.rules.oja import Oja
from plastic_search.structures.gated import Gated

SPEC = NetworkSpec((Layer(9, LSTM(), modulation=Retroactive(), plastic=Pathway.BOTH), Layer(4, skip=(1,))))
ROUNDED = NetworkSpec(
    (Layer(6, rule=Oja(), plastic=Pathway.INPUT), Layer(7, structure=Gated(0.5), plastic=Pathway.RECURRENT)),
    Integer(4, 4, 5, Rounding.STOCHASTIC),
)


@pytest.mark.parametrize("kernel", ["reference", "cpu"])
@pytest.mark.parametrize("spec", [SPEC, ROUNDED], ids=["float", "rounded"])
def test_a_replay_is_the_rollout_with_gradients(kernel: str, spec: NetworkSpec) -> None:
    net = Network(spec, 3, kernel=kernel).double()
    rollout, rng = Rollout(net, 5), torch.Generator().manual_seed(0)
    x = torch.randn(5, 3, dtype=torch.float64, generator=rng)
    outputs = []
    for _ in range(12):
        y = rollout.step(x)
        outputs.append(y)
        x = x + 0.1 * y[:, :3]  # the next input depends on the output
    assert not outputs[0].requires_grad
    again, state = rollout.replay()
    assert torch.allclose(again, torch.stack(outputs), rtol=0, atol=1e-12)
    for name, value in named(state).items():
        assert torch.allclose(value, named(rollout.state)[name], rtol=0, atol=1e-12)
    again.square().sum().backward()
    assert all(p.grad is not None for p in net.parameters() if p.numel())


@pytest.mark.parametrize("kernel", ["reference", "cpu"])
@pytest.mark.parametrize("spec", [SPEC, ROUNDED], ids=["float", "rounded"])
def test_several_steps_are_steps_one_by_one(kernel: str, spec: NetworkSpec) -> None:
    net = Network(spec, 3, kernel=kernel).double()
    x = torch.randn(40, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one, several = Rollout(net, 5), Rollout(net, 5)
    outputs = torch.stack([one.step(each) for each in x])
    parts = [several.run(part) for part in x.split([3, 1, 7, 3, 2, 4, 5, 7, 8])]  # memory for 3, 7, 2, 4, 5 and 8 steps
    torch.testing.assert_close(torch.cat(parts), outputs, rtol=0, atol=1e-12)
    for name, value in named(several.state).items():
        torch.testing.assert_close(value, named(one.state)[name], rtol=0, atol=1e-12)
    torch.testing.assert_close(several.replay()[0], outputs, rtol=0, atol=1e-12)


def test_a_replay_begins_where_the_rest_was_forgotten() -> None:
    net, x = Network(ROUNDED, 3).double(), torch.randn(9, 4, 3, dtype=torch.float64)
    rollout = Rollout(net, 4)
    rollout.run(x[:5])
    rollout.forget()
    with pytest.raises(PlasticSearchError, match="nothing to replay"):
        rollout.replay()
    outputs = rollout.run(x[5:])
    again, _ = rollout.replay()
    torch.testing.assert_close(again, outputs, rtol=0, atol=1e-12)
    torch.testing.assert_close(again, net(x)[0][5:], rtol=0, atol=1e-12)


def test_some_episodes_begin_anew() -> None:
    net = Network(SPEC, 3)
    rollout, x = Rollout(net, 2), torch.randn(2, 3)
    first = rollout.step(x)
    rollout.reset(torch.tensor([True, False]))
    second = rollout.step(x)
    assert torch.equal(first[0], second[0])
    assert not torch.equal(first[1], second[1])
    assert len(rollout.replay()[0]) == 1


def test_a_state_that_was_looked_at_stays_as_it_was() -> None:
    rollout = Rollout(Network(SPEC, 3), 2)
    start = named(rollout.state)
    assert all(not value.any() for value in start.values())
    rollout.step(torch.randn(2, 3))
    then = named(rollout.state)
    kept = {name: value.clone() for name, value in then.items()}
    rollout.step(torch.randn(2, 3))
    assert all(torch.equal(value, kept[name]) for name, value in then.items())
    assert all(not value.any() for value in start.values())
    assert any(not torch.equal(value, kept[name]) for name, value in named(rollout.state).items())


def test_what_cannot_be_stepped_is_refused() -> None:
    rollout = Rollout(Network(SPEC, 3), 2)
    with pytest.raises(PlasticSearchError, match="nothing to replay"):
        rollout.replay()
    with pytest.raises(
        PlasticSearchError, match=r"x must be \[batch, inputs\] = \[2, 3\] of torch.float32 on cpu, but is"
    ):
        rollout.step(torch.randn(3, 3))
    with pytest.raises(PlasticSearchError, match=r"but is .* of type str"):
        rollout.step("x")  # type: ignore[arg-type]
    with pytest.raises(PlasticSearchError, match=r"x must be \[time, batch, inputs\] = \[4, 2, 3\] of torch.float32"):
        rollout.run(torch.zeros(4, 2, 5))
    with pytest.raises(PlasticSearchError, match=r"= \[1, 2, 3\] of torch.float32 on cpu, but is \[0, 2, 3\]"):
        rollout.run(torch.zeros(0, 2, 3))
    for odd in (torch.tensor([True]), torch.tensor([1, 0]), [True, False]):
        with pytest.raises(PlasticSearchError, match=r"which must be \[batch\] = \[2\] of torch.bool"):
            rollout.reset(odd)  # type: ignore[arg-type]
    with pytest.raises(PlasticSearchError, match=r"layers\.0\.output must be"):
        Rollout(Network(SPEC, 3), 4, rollout.state)
    with pytest.raises(PlasticSearchError, match="batch must be a whole number from 1, but is 0"):
        Rollout(Network(SPEC, 3), 0)
