"""Removal of dead units from a trained network: a smaller network, with gates made hard and equal outputs."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network, check_network
from plastic_search.network.pytree import flatten
from plastic_search.network.spec import AlphaShape, Pathway
from plastic_search.network.step import LayerParams, Ready
from plastic_search.structures import Structure
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.graph import Graph
from plastic_search.structures.selected import Selected
from plastic_search.topology.liveness import Plan, connectivity, plan
from plastic_search.topology.probing import sliced

__all__ = ["shrink"]

_TOLERANCE = 1e-6  # of outputs in float64, relative to 1 + |output|


@torch.no_grad()
def shrink(net: Network) -> Network:
    """A network of equal outputs without the units that cannot influence them, and without those that are always 0.

    Inputs and outputs keep their sizes; gates become a hard structure, so their scores are gone. A unit of constant
    output is folded into the biases of the units that receive it by synapses that are not plastic. A recurrent block
    that no unit receives is removed, and a layer receives only those outputs of its sources that it needs (`Selected`).
    Where a part mixes its units, or an integer precision ties synapses to their positions or to the largest of them,
    more is kept: `liveness.plan(net).reasons` lists why.

    Raises:
        PlasticSearchError: `net` is no Network; a parameter is not finite; a gate is neither open nor closed, as where
            training was interrupted; or the smaller network, evaluated in float64, has other outputs.

    Example:
        >>> small = shrink(net)
        >>> small.count() < net.count()
        True
    """
    check_network(net)
    _require_finite_and_hard(net)
    like, size = next(net.parameters()), None
    every = tuple(torch.ones(shape.post, dtype=torch.bool) for shape in net.shapes)
    hard = _cut(net, Plan(every, connectivity(net), (), (True,) * len(every)))
    _verify(net, hard)
    hard = hard.cpu().double()  # so that constants are folded, and outputs compared, without rounding
    small = _cut(hard, plan(hard))
    while size != (size := (small.count(), [shape.post for shape in small.shapes])):
        small = _cut(small, plan(small))  # a constant that was folded may have been the only input of a unit
    _verify(hard, small)
    return small.to(like.device, like.dtype)


def _require_finite_and_hard(net: Network) -> None:
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


def _cut(net: Network, chosen: Plan) -> Network:
    """The network restricted to the units and columns of a plan."""
    layers, flat = [], {}
    for i, (layer, params, ready) in enumerate(zip(net.spec.layers, net.parts(), net.resolve(), strict=True)):
        columns = _columns(net, chosen, i)
        skips = net.shapes[i].feedforward[1:]
        skip = tuple(i - 1 - source.layer for source in skips if columns[source.columns].any())
        structure = _structure(net, chosen, i, columns)
        layers.append(replace(layer, units=int(chosen.kept[i].sum()), structure=structure, skip=skip))
        cut = _params(net, chosen, i, columns, params, ready)
        flat |= {f"layers.{i}.{n.replace('.', '__')}": t for n, t in flatten(cut).items()}
    like = next(net.parameters())
    spec = replace(net.spec, layers=tuple(layers), initial=(), held=())  # whose blocks are of other sizes
    smaller = Network(spec, net.inputs, kernel=net.kernel).to(like.device, like.dtype)
    smaller.load_state_dict(flat)
    return smaller


def _columns(net: Network, chosen: Plan, i: int) -> Tensor:
    """The columns [pre] of layer `i` that remain: those of the plan, less whole sources that no unit receives."""
    layer, pathway, columns = chosen.layers[i], net.spec.layers[i].plastic, chosen.columns(i)
    received = layer.received(chosen.kept[i]) & columns
    for source in net.shapes[i].sources[1:] if not chosen.keeps_inputs[i] else ():
        optional = source.layer != i or pathway in (Pathway.NONE, Pathway.INPUT)
        if optional and not received[source.columns].any():
            columns[source.columns] = False
    if not (columns & ~layer.recurrent).any():  # a layer has at least one source
        columns[(chosen.available(i) & ~layer.recurrent).nonzero()[0, 0]] = True
    return columns


def _structure(net: Network, chosen: Plan, i: int, columns: Tensor) -> Structure:
    """The gates of what remains, made hard."""
    layer, kept = chosen.layers[i], chosen.kept[i]
    support: Structure = Dense() if (columns & layer.recurrent).any() else FeedForward()
    support = _selected(net, chosen, i, columns, support)
    exists, plastic = layer.exists[kept][:, columns], layer.plastic[kept][:, columns]
    pathway = layer.columns(layer.shape.plastic)[columns]
    if exists.all() and plastic[:, pathway].all():
        return support
    fixed, learning = (each.nonzero().tolist() for each in (exists & ~plastic, plastic))
    return Graph(tuple(map(tuple, fixed)), tuple(map(tuple, learning)), support)


def _selected(net: Network, chosen: Plan, i: int, columns: Tensor, support: Structure) -> Structure:
    """`support`, in `Selected` where the layer receives only `columns` of what remains of its sources."""
    places, total = [], 0
    for source in net.shapes[i].feedforward:
        mine = columns[source.columns]
        if source.layer != i - 1 and not mine.any():
            continue  # this skip connection is removed
        kept = torch.ones(net.inputs, dtype=torch.bool) if source.layer < 0 else chosen.kept[source.layer]
        places += (total + kept.cumsum(0) - 1)[torch.from_numpy(source.index)[mine]].tolist()
        total += int(kept.sum())
    return support if len(places) == total else Selected(tuple(places), support)


def _params(net: Network, chosen: Plan, i: int, columns: Tensor, params: LayerParams, ready: Ready) -> LayerParams:
    layer, shape, known = net.spec.layers[i], net.shapes[i], chosen.layers[i]
    device = params.weight.device
    rows, cols = chosen.kept[i].nonzero()[:, 0].to(device), columns.nonzero()[:, 0].to(device)
    weight = (params.weight * known.exists.to(device))[:, rows][:, :, cols]
    bias = (ready.bias + _folded(chosen, i, ready))[:, rows]  # 0 for a unit that does not exist
    plastic = columns[shape.plastic].nonzero()[:, 0].to(device)
    alpha = params.alpha
    if alpha.numel() and layer.alpha is not AlphaShape.NETWORK:
        alpha = alpha[rows] if layer.alpha is AlphaShape.NEURON else alpha[rows][:, plastic]
    cell: Any = params.cell
    rule: Any = params.rule
    modulation: Any = params.modulation
    if len(rows) < shape.post:
        cell = sliced(cell, layer.cell, (shape.post,), (rows,))
    if shape.width and (len(rows) < shape.post or len(plastic) < shape.width):
        rule = sliced(rule, layer.rule, (shape.post, shape.width), (rows, plastic))
        modulation = sliced(modulation, layer.modulation, (shape.post, shape.width), (rows, plastic))
    return LayerParams(weight, bias, alpha, cell, rule, modulation, ())


def _folded(chosen: Plan, i: int, ready: Ready) -> Tensor:
    """What removed units of other layers, of constant output, add to the layer's biases [sums, post]."""
    constant = chosen.constants(i)
    removed = torch.where(chosen.available(i) | constant.isnan(), 0.0, constant)
    folded = ready.weight @ removed.to(ready.weight)
    return torch.nn.functional.pad(folded, (0, 0, 0, len(ready.bias) - len(folded)))


