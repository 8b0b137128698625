"""What the parts of a network must return, checked before it is trained; faults name part, file, line and shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plastic_search.cells import Response
from plastic_search.core.part import Part
from plastic_search.modulations import Observation, Rate
from plastic_search.network.diagnostics import described, fault
from plastic_search.network.module import Network
from plastic_search.network.pytree import flatten, leaves
from plastic_search.network.spec import Layer, NetworkSpec, shapes
from plastic_search.network.step import LayerParams, LayerState
from plastic_search.precisions import Format, Role
from plastic_search.rules import Activity, Change, Outer
from plastic_search.structures import Gates, LearnedStructure, Shape

__all__ = ["build"]

_BATCH = 2


def build(spec: NetworkSpec, inputs: int, seed: int = 0) -> Network:
    """A network whose every part was called once, and returned what it must.

    Raises:
        PlasticSearchError: a part returns another type, shape or dtype, or changes its arguments in place; the message
            names the part, its file and line, and both shapes.
    """
    for role in Role:
        form = spec.precision.format(role)
        if form is not None:
            _check_type(spec.precision, "format", form, Format, f"or None for the {role.value}")
    with torch.no_grad():
        for layer, shape in zip(spec.layers, shapes(spec, inputs), strict=True):  # `Network` calls them
            _validate_drawn(layer, shape)
        net = Network(spec, inputs, seed)
        layers = list(zip(spec.layers, net.shapes, net.parts(), strict=True))
        for layer, shape, _ in layers:
            _check_tree(layer.cell, "state", layer.cell.state(_BATCH, shape.post, torch.zeros(1)))
        for layer, shape, params in layers:  # first, since `initial_state` calls the modulation
            if shape.width:
                _validate_modulation(layer, params, shape)
        for (layer, shape, params), state in zip(layers, net.initial_state(_BATCH), strict=True):
            _validate_cell(layer, params, shape, state)
            if state.trace is not None:
                _validate_rule(layer, params, state, shape.post, shape.width)
    return net


def _validate_drawn(layer: Layer, shape: Shape) -> None:
    """The parameters that parts draw, and the structure's gates."""
    rng = torch.Generator().manual_seed(0)
    _check_tree(layer.cell, "params", layer.cell.params(shape.post, rng))
    if shape.width:
        _check_tree(layer.rule, "params", layer.rule.params(shape.post, shape.width, rng))
        _check_tree(layer.modulation, "params", layer.modulation.params(shape.post, shape.width, rng))
        _check_tree(layer.rule, "state", layer.rule.state(_BATCH, shape.post, shape.width, torch.zeros(1)))
    structure = layer.structure
    params = structure.params(shape, rng)
    _check_tree(structure, "params", params)
    gates = _unchanged(structure, "gates", lambda: structure.gates(params, shape, torch.zeros(1)), params)
    _check_type(structure, "gates", gates, Gates, "as its result")
    wanted = {"exists": (shape.post, shape.pre), "plastic": (shape.post, shape.width), "units": (shape.post,)}
    for name, value in gates._asdict().items():
        if value is not None:
            axes = {"exists": "[post, pre]", "plastic": "[post, width of the plastic pathway]", "units": "[post]"}
            _check_shape(structure, "gates", f"Gates.{name}", value, wanted[name], axes[name])
    if isinstance(structure, LearnedStructure) and (penalty := structure.constraint(params, shape)) is not None:
        _check_shape(structure, "constraint", "a penalty", penalty, (), "as one number")


def _validate_cell(layer: Layer, params: LayerParams, shape: Shape, state: LayerState) -> None:
    cell, post = layer.cell, shape.post
    drive = torch.zeros(_BATCH, cell.sums, post)
    arguments = (params.cell, state.cell, drive)
    result = _unchanged(cell, "step", lambda: cell.step(*arguments), arguments)
    after, response = _pair(cell, result, "(state, Response)")
    _check_type(cell, "step", response, Response, "as its second result")
    _check_shape(cell, "step", "Response.output", response.output, (_BATCH, post), "[batch, post]")
    _check_shape(cell, "step", "Response.post", response.post, (_BATCH, post), "[batch, post]")
    _check_state(cell, state.cell, after)
    sends = bool(response.output.any() or response.post.any())  # what is delayed is post at first
    if sends and layer.structure.gates(params.structure, shape, drive).units is not None:
        what = f"must return 0 for units that do not exist, as {type(layer.structure).__name__} has them, but does not"
        raise fault(cell, "step", f"{what}; choose another cell")


