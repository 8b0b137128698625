"""The plastic LSTMs of Miconi et al. 2019, in NumPy from their equations; Hebb[b, i, j] is from unit i to unit j.

g = tanh( W_xc x + b + (w + alpha Hebb) h )                         the candidate; F, I, O are ordinary gates
c' = F c + I g,  h' = O tanh(c'),  Hebb' = Clip( Hebb + eta_ij h_i g_j )
large: M = tanh( v . h' + b ), eta_j = f_j M + c_j, one alpha for each neuron
"""

from __future__ import annotations

import numpy as np
from published import Array, Params, agree, episode, published, randomised, sigmoid

from plastic_search.network.module import Network

UNITS, INPUTS = (7, 6, 5), 4


def large(params: Params, inputs: Array) -> tuple[Array, list[Array]]:
    x, traces = inputs, []
    for p in params:
        n, m = p["bias"].shape[1], x.shape[2]
        weights, alpha = p["weight"], p["alpha"].reshape(-1)  # of the postsynaptic neuron
        h, c, hebb, outputs = *(np.zeros((x.shape[1], n)),) * 2, np.zeros((x.shape[1], n, n)), []
        for u in x:
            forget, write, read = (
                sigmoid(u @ a[:, :m].T + h @ a[:, m:].T + b) for a, b in zip(weights[:3], p["bias"][:3], strict=True)
            )
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
