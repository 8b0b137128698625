"""The plastic LSTMs of Miconi et al. 2019, in NumPy from their equations; Hebb[b, i, j] is from unit i to unit j.

g = tanh( W_xc x + b + (w + alpha Hebb) h )                         the candidate; F, I, O are ordinary gates
c' = F c + I g,  h' = O tanh(c'),  Hebb' = Clip( Hebb + eta_ij h_i g_j )
small: eta_ij is learned, or is f_ij M with M = tanh( v . h + b ); or retroactively, with the old E,
       Hebb' = Clip( Hebb + f_ij M E_ij ),  E' = (1 - eta) E + eta h_i g_j
large: M = tanh( v . h' + b ), eta_j = f_j M + c_j, one alpha for each neuron
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from published import Array, Params, agree, episode, published, randomised, sigmoid

from plastic_search.network.module import Network

UNITS, INPUTS = (7, 6, 5), 4


def gates(p: dict[str, Array], u: Array, h: Array) -> list[Array]:
    """F, I and O."""
    pre = np.concatenate([u, h], 1)
    return [sigmoid(pre @ p["weight"][k].T + p["bias"][k]) for k in range(3)]


def large(params: Params, inputs: Array) -> tuple[Array, list[Array]]:
    x, traces = inputs, []
    for p in params:
        n, m = p["bias"].shape[1], x.shape[2]
        weights, alpha = p["weight"], p["alpha"].reshape(-1)  # of the postsynaptic neuron
        h, c, hebb, outputs = *(np.zeros((x.shape[1], n)),) * 2, np.zeros((x.shape[1], n, n)), []
        for u in x:
            forget, write, read = gates(p, u, h)
            w = weights[3, :, m:].T
            g = np.tanh(u @ weights[3, :, :m].T + p["bias"][3] + np.einsum("bi,bij->bj", h, w + alpha * hebb))
            c = forget * c + write * g
            new = read * np.tanh(c)
            signal = np.tanh(new @ p["modulation.weight"].reshape(-1) + p["modulation.bias"])[:, None]
            eta = signal * p["modulation.fan"].reshape(-1) + p["modulation.base"].reshape(-1)
            hebb = np.clip(hebb + eta[:, None, :] * h[:, :, None] * g[:, None, :], -2.0, 2.0)
            h = new
            outputs.append(h)
        x = np.stack(outputs)
        traces.append(hebb.transpose(0, 2, 1))
    return x, traces


def test_large() -> None:
    spec = published("lstm_large", **{f"layers__{i}__units": f"{n}" for i, n in enumerate(UNITS)})
    agree("large LSTM", randomised(spec, INPUTS), episode(INPUTS), large, plastic=(0, 1, 2))


def test_large_has_as_many_parameters_as_the_program() -> None:
    """24,198,893 with embedding and tied output of 10,000 words, and a second bias of F, I and O in every layer."""
    units = (1149, 1149, 400)
    outside, second = 10_000 * 400 + 10_000, 3 * sum(units)
    assert Network(published("lstm_large"), 400).count() + outside + second == 24_198_893


def small(kind: str, params: Params, inputs: Array) -> tuple[Array, list[Array]]:
    x, traces = inputs, []
    for p in params:
        n, m = p["bias"].shape[1], x.shape[2]
        weights, alpha = p["weight"], p["alpha"].T
        prefix = "modulation.signal." if kind == "retroactive" else "modulation."
        h, c, hebb, e = *(np.zeros((x.shape[1], n)),) * 2, *(np.zeros((x.shape[1], n, n)),) * 2
        outputs = []
        for u in x:
            forget, write, read = gates(p, u, h)
            w = weights[3, :, m:].T
            g = np.tanh(u @ weights[3, :, :m].T + p["bias"][3] + np.einsum("bi,bij->bj", h, w + alpha * hebb))
            c = forget * c + write * g
            change = h[:, :, None] * g[:, None, :]
            if kind == "plastic":
                rate = p["modulation.rate"].T
            else:
                signal = np.tanh(h @ p[prefix + "weight"].reshape(-1) + p[prefix + "bias"])[:, None, None]
                rate = p[prefix + "fan"].T * signal
            hebb = np.clip(hebb + rate * (e if kind == "retroactive" else change), -1.0, 1.0)
            if kind == "retroactive":
                e = (1 - p["modulation.eligibility"]) * e + p["modulation.eligibility"] * change
            h = read * np.tanh(c)
            outputs.append(h)
        x = np.stack(outputs)
        traces.append(hebb.transpose(0, 2, 1))
    return x, traces


@pytest.mark.parametrize("kind", ["plastic", "simple", "retroactive"])
def test_small(kind: str) -> None:
    spec = published(f"lstm_small_{kind}", layers__0__units="6", layers__1__units="5")
    agree(f"small LSTM, {kind}", randomised(spec, INPUTS), episode(INPUTS), partial(small, kind), plastic=(0, 1))
