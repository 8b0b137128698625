"""A network from the parameters that its episodes use, as a bundle or another file holds them.

These are gated and rounded. So a structure that learns comes back as the `Graph` of the connections that are left, and
a parameter that a gate removed as 0. Rounded parameters round to the same integers again, which a later training may
change.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.export.parameters import prepared
from plastic_search.network.module import Network
from plastic_search.network.quantization import parameter_rounder
from plastic_search.network.spec import AlphaShape, Layer, NetworkSpec, shapes
from plastic_search.network.state import named
from plastic_search.precisions import Format, Role
from plastic_search.structures import LearnedStructure, Shape, Structure
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.graph import Graph
from plastic_search.structures.selected import Selected

__all__ = ["Stored", "parameter_sizes", "rebuild"]


class Stored(NamedTuple):
    """A parameter in a file."""

    value: Tensor
    step: Tensor | None  # between the levels of a rounded one


@torch.no_grad()
def rebuild(spec: NetworkSpec, inputs: int, stored: dict[str, Stored], path: Path | str, remedy: str) -> Network:
    """The network of `spec`, on the CPU, whose episodes use what is stored.

    Args:
        stored: every parameter by its path: `layers.0.weight`.
        path: of the file, for messages.
        remedy: what to do where it is damaged, for messages.

    Raises:
        PlasticSearchError: the parameters are not those of the spec; nothing of their sizes is made before.
    """
    _require_sizes(path, spec, inputs, stored, remedy)
    layers = tuple(
        replace(layer, structure=_fixed(layer, shape, stored[f"layers.{i}.weight"], stored.get(f"layers.{i}.alpha")))
        for i, (layer, shape) in enumerate(zip(spec.layers, shapes(spec, inputs), strict=True))
    )
    net = Network(replace(spec, layers=layers), inputs)
    _fill(net, stored, path, remedy)
    rebuilt = named(prepared(net))
    for name in rebuilt | stored:
        if name not in stored or name not in rebuilt or not torch.equal(stored[name].value, rebuilt[name]):
            raise PlasticSearchError(f"{path}: {name} is not what a network of the spec computes with; {remedy}")
    return net


def parameter_sizes(spec: NetworkSpec, inputs: int) -> dict[str, list[int]]:
    """The sizes of weights, biases and alphas by the spec, by path; nothing of those sizes is made."""
    sizes: dict[str, list[int]] = {}
    for i, (layer, shape) in enumerate(zip(spec.layers, shapes(spec, inputs), strict=True)):
        sizes[f"layers.{i}.weight"] = [layer.cell.drives, shape.post, shape.pre]
        sizes[f"layers.{i}.bias"] = [layer.cell.sums, shape.post]
        if shape.width:
            sizes[f"layers.{i}.alpha"] = [shape.post, shape.width]
    return sizes


def _require_sizes(path: Path | str, spec: NetworkSpec, inputs: int, stored: dict[str, Stored], remedy: str) -> None:
    """Refuse parameters of other sizes than the spec's, before anything is made of those sizes."""
    wanted = parameter_sizes(spec, inputs)
    for i in range(len(spec.layers)):
        if (alpha := f"layers.{i}.alpha") in stored and alpha not in wanted:
            raise PlasticSearchError(f"{path}: {alpha} should be absent, since nothing is plastic; {remedy}")
    for name, size in wanted.items():
        found = list(stored[name].value.shape) if name in stored else "missing"
        if found != size:
            raise PlasticSearchError(f"{path}: {name} should be {size} by the spec, but is {found}; {remedy}")


def _fixed(layer: Layer, shape: Shape, weight: Stored, alpha: Stored | None) -> Structure:
    """The structure of a layer; in place of one that learns, the connections whose weight or alpha is not 0."""
    if not isinstance(layer.structure, LearnedStructure):
        return layer.structure
    plastic = torch.zeros(shape.post, shape.pre, dtype=torch.bool)
    if alpha is not None:
        plastic[:, shape.plastic] = alpha.value != 0
    fixed = (weight.value != 0).any(0) & ~plastic
    support: Structure = Dense() if shape.recurrent else FeedForward()
    if layer.structure.selection is not None:
        support = Selected(layer.structure.selection, support)
    edges, traces = ([(post, pre) for post, pre in each.nonzero().tolist()] for each in (fixed, plastic))
    return Graph(tuple(edges), tuple(traces), support)


def _fill(net: Network, stored: dict[str, Stored], path: Path | str, remedy: str) -> None:
    """Set the parameters of `net` so that an episode uses what is stored."""
    tensors = {name: each.value for name, each in stored.items()}
    for i, (layer, shape) in enumerate(zip(net.spec.layers, net.shapes, strict=True)):
        weight, alpha = f"layers.{i}.weight", f"layers.{i}.alpha"
        tensors[weight] = _unrounded(stored[weight], net.spec.precision.format(Role.WEIGHT), torch.ones(()))
        if alpha in stored:
            plastic = layer.structure.gates((), shape, stored[alpha].value).plastic
            gate = torch.ones(shape.post, shape.width) if plastic is None else plastic
            learned = stored[alpha]._replace(value=_learned(stored[alpha].value, layer.alpha))
            tensors[alpha] = _unrounded(learned, net.spec.precision.format(Role.ALPHA), _learned(gate, layer.alpha))
    own = net.state_dict()
    for name, tensor in tensors.items():
        layer, _, rest = name.removeprefix("layers.").partition(".")
        key = f"layers.{layer}.{rest.replace('.', '__')}"  # under which the layer registered it
        if key not in own or own[key].shape != tensor.shape or tensor.dtype is not torch.float32:
            size = f"float32 {list(own[key].shape)}" if key in own else "absent"
            found = f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
            raise PlasticSearchError(f"{path}: {name} should be {size}, but is {found}; {remedy}")
        own[key].copy_(tensor)


def _learned(full: Tensor, shape: AlphaShape) -> Tensor:
    """A value for each coefficient that is learned, from [post, width]: of those that share it the largest, which no
    gate has removed."""
    match shape:
        case AlphaShape.SYNAPSE:
            return full
        case AlphaShape.NEURON:
            return full.gather(1, full.abs().argmax(1, keepdim=True))
        case AlphaShape.NETWORK:
            return full.flatten()[full.abs().argmax()].view(1, 1)


def _unrounded(stored: Stored, form: Format | None, gate: Tensor) -> Tensor:
    """A parameter that is `stored` after it is rounded to `form`, and then multiplied by `gate`.

    The largest magnitude sets the step, and may stand at a closed gate. As the step times the largest code it can be a
    last bit off; then a neighbouring number gives the very step.
    """
    value, step = stored
    if form is None or step is None:
        return value
    largest, rounded = step * form.top, parameter_rounder(form)
    holds = (value / step).round().abs() == form.top
    if not holds.any() and (gate == 0).any():
        holds.view(-1)[(gate == 0).flatten().nonzero()[0]] = True
    for end in (largest, largest * 0.0, torch.full_like(largest, torch.inf)):
        x = torch.where(holds, torch.nextafter(largest, end).copysign(value), value)
        if torch.equal(rounded(x) * gate, value):
            return x
    return value
