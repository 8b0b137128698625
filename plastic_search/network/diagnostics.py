"""Validates what user-defined parts return, and attributes exceptions to the part that raised them."""

from __future__ import annotations

import os
import traceback
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from plastic_search.cells import Response
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part
from plastic_search.modulations import Rate
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer
from plastic_search.network.step import LayerParams, LayerState
from plastic_search.rules import Activity, Change, Outer

__all__ = ["attributed", "validate_parts"]

_BATCH = 2
_REMEDY = "mend it and give the same command again"


def validate_parts(net: Network) -> None:
    """Call every cell, rule and modulation of a network once, and check types and shapes of what it returns.

    Raises:
        PlasticSearchError: one is wrong; the message names the part, its file and line, and both shapes.
    """
    layers = list(zip(net.spec.layers, net.shapes, net.parts(), strict=True))
    with torch.no_grad():
        for layer, shape, params in layers:  # first, since `start` calls the modulation
            if shape.width:
                _validate_modulation(layer, params, shape.post)
        for (layer, shape, params), state in zip(layers, net.start(_BATCH), strict=True):
            _validate_cell(layer, shape.post, state)
            if state.trace is not None:
                _validate_rule(layer, params, state, shape.post, shape.width)


def attributed(error: Exception, work: str) -> PlasticSearchError:
    """The message for a user whose `work` ended with `error`: which part raised it, in which file and line.

    That is the part whose method is innermost in the traceback. If a function of `plastic_search.network` lies further
    in, no part is named: those before it only called the network. The message then has the last line alone.
    """
    if isinstance(error, PlasticSearchError):
        return PlasticSearchError(f"{work}: {error}")
    if isinstance(error, MemoryError):
        return PlasticSearchError(f"{work} needs more memory than there is; try --workers 1, or smaller networks")
    text = " ".join(str(error).split())
    raised = f"raised {type(error).__name__}{': ' if text else ''}{text}"
    frames = list(traceback.walk_tb(error.__traceback__))
    for frame, line in reversed(frames):
        part = frame.f_locals.get("self")
        if isinstance(part, Part):
            at = _location(frame.f_code.co_filename, line)
            return PlasticSearchError(f"{_kind_and_name(type(part))} ({at}) {raised} in {work}; {_REMEDY}")
        if _of_this_package(frame):
            break
    at = _location(frames[-1][0].f_code.co_filename, frames[-1][1]) if frames else "?"
    return PlasticSearchError(f"{work} {raised} ({at}); {_REMEDY}")


def _of_this_package(frame: FrameType) -> bool:
    """Whether a frame runs code of `plastic_search.network`."""
    return f"{frame.f_globals.get('__name__')}.".startswith(f"{__package__}.")


def _validate_cell(layer: Layer, post: int, state: LayerState) -> None:
    cell = layer.cell
    after, response = _pair(cell, cell.step(state.cell, torch.zeros(_BATCH, cell.drives, post)), "(state, Response)")
    _check_type(cell, response, Response, "as its second result")
    _check_shape(cell, "Response.output", response.output, (_BATCH, post), "[batch, post]")
    _check_shape(cell, "Response.post", response.post, (_BATCH, post), "[batch, post]")
    _check_state(cell, state.cell, after)


def _validate_rule(layer: Layer, params: LayerParams, state: LayerState, post: int, pre: int) -> None:
    rule = layer.rule
    rng = torch.Generator().manual_seed(0)
    activity = Activity(*(torch.rand(_BATCH, width, generator=rng) for width in (pre, post, post)))
    change, after = _pair(rule, rule.step(params.rule, state.rule, activity), "(Change, state)")
    _check_type(rule, change, Change, "as its first result")
    _check_type(rule, change.terms, tuple, "as Change.terms")
    for term in change.terms:
        _check_type(rule, term, Outer, "as a term of its Change")
        _check_shape(rule, "Outer.post", term.post, (_BATCH, post), "[batch, post]")
        _check_shape(rule, "Outer.pre", term.pre, (_BATCH, pre), "[batch, pre]")
        _check_broadcast(rule, "Outer.coef", term.coef, (post, pre), "[post, pre]")
    _check_broadcast(rule, "Change.decay", change.decay, (_BATCH, post, pre), "[batch, post, pre]")
    _check_state(rule, state.rule, after)


def _validate_modulation(layer: Layer, params: LayerParams, post: int) -> None:
    modulation, shape = layer.modulation, (_BATCH, post)
    rate = modulation.step(params.modulation, torch.zeros(shape))
    _check_type(modulation, rate, Rate, "as its result")
    _check_broadcast(modulation, "Rate.write", rate.write, shape, "[batch, post]")


def _pair(part: Part, result: Any, expected: str) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise _invalid(part, f"must return {expected}, but returned {_described(result)}")
    return result[0], result[1]


def _check_type(part: Part, value: Any, kind: type, role: str) -> None:
    if not isinstance(value, kind):
        raise _invalid(part, f"must return a {kind.__name__} {role}, but returned {_described(value)}")


def _check_shape(part: Part, name: str, value: Any, shape: tuple[int, ...], axes: str) -> None:
    if not isinstance(value, Tensor) or tuple(value.shape) != shape:
        raise _invalid(part, f"must return {name} {axes}, here {list(shape)}, but returned {_described(value)}")


def _check_broadcast(part: Part, name: str, value: Any, shape: tuple[int, ...], axes: str) -> None:
    """Check that a number, or a tensor, broadcasts to `shape`."""
    if isinstance(value, int | float):
        return
    try:
        fits = isinstance(value, Tensor) and torch.broadcast_shapes(value.shape, shape) == torch.Size(shape)
    except RuntimeError:
        fits = False
    if not fits:
        raise _invalid(
            part, f"must return {name} that broadcasts to {axes}, here {list(shape)}, but returned {_described(value)}"
        )


def _check_state(part: Part, before: Any, after: Any) -> None:
    if _sizes(before) != _sizes(after):
        raise _invalid(
            part, f"must return its state in the shape it had, {_sizes(before)}, but returned {_sizes(after)}"
        )


def _sizes(state: Any) -> str:
    """The shape of every tensor of a state, by name."""
    if hasattr(state, "_asdict"):
        return ", ".join(f"{name} {_sizes(value)}" for name, value in state._asdict().items())
    if isinstance(state, Tensor):
        return f"{list(state.shape)}"
    return "nothing" if state in ((), None) else _described(state)


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"one of shape {list(value.shape)}"
    return f"{value!r}" if isinstance(value, int | float | str | None) else f"a {type(value).__name__}"


def _invalid(part: Part, fault: str) -> PlasticSearchError:
    code = type(part).step.__code__  # type: ignore[attr-defined]
    at = _location(code.co_filename, code.co_firstlineno)
    return PlasticSearchError(f"{_kind_and_name(type(part))} ({at}) {fault}; {_REMEDY}")


def _kind_and_name(kind: type[Part]) -> str:
    """`rule Oja`."""
    base = next((k for k in kind.__mro__ if Part in k.__bases__), kind)
    return f"{base.__name__.lower()} {kind.__name__}"


def _location(file: str, line: int) -> str:
    """`mine/rules.py:8`, relative to the working directory if the file lies in it."""
    near = os.path.relpath(file)
    return f"{file if near.startswith('..') else near}:{line}"