def _validate_rule(layer: Layer, params: LayerParams, state: LayerState, post: int, pre: int) -> None:
    rule = layer.rule
    rng = torch.Generator().manual_seed(0)
    seen = Activity(*(torch.rand(_BATCH, *n, generator=rng) for n in ((pre,), (post,), (post,), (post, pre))))
    arguments = (params.rule, state.rule, seen)
    change, after = _pair(rule, _unchanged(rule, "step", lambda: rule.step(*arguments), arguments), "(Change, state)")
    _check_type(rule, "step", change, Change, "as its first result")
    _check_type(rule, "step", change.terms, tuple, "as Change.terms")
    for term in change.terms:
        _check_type(rule, "step", term, Outer, "as a term of its Change")
        _check_shape(rule, "step", "Outer.post", term.post, (_BATCH, post), "[batch, post]")
        _check_shape(rule, "step", "Outer.pre", term.pre, (_BATCH, pre), "[batch, pre]")
        _check_broadcast(rule, "Outer.coef", term.coef, (post, pre), "[post, pre]")
    _check_broadcast(rule, "Change.decay", change.decay, (_BATCH, post, pre), "[batch, post, pre]")
    if change.dense is not None:
        _check_shape(rule, "step", "Change.dense", change.dense, (_BATCH, post, pre), "[batch, post, pre]")
    _check_state(rule, state.rule, after)


def _validate_modulation(layer: Layer, params: LayerParams, shape: Shape) -> None:
    modulation, output = layer.modulation, torch.zeros(_BATCH, shape.post)
    state = modulation.state(_BATCH, shape.post, torch.zeros(1))
    _check_tree(modulation, "state", state)
    modulator = None if shape.modulator is None else torch.zeros(_BATCH, len(shape.modulator.units))
    inputs, cell = torch.zeros(_BATCH, shape.inputs), layer.cell.state(_BATCH, shape.post, output)
    arguments = (params.modulation, state, Observation(output, output.clone(), inputs, cell, modulator))
    result = _unchanged(modulation, "step", lambda: modulation.step(*arguments), arguments)
    rate, after = _pair(modulation, result, "(Rate, state)")
    _check_type(modulation, "step", rate, Rate, "as its first result")
    for name, value in rate._asdict().items():
        if name == "eligibility" and value is None:
            continue
        if not isinstance(value, Tensor):  # a rate is indexed
            raise fault(modulation, "step", f"must return Rate.{name} as a tensor, but returned {described(value)}")
        sizes, axes = (_BATCH, shape.post, shape.width), "[batch, post], or with three dimensions to [batch, post, pre]"
        _check_broadcast(modulation, f"Rate.{name}", value, sizes if value.dim() == 3 else sizes[:2], axes)
    _check_state(modulation, state, after)


def _unchanged(part: Part, method: str, call: Callable[[], Any], arguments: Any) -> Any:
    """The result of a call that must not change the tensors among its arguments."""
    tensors = [leaf for leaf in leaves(arguments) if isinstance(leaf, Tensor)]
    before = [tensor._version for tensor in tensors]
    result = call()
    if before != [tensor._version for tensor in tensors]:
        raise fault(part, method, f"`{method}` must not change what it receives in place, but does")
    return result


def _pair(part: Part, result: Any, expected: str) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise fault(part, "step", f"must return {expected}, but returned {described(result)}")
    return result[0], result[1]


def _check_type(part: Part, method: str, value: Any, kind: type, role: str) -> None:
    if not isinstance(value, kind):
        raise fault(part, method, f"must return a {kind.__name__} {role}, but returned {described(value)}")


def _check_shape(part: Part, method: str, name: str, value: Any, shape: tuple[int, ...], axes: str) -> None:
    if not isinstance(value, Tensor) or tuple(value.shape) != shape:
        wanted = f"{axes}, here {list(shape)}" if shape else axes
        raise fault(part, method, f"must return {name} {wanted}, but returned {described(value)}")
    if value.dtype is not torch.float32:
        raise fault(part, method, f"must return {name} of torch.float32, as its inputs are, but returned {value.dtype}")


def _check_broadcast(part: Part, name: str, value: Any, shape: tuple[int, ...], axes: str) -> None:
    """Check that a number, or a tensor, broadcasts to `shape`."""
    if isinstance(value, int | float):
        return
    try:
        fits = isinstance(value, Tensor) and torch.broadcast_shapes(value.shape, shape) == torch.Size(shape)
    except RuntimeError:
        fits = False
    if not fits:
        raise fault(
            part,
            "step",
            f"must return {name} that broadcasts to {axes}, here {list(shape)}, but returned {described(value)}",
        )


def _check_tree(part: Part, method: str, value: Any) -> None:
    """Check that parameters, or a state, are nested NamedTuples of tensors, or ()."""
    try:
        flatten(value)
    except Exception:
        wanted = "a NamedTuple of tensors, or ()"
        raise fault(part, method, f"`{method}` must return {wanted}, but returned {described(value)}") from None


def _check_state(part: Part, before: Any, after: Any) -> None:
    if _sizes(before) != _sizes(after):
        raise fault(
            part, "step", f"must return its state in the shape it had, {_sizes(before)}, but returned {_sizes(after)}"
        )


def _sizes(state: Any) -> str:
    """The shape of every tensor of a state, by name."""
    if hasattr(state, "_asdict"):
        return ", ".join(f"{name} {_sizes(value)}" for name, value in state._asdict().items())
    if isinstance(state, Tensor):
        return f"{list(state.shape)}"
    return "nothing" if state in ((), None) else described(state)
