"""What the promises are made of: the checks that parts of several folders share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from enum import Enum
from typing import Any

import torch
from torch import Generator, Tensor
from torch.testing import assert_close
from torch.utils import _pytree as pytree

from plastic_search.core.part import Part
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.network.state import State, load_named, named
from plastic_search.precisions import Precision
from plastic_search.precisions.floating import Floating
from plastic_search.structures import LearnedStructure, Shape, Structure, TrainingContext
from plastic_search.tasks._archives import DataMissing

__all__ = ["BATCH", "POST", "PRE", "STEPS", "between_updates", "dynamics", "in_a_network", "keep", "mapped", "noise"]
__all__ += ["promise", "rng_of", "seeded", "tensors", "variants"]

BATCH, POST, PRE, STEPS = 3, 5, 4, 4

Run = Callable[[Any, tuple[Tensor, ...]], tuple[Tensor, Any]]


def dynamics(part: Part, run: Run, params: Any, seen: tuple[Tensor, ...], shape: tuple[int, ...]) -> None:
    """What a part's steps must be like.

    Args:
        run: from parameters and what is seen to a result of `shape`, batch first, and the last state.
        params: as the part draws them, in float64.
        seen: [steps, batch, ...] each, in float64.
    """
    with promise(part, f"shapes stay what they are, here {list(shape)}, and numbers finite"):
        result, state = run(params, seen)
        keep(result.shape == shape and bool(result.isfinite().all()), f"got {result}")
    with promise(part, "float64 in, float64 out, in its state as well"):
        found = {t.dtype for t in [result, *tensors(state)] if t.is_floating_point()}
        keep(found == {torch.float64}, f"found {found}")
    with promise(part, "it is deterministic, and changes nothing that it was given"):
        before = [t.clone() for t in seen]
        assert_close(run(params, seen)[0], result, rtol=0, atol=0)
        keep(all(torch.equal(a, b) for a, b in zip(before, seen, strict=True)), "its inputs were changed in place")
    with promise(part, "an element alone does what it does within a batch"):
        for b in range(BATCH):
            alone, its = run(params, tuple(t[:, b : b + 1] for t in seen))
            assert_close([alone, *tensors(its)], [t[b : b + 1] for t in [result, *tensors(state)]])
    with promise(part, "it stays on the device of what it is given, and never branches on a tensor's values"):
        far, its = run(mapped(params, lambda t: t.to("meta")), tuple(t.to("meta") for t in seen))
        keep({t.device.type for t in [far, *tensors(its)]} == {"meta"}, "something is elsewhere")
    _gradients(part, run, params, seen)


def _gradients(part: Part, run: Run, params: Any, seen: tuple[Tensor, ...]) -> None:
    with promise(part, "gradients reach activity through time, and every tuned parameter"):
        free = tuple(t.clone().requires_grad_() for t in seen)
        tuned = mapped(params, lambda t: t.clone().requires_grad_())
        result, _ = run(tuned, free)
        reached = [t for t in tensors(tuned) if t.numel()]
        if not torch.equal(result, run(params, tuple(t + 1.0 for t in seen))[0]):
            reached += free
        if reached:
            (result * noise(*result.shape)).sum().backward()
        for t in reached:
            keep(t.grad is not None and bool(t.grad.isfinite().all()) and bool(t.grad.any()), "one gets no gradient")


def in_a_network(part: Part, layer: Layer, precision: Precision | None = None) -> None:
    """What a network whose one layer holds the part must be like, by the law in `step`."""
    spec = NetworkSpec((layer,), precision or Floating())
    x = noise(STEPS, BATCH, PRE)
    with promise(part, "a network of it starts the same from the same seed, and runs in float64"):
        net, twin = (Network(spec, PRE, seed=1).double() for _ in range(2))
        y, end = net(x)
        assert_close(twin(x)[0], y, rtol=0, atol=0)
        keep(y.shape == (STEPS, BATCH, POST) and bool(y.isfinite().all()), f"got {y}")
        keep({t.dtype for t in named(end).values()} == {torch.float64}, "its state is not float64")
    with promise(part, "in a network, an element alone does what it does within a batch"):
        start = net.start(BATCH)
        for b in range(BATCH):
            alone, its = net(x[:, b : b + 1], _row(start, b))
            assert_close([alone[:, 0], named(its)], [y[:, b], named(_row(end, b))])
    with promise(part, "in a network, time goes on where it stopped"):
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
        raise AssertionError(f"{kind.__name__} breaks a promise: it can be made with its defaults ({error})") from error
    now = {f.name: getattr(part, f.name) for f in fields(part)}
    enums = {name: value for name, value in now.items() if isinstance(value, Enum)}
    others = [(name, member) for name, value in enums.items() for member in type(value) if member is not value]
    return [part, *(replace(part, **{name: member}) for name, member in others)]


def seeded(part: Part, make: Callable[[Generator], Any]) -> Any:
    """The part's parameters in float64, once it is known that the same seed makes the same."""
    with promise(part, "its parameters are drawn from the generator it is given, and from nothing else"):
        made = make(rng_of(0))
        assert_close(tensors(make(rng_of(0))), tensors(made), rtol=0, atol=0)
    return mapped(made, Tensor.double)


def mapped(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A nest of NamedTuples with every tensor changed."""
    if isinstance(tree, Tensor):
        return change(tree)
    return type(tree)(*(mapped(t, change) for t in tree)) if hasattr(tree, "_fields") else tree


def tensors(tree: Any) -> list[Tensor]:
    """Every tensor in a nest of tuples."""
    if isinstance(tree, Tensor):
        return [tree]
    return [t for branch in tree for t in tensors(branch)] if isinstance(tree, tuple) else []


def noise(*shape: int) -> Tensor:
    """The same normal numbers for the same shape, in float64."""
    return torch.randn(*shape, generator=rng_of(sum(shape)), dtype=torch.float64)


def rng_of(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)


def keep(kept: bool, otherwise: str) -> None:
    """Like `assert`, but never switched off."""
    if not kept:
        raise AssertionError(otherwise)


@contextmanager
def promise(part: Part, what: str) -> Iterator[None]:
    """Whatever goes wrong inside is told as this part's broken promise."""
    try:
        yield
    except DataMissing:
        raise
    except Exception as error:
        raise AssertionError(f"{part} breaks a promise: {what} ({type(error).__name__}: {error})") from error


def _row(state: State, b: int) -> State:
    return load_named({name: t[b : b + 1] for name, t in named(state).items()}, state)


def between_updates(structure: Structure, shape: Shape, params: Any, step: int) -> None:
    """Let a structure that learns change what it wants to, as after `step` of two updates."""
    if not isinstance(structure, LearnedStructure):
        return
    width = shape.plastic.stop - shape.plastic.start
    weight, alpha, bias = noise(1, shape.post, shape.pre), noise(shape.post, width), noise(1, shape.post)
    grads = mapped(params, lambda t: noise(*t.shape).to(t))
    with promise(structure, "it changes itself between updates"), torch.no_grad():
        rng = torch.Generator().manual_seed(step)
        own = (weight[..., shape.pre - shape.recurrent :],) if shape.recurrent else ()
        context = TrainingContext(shape, params, grads, weight, bias, alpha, (*own, noise(1, 3, shape.post)), step, 2)
        many = pytree.tree_map(lambda t: t.unsqueeze(0) if isinstance(t, Tensor) else t, context)
        structure.adapt_all(many, [rng])
        if structure.pool is not None:
            structure.adapt_pool([(structure, context)])
