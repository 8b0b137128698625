"""What a part answers, looked at before it is relied on, and who is to blame where one fails."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
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

__all__ = ["blamed", "look"]

_BATCH = 2
_MEND = "mend it and give the same command again"
_LAW = ("network",)  # a failure in these is nobody's alone


def look(net: Network) -> None:
    """Ask every cell, rule and modulation of a network once, and see that the answer has the shape that it must have.

    Raises:
        PlasticSearchError: one has not; the message names the part, its file and line, and both shapes.
    """
    layers = list(zip(net.spec.layers, net.shapes, net.parts(), strict=True))
    with torch.no_grad():
        for layer, shape, params in layers:  # first, since a state is made with the rate's help
            if shape.width:
                _look_at_modulation(layer, params, shape.post)
        for (layer, shape, params), state in zip(layers, net.start(_BATCH), strict=True):
            _look_at_cell(layer, shape.post, state)
            if state.trace is not None:
                _look_at_rule(layer, params, state, state.trace.shape[2])


def blamed(error: Exception, where: str) -> PlasticSearchError:
    """What a user is told of `error`, which ended the work `where`: whose it is, and at which line it was raised."""
    if isinstance(error, PlasticSearchError):
        return PlasticSearchError(f"{where}: {error}")
    if isinstance(error, MemoryError):
        return PlasticSearchError(f"{where} needs more memory than there is; try --workers 1, or smaller networks")
    text = " ".join(str(error).split())
    raised = f"raised {type(error).__name__}{': ' if text else ''}{text}"
    frames = list(traceback.walk_tb(error.__traceback__))
    for frame, line in reversed(frames):
        file, part = frame.f_code.co_filename, frame.f_locals.get("self")
        if isinstance(part, Part):
            return PlasticSearchError(f"{_called(type(part))} ({_at(file, line)}) {raised} in {where}; {_MEND}")
        if _room(file) in _LAW:
            break
    last = _at(frames[-1][0].f_code.co_filename, frames[-1][1]) if frames else "?"
    return PlasticSearchError(f"{where} {raised} ({last}); {_MEND}")


def _look_at_cell(layer: Layer, post: int, state: LayerState) -> None:
    cell = layer.cell
    after, answer = _two(cell, cell.step(state.cell, torch.zeros(_BATCH, cell.drives, post)), "(state, Response)")
    _of(cell, answer, Response, "its second answer")
    _sized(cell, "Response.output", answer.output, (_BATCH, post), "[batch, post]")
    _sized(cell, "Response.post", answer.post, (_BATCH, post), "[batch, post]")
    _same(cell, state.cell, after)


def _look_at_rule(layer: Layer, params: LayerParams, state: LayerState, pre: int) -> None:
    rule, post = layer.rule, params.weight.shape[1]
    rng = torch.Generator().manual_seed(0)
    seen = Activity(*(torch.rand(_BATCH, width, generator=rng) for width in (pre, post, post)))
    change, after = _two(rule, rule.step(params.rule, state.rule, seen), "(Change, state)")
    _of(rule, change, Change, "its first answer")
    _of(rule, change.terms, tuple, "Change.terms")
    for term in change.terms:
        _of(rule, term, Outer, "a term of its Change")
        _sized(rule, "Outer.post", term.post, (_BATCH, post), "[batch, post]")
        _sized(rule, "Outer.pre", term.pre, (_BATCH, pre), "[batch, pre]")
        _spreads(rule, "Outer.coef", term.coef, (post, pre), "[post, pre]")
    _spreads(rule, "Change.decay", change.decay, (_BATCH, post, pre), "[batch, post, pre]")
    _same(rule, state.rule, after)


def _look_at_modulation(layer: Layer, params: LayerParams, post: int) -> None:
    modulation, whole = layer.modulation, (_BATCH, post)
    rate = modulation.step(params.modulation, torch.zeros(whole))
    _of(modulation, rate, Rate, "its answer")
    _spreads(modulation, "Rate.write", rate.write, whole, "[batch, post]")


def _two(part: Part, answer: Any, wanted: str) -> tuple[Any, Any]:
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise _wrong(part, f"must answer {wanted}, but answered {_what(answer)}")
    return answer[0], answer[1]


def _of(part: Part, value: Any, kind: type, what: str) -> None:
    if not isinstance(value, kind):
        raise _wrong(part, f"wants a {kind.__name__} as {what}, but gave {_what(value)}")


def _sized(part: Part, what: str, value: Any, size: tuple[int, ...], names: str) -> None:
    if not isinstance(value, Tensor) or tuple(value.shape) != size:
        raise _wrong(part, f"must make {what} {names}, here {list(size)}, but made {_what(value)}")


def _spreads(part: Part, what: str, value: Any, size: tuple[int, ...], names: str) -> None:
    """Whether a number, or a tensor, can stand for one of `size`."""
    if isinstance(value, int | float):
        return
    try:
        fits = isinstance(value, Tensor) and torch.broadcast_shapes(value.shape, size) == torch.Size(size)
    except RuntimeError:
        fits = False
    if not fits:
        raise _wrong(part, f"must make {what} spread over {names}, here {list(size)}, but made {_what(value)}")


def _same(part: Part, before: Any, after: Any) -> None:
    if _sizes(before) != _sizes(after):
        raise _wrong(part, f"must give its state back as it was, {_sizes(before)}, but gave {_sizes(after)}")


def _sizes(state: Any) -> str:
    """The shape of every tensor of a state, by name."""
    if hasattr(state, "_asdict"):
        return ", ".join(f"{name} {_sizes(value)}" for name, value in state._asdict().items())
    if isinstance(state, Tensor):
        return f"{list(state.shape)}"
    return "nothing" if state in ((), None) else _what(state)


def _what(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"one of shape {list(value.shape)}"
    return f"{value!r}" if isinstance(value, int | float | str | None) else f"a {type(value).__name__}"


def _wrong(part: Part, what: str) -> PlasticSearchError:
    code = type(part).step.__code__  # type: ignore[attr-defined]
    return PlasticSearchError(f"{_called(type(part))} ({_at(code.co_filename, code.co_firstlineno)}) {what}; {_MEND}")


def _called(kind: type[Part]) -> str:
    """`rule Oja`."""
    base = next((k for k in kind.__mro__ if Part in k.__bases__), kind)
    return f"{base.__name__.lower()} {kind.__name__}"


def _room(file: str) -> str:
    """`step` for our step.py, `kernels` for what lies in there, "" for files that are not ours."""
    home = Path(__file__).parents[1]
    return Path(file).relative_to(home).with_suffix("").parts[0] if Path(file).is_relative_to(home) else ""


def _at(file: str, line: int) -> str:
    """`mine/rules.py:8`, from where the user stands."""
    near = os.path.relpath(file)
    return f"{file if near.startswith('..') else near}:{line}"
