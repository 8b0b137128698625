"""Rules with spike traces, against loops in NumPy, numbers worked by hand, and the rules that they are limits of."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from plastic_search.cells.rnn import RNN
from plastic_search.cells.softmax import Softmax
from plastic_search.core.errors import PlasticSearchError
from plastic_search.modulations.constant import Constant
from plastic_search.modulations.external import External
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.network import validity
from plastic_search.network.module import Network
from plastic_search.network.pytree import leaves, unflatten
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.rules import Activity, AmplitudeShape, Rule
from plastic_search.rules.bcm import BCM
from plastic_search.rules.oja import Oja
from plastic_search.rules.pair_stdp import PairSTDP
from plastic_search.rules.trace_bcm import TraceBCM
from plastic_search.rules.trace_oja import TraceOja
from plastic_search.rules.weight_dependent_stdp import WeightDependentSTDP
from plastic_search.structures.feed_forward import FeedForward

POST, PRE, BATCH, STEPS = 3, 4, 2, 12
SHORT = 0.02  # of a time constant: exp(-1 / tau) is 2e-22


def spikes(units: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return (torch.rand(STEPS, BATCH, units, generator=rng) < 0.4).double()


def learned(rule: Rule, seed: int = 0) -> Any:
    """The rule's parameters, moved away from where they start."""
    rng = torch.Generator().manual_seed(seed)
    params = rule.params(POST, PRE, rng)
    return unflatten(params, (p.double() + 0.3 * torch.randn(p.shape, generator=rng).double() for p in leaves(params)))


def traces(rule: Rule, params: Any, pre: Tensor, post: Tensor, rate: float = 0.1) -> Tensor:
    """H after every step [time, batch, post, pre]."""
    state, h, found = rule.state(pre.shape[1], post.shape[2], pre.shape[2], pre), None, []
    h = pre.new_zeros(pre.shape[1], post.shape[2], pre.shape[2])
    for x, y in zip(pre, post, strict=True):
        change, state = rule.step(params, state, Activity(x, y, None, h))
        h = h + rate * change.full(h)
        found.append(h)
    return torch.stack(found)


def sigmoid(s: Any) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-s))


def by_hand(rule: Rule, params: Any, pre: np.ndarray, post: np.ndarray, rate: float = 0.1) -> np.ndarray:
    """The same of one episode, [time, post, pre], from the equations, a synapse at a time."""
    p = {name: value.numpy() for name, value in params._asdict().items()}
    d_pre, d_post = (np.broadcast_to(sigmoid(p[name]), n) for name, n in (("pre_decay", PRE), ("post_decay", POST)))
    x, y, theta, h, found = np.zeros(PRE), np.zeros(POST), np.zeros(POST), np.zeros((POST, PRE)), []
    for s_pre, s_post in zip(pre, post, strict=True):
        dh = np.zeros_like(h)
        if isinstance(rule, PairSTDP | WeightDependentSTDP):
            x, y = d_pre * x + s_pre, d_post * y
            plus, minus = (np.broadcast_to(np.exp(p[n]), h.shape) for n in ("potentiation", "depression"))
            for j, i in np.ndindex(POST, PRE):
                up, down = plus[j, i] * s_post[j] * x[i], minus[j, i] * y[j] * s_pre[i]
                if isinstance(rule, WeightDependentSTDP):
                    up *= max(1.0 - h[j, i] / rule.trace_bound, 0.0) ** np.exp(p["potentiation_exponent"][0])
                    down *= max(1.0 + h[j, i] / rule.trace_bound, 0.0) ** np.exp(p["depression_exponent"][0])
                dh[j, i] = up - down
            y = y + s_post
        else:
            x, y = d_pre * x + (1.0 - d_pre) * s_pre, d_post * y + (1.0 - d_post) * s_post
            for j, i in np.ndindex(POST, PRE):
                dh[j, i] = y[j] * (x[i] - y[j] * h[j, i])
                if isinstance(rule, TraceBCM):
                    dh[j, i] = y[j] * (y[j] - theta[j]) * x[i]
            if isinstance(rule, TraceBCM):
                theta = theta + sigmoid(p["rate"]) * (y * y - theta)
        h = h + rate * dh
        found.append(h)
    return np.stack(found)


