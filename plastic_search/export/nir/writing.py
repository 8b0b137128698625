"""A network as a file of NIR.

For each layer, its units are a node `layer_1`, a LIF, CubaLIF or LI, and its weights a node `layer_1_from_layer_0` for
each layer that it receives from, an Affine with the biases and Linears; a layer of `Linear` has no units, and its first
weights are `layer_1`. Recurrent and skip connections are edges like others.

The metadata of the graph are the precision and how long a time step lasts; those of `layer_1` are the layer's parts
(cell, rule, modulation, structure, which pathway is plastic, the trace's bound) and the parameters that no node has:
alpha, and those of cell, rule and modulation.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plastic_search import __version__
from plastic_search.cells.linear import Linear
from plastic_search.core.errors import PlasticSearchError, one_line
from plastic_search.core.loading import optional
from plastic_search.core.paths import as_path
from plastic_search.export.nir.reading import FORMAT, read
from plastic_search.export.nir.units import node_of
from plastic_search.export.parameters import Codes, parameters, prepared
from plastic_search.network.formats import formats
from plastic_search.network.module import Network, check_network
from plastic_search.network.state import named
from plastic_search.network.step import Ready
from plastic_search.records.files import replacing, unwritable
from plastic_search.structures import Shape

__all__ = ["write"]

_ABOUT = (
    "Written by plastic_search. Nodes are the fixed part of the network; plasticity is in the metadata of the nodes "
    "layer_*, and a reader that ignores these computes the network whose traces stay 0. Time is in the unit in which a "
    "time step lasts `step`: v' = v + step / tau (v_leak - v + R I), a spike where v' > v_threshold, and v' = v_reset. "
    "A current, I' = I + step / tau_syn (w_in S - I), comes before. Layers follow one another within a time step; what "
    "a layer sends itself arrives a time step later."
)


def write(net: Network, path: Path | str, step: float = 1.0) -> Path:
    """Write `net` as a file of NIR, and read it again: the file is there only if the same network comes back.

    Args:
        step: how long a time step lasts in the file's unit of time, by which time constants are multiplied; snnTorch
            takes 1e-4 for one.

    Raises:
        PlasticSearchError: `net` is no Network; NIR has no node for a cell or a setting, and the message names it; a
            package is missing; or the file cannot be written.

    Example:
        >>> from plastic_search.export import nir
        >>> nir.write(net, "network.nir")
        >>> y, state = nir.read("network.nir")(x)  # equal to `net(x)`
    """
    check_network(net)
    path, package = as_path(path), optional("nir", "files of NIR are written with nir", "spiking")
    if not (isinstance(step, int | float) and math.isfinite(step) and step > 0):
        raise PlasticSearchError(f"step is how long a time step lasts, and must be above 0, but is {step!r}")
    graph = _graph(package, net, float(step))
    try:
        with replacing(path) as temporary:
            package.write(temporary, graph)
            back, mine = named(prepared(read(temporary))), named(prepared(net))
            for name in mine | back:
                if name not in back or name not in mine or not torch.equal(mine[name], back[name]):
                    raise PlasticSearchError(f"{name} does not come back from a file of NIR; write a bundle instead")
    except OSError as error:
        raise unwritable(path.parent, error) from None
    return path


def _graph(nir: Any, net: Network, step: float) -> Any:
    """The network as a NIRGraph."""
    nodes: dict[str, Any] = {"input": nir.Input(np.array([net.inputs]))}
    edges: list[tuple[str, str]] = []
    with torch.no_grad():
        kept = parameters(net)
        for i, ready in enumerate(prepared(net)):
            _refuse(net, i)
            _add_layer(nir, net, i, ready, step, nodes, edges, _metadata(net, i, kept))
    last = len(net.shapes) - 1
    ends = [f"layer_{last}"]
    if ends[0] in nodes and "weight" in vars(nodes[ends[0]]):
        ends = [name for name in nodes if name == ends[0] or name.startswith(f"layer_{last}_from_")]
    nodes["output"] = nir.Output(np.array([net.outputs]))
    edges += [(name, "output") for name in ends]
    spec = {name: value for name, value in net.spec.to_json().items() if name != "layers"}
    about = {"format": FORMAT, "version": __version__, "layers": last + 1, "step": step, "spec": spec}
    try:
        return nir.NIRGraph(nodes, edges, {"about": _ABOUT, "plastic_search": json.dumps(about)})
    except (ValueError, AssertionError) as error:
        raise PlasticSearchError(f"the package nir refuses the network: {one_line(error)}") from None


def _add_layer(
    nir: Any, net: Network, i: int, ready: Ready, step: float, nodes: dict[str, Any], edges: list[tuple[str, str]],
    metadata: dict[str, Any],
) -> None:  # fmt: skip
    """The nodes of layer `i`, and the edges to and from its weights."""
    name, shape = f"layer_{i}", net.shapes[i]
    described = node_of(net.spec.layers[i].cell, ready.cell, step, f"layers.{i}")
    if described is not None:
        kind, arrays = described
        nodes[name] = getattr(nir, kind)(**arrays, metadata=metadata)
    for k, (sender, weight) in enumerate(_blocks(net, shape, ready.weight[0]).items()):
        at = f"{name}_from_{sender}"
        more: dict[str, Any] = {}
        if described is None and k == 0:
            at, more = name, {"metadata": metadata}
        bias = ready.bias[0].numpy()
        nodes[at] = nir.Linear(weight, **more) if k else nir.Affine(weight, bias, **more)
        edges.append((sender, at))
        if described is not None:
            edges.append((at, name))


def _blocks(net: Network, shape: Shape, weight: Tensor) -> dict[str, np.ndarray]:
    """The weights [post, units] from each sender, by its node; 0 from units that the layer does not receive."""
    blocks: dict[str, np.ndarray] = {}
    for source in shape.sources:
        units = net.inputs if source.layer < 0 else net.shapes[source.layer].post
        if len(source.units) == 0:
            continue
        block = np.zeros((shape.post, units), np.float32)
        block[:, source.index] = weight[:, source.columns].numpy()
        blocks["input" if source.layer < 0 else f"layer_{source.layer}"] = block
    return blocks


def _metadata(net: Network, i: int, kept: dict[str, Tensor | Codes]) -> dict[str, Any]:
    """What no node of NIR says of layer `i`."""
    start, tensors = f"layers.{i}.", {}
    for name, value in kept.items():
        if not name.startswith(start):
            continue
        rest = name.removeprefix(start)
        if isinstance(value, Codes):
            tensors[f"{rest}.step"] = _number(value.step)
        if rest not in ("weight", "bias"):
            tensors[rest] = _number(value.value if isinstance(value, Codes) else value)
    return {"layer": json.dumps(net.spec.layers[i].to_json()), "parameters": tensors}


def _number(tensor: Tensor) -> Any:
    """An array, or a number, which HDF5 does not compress."""
    array = tensor.detach().numpy()
    return array if array.ndim else array[()]


def _refuse(net: Network, i: int) -> None:
    """Raise for what a graph of NIR cannot say of layer `i`."""
    layer, last = net.spec.layers[i], i == len(net.shapes) - 1
    if form := formats(net.spec)[i].activity:
        raise PlasticSearchError(
            f"layers.{i} sends activity that is rounded to {form.bits} bits, and NIR has no node for that; spikes "
            "are sent as they are: leave activity in float, or use cells that spike"
        )
    if isinstance(layer.cell, Linear) and (not last or net.shapes[i].recurrent):
        raise PlasticSearchError(
            f"layers.{i} has linear units, which in NIR are weights alone, so only the last layer may have them, and "
            "without a recurrent block; give it FeedForward(), or other units"
        )
