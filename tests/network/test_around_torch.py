"""What torch does around a network: transforms, compilation, recording, changes in place. It works, or is refused."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from parity import network
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

from plastic_search.cells.lif import LIF
from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.network.step import start, step
from plastic_search.rules.hebb import Hebb
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.selected import Selected

SPEC = NetworkSpec((Layer(4, plastic=Pathway.RECURRENT),))


def test_what_torch_does_around_it_works_or_is_refused() -> None:
    net = network(NetworkSpec((Layer(4, plastic=Pathway.RECURRENT),)), 3, torch.float32)
    x = torch.randn(5, 2, 3)
    plain = net(x)[0]
    params = {n: p.detach() for n, p in net.named_parameters()}
    called = torch.func.vmap(lambda v: torch.func.functional_call(net, params, (v,))[0])(torch.stack([x, x]))
    assert torch.allclose(called[1], plain, atol=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        net(x)
        net.kernel = "cpu"
        with pytest.raises(PlasticSearchError, match="autocast is on; use kernel=None"):
            net(x)
    inputs = x.requires_grad_()
    with pytest.raises(PlasticSearchError, match="no second derivative; use Network"):
        torch.autograd.grad(net(inputs)[0].sum(), inputs, create_graph=True)
    with pytest.raises(PlasticSearchError, match=r"torch\.func transforms it"):
        torch.func.vmap(lambda v: net(v)[0])(torch.stack([x, x]).detach())


def test_where_torch_only_looks_on_the_reference_runs() -> None:
    net = network(NetworkSpec((Layer(4, plastic=Pathway.RECURRENT),)), 3, torch.float32)
    x = torch.randn(5, 2, 3)
    plain = net(x)[0]
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert net(torch.randn(5, 2, 3))[0].shape == (5, 2, 4)
    graph = make_fx(lambda x: net(x)[0])(x)
    assert torch.allclose(graph(x), plain, atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # torch's forward mode warns of itself
def test_derivatives_in_batches_and_in_forward_mode_are_refused() -> None:
    net = network(SPEC, 3, torch.float32)
    x = torch.randn(5, 2, 3, requires_grad=True)
    y = net(x)[0].sum((0, 1))
    with pytest.raises(PlasticSearchError, match="takes one derivative at a time"):
        torch.autograd.grad(y, x, torch.eye(4), is_grads_batched=True)
    with forward_ad.dual_level(), pytest.raises(PlasticSearchError, match="no derivative in forward mode; use Network"):
        net(forward_ad.make_dual(x.detach(), torch.ones_like(x)))


STATIC = NetworkSpec((Layer(16, LIF(), structure=FeedForward()), Layer(16, structure=FeedForward())))


@pytest.mark.parametrize("spec", [SPEC, STATIC], ids=["plastic", "static"])
def test_outputs_may_be_changed_in_place(spec: NetworkSpec) -> None:
    net = network(spec, 3, torch.float32)
    x = torch.randn(5, 2, 3)
    grads = []
    for _ in range(2):
        net.zero_grad()
        y, state = net(x)
        z = y.mul_(2.0) if grads else y * 2.0
        (z.square().sum() + state[0].output.sum()).backward()
        grads.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_a_static_layer_takes_derivatives_however_they_lie_in_memory() -> None:
    """In one piece, expanded, a part of something larger, of another state; and with activity that is cleared."""
    net, x = network(STATIC, 3, torch.float32), torch.randn(6, 2, 3)
    _, first = net(x)
    clear = torch.arange(6) == 4
    for loss in (
        lambda y: (y * torch.arange(16.0)).sum(),
        lambda y: y.sum(),
        lambda y: torch.cat([y.new_zeros(3), y.flatten()]).cumsum(0).square().sum(),
        lambda y: y[2:, :1, ::2].square().sum(),
    ):
        grads = []
        for kernel in ("cpu", "reference"):
            net.zero_grad()
            net.kernel = kernel
            loss(net(x, first, clear=clear)[0]).backward(retain_graph=True)
            grads.append([p.grad for p in net.parameters() if p.grad is not None])
        for mine, expected in zip(*grads, strict=True):
            torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of what it finds
def test_a_compiled_network_runs_by_the_kernel() -> None:
    net = network(SPEC, 3, torch.float32)
    net.kernel = "cpu"  # which refuses where it cannot run
    x = torch.randn(5, 2, 3)
    compiled = torch.compile(net, backend="eager")
    assert torch.equal(compiled(x)[0], net(x)[0])


@pytest.mark.filterwarnings("ignore")
def test_the_reference_step_compiles_as_one_graph_even_where_inputs_are_selected() -> None:
    last = Layer(3, structure=Selected((0, 3, 7)), plastic=Pathway.BOTH, skip=(1,))
    net, x = Network(NetworkSpec((Layer(6), last)), 4), torch.randn(5, 2, 4)
    ready, outputs = net.resolve(), []
    state = start(net.spec, net.shapes, 2, x, ready)
    compiled = torch.compile(partial(step, net.spec, net.shapes), fullgraph=True, backend="eager")
    with torch.no_grad():
        for now in x:
            y, state = compiled(ready, state, now)
            outputs.append(y)
        assert torch.allclose(torch.stack(outputs), net(x)[0], atol=1e-6)


def test_a_layer_is_traced_alike_whatever_is_on_meanwhile() -> None:
    x = torch.randn(5, 2, 3)
    for decay, around in ((0.123, torch.autograd.set_detect_anomaly(True)), (0.321, torch.device("meta"))):
        net = Network(NetworkSpec((Layer(4, rule=Hebb(decay), plastic=Pathway.BOTH),)), 3, kernel="cpu")
        with around:  # a rule that was not traced before
            y = net(x)[0]
        net.kernel = "reference"
        assert torch.allclose(y, net(x)[0], atol=1e-6)
