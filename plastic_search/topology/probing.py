"""Properties of cells, rules and modulations, found by evaluating them on random activity.

No part is known by its name, so that user-defined parts are treated alike. A part is local if its result for some units
does not depend on the others.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.modulations import Observation
from plastic_search.network.module import Network
from plastic_search.network.pytree import flatten, map_tensors, unflatten
from plastic_search.rules import Activity

__all__ = [
    "cell_is_local", "modulation_is_local", "modulation_reads_inputs", "modulator_inputs", "reads_recall",
    "rule_is_local", "sliced",
]  # fmt: skip

_SCALES, _STEPS = (0.01, 0.1, 1.0, 3.0), 3  # of random activity; what saturates at one size does not at another
_BATCH = 2 * len(_SCALES)
_OUTPUTS = (-3.0, -0.3, -0.01, 0.0, 0.01, 0.3, 3.0)  # of the one unit that is changed


def sliced(params: Any, part: Any, sizes: tuple[int, ...], keep: tuple[Tensor, ...]) -> Any:
    """The parameters of a cell, rule or modulation, restricted to the indices `keep` of each of its sizes.

    Which dimension of a parameter belongs to which size is found by drawing the part's parameters at other sizes.

    Args:
        sizes: arguments of `part.params` before the generator, post and pre.

    Raises:
        PlasticSearchError: a dimension varies with the sizes but equals none of them.
    """
    rng = torch.Generator().manual_seed(0)
    flat, base = flatten(params), flatten(part.params(*sizes, rng))
    for axis, indices in enumerate(keep):
        larger = flatten(part.params(*(n + (a == axis) for a, n in enumerate(sizes)), rng))
        for name, tensor in base.items():
            other = larger[name].shape if name in larger else torch.Size()
            grown = [d for d, (a, b) in enumerate(zip(tensor.shape, other, strict=False)) if a != b]
            if len(other) != tensor.dim() or any(
                (tensor.shape[d], other[d]) != (sizes[axis], sizes[axis] + 1) for d in grown
            ):
                raise PlasticSearchError(
                    f"{type(part).__name__}'s parameter {name} is {list(tensor.shape)} at sizes "
                    f"{list(sizes)}; only dimensions that are one of the sizes can be sliced"
                )
            for d in grown:
                flat[name] = flat[name].index_select(d, indices.to(flat[name].device))
    return unflatten(params, flat.values())


def cell_is_local(net: Network, i: int) -> bool:
    """Whether the output of each unit of a layer depends on its own drives and parameters alone."""
    cell, params, post = net.spec.layers[i].cell, _double(net.parts()[i].cell), net.shapes[i].post
    drives = _various((_STEPS, _BATCH, cell.sums, post), torch.Generator().manual_seed(0))
    some = torch.arange(0, post, 2)
    try:
        fewer = sliced(params, cell, (post,), (some,))
    except PlasticSearchError:
        return False
    return _same(_responses(cell, params, drives)[..., some], _responses(cell, fewer, drives[..., some]))


def _various(size: tuple[int, ...], rng: Generator) -> Tensor:
    """Random numbers [steps, batch, ...] at every scale, once dense and once with most of them 0."""
    values = torch.randn(size, generator=rng, dtype=torch.float64)
    scales = torch.tensor((*_SCALES, *_SCALES), dtype=torch.float64).view(-1, *[1] * (len(size) - 2))
    few = torch.rand(size, generator=rng) < 0.2
    few[:, : len(_SCALES)] = True
    return values * scales * few


def _responses(cell: Any, params: Any, drives: Tensor) -> Tensor:
    """Outputs and postsynaptic activity [steps, batch, 2, post] of a cell for drives [steps, batch, sums, post]."""
    state, responses = cell.state(_BATCH, drives.shape[3], drives[0]), []
    for drive in drives:
        state, response = cell.step(params, state, drive)
        responses.append(torch.cat([response.output.unsqueeze(1), response.post.unsqueeze(1)], dim=1))
    return torch.stack(responses)


def rule_is_local(net: Network, i: int, rows: Tensor, columns: Tensor, silent: Tensor) -> bool:
    """Whether the trace of some plastic synapses changes by the same amount without the others.

    Args:
        rows: indices of the units that remain.
        columns: indices of the plastic columns that remain.
        silent: [width], the plastic columns whose input is always 0.
    """
    rule, params, shape = net.spec.layers[i].rule, _double(net.parts()[i].rule), net.shapes[i]
    width, rng = len(silent), torch.Generator().manual_seed(0)
    seen = _seen(shape.post, width, rng)
    trace = torch.randn(_BATCH, shape.post, width, generator=rng, dtype=torch.float64)
    seen = seen._replace(pre=seen.pre.masked_fill(silent, 0.0), trace=trace.expand(_STEPS, *trace.shape))
    cut = sliced(params, rule, (shape.post, width), (rows, columns))
    fewer = Activity(
        seen.pre[..., columns], seen.post[..., rows], seen.recall[..., rows], seen.trace[..., rows, :][..., columns]
    )
    whole = _changes(rule, params, seen)[..., rows, :][..., columns]
    return _same(whole, _changes(rule, cut, fewer))


def modulation_is_local(net: Network, i: int, rows: Tensor, columns: Tensor, silent: Tensor) -> bool:
    """Whether the rates of the units `rows` are the same without the others; `silent` [post] always emit 0."""
    modulation, params, shape = net.spec.layers[i].modulation, _double(net.parts()[i].modulation), net.shapes[i]
    rng = torch.Generator().manual_seed(0)
    output = _various((_STEPS, _BATCH, shape.post), rng).flatten(0, 1).masked_fill(silent, 0.0)
    cut = sliced(params, modulation, (shape.post, shape.width), (rows, columns))
    whole = _rates(net, i, params, output, rows, columns)
    every, all_columns = torch.arange(len(rows)), torch.arange(len(columns))
    return _same(whole, _rates(net, i, cut, output[:, rows], every, all_columns))


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-9, atol=1e-11, equal_nan=True)


def modulator_inputs(net: Network, i: int, rows: Tensor) -> Tensor:
    """Which units [post] change the rate of a unit in `rows`, found by varying one output at a time."""
    shape, params = net.shapes[i], net.parts()[i]
    if not rows.any():
        return torch.zeros(shape.post, dtype=torch.bool)
    params, every, columns = _double(params.modulation), torch.arange(shape.post), torch.arange(shape.width)
    inputs = torch.zeros(shape.post, dtype=torch.bool)
    for base in _various((1, _BATCH, shape.post), torch.Generator().manual_seed(0))[0]:
        rate = _rates(net, i, params, base.unsqueeze(0), rows, columns)
        for value in _OUTPUTS:
            changed = base.repeat(shape.post, 1)
            changed[every, every] = value
            inputs |= (_rates(net, i, params, changed, rows, columns) != rate).any(1)
    return inputs


def modulation_reads_inputs(net: Network, i: int) -> bool:
    """Whether a layer's modulation reads what the layer receives, or another layer."""
    shape, params = net.shapes[i], _double(net.parts()[i].modulation)
    if not shape.width or shape.modulator is not None:
        return shape.width > 0
    output = _various((1, _BATCH, shape.post), torch.Generator().manual_seed(0))[0]
    every, columns = torch.arange(shape.post), torch.arange(shape.width)
    one, other = (_rates(net, i, params, output, every, columns, scale) for scale in (1.0, -0.7))
    return not torch.equal(one, other)