def _verify(net: Network, small: Network) -> None:
    """Refuse a network of other outputs, for inputs of several scales of which some are always 0."""
    rng = torch.Generator().manual_seed(0)
    scales = torch.tensor((0.01, 0.1, 0.3, 1.0, 1.0, 3.0), dtype=torch.float64).repeat(2).view(-1, 1)
    silent = torch.rand(len(scales), net.inputs, generator=rng) < torch.linspace(0.0, 1.0, len(scales)).view(-1, 1)
    x = torch.randn(8, len(scales), net.inputs, generator=rng, dtype=torch.float64) * scales * ~silent
    a, b = (_outputs(each, x) for each in (net, small))
    difference = (a - b).abs() / (1.0 + a.abs())
    if not bool((difference.nan_to_num() <= _TOLERANCE).all()) or bool((a.isnan() != b.isnan()).any()):
        raise PlasticSearchError(
            f"the smaller network has other outputs than the network, by {float(difference.max()):.1e}; the results of "
            "one of its parts depend on units that were removed, so it cannot be shrunk"
        )


def _outputs(net: Network, x: Tensor) -> Tensor:
    """Outputs of a copy of the network under the reference step, since `net` itself may hold compiled kernels."""
    reference = copy.deepcopy(net)
    reference.kernel = "reference"
    return reference(x.to(next(reference.parameters())))[0]
