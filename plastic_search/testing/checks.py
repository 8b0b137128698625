"""Checks that the promises of several kinds of parts share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from enum import Enum
from typing import Any

import torch
from torch import Generator, Tensor
from torch.testing import assert_close

from plastic_search.core.part import Part
from plastic_search.environments._copies import NotInstalled
from plastic_search.network.module import Network
from plastic_search.network.pytree import leaves, map_tensors
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.network.state import State, load_named, named
from plastic_search.precisions import Precision
from plastic_search.precisions.floating import Floating
from plastic_search.structures import LearnedStructure, Shape, Structure, TrainingContext
from plastic_search.tasks._archives import DataMissing

__all__ = ["BATCH", "POST", "PRE", "STEPS", "between_updates", "dynamics", "in_a_network", "keep", "noise"]
__all__ += ["promise", "rng_of", "seeded", "tensors", "variants"]

BATCH, POST, PRE, STEPS = 3, 5, 4, 4

Run = Callable[[Any, tuple[Tensor, ...]], tuple[Tensor, Any]]


def dynamics(part: Part, run: Run, params: Any, seen: tuple[Tensor, ...], shape: tuple[int, ...]) -> None:
    """Check the steps of a cell, a rule or a modulation.

    Args:
        run: maps parameters and the inputs `seen` to a result of `shape`, batch first, and the last state.
        params: the part's initial parameters, in float64.
        seen: the inputs, [steps, batch, ...] each, in float64.
    """
    with promise(part, f"shapes are kept, here {list(shape)}, and values are finite"):
        result, state = run(params, seen)
        keep(result.shape == shape and bool(result.isfinite().all()), f"got {result}")
    with promise(part, "float64 inputs give float64 outputs and state"):
        found = {t.dtype for t in [result, *tensors(state)] if t.is_floating_point()}
        keep(found == {torch.float64}, f"found {found}")
    with promise(part, "it is deterministic, and does not change its inputs in place"):
        before = [t.clone() for t in seen]
        assert_close(run(params, seen)[0], result, rtol=0, atol=0)
        keep(all(torch.equal(a, b) for a, b in zip(before, seen, strict=True)), "its inputs were changed in place")
    with promise(part, "elements of a batch are independent"):
        for b in range(BATCH):
            alone, final = run(params, tuple(t[:, b : b + 1] for t in seen))
            assert_close([alone, *tensors(final)], [t[b : b + 1] for t in [result, *tensors(state)]])
    with promise(part, "it stays on its inputs' device, and does not branch on a tensor's values"):
        result, state = run(map_tensors(lambda t: t.to("meta"), params), tuple(t.to("meta") for t in seen))
        keep({t.device.type for t in [result, *tensors(state)]} == {"meta"}, "a tensor is on another device")
    _gradients(part, run, params, seen)


def _gradients(part: Part, run: Run, params: Any, seen: tuple[Tensor, ...]) -> None:
    with promise(part, "gradients reach its inputs through time, and every parameter"):
        inputs = tuple(t.clone().requires_grad_() for t in seen)
        trainable = map_tensors(lambda t: t.clone().requires_grad_(), params)
        result, _ = run(trainable, inputs)
        reached = [t for t in tensors(trainable) if t.numel()]
        for k, each in enumerate(inputs):
            changed = (*seen[:k], seen[k] + 1.0, *seen[k + 1 :])
            reached += [] if torch.equal(result, run(params, changed)[0]) else [each]
        if reached:
            (result * noise(*result.shape)).sum().backward()
        for t in reached:
            keep(
                t.grad is not None and bool(t.grad.isfinite().all()) and bool(t.grad.any()), "a tensor gets no gradient"
            )


def in_a_network(part: Part, layer: Layer, precision: Precision | None = None) -> None:
    """Check a network whose first layer has the part, run by the reference step; the last activity stays a float."""
    spec = NetworkSpec((layer, Layer(POST)) if precision else (layer,), precision or Floating())
    x = noise(STEPS, BATCH, PRE)
    with promise(part, "a network with it starts the same from the same seed, and runs in float64"):
        net, twin = (Network(spec, PRE, seed=1).double() for _ in range(2))
        y, end = net(x)
        assert_close(twin(x)[0], y, rtol=0, atol=0)
        keep(y.shape == (STEPS, BATCH, POST) and bool(y.isfinite().all()), f"got {y}")
        keep({t.dtype for t in named(end).values()} == {torch.float64}, "its state is not float64")
    with promise(part, "in a network, elements of a batch are independent"):
        start = net.initial_state(BATCH)
        for b in range(BATCH):
            alone, final = net(x[:, b : b + 1], _row(start, b))
            assert_close([alone[:, 0], named(final)], [y[:, b], named(_row(end, b))])
    with promise(part, "in a network, an episode goes on from a saved state"):
        _, middle = net(x[:2])
        assert_close(named(net(x[2:], middle)[1]), named(end))
    with promise(part, "in a network, every parameter gets a finite gradient"):
        y.square().sum().backward()
        for name, p in net.named_parameters():
            keep(p.numel() == 0 or (p.grad is not None and bool(p.grad.isfinite().all())), f"{name} does not")


def variants(kind: type[Part] | Part) -> list[Any]:
    """A value as it is; a class with its defaults, and with each other member of its enums."""
    if isinstance(kind, Part):
        return [kind]
    try:
        part = kind()
    except Exception as error:
        message = f"{kind.__name__} breaks a promise: it can be constructed with its defaults ({error})"
        raise AssertionError(message) from error
    now = {f.name: getattr(part, f.name) for f in fields(part)}
    enums = {name: value for name, value in now.items() if isinstance(value, Enum)}
    others = [(name, member) for name, value in enums.items() for member in type(value) if member is not value]
    return [part, *(replace(part, **{name: member}) for name, member in others)]


def seeded(part: Part, make: Callable[[Generator], Any]) -> Any:
    """The part's parameters in float64, after checking that the same seed gives the same."""
    with promise(part, "its parameters are drawn from the generator that it receives, and from nothing else"):
        params = make(rng_of(0))
        assert_close(tensors(make(rng_of(0))), tensors(params), rtol=0, atol=0)
    return map_tensors(Tensor.double, params)


