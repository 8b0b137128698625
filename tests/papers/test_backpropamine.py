"""The maze networks of Miconi et al. 2019, in NumPy from their equations; Hebb[b, i, j] is from unit i to unit j.

(1)  x_j(t)       = tanh( in_j(t) + sum_i ( w_ij + alpha_ij Hebb_ij(t) ) x_i(t-1) )
(2)  Hebb_ij(t+1) = Clip( Hebb_ij(t) + eta  x_i(t-1) x_j(t) )       not modulated
(3)  Hebb_ij(t+1) = Clip( Hebb_ij(t) + M(t) x_i(t-1) x_j(t) )       simple; M(t) = tanh( v . x(t) + b )
(4)  Hebb_ij(t+1) = Clip( Hebb_ij(t) + M(t) E_ij(t) )               retroactive
(5)  E_ij(t+1)    = (1 - eta) E_ij(t) + eta x_i(t-1) x_j(t)
and, fanned out, eta_j(t) = f_j M(t) + c_j in place of M(t) in (3)
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from published import Array, Params, agree, episode, published, randomised

from plastic_search.network.module import Network

UNITS, INPUTS = 11, 5
COUNTS = {"plastic": 22_306, "simple": 22_406, "retroactive": 22_407, "fan_out": 22_606}  # measured of the programs
BOUND = {"fan_out": 2.0}


def maze(kind: str, params: Params, inputs: Array) -> tuple[Array, list[Array]]:
    p, heads = params
    w_in, w, alpha = p["weight"][0, :, :INPUTS].T, p["weight"][0, :, INPUTS:].T, p["alpha"].T
    bound, batch = BOUND.get(kind, 1.0), inputs.shape[1]
    x = np.zeros((batch, UNITS))
    hebb, e, outputs = np.zeros((batch, UNITS, UNITS)), np.zeros((batch, UNITS, UNITS)), []
    for u in inputs:
        new = np.tanh(u @ w_in + p["bias"][0] + np.einsum("bi,bij->bj", x, w + alpha * hebb))
        change = x[:, :, None] * new[:, None, :]
        if kind == "plastic":
            hebb = hebb + p["modulation.rate"] * change
        else:
            m = np.tanh(new @ p["modulation.weight"].reshape(-1) + p["modulation.bias"])[:, None, None]
            rate = m * p["modulation.fan"].reshape(-1) + p["modulation.base"].reshape(-1) if kind == "fan_out" else m
            hebb = hebb + rate * (e if kind == "retroactive" else change)
        hebb = np.clip(hebb, -bound, bound)
        if kind == "retroactive":
            eta = p["modulation.eligibility"]
            e = (1 - eta) * e + eta * change
        x = new
        outputs.append(x @ heads["weight"][0].T + heads["bias"][0])
    return np.stack(outputs), [hebb.transpose(0, 2, 1)]


@pytest.mark.parametrize("kind", COUNTS)
def test_maze(kind: str) -> None:
    spec = published(f"maze_{kind}", layers__0__units=f"{UNITS}")
    agree(f"maze, {kind}", randomised(spec, INPUTS), episode(INPUTS), partial(maze, kind))


@pytest.mark.parametrize("kind", COUNTS)
def test_as_many_parameters_as_the_program(kind: str) -> None:
    assert Network(published(f"maze_{kind}"), 17).count() == COUNTS[kind]