def _rates(
    net: Network, i: int, params: Any, output: Tensor, rows: Tensor, columns: Tensor, scale: float = 1.0
) -> Tensor:
    """Rates [batch, ...] of some synapses in two steps: of an output, and of a state that it has changed.

    Args:
        output: of the layer [batch, post], in both steps and before, and of the memory of its cell.
        scale: of its inputs, which are those of one episode for all.
    """
    layer, shape, found = net.spec.layers[i], net.shapes[i], list[Tensor]()
    batch, post = output.shape
    count = len(shape.modulator.units) if shape.modulator else 0
    received = scale * torch.randn(shape.inputs + count, generator=torch.Generator().manual_seed(1)).to(output)
    inputs, source = received.expand(batch, -1).split([shape.inputs, count], dim=1)
    cell = map_tensors(lambda t: output if t.shape == output.shape else t, layer.cell.state(batch, post, output))
    seen = Observation(output, output, inputs, cell, source if count else None)
    state = layer.modulation.state(batch, post, output)
    for _ in range(2):
        rate, state = layer.modulation.step(params, state, seen)
        for value in rate:
            if value is not None:
                narrow = value if value.dim() < 3 or value.shape[2] == 1 else value[..., columns]
                sizes = (batch, post, *narrow.shape[2:])
                found.append(narrow.expand(sizes)[:, rows].flatten(1))
    return torch.cat(found, dim=1)


def reads_recall(net: Network, i: int) -> bool:
    """Whether a layer's rule reads the recall `H @ pre`, to which every plastic column contributes."""
    shape, width = net.shapes[i], net.shapes[i].width
    layer, params, rng = net.spec.layers[i], net.parts()[i], torch.Generator().manual_seed(0)
    seen = _seen(shape.post, width, rng)
    runs = [_changes(layer.rule, _double(params.rule), seen._replace(recalled=k * seen.recall)) for k in (1.0, -0.7)]
    return not torch.equal(*runs)


def _seen(post: int, width: int, rng: Generator) -> Activity:
    """Random activity: pre, post and recall, each [steps, batch, ...], and a constant trace."""
    trace = 0.1 * torch.ones(_STEPS, _BATCH, post, width, dtype=torch.float64)
    pre, output, recall = (_various((_STEPS, _BATCH, n), rng) for n in (width, post, post))
    return Activity(pre, output, recall, trace)


def _changes(rule: Any, params: Any, seen: Activity) -> Tensor:
    """Changes of the trace [steps, batch, post, width] that a rule makes for a sequence of activity."""
    post, width = seen.post.shape[2], seen.pre.shape[2]
    state, changes = rule.state(_BATCH, post, width, seen.trace), []
    for step in map(Activity, seen.pre, seen.post, seen.recall, seen.trace):
        change, state = rule.step(params, state, step)
        changes.append(change.full(step.trace))
    return torch.stack(changes)


def _double(params: Any) -> Any:
    """Parameters as float64 on the CPU, so that comparisons are free of rounding."""
    return map_tensors(lambda tensor: tensor.detach().cpu().double(), params)
