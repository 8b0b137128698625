"""Which kernel runs each layer, and why.

Layers run one after another, each over the whole sequence. This equals running all layers step by step: a layer
receives the outputs of earlier layers at the same step, its own output at the step before, and nothing from later ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.network.controls import NOTHING, Controls
from plastic_search.network.formats import Formats, formats
from plastic_search.network.kernels import reference
from plastic_search.network.kernels.torch_internals import current_transform
from plastic_search.network.kernels.tracing.ir import Unsupported
from plastic_search.network.pytree import leaves
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.network.state import State
from plastic_search.network.step import LayerState, Ready, layer_inputs
from plastic_search.structures import Shape

if TYPE_CHECKING:
    from plastic_search.network.kernels.passes import Backend
    from plastic_search.network.kernels.stepping import Stepper

__all__ = ["KERNELS", "Choice", "SlowerPath", "choose", "known", "replayed", "sequences", "steppers"]

KERNELS = ("reference", "cpu", "gpu")
_FASTEST = {"cpu": "cpu", "cuda": "gpu"}  # by type of device
_WIDEST = 1024  # units of a layer that the gpu kernel runs faster than the reference, if barely, for a few episodes


class SlowerPath(UserWarning):
    """A layer is run by the reference, since no kernel supports it."""


class Choice(NamedTuple):
    """The kernel that runs a layer."""

    kernel: str
    reason: str  # why it is not the fastest of this device; "" where it is


_warned: set[str] = set()


def known(kernel: str | None) -> str | None:
    """`kernel`, if there is one of that name; None leaves the choice to `choose`."""
    if kernel is not None and kernel not in KERNELS:
        raise unknown("kernel", str(kernel), KERNELS)
    return kernel


def choose(
    kernel: str | None, layer: Layer, shape: Shape, form: Formats, x: Tensor, controls: Controls = NOTHING
) -> Choice:
    """The kernel for a layer with the inputs `x` [..., time, batch, sources], on which `controls` are imposed.

    Args:
        kernel: a name of `KERNELS`, which must then be possible; or None, for the fastest that is.

    Raises:
        PlasticSearchError: the kernel asked for does not support this layer; the message says why.
    """
    if kernel == "reference":
        return Choice("reference", "it was asked for")
    name = kernel or _FASTEST.get(x.device.type, "")
    momentary = _unsupported_now(x) or (_no_faster(name, shape, x) if kernel is None else None)
    lasting = None if momentary else _unsupported_layer(_backend(name), layer, shape, form, x, controls)
    why = momentary or lasting
    if why is None:
        return Choice(name, "")
    parts = f"a layer of {type(layer.cell).__name__}, {type(layer.rule).__name__} and {type(layer.modulation).__name__}"
    if kernel is not None:
        raise PlasticSearchError(f"the {kernel} kernel does not take {parts}: {why.reason}; use kernel=None")
    message = f"{parts} runs by the reference, which is slower: {why.reason}"
    if lasting and message not in _warned:
        _warned.add(message)
        warnings.warn(message, SlowerPath, stacklevel=4)
    return Choice("reference", why.reason)


def sequences(
    spec: NetworkSpec, shapes: tuple[Shape, ...], ready: tuple[Ready, ...],
    state: tuple[LayerState, ...] | None, x: Tensor, kernel: str | None, controls: Controls = NOTHING,
) -> tuple[Tensor, State]:  # fmt: skip
    """Every layer over a whole sequence.

    Args:
        state: where the episodes go on from; None starts them.
        x: [time, batch, inputs]; or [member, time, batch, inputs], where every other tensor has that first axis too.
        controls: what is imposed, [time, batch, 1] each.

    Returns:
        The last layer's outputs [..., time, batch, post], and the state after the last step.
    """
    outputs, states = [x], []
    layers = zip(spec.layers, shapes, ready, state or (None,) * len(shapes), formats(spec), strict=True)
    for layer, shape, layer_ready, before, form in layers:
        inputs = layer_inputs(shape, outputs)
        name = choose(kernel, layer, shape, form, inputs, controls).kernel
        if name == "reference" and before is None:
            before = reference.start(spec, layer, shape, layer_ready, inputs)
        output, after = _runner(name, inputs.dim() == 4)(layer, shape, form, layer_ready, before, inputs, controls)
        outputs.append(output)
        states.append(after)
    return outputs[-1], State(states)


def steppers(
    spec: NetworkSpec, shapes: tuple[Shape, ...], ready: tuple[Ready, ...], state: tuple[LayerState, ...],
    kernel: str | None, imposed: Controls = NOTHING, steps: int | None = None,
) -> list[Stepper]:  # fmt: skip
    """For each layer, an object that takes it from step to step, without gradients.

    Args:
        state: that before the first step, [batch, ...] or [member, batch, ...].
        imposed: an example of what may be imposed on a step, [time, batch, 1] each.
        steps: how many there will be at least; 0: none is recorded; None: nobody knows.
    """
    from plastic_search.network.kernels.stepping import BackendStepper, Placed, ReferenceStepper

    found: list[Stepper] = []
    layers = zip(spec.layers, shapes, ready, state, formats(spec), strict=True)
    for layer, shape, layer_ready, before, form in layers:
        *first, batch, _ = before.output.shape
        x = before.output.new_zeros(*first, 1, batch, shape.received)
        name, placed = choose(kernel, layer, shape, form, x, imposed).kernel, Placed(layer, shape, form)
        if name == "reference":
            found.append(ReferenceStepper(placed, layer_ready, before))
        else:
            found.append(BackendStepper(_backend(name), placed, layer_ready, before, imposed, steps))
    return found


def replayed(
    shapes: tuple[Shape, ...], each: Sequence[Stepper], ready: tuple[Ready, ...], then: tuple[Ready, ...],
    state: tuple[LayerState, ...], x: Tensor, controls: Controls,
) -> tuple[Tensor, State] | None:  # fmt: skip
    """`sequences` of the steps that were taken, of which no layer runs again that a backend ran.

    Args:
        ready, then: the parameters, and those of the steps.
        state: that before the first step.
        x: the inputs [..., time, batch, inputs].
        controls: what was imposed, [time, batch, 1] each.

    Returns:
        None where they have to run again: parameters have changed, or a transform of torch is at work.
    """
    if _unsupported_now(x) or not all(map(torch.equal, leaves(ready), leaves(then))):
        return None
    outputs, states = [x], []
    for shape, stepper, own, before in zip(shapes, each, ready, state, strict=True):
        output, after = stepper.replay(own, before, layer_inputs(shape, outputs), controls)
        outputs.append(output)
        states.append(after)
    return outputs[-1], State(states)


def _runner(kernel: str, population: bool) -> Callable[..., tuple[Tensor, LayerState]]:
    if kernel == "reference":
        return reference.sequences if population else reference.sequence
    from plastic_search.network.kernels import autograd

    return partial(autograd.sequence, _backend(kernel))


@cache
def _backend(kernel: str) -> Backend:
    from plastic_search.network.kernels.cpu.backend import CPU
    from plastic_search.network.kernels.gpu.backend import GPU

    return GPU() if kernel == "gpu" else CPU()


def _unsupported_layer(
    backend: Backend, layer: Layer, shape: Shape, form: Formats, x: Tensor, controls: Controls
) -> Unsupported | None:
    """Why a backend cannot run this layer; None where it can."""
    from plastic_search.network.kernels import autograd

    return backend.unsupported(x) or autograd.unsupported(layer, shape, form, x, controls)


def _unsupported_now(x: Tensor) -> Unsupported | None:
    """Why the current torch context (transform, tracing, autocast, empty batch) rules out a kernel, if it does."""
    if transform := current_transform():
        return Unsupported(transform)
    if torch.compiler.is_compiling():
        return Unsupported("torch compiles it")
    if x.device.type in _FASTEST and torch.is_autocast_enabled(x.device.type):
        return Unsupported("autocast is on")
    return Unsupported("there are no episodes") if x.shape[-2] == 0 else None


def _no_faster(kernel: str, shape: Shape, x: Tensor) -> Unsupported | None:
    """Why the fastest kernel of this device is the reference, if it is."""
    if not kernel:
        return Unsupported(f"no kernel runs on {x.device.type}")
    if kernel == "gpu" and shape.post > _WIDEST:
        return Unsupported(
            f"beyond {_WIDEST:,} units the gpu kernel is not the faster; Network(..., kernel='gpu') asks for it"
        )
    return None