RULES: list[Any] = [
    PairSTDP(),
    PairSTDP(per=AmplitudeShape.NEURON),
    PairSTDP(per=AmplitudeShape.SYNAPSE),
    WeightDependentSTDP(trace_bound=0.4),
    WeightDependentSTDP(exponent=0.3, per=AmplitudeShape.SYNAPSE),
    TraceOja(),
    TraceBCM(),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_loop_in_numpy(rule: Rule) -> None:
    pre, post, params = spikes(PRE, 0), spikes(POST, 1), learned(rule)
    found = traces(rule, params, pre, post).numpy()
    for b in range(BATCH):
        wanted = by_hand(rule, params, pre[:, b].numpy(), post[:, b].numpy())
        np.testing.assert_allclose(found[:, b], wanted, rtol=0, atol=1e-10)
    assert len(np.unique(found[-1])) > POST


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_derivatives_of_all_parameters(rule: Rule) -> None:
    pre, post, params = spikes(PRE, 2)[:6], spikes(POST, 3)[:6], learned(rule)
    values = [p.requires_grad_() for p in leaves(params)]

    def run(*tensors: Tensor) -> Tensor:
        return traces(rule, unflatten(params, iter(tensors)), pre, post)[-1]

    assert torch.autograd.gradcheck(run, values)


@pytest.mark.parametrize("lag", [-4, -1, 0, 1, 5])
def test_the_window_of_a_pair(lag: int) -> None:
    """What one pair changes, by how many steps later the postsynaptic spike comes."""
    pre, post = torch.zeros(11, 1, 1).double(), torch.zeros(11, 1, 1).double()
    pre[5], post[5 + lag] = 1.0, 1.0
    wanted = 0.7 * math.exp(-lag / 4.0) if lag >= 0 else -0.3 * math.exp(lag / 9.0)
    for rule in (PairSTDP(0.7, 0.3, 4.0, 9.0), WeightDependentSTDP(0.7, 0.3, 4.0, 9.0)):  # H is 0 until then
        params = unflatten(
            rule.params(1, 1, torch.Generator()), map(Tensor.double, leaves(rule.params(1, 1, torch.Generator())))
        )
        assert traces(rule, params, pre, post, 1.0)[-1].item() == pytest.approx(wanted, abs=1e-6)


def test_all_pairs_count() -> None:
    pre, post = torch.zeros(6, 1, 1).double(), torch.zeros(6, 1, 1).double()
    pre[0] = pre[2] = post[3] = 1.0
    rule = PairSTDP(tau_plus=2.0)
    h = traces(rule, rule.params(1, 1, torch.Generator()), pre, post, 1.0)[-1].item()
    assert h == pytest.approx(math.exp(-3 / 2) + math.exp(-1 / 2), abs=1e-6)


def test_short_time_constants_leave_oja_and_bcm() -> None:
    pre, post = spikes(PRE, 4) * 0.7, spikes(POST, 5) * 0.8
    for rule, limit in ((TraceOja(SHORT), Oja()), (TraceBCM(SHORT, 0.3), BCM(0.3))):
        found = traces(rule, rule.params(POST, PRE, torch.Generator()), pre, post)
        torch.testing.assert_close(found, traces(limit, (), pre, post), rtol=0, atol=1e-7)


def test_a_small_exponent_is_additive_and_nothing_is_written_at_the_bound() -> None:
    pre, post = spikes(PRE, 6), spikes(POST, 7)
    near, additive = WeightDependentSTDP(exponent=1e-9, trace_bound=1e3), PairSTDP()
    found = traces(near, near.params(POST, PRE, torch.Generator()), pre, post)
    torch.testing.assert_close(found, traces(additive, additive.params(POST, PRE, torch.Generator()), pre, post))
    rule, one = WeightDependentSTDP(exponent=0.2), torch.ones(1, 1).double()
    for h, sign in ((1.0, -1.0), (1.5, -1.0), (-1.0, 1.0)):
        trace = torch.full((1, 1, 1), h).double().requires_grad_()
        change, _ = rule.step(
            rule.params(1, 1, torch.Generator()), rule.state(1, 1, 1, one), Activity(one, one, None, trace)
        )
        written = change.full(trace)
        assert (written.item() > 0) == (sign > 0)
        (slope,) = torch.autograd.grad(written.sum(), trace)
        assert slope.isfinite().all()


def test_a_reward_writes_what_an_eligibility_trace_holds() -> None:
    """Reward-modulated STDP: the three-factor rule e' = gamma e + STDP, H' = H + M e is PairSTDP under Retroactive.

    Retroactive has E' = (1 - eta) E + eta dH, so that gamma = 1 - eta, E = eta e and M = gain * reward * eta.
    """
    gain, eta, column = 0.5, 0.2, 2
    rule = PairSTDP(0.6, 0.4, 3.0, 6.0)
    modulation = Retroactive(eligibility=eta, signal=External(column, gain))
    layer = Layer(POST, RNN(), rule, modulation, FeedForward(), Pathway.INPUT, limit=0.05)
    net = Network(NetworkSpec((layer,)), PRE, kernel="reference").double()
    x = torch.cat(
        [spikes(column, 8), torch.randn(STEPS, BATCH, PRE - column, generator=torch.Generator().manual_seed(9))], -1
    )
    y, state = net(x.double())
    (ready,) = net.resolve()
    assert ready.alpha is not None
    w, bias, alpha = ready.weight[0].detach().numpy(), ready.bias[0].detach().numpy(), ready.alpha.detach().numpy()
    eta = ready.modulation.eligibility.item()  # each is what was set, to single precision
    plus, minus, d_plus, d_minus = (p.item() for p in ready.rule)
    plus, minus, d_plus, d_minus = math.exp(plus), math.exp(minus), sigmoid(d_plus), sigmoid(d_minus)
    assert (plus, minus, -1 / math.log(d_plus), -1 / math.log(d_minus)) == pytest.approx((0.6, 0.4, 3.0, 6.0), 1e-6)
    for b in range(BATCH):
        h, e, p, q = np.zeros((POST, PRE)), np.zeros((POST, PRE)), np.zeros(PRE), np.zeros(POST)
        for t, pre in enumerate(x[:, b].numpy()):
            post = np.tanh((w + alpha * h) @ pre + bias)
            np.testing.assert_allclose(y[t, b].detach().numpy(), post, rtol=0, atol=1e-10)
            reward = pre[column]
            h = np.clip(h + gain * reward * eta * e, -0.05, 0.05)
            p, q = d_plus * p + pre, d_minus * q
            e = (1.0 - eta) * e + plus * np.outer(post, p) - minus * np.outer(q, pre)
            q = q + post
        np.testing.assert_allclose(state[0].trace[b].detach().numpy(), h, rtol=0, atol=1e-10)
        assert (abs(h) < 0.05).any(), "the bound is not all that is seen"


def test_where_they_are_not_valid() -> None:
    spec = [Layer(3, rule=rule, plastic=Pathway.BOTH, bound=Bound.NONE) for rule in (PairSTDP(), WeightDependentSTDP())]
    for layer, reason in zip(spec, ("do not shrink as the trace grows", "grow away from the bound"), strict=True):
        validity._warned.clear()
        with pytest.warns(validity.DoubtfulRule) as found:
            Network(NetworkSpec((layer,)), 2)
        assert any("for spikes" in str(w.message) for w in found)
        assert any(reason in str(w.message) for w in found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rule in RULES:
            Network(NetworkSpec((Layer(3, Softmax(), rule, Constant(), plastic=Pathway.BOTH),)), 2)


def test_numbers_out_of_range_are_refused() -> None:
    for make in (lambda: PairSTDP(tau_plus=0.0), lambda: WeightDependentSTDP(exponent=-1.0), lambda: TraceOja(0.0)):
        with pytest.raises(PlasticSearchError, match="must be above 0"):
            make()
    with pytest.raises(PlasticSearchError, match="above 0 and below 1"):
        TraceBCM(rate=1.0)
