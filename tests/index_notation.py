"""A plastic network as its papers write it: plain floats, one index at a time, one episode, nothing factored.

Indices: j answers (post), i speaks (pre), d is one of a cell's drives. Equations are numbered as in Miconi et al. 2019.
"""

from __future__ import annotations

from math import exp, tanh
from typing import Any

from plastic_search.cells import Cell
from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.modulations import FanOut, Modulation
from plastic_search.modulations.constant import Constant
from plastic_search.modulations.learned import Learned
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.network.spec import AlphaShape, Bound, Layer, NetworkSpec, Pathway
from plastic_search.rules import Rule
from plastic_search.rules.abcd import ABCD
from plastic_search.rules.bcm import BCM
from plastic_search.rules.delta import Delta
from plastic_search.rules.hebb import Hebb
from plastic_search.rules.oja import Oja

Row = list[float]
Table = list[list[float]]
Memory = dict[str, Any]


def element(
    rule: Rule, params: Any, x: Row, y: Row, h: Table, read: Table, theta: Row, at: tuple[int, int]
) -> float:  # fmt: skip
    """dH_ji, from the activities x_i and y_j, the trace h, as it is and as it is read, and, for BCM, the thresholds."""
    j, i = at
    match rule:
        case Hebb(decay=decay):
            return x[i] * y[j] - decay * h[j][i]
        case Oja():
            return y[j] * (x[i] - y[j] * h[j][i])
        case Delta():
            return (y[j] - sum(read[j][k] * x[k] for k in range(len(x)))) * x[i]
        case BCM():
            return x[i] * y[j] * (y[j] - theta[j])
        case ABCD():
            a, b, c, d = (p[j][i] for p in params)
            return a * x[i] * y[j] + b * x[i] + c * y[j] + d
    raise NotImplementedError(rule)


def rates(modulation: Modulation, params: Any, output: Row) -> Row:
    """The rate of every unit j."""
    match modulation:
        case Constant(rate=rate):
            return [rate] * len(output)
        case Learned():
            return [params[0][0]] * len(output)
    v, b, f, c = params[:4]
    m = tanh(sum(v[j] * output[j] for j in range(len(output))) + b[0])
    if modulation.fan_out is FanOut.NETWORK:  # type: ignore[attr-defined]
        return [m] * len(output)
    return [f[j] * m + c[j] for j in range(len(output))]


def bounded(h: float, change: float, bound: Bound, limit: float) -> float:
    """H after a change."""
    if bound in (Bound.NONE, Bound.READ):
        return h + change
    if bound is Bound.SOFT:
        change = change * (limit - h) / limit if change > 0 else change * (limit + h) / limit
    return max(-limit, min(limit, h + change))


def as_read(h: float, layer: Layer) -> float:
    """H as drive and recall see it."""
    return max(-layer.limit, min(layer.limit, h)) if layer.bound is Bound.READ else h


def respond(cell: Cell, drive: Table, memory: Row) -> tuple[Row, Row, Row]:
    """What a cell says, what its synapses see, and what it remembers, from drive[d][j]."""
    units = range(len(drive[0]))
    if isinstance(cell, LSTM):
        f, i, o = ([1 / (1 + exp(-drive[d][j])) for j in units] for d in range(3))
        g = [tanh(drive[3][j]) for j in units]
        c = [f[j] * memory[j] + i[j] * g[j] for j in units]
        return [o[j] * tanh(c[j]) for j in units], g, c
    y = drive[0] if isinstance(cell, Linear) else [tanh(drive[0][j]) for j in units]
    return y, y, memory


def alpha_of(layer: Layer, alpha: Table, j: int, i: int) -> float:
    match layer.alpha:
        case AlphaShape.SYNAPSE:
            return alpha[j][i]
        case AlphaShape.NEURON:
            return alpha[j][0]
        case AlphaShape.NETWORK:
            return alpha[0][0]


def layer_start(layer: Layer, received: int) -> Memory:
    """A layer's memory at the start of an episode, all 0. The trace is kept for every pair, plastic or not."""
    width = received + (layer.units if layer.structure.recurrent else 0)
    zeros = [0.0] * layer.units
    first = received if layer.plastic is Pathway.RECURRENT else 0
    last = {Pathway.NONE: 0, Pathway.INPUT: received}.get(layer.plastic, width)
    return {
        "output": list(zeros),
        "cell": list(zeros),
        "theta": list(zeros),
        "columns": range(first, last),
        "H": [[0.0] * width for _ in zeros],
        "E": [[0.0] * width for _ in zeros],
    }


def layer_step(layer: Layer, params: Any, was: Memory, sources: Row, exists: Any) -> Memory:
    """One layer, one step. `params` holds nested lists; `exists(j, i)` says where a synapse is."""
    x = sources + (was["output"] if layer.structure.recurrent else [])
    columns, units = was["columns"], range(layer.units)
    first = columns.start
    drive = []
    for d in range(layer.cell.drives):
        drive.append([params.bias[d][j] for j in units])
        for j in units:
            for i in range(len(x)):
                if exists(j, i):
                    drive[d][j] += params.weight[d][j][i] * x[i]
                    if i in columns and d == layer.cell.plastic:  # eq. 1
                        drive[d][j] += (
                            alpha_of(layer, params.alpha, j, i - first) * as_read(was["H"][j][i], layer) * x[i]
                        )
    output, post, memory = respond(layer.cell, drive, was["cell"])
    now: Memory = was | {"output": output, "cell": memory}
    if not columns:
        return now
    spoke = [x[i] for i in columns]
    seen = [[was["H"][j][i] for i in columns] for j in units]
    read = [[as_read(h, layer) for h in row] for row in seen]
    rate = rates(layer.modulation, params.modulation, output)
    now["H"], now["E"] = ([list(row) for row in was[name]] for name in "HE")
    for j in units:
        for i in columns:
            change = element(layer.rule, params.rule, spoke, post, seen, read, was["theta"], (j, i - first))
            write = rate[j] * change  # eq. 2, 3
            if isinstance(layer.modulation, Retroactive):
                eta = params.modulation[4][0]
                write = rate[j] * was["E"][j][i]  # eq. 4, the eligibility of before
                now["E"][j][i] = (1 - eta) * was["E"][j][i] + eta * change  # eq. 5
            now["H"][j][i] = bounded(was["H"][j][i], write, layer.bound, layer.limit)
    if isinstance(layer.rule, BCM):
        now["theta"] = [t + layer.rule.rate * (y * y - t) for t, y in zip(was["theta"], post, strict=True)]
    return now


def network(spec: NetworkSpec, params: list[Any], xs: Table, exists: Any) -> tuple[Table, list[Memory]]:
    """Every output of one episode, and every layer's memory after it."""
    widths = [len(xs[0])]
    state = []
    for layer in spec.layers:
        state.append(layer_start(layer, widths[-1] + sum(widths[-1 - k] for k in layer.skip)))
        widths.append(layer.units)
    ys = []
    for x in xs:
        text = [x]
        for n, layer in enumerate(spec.layers):
            sources = list(text[-1])
            for k in layer.skip:
                sources += text[-1 - k]
            state[n] = layer_step(layer, params[n], state[n], sources, exists)
            text.append(state[n]["output"])
        ys.append(text[-1])
    return ys, state