def tensors(tree: Any) -> list[Tensor]:
    """Every tensor of a nested tuple."""
    return [leaf for leaf in leaves(tree) if isinstance(leaf, Tensor)]


def noise(*shape: int) -> Tensor:
    """Normal numbers in float64, the same for the same shape."""
    return torch.randn(*shape, generator=rng_of(sum(shape)), dtype=torch.float64)


def rng_of(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)


def keep(kept: bool, otherwise: str) -> None:
    """`assert` that `python -O` does not remove."""
    if not kept:
        raise AssertionError(otherwise)


@contextmanager
def promise(part: Part, what: str) -> Iterator[None]:
    """Raise whatever fails inside as an AssertionError that names the part and its promise."""
    try:
        yield
    except (DataMissing, NotInstalled):
        raise
    except Exception as error:
        raise AssertionError(f"{part} breaks a promise: {what} ({type(error).__name__}: {error})") from error


def _row(state: State, b: int) -> State:
    return load_named({name: t[b : b + 1] for name, t in named(state).items()}, state)


def between_updates(structure: Structure, shape: Shape, params: Any, step: int) -> None:
    """Let a structure that learns adapt, as after `step` of two updates."""
    if not isinstance(structure, LearnedStructure):
        return
    width = shape.width
    weight, alpha, bias = noise(1, shape.post, shape.pre), noise(shape.post, width), noise(1, shape.post)
    grads = map_tensors(lambda t: noise(*t.shape).to(t), params)
    with promise(structure, "it changes itself between updates"), torch.no_grad():
        rng = torch.Generator().manual_seed(step)
        block = (weight[..., shape.pre - shape.recurrent :],) if shape.recurrent else ()
        context = TrainingContext(shape, params, grads, weight, bias, alpha, (*block, noise(1, 3, shape.post)), step, 2)
        many = map_tensors(lambda t: t.unsqueeze(0), context)
        structure.adapt_all(many, [rng])
        if structure.pool is not None:
            structure.adapt_pool([(structure, context)])
