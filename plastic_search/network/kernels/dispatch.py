"""Which kernel runs a layer, and why.

Layers are run one after another, each over the whole sequence, which is the same as step by step: a layer hears
others of this step and itself of the step before, and never one that comes after it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.network import step as law
from plastic_search.network.kernels import reference
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.network.step import LayerState, Ready
from plastic_search.precisions import Format, Role
from plastic_search.structures import Shape

if TYPE_CHECKING:
    from plastic_search.network.kernels.passes import Backend
    from plastic_search.network.kernels.stepping import Stepper

__all__ = ["KERNELS", "Choice", "SlowerPath", "choose", "known", "sequences", "steppers"]

KERNELS = ("reference", "cpu", "gpu")
_FASTEST = {"cpu": "cpu", "cuda": "gpu"}  # by type of device
_WIDEST = 1024  # units of a layer that the gpu kernel runs faster than the reference, if barely, for a few episodes


class SlowerPath(UserWarning):
    """A layer is run by the reference, since no kernel takes it."""


class Choice(NamedTuple):
    """What runs a layer."""

    kernel: str
    reason: str  # why nothing faster does; "" where it is the fastest


_told: set[str] = set()


def known(kernel: str | None) -> str | None:
    """`kernel`, if there is one of that name; None leaves the choice to us."""
    if kernel is not None and kernel not in KERNELS:
        raise unknown("kernel", str(kernel), KERNELS)
    return kernel


def choose(kernel: str | None, layer: Layer, shape: Shape, form: Format | None, x: Tensor) -> Choice:
    """The kernel for a layer that hears `x` [..., time, batch, sources].

    Args:
        kernel: a name of `KERNELS`, which must then be possible; or None, for the fastest that is.

    Raises:
        PlasticSearchError: the kernel asked for does not take this layer; the message says why.
    """
    if kernel == "reference":
        return Choice("reference", "it was asked for")
    name = kernel or _FASTEST.get(x.device.type, "")
    passing = _passing(x)
    if not passing and not name:
        passing = f"no kernel runs on {x.device.type}"
    if not passing and kernel is None and name == "gpu" and shape.post > _WIDEST:
        passing = f"beyond {_WIDEST:,} units the gpu kernel is not the faster; Network(..., kernel='gpu') asks for it"
    lasting = "" if passing else _declined(name, layer, shape, x)
    if not passing and not lasting:
        return Choice(name, "")
    if kernel is not None:
        why = passing or lasting
        raise PlasticSearchError(f"the {kernel} kernel does not take {_named(layer)}: {why}; use kernel=None")
    told = f"{_named(layer)} runs by the reference, which is slower: {lasting}"
    if lasting and told not in _told:
        _told.add(told)
        warnings.warn(told, SlowerPath, stacklevel=4)
    return Choice("reference", passing or lasting)


def sequences(
    spec: NetworkSpec, shapes: tuple[Shape, ...], ready: tuple[Ready, ...],
    state: tuple[LayerState, ...] | None, x: Tensor, kernel: str | None,
) -> tuple[Tensor, tuple[LayerState, ...]]:  # fmt: skip
    """Every layer over a whole sequence.

    Args:
        state: where the episodes go on from; None starts them.
        x: [time, batch, inputs]; or [member, time, batch, inputs], where every other tensor begins with that axis too.

    Returns:
        The last layer's outputs [..., time, batch, post], and the state after the last step.
    """
    run: Callable[..., tuple[Tensor, tuple[LayerState, ...]]] = _sequences
    compiler: Any = torch.compiler
    if compiler.is_dynamo_compiling() and not compiler.is_exporting():
        run = compiler.disable(run)  # what is compiled already is left to run as it is
    return run(spec, shapes, ready, state, x, kernel)


def _sequences(
    spec: NetworkSpec, shapes: tuple[Shape, ...], ready: tuple[Ready, ...],
    state: tuple[LayerState, ...] | None, x: Tensor, kernel: str | None,
) -> tuple[Tensor, tuple[LayerState, ...]]:  # fmt: skip
    heard, after, form = [x], [], spec.precision.format(Role.TRACE)
    before = state or (None,) * len(shapes)
    for layer, shape, made, own in zip(spec.layers, shapes, ready, before, strict=True):
        joined = law.layer_inputs(shape, heard)
        name = choose(kernel, layer, shape, form, joined).kernel
        if name == "reference" and own is None:
            own = reference.start(spec, layer, shape, made, joined)
        said, now = _runner(name, joined.dim() == 4)(layer, shape, form, made, own, joined)
        heard.append(said)
        after.append(now)
    return heard[-1], tuple(after)


def steppers(
    spec: NetworkSpec, shapes: tuple[Shape, ...], ready: tuple[Ready, ...], state: tuple[LayerState, ...],
    kernel: str | None,
) -> list[Stepper]:  # fmt: skip
    """What takes every layer from step to step, without gradients."""
    from plastic_search.network.kernels.stepping import ByBackend, ByLaw

    made: list[Stepper] = []
    form = spec.precision.format(Role.TRACE)
    for layer, shape, own, now in zip(spec.layers, shapes, ready, state, strict=True):
        x = now.output.new_zeros(1, len(now.output), shape.pre - shape.recurrent)
        name = choose(kernel, layer, shape, form, x).kernel
        given = (layer, shape, form, own, now)
        made.append(ByLaw(*given) if name == "reference" else ByBackend(_backend(name), *given))
    return made


def _runner(kernel: str, many: bool) -> Callable[..., tuple[Tensor, LayerState]]:
    if kernel == "reference":
        return reference.sequences if many else reference.sequence
    from plastic_search.network.kernels import autograd

    return partial(autograd.sequence, _backend(kernel))


@cache
def _backend(kernel: str) -> Backend:
    from plastic_search.network.kernels.cpu.backend import CPU
    from plastic_search.network.kernels.gpu.backend import GPU

    return GPU() if kernel == "gpu" else CPU()


def _declined(kernel: str, layer: Layer, shape: Shape, x: Tensor) -> str:
    from plastic_search.network.kernels import autograd

    return _backend(kernel).declined(x) or autograd.declined(layer, shape, x)


def _passing(x: Tensor) -> str:
    """What of this moment, not of the layer, keeps a kernel from it."""
    inside: Any = torch._C
    if inside._functorch.peek_interpreter_stack() is not None:
        return "torch.func transforms it"
    if inside._get_tracing_state() or inside._len_torch_dispatch_stack():
        return "torch records it, or runs it on tensors of its own"
    if torch.compiler.is_compiling():
        return "torch compiles it"
    if x.device.type in _FASTEST and torch.is_autocast_enabled(x.device.type):
        return "autocast is on"
    return "there are no episodes" if x.shape[-2] == 0 else ""


def _named(layer: Layer) -> str:
    return f"a layer of {type(layer.cell).__name__}, {type(layer.rule).__name__} and {type(layer.modulation).__name__}"
