"""A network without its dead units: smaller, hard where it was gated, and equal in what it says."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.network.pytree import flatten
from plastic_search.network.spec import AlphaShape, Pathway
from plastic_search.network.step import LayerParams, Ready
from plastic_search.structures import Structure
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.graph import Graph
from plastic_search.structures.selected import Selected
from plastic_search.topology.liveness import Plan, facts, plan
from plastic_search.topology.probing import sliced

__all__ = ["shrink"]

_CLOSE = 1e-6  # how far outputs may lie apart, in float64


@torch.no_grad()
def shrink(net: Network) -> Network:
    """A network that says the same without the units that cannot be heard, and those that are always silent.

    Inputs and outputs stay as they are; gates become a hard structure, so their scores are gone. A unit that always
    says the same number goes into the biases of those who hear it, where these hear it by fixed synapses. A recurrent
    block that nobody hears goes too, and of its sources a layer hears only what it needs (`Selected`). Where a part
    mixes its units, or an integer precision ties synapses to their places or to the largest of them, more is kept:
    `liveness.plan(net).whole` tells why.

    Raises:
        PlasticSearchError: a parameter is not finite, a gate is neither open nor closed, as where training was broken
            off, or the smaller network, tried out in float64, does not say the same.
    """
    _whole(net)
    like, size = next(net.parameters()), None
    every = tuple(torch.ones(shape.post, dtype=torch.bool) for shape in net.shapes)
    hard = _cut(net, Plan(every, facts(net), (), (True,) * len(every)))
    _held(net, hard)
    hard = hard.cpu().double()  # in which constants go into biases, and comparisons see no rounding
    made = _cut(hard, plan(hard))
    while size != (size := (made.count(), [shape.post for shape in made.shapes])):
        made = _cut(made, plan(made))  # what was folded into a bias may have been all that its hearer heard
    _held(hard, made)
    return made.to(like.device, like.dtype)


def _whole(net: Network) -> None:
    """Refuse a network of which nothing equal can be made: see `shrink`."""
    for name, value in net.named_parameters():
        if not bool(value.isfinite().all()):
            raise PlasticSearchError(f"the network's {name} holds numbers that are not finite; it cannot be shrunk")
    for i, (layer, shape, params) in enumerate(zip(net.spec.layers, net.shapes, net.parts(), strict=True)):
        gates = layer.structure.gates(params.structure, shape, params.weight)
        if any(each is not None and bool(((each != 0) & (each != 1)).any()) for each in gates):
            raise PlasticSearchError(
                f"layer {i}: gates of {type(layer.structure).__name__} are still soft, since its training did not end; "
                "train it to the end, which makes them hard"
            )


def _cut(net: Network, made: Plan) -> Network:
    layers, flat = [], {}
    for i, (layer, params, ready) in enumerate(zip(net.spec.layers, net.parts(), net.resolve(), strict=True)):
        kept, columns = made.kept[i], _columns(net, made, i)
        skipped = (source.layer for source in net.shapes[i].feedforward[1:])
        skip = tuple(i - 1 - source for source in skipped if _spoken(made, i, source, columns))
        structure = _structure(net, made, i, columns)
        layers.append(replace(layer, units=int(kept.sum()), structure=structure, skip=skip))
        cut = _params(net, made, i, columns, params, ready)
        flat |= {f"layers.{i}.{n.replace('.', '__')}": t for n, t in flatten(cut).items()}
    like = next(net.parameters())
    smaller = Network(replace(net.spec, layers=tuple(layers)), net.inputs, kernel=net.kernel).to(
        like.device, like.dtype
    )
    smaller.load_state_dict(flat)
    return smaller


def _columns(net: Network, made: Plan, i: int) -> Tensor:
    """Which columns [pre] of a layer remain, without whole sources that nobody hears, but at least one of them."""
    known, layer, left = made.facts[i], net.spec.layers[i], made.columns(i)
    heard, mine = known.heard(made.kept[i]) & left, known.source == i
    optional = [source.layer for source in net.shapes[i].feedforward[1:]]
    if layer.plastic in (Pathway.NONE, Pathway.INPUT):
        optional.append(i)
    for source in optional if not made.listening[i] else ():
        if not heard[known.source == source].any():
            left[known.source == source] = False
    if not left[~mine].any():  # a layer hears something, be it in vain
        left[(made.spoken(i) & ~mine).nonzero()[0, 0]] = True
    return left


def _spoken(made: Plan, i: int, source: int, columns: Tensor) -> bool:
    return bool(columns[made.facts[i].source == source].any())


def _structure(net: Network, made: Plan, i: int, columns: Tensor) -> Structure:
    """The gates of what remains, made hard."""
    known, kept = made.facts[i], made.kept[i]
    support: Structure = Dense() if _spoken(made, i, i, columns) else FeedForward()
    support = _selected(net, made, i, columns, support)
    exists = known.exists[kept][:, columns]
    width = known.plastic.shape[1]
    plastic = torch.zeros_like(known.exists)
    plastic[:, known.start : known.start + width] = known.plastic
    pathway = torch.zeros_like(columns)
    pathway[known.start : known.start + width] = True
    plastic = plastic[kept][:, columns]
    if exists.all() and plastic[:, pathway[columns]].all():
        return support
    fixed, learning = ((each.nonzero()).tolist() for each in (exists & ~plastic, plastic))
    return Graph(tuple(map(tuple, fixed)), tuple(map(tuple, learning)), support)


def _selected(net: Network, made: Plan, i: int, columns: Tensor, support: Structure) -> Structure:
    """`within`, for a layer that hears of what remains only what comes by `columns`."""
    known, places, said = made.facts[i], [], 0
    for source in net.shapes[i].feedforward:
        mine = columns[source.columns]
        if source.layer != i - 1 and not mine.any():
            continue  # it is no source any more
        there = torch.ones(net.inputs, dtype=torch.bool) if source.layer < 0 else made.kept[source.layer]
        places += (said + there.cumsum(0) - 1)[known.unit[source.columns][mine]].tolist()
        said += int(there.sum())
    return support if len(places) == said else Selected(tuple(places), support)


def _params(net: Network, made: Plan, i: int, columns: Tensor, params: LayerParams, ready: Ready) -> LayerParams:
    layer, shape, known = net.spec.layers[i], net.shapes[i], made.facts[i]
    device = params.weight.device
    rows, cols = made.kept[i].nonzero()[:, 0].to(device), columns.nonzero()[:, 0].to(device)
    weight = (params.weight * known.exists.to(device))[:, rows][:, :, cols]
    bias = (ready.bias + _folded(made, i, ready))[:, rows]  # of a unit that does not exist it is 0
    wide = columns[shape.plastic].nonzero()[:, 0].to(device)
    alpha = params.alpha
    if alpha.numel() and layer.alpha is not AlphaShape.NETWORK:
        alpha = alpha[rows] if layer.alpha is AlphaShape.NEURON else alpha[rows][:, wide]
    rule: Any = params.rule
    modulation: Any = params.modulation
    if len(columns[shape.plastic]) and (len(rows) < shape.post or len(wide) < len(columns[shape.plastic])):
        width = len(columns[shape.plastic])
        rule = sliced(rule, layer.rule.params, (shape.post, width), (rows, wide), layer.rule)
        modulation = sliced(modulation, layer.modulation.params, (shape.post,), (rows,), layer.modulation)
    return LayerParams(weight, bias, alpha, rule, modulation, ())


def _folded(made: Plan, i: int, ready: Ready) -> Tensor:
    """What units that are taken away, and always say the same, add to each drive [drives, post]."""
    known, said = made.facts[i], torch.zeros(len(made.facts[i].source), dtype=ready.weight.dtype)
    for at in set(known.source.tolist()) - {-1}:
        mine = known.source == at
        says, kept = made.facts[at].says[known.unit[mine]], made.kept[at][known.unit[mine]]
        said[mine] = torch.where(kept | says.isnan(), 0.0, says).to(said.dtype)
    return ready.weight @ said.to(ready.weight.device)


def _held(net: Network, made: Network) -> None:
    """Refuse a network that says something else. Both hear large and small numbers, and some all the time 0."""
    rng = torch.Generator().manual_seed(0)
    scales = torch.tensor((0.01, 0.1, 0.3, 1.0, 1.0, 3.0), dtype=torch.float64).repeat(2).view(-1, 1)
    quiet = torch.rand(len(scales), net.inputs, generator=rng) < torch.linspace(0.0, 1.0, len(scales)).view(-1, 1)
    x = torch.randn(8, len(scales), net.inputs, generator=rng, dtype=torch.float64) * scales * ~quiet
    said = []
    for each in (net, made):
        twin = copy.deepcopy(each)
        twin.kernel = "reference"
        said.append(twin(x.to(next(twin.parameters())))[0])
    apart = (said[0] - said[1]).abs() / (1.0 + said[0].abs())
    if not bool((apart.nan_to_num() <= _CLOSE).all()) or bool((said[0].isnan() != said[1].isnan()).any()):
        raise PlasticSearchError(
            f"the smaller network says something else than the network, by {float(apart.max()):.1e}; a part "
            "of it makes of a unit what it does not make of another, so it cannot be shrunk"
        )
