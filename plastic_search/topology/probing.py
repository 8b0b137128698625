"""What parts make of their units, tried out with random activity: whom they hear, and whether they can be cut smaller.

Nothing here knows a part by its name. A part is local where a cut of what it makes of all units is what it makes of the
cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.network.pytree import flatten, map_tensors, unflatten
from plastic_search.rules import Activity

__all__ = ["cell_is_local", "listened", "modulation_is_local", "recalls", "rule_is_local", "sliced"]

_SCALES, _STEPS = (0.01, 0.1, 1.0, 3.0), 3  # of random activity; what saturates at one size does not at another
_BATCH = 2 * len(_SCALES)
_LOUD = (-3.0, -0.3, -0.01, 0.0, 0.01, 0.3, 3.0)  # what a unit may say


def sliced(params: Any, draw: Callable[..., Any], sizes: tuple[int, ...], keep: tuple[Tensor, ...], who: Any) -> Any:
    """What a part learns, cut to the indices `keep` of each of its sizes (post, and for a rule pre).

    Args:
        draw: the part's own `params`, which tells by its answers to other sizes which dimension is which.
        who: the part, for the message.

    Raises:
        PlasticSearchError: a dimension is neither of the sizes.
    """
    rng = torch.Generator().manual_seed(0)
    flat, base = flatten(params), flatten(draw(*sizes, rng))
    for axis, indices in enumerate(keep):
        larger = flatten(draw(*(n + (a == axis) for a, n in enumerate(sizes)), rng))
        for name, tensor in base.items():
            other = larger[name].shape if name in larger else torch.Size()
            grown = [d for d, (a, b) in enumerate(zip(tensor.shape, other, strict=False)) if a != b]
            if len(other) != tensor.dim() or any(
                (tensor.shape[d], other[d]) != (sizes[axis], sizes[axis] + 1) for d in grown
            ):
                raise PlasticSearchError(
                    f"{type(who).__name__}'s parameter {name} is {list(tensor.shape)} at sizes "
                    f"{list(sizes)}; only dimensions that are one of the sizes can be cut smaller"
                )
            for d in grown:
                flat[name] = flat[name].index_select(d, indices.to(flat[name].device))
    return unflatten(params, flat.values())


def cell_is_local(net: Network, i: int) -> bool:
    """Whether what a unit says depends on its own drives alone."""
    cell, post = net.spec.layers[i].cell, net.shapes[i].post
    drives = _various((_STEPS, _BATCH, cell.drives, post), torch.Generator().manual_seed(0))
    some = torch.arange(0, post, 2)
    return _same(_spoken(cell, drives)[..., some], _spoken(cell, drives[..., some]))


def _various(size: tuple[int, ...], rng: Generator) -> Tensor:
    """Random numbers [steps, batch, ...]: of every scale twice, once all of them and once with most of them 0."""
    made = torch.randn(size, generator=rng, dtype=torch.float64)
    scales = torch.tensor((*_SCALES, *_SCALES), dtype=torch.float64).view(-1, *[1] * (len(size) - 2))
    few = torch.rand(size, generator=rng) < 0.2
    few[:, : len(_SCALES)] = True
    return made * scales * few


def _spoken(cell: Any, drives: Tensor) -> Tensor:
    state, made = cell.state(_BATCH, drives.shape[3], drives[0]), []
    for drive in drives:
        state, response = cell.step(state, drive)
        made.append(torch.cat([response.output.unsqueeze(1), response.post.unsqueeze(1)], dim=1))
    return torch.stack(made)


def rule_is_local(net: Network, i: int, rows: Tensor, columns: Tensor, silent: Tensor) -> bool:
    """Whether the changes of some synapses are the same without the others.

    Args:
        rows: the indices of the posts that remain, and `columns` of the pres, among those of the plastic pathway.
        silent: [width], the pres that never say anything.
    """
    rule, params, shape = net.spec.layers[i].rule, double(net.parts()[i].rule), net.shapes[i]
    width, rng = len(silent), torch.Generator().manual_seed(0)
    seen = _seen(shape.post, width, rng)
    seen = seen._replace(pre=seen.pre.masked_fill(silent, 0.0))
    trace = torch.randn(_BATCH, shape.post, width, generator=rng, dtype=torch.float64)
    cut = sliced(params, rule.params, (shape.post, width), (rows, columns), rule)
    fewer = Activity(seen.pre[..., columns], seen.post[..., rows], seen.recall[..., rows])
    whole = _changes(rule, params, seen, trace)[..., rows, :][..., columns]
    return _same(whole, _changes(rule, cut, fewer, trace[:, rows][..., columns]))


def modulation_is_local(net: Network, i: int, rows: Tensor, silent: Tensor) -> bool:
    """Whether the rates of the units `rows` are the same without the others, of whom some are `silent` [post]."""
    modulation, params, post = net.spec.layers[i].modulation, double(net.parts()[i].modulation), net.shapes[i].post
    rng = torch.Generator().manual_seed(0)
    output = _various((_STEPS, _BATCH, post), rng).flatten(0, 1).masked_fill(silent, 0.0)
    cut = sliced(params, modulation.params, (post,), (rows,), modulation)
    every = torch.arange(len(rows))
    return _same(_rate(modulation, params, output, rows), _rate(modulation, cut, output[:, rows], every))


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-9, atol=1e-11, equal_nan=True)


def listened(net: Network, i: int, rows: Tensor) -> Tensor:
    """Which units the modulator hears, found by changing one after the other, whatever the others say."""
    layer, shape, params = net.spec.layers[i], net.shapes[i], net.parts()[i]
    if not rows.any():
        return torch.zeros(shape.post, dtype=torch.bool)
    params, every = double(params.modulation), torch.arange(shape.post)
    found = torch.zeros(shape.post, dtype=torch.bool)
    for base in _various((1, _BATCH, shape.post), torch.Generator().manual_seed(0))[0]:
        rate = _rate(layer.modulation, params, base.unsqueeze(0), rows)
        for value in _LOUD:
            changed = base.repeat(shape.post, 1)
            changed[every, every] = value
            found |= (_rate(layer.modulation, params, changed, rows) != rate).any(1)
    return found


def _rate(modulation: Any, params: Any, output: Tensor, rows: Tensor) -> Tensor:
    rate = modulation.step(params, output)
    write = rate.write.expand(output.shape)[:, rows]
    if rate.eligibility is None:
        return write
    return torch.cat([write, rate.eligibility.expand(output.shape)[:, rows]], dim=1)


def recalls(net: Network, i: int) -> bool:
    """Whether a rule asks what the trace recalls, to which every plastic column contributes."""
    shape, width = net.shapes[i], net.shapes[i].width
    layer, params, rng = net.spec.layers[i], net.parts()[i], torch.Generator().manual_seed(0)
    seen = _seen(shape.post, width, rng)
    runs = [_changes(layer.rule, double(params.rule), seen._replace(recall=k * seen.recall)) for k in (1.0, -0.7)]
    return not torch.equal(*runs)


def _seen(post: int, width: int, rng: Generator) -> Activity:
    """Steps of random activity: pre, post and recall, each [steps, batch, ...]."""
    return Activity(*(_various((_STEPS, _BATCH, n), rng) for n in (width, post, post)))


def _changes(rule: Any, params: Any, seen: Activity, trace: Tensor | None = None) -> Tensor:
    """What a rule makes of steps of activity [steps, batch, post, width]."""
    post, width = seen.post.shape[2], seen.pre.shape[2]
    trace = 0.1 * torch.ones(_BATCH, post, width, dtype=torch.float64) if trace is None else trace
    state, made = rule.state(_BATCH, post, width, trace), []
    for step in zip(*seen, strict=True):
        change, state = rule.step(params, state, Activity(*step))
        made.append(change.dense(trace))
    return torch.stack(made)


def double(params: Any) -> Any:
    """Parameters as float64, on the CPU, so that a comparison sees no rounding."""
    return map_tensors(lambda tensor: tensor.detach().cpu().double(), params)
