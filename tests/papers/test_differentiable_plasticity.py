"""The networks of Miconi, Clune and Stanley 2018, in NumPy from their equations; Hebb[b, i, j] is from i to j.

(1)  x_j(t) = tanh( sum_i [ w_ij + alpha_ij Hebb_ij(t) ] x_i(t-1) )
(2)  Hebb_ij(t+1) = eta x_i(t-1) x_j(t) + (1 - eta) Hebb_ij(t)
(3)  Hebb_ij(t+1) = Hebb_ij(t) + eta x_j(t) ( x_i(t-1) - x_j(t) Hebb_ij(t) )
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from published import Array, Forward, Params, agree, episode, published, randomised

from plastic_search.network.module import Network

BITS = 9
FEATURES, WAYS = 64, 5


def network(oja: bool, clamp: bool) -> Forward:
    """Units of which all but the last, which is a bias, have an input of their own."""

    def forward(params: Params, inputs: Array) -> tuple[Array, list[Array]]:
        p = params[0]
        w, alpha, eta = p["weight"][0, :, -BITS - 1 :].T, p["alpha"].T, float(p["modulation.rate"][0])
        batch = inputs.shape[1]
        x, hebb, outputs = np.zeros((batch, BITS + 1)), np.zeros((batch, BITS + 1, BITS + 1)), []
        for u in inputs:
            drive = np.einsum("bi,bij->bj", x, w + alpha * hebb)
            if clamp:
                given = np.concatenate([u, np.ones((batch, 1))], 1)
                new = np.where(given != 0, given, np.tanh(drive))
            else:
                new = np.tanh(drive + 20.0 * np.concatenate([u, np.ones((batch, 1))], 1))
            pre, post = x[:, :, None], new[:, None, :]
            hebb = hebb + eta * post * (pre - post * hebb) if oja else eta * pre * post + (1 - eta) * hebb
            x = new
            outputs.append(x[:, :BITS])
        return np.stack(outputs), [hebb.transpose(0, 2, 1)]

    return forward


@pytest.mark.parametrize("rule", ["hebb", "oja"])
def test_pattern_completion(rule: str) -> None:
    spec = published(
        f"pattern_{rule}", layers__0__units=f"{BITS + 1}", layers__1__units=f"{BITS}",
        initial__3__path=f"layers.0.bias.{BITS}:{BITS + 1}",
    )  # fmt: skip
    x = episode(BITS, 0.05)
    x[10:20] = 0.0  # the delay
    agree(f"pattern completion, {rule}", randomised(spec, BITS), x, network(rule == "oja", clamp=False))


def test_image_completion() -> None:
    spec = published(
        "images", layers__0__units=f"{BITS + 1}", layers__1__units=f"{BITS}",
        initial__4__path=f"layers.0.bias.1.{BITS}:{BITS + 1}",
    )  # fmt: skip
    x = episode(BITS)
    x[:, :, BITS // 2 :] = 0.0  # the lower half of the picture is free
    x[20:25] = 0.0
    agree("image completion", randomised(spec, BITS), x, network(oja=False, clamp=True))


def test_only_plasticity_is_trained() -> None:
    """2,004,002 weights and alphas, and eta (of 1,001 units); here 51."""
    net = Network(published("pattern_hebb"), 50)
    assert net.count() == 2 * 51 * 51 + 1
    y, _ = net(torch.ones(3, 1, 50))
    assert (y > 0.999).all()  # an input saturates its unit
    shown = torch.zeros(1, 1, 1024)
    shown[..., :512] = 0.25
    assert torch.equal(Network(published("images"), 1024)(shown)[0][..., :512], shown[..., :512])


def softmax(x: Array) -> Array:
    """Over the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def readout(params: Params, inputs: Array) -> tuple[Array, list[Array]]:
    """y = softmax( sum_i [ w_ij + alpha_ij Hebb_ij ] x_i + 1000 label_j ) of features x, and (3) with y as x_j(t)."""
    (p,) = params
    w, alpha, eta = p["weight"][0, :, :FEATURES].T, p["alpha"][:, :FEATURES].T, float(p["modulation.rate"][0])
    hebb, outputs = np.zeros((inputs.shape[1], FEATURES + WAYS, WAYS)), []
    for u in inputs:
        features, label = u[:, :FEATURES], u[:, FEATURES:]
        y = softmax(np.einsum("bi,bij->bj", features, w + alpha * hebb[:, :FEATURES]) + 1000.0 * label)
        pre, post = u[:, :, None], y[:, None, :]  # labels have traces that nothing reads
        hebb = hebb + eta * post * (pre - post * hebb)
        outputs.append(y)
    return np.stack(outputs), [hebb.transpose(0, 2, 1)]


def test_omniglot_readout() -> None:
    x = episode(FEATURES + WAYS)
    labels = torch.randint(WAYS, x.shape[:2], generator=torch.Generator().manual_seed(4))
    x[:, :, FEATURES:] = torch.nn.functional.one_hot(labels, WAYS) * (torch.arange(len(x)) % 3 < 2)[:, None, None]
    agree("Omniglot readout", randomised(published("omniglot"), FEATURES + WAYS), x, readout)


def test_omniglot_has_as_many_parameters_as_the_program() -> None:
    """320 weights, 320 alphas and eta."""
    assert Network(published("omniglot"), FEATURES + WAYS).count() == 641
