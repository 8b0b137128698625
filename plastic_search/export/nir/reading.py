"""A network from a file of NIR: the one that `writing` wrote, plastic as it was, or the network of another tool."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plastic_search.cells.linear import Linear
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path
from plastic_search.export.nir.file import UNITS, Content, Node, read_content
from plastic_search.export.nir.graph import READOUT, Population, Wiring, wiring
from plastic_search.export.nir.units import Units, cell_of, node_of
from plastic_search.export.parameters import prepared
from plastic_search.export.rebuilding import Stored, rebuild
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, shapes
from plastic_search.records.files import parse
from plastic_search.structures import Shape, Structure
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.selected import Selected
from plastic_search.structures.self_recurrent import SelfRecurrent

__all__ = ["FORMAT", "read"]

FORMAT = "plastic_search/nir/1"
_AGAIN = "write it anew, or take the metadata `plastic_search` out of it, and its fixed part is read"


def read(path: Path | str, step: float | None = None) -> Network:
    """The network in a file of NIR, on the CPU.

    Of a file that `write` wrote, the network that was written, whose plasticity is in metadata; weights, biases and
    numbers of units are those of the nodes. Of any other, a network that is not plastic: its populations are layers
    (LIF and CubaLIF become `LIF`, LI `Integrator`, weights before the output `Linear`), each with the structure
    `FeedForward`, `SelfRecurrent` or `Dense` by what it sends itself.

    Args:
        step: how long a time step lasts in the file's unit of time; None takes what the metadata say. Files of
            snnTorch are written for 1e-4.

    Raises:
        PlasticSearchError: the file is not of NIR, or has something in it that no network here computes; the message
            names it.

    Example:
        >>> net = nir.read("from_snntorch.nir", step=1e-4)
    """
    path = as_path(path)
    if step is not None and not (isinstance(step, int | float) and math.isfinite(step) and step > 0):
        raise PlasticSearchError(f"step is how long a time step lasts, and must be above 0, but is {step!r}")
    content = read_content(path)
    graph = wiring(path, content)
    about = content.metadata.get("plastic_search")
    if about is not None:
        return _ours(path, content, graph, _checked(path, about, step))
    if step is None:
        raise PlasticSearchError(
            f"{path} does not say how long a time step lasts, since time is continuous in NIR; give it: "
            f'read("{path.name}", step=1e-4) for a file of snnTorch, step=1 where time constants are in time steps'
        )
    return _foreign(path, graph, float(step))


def _foreign(path: Path, graph: Wiring, step: float) -> Network:
    """The network of a graph without metadata of ours."""
    index = {graph.source: -1} | {each.name: i for i, each in enumerate(graph.layers)}
    sizes = {graph.source: graph.inputs} | {each.name: each.units for each in graph.layers}
    layers, units = [], []
    for i, each in enumerate(graph.layers):
        units.append(_units(path, each, step))
        senders = sorted({index[name] for name in each.weights} - {i}, reverse=True)
        structure = _structure(each)
        if senders[0] != i - 1:  # what the layer before sends, a layer always receives, unless others are selected
            before, names = sizes[graph.layers[i - 1].name], {at: name for name, at in index.items()}
            received = sum(sizes[names[at]] for at in senders)
            structure = Selected(tuple(range(before, before + received)), structure)
        skip = tuple(i - 1 - at for at in senders if at != i - 1)
        layers.append(Layer(each.units, units[-1].cell, structure=structure, skip=skip))
    net = Network(NetworkSpec(tuple(layers)), graph.inputs)
    tensors: dict[str, Tensor] = {}
    for i, (each, unit) in enumerate(zip(graph.layers, units, strict=True)):
        senders = {at: each.weights[name] for name, at in index.items() if name in each.weights}
        weight = _columns(path, net.shapes[i], senders, each.name)
        tensors[f"layers.{i}.weight"] = torch.from_numpy(unit.gain[:, None] * weight).float().unsqueeze(0)
        tensors[f"layers.{i}.bias"] = torch.from_numpy(unit.gain * each.bias).float().unsqueeze(0)
        tensors |= {f"layers.{i}.cell__{name}": value for name, value in unit.params.items()}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise PlasticSearchError(f"{path}: {name} has a number beyond float32")
    net.load_state_dict(tensors, strict=False)
    return net


def _units(path: Path, population: Population, step: float) -> Units:
    """The cell of a layer."""
    if population.node is None:
        return Units(Linear(), {}, np.ones(population.units))

    def refused(what: str) -> PlasticSearchError:
        return PlasticSearchError(f"{path}: {population.name!r:.60}: {what}")

    return cell_of(population.node, population.units, step, refused)


def _structure(population: Population) -> Structure:
    """Whether units receive from one another, from themselves alone, or from none of their layer."""
    recurrent = population.weights.get(population.name)
    if recurrent is None:
        return FeedForward()
    alone = population.units > 1 and not recurrent[~np.eye(population.units, dtype=bool)].any()
    return SelfRecurrent() if alone else Dense()


def _columns(path: Path, shape: Shape, senders: dict[int, np.ndarray], name: str) -> np.ndarray:
    """The weights [post, pre] of a layer, from those [post, units] of each sender, by its number.

    Raises:
        PlasticSearchError: there is a weight that the layer has no column for.
    """
    weight = np.zeros((shape.post, shape.pre))
    for source in shape.sources:
        matrix = senders.pop(source.layer, None)
        if matrix is None:
            continue
        if source.index.max(initial=-1) >= matrix.shape[1]:
            raise PlasticSearchError(
                f"{path}: {name!r:.60} receives {matrix.shape[1]} units of a layer of more; {_AGAIN}"
            )
        weight[:, source.columns] = matrix[:, source.index]
        if np.delete(matrix, source.index, 1).any():
            senders[source.layer] = matrix
    if senders:
        raise PlasticSearchError(
            f"{path}: {name!r:.60} has weights from units that its layer does not receive; {_AGAIN}"
        )
    return weight


def _checked(path: Path, about: Any, step: float | None) -> dict[str, Any]:
    """The metadata of a graph."""
    try:
        found = parse(about) if isinstance(about, str) else None
    except ValueError:
        found = None
    kinds = {"format": str, "layers": int, "step": float, "spec": dict}
    if not isinstance(found, dict) or any(type(found.get(name)) is not kind for name, kind in kinds.items()):
        raise PlasticSearchError(f"{path}: its metadata `plastic_search` are not as they were written; {_AGAIN}")
    if found["format"] != FORMAT:
        raise PlasticSearchError(f"{path} is of the format {found['format']!r:.60}, and this version reads {FORMAT}")
    if not (math.isfinite(found["step"]) and found["step"] > 0):
        raise PlasticSearchError(f"{path}: its time step must be above 0, but is {found['step']}; {_AGAIN}")
    if step is not None and step != found["step"]:
        raise PlasticSearchError(
            f"{path} is of time steps of {found['step']:g}, and is to be read with step={step:g}; leave it out"
        )
    return found


def _ours(path: Path, content: Content, graph: Wiring, about: dict[str, Any]) -> Network:
    """The network that `write` wrote."""
    nodes = [content.nodes.get(f"layer_{i}") for i in range(min(about["layers"], len(content.nodes) + 1))]
    layers = [_layer(path, i, node) for i, node in enumerate(nodes)]
    spec = NetworkSpec.from_json(about["spec"] | {"layers": layers}, f"{path}: network")
    by_name = {each.name: each for each in graph.layers}
    names = [f"layer_{i}" if f"layer_{i}" in by_name else READOUT for i in range(len(nodes))]
    if sorted(names) != sorted(by_name):
        raise PlasticSearchError(
            f"{path} has the layers {sorted(by_name)!s:.100} and metadata of {len(nodes)}; {_AGAIN}"
        )
    for i, (layer, name) in enumerate(zip(spec.layers, names, strict=True)):
        if layer.units != by_name[name].units or isinstance(layer.cell, Linear) != (name == READOUT):
            raise PlasticSearchError(
                f"{path}: layer_{i} has {by_name[name].units} units, and its metadata describe {layer.units!r:.60} of "
                f"{type(layer.cell).__name__}; {_AGAIN}"
            )
    index = {graph.source: -1} | {name: i for i, name in enumerate(names)}
    stored: dict[str, Stored] = {}
    for i, (shape, name) in enumerate(zip(shapes(spec, graph.inputs), names, strict=True)):
        kept = _stored(path, i, nodes[i])
        senders = {index[sender]: weight for sender, weight in by_name[name].weights.items()}
        weight = torch.from_numpy(_columns(path, shape, senders, name)).float().unsqueeze(0)
        bias = torch.from_numpy(by_name[name].bias).float().unsqueeze(0)
        steps = {role: kept.pop(f"{role}.step", None) for role in ("weight", "alpha")}
        values = kept | {"weight": weight, "bias": bias}
        stored |= {f"layers.{i}.{each}": Stored(value, steps.get(each)) for each, value in values.items()}
    net = rebuild(spec, graph.inputs, stored, path, _AGAIN)
    _require_units(path, net, [by_name[name] for name in names], about["step"])
    return net


def _layer(path: Path, i: int, node: Node | None) -> Any:
    """The JSON data of a layer."""
    text = node.metadata.get("layer") if node is not None else None
    try:
        return parse(text) if isinstance(text, str) else {}[text]
    except (ValueError, LookupError, TypeError):
        raise PlasticSearchError(f"{path}: layer_{i} lacks the metadata `layer`, as JSON; {_AGAIN}") from None


def _stored(path: Path, i: int, node: Node | None) -> dict[str, Tensor]:
    """The parameters of a layer that are in the metadata of its node, by their path in it: `rule.both`."""
    found = node.metadata.get("parameters", {}) if node is not None else {}
    tensors: dict[str, Tensor] = {}
    for name, value in found.items() if isinstance(found, dict) else ():
        array = np.asarray(value)
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise PlasticSearchError(f"{path}: layer_{i} has {name!r:.60}, which is no finite float32; {_AGAIN}")
        tensors[name] = torch.from_numpy(array.copy())
    return tensors


@torch.no_grad()
def _require_units(path: Path, net: Network, populations: list[Population], step: float) -> None:
    """Refuse numbers of units that are others than those of the parameters in metadata."""
    for i, (layer, ready, population) in enumerate(zip(net.spec.layers, prepared(net), populations, strict=True)):
        described, node = node_of(layer.cell, ready.cell, step, f"layers.{i}"), population.node
        if described is None or node is None:
            continue
        kind, arrays = described
        odd = [name for name in UNITS[kind] if not np.allclose(node.values.get(name, np.nan), arrays[name], 1e-5, 0.0)]
        if kind != node.kind or odd:
            raise PlasticSearchError(
                f"{path}: layer_{i}, a {node.kind}, has other numbers than its metadata ({', '.join(odd) or kind}), so "
                f"it was changed after it was written; {_AGAIN}"
            )
