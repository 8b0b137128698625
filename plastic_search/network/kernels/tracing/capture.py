"""The program of each layer's parts: captured once, and again where what their methods read has changed."""

from __future__ import annotations

import os
import threading
from collections import Counter
from typing import Any, NamedTuple

import torch

from plastic_search.core.part import Part
from plastic_search.network.formats import Formats
from plastic_search.network.kernels.tracing.ir import Unsupported, UnsupportedError
from plastic_search.network.kernels.tracing.program import StepProgram
from plastic_search.network.kernels.tracing.reads import Reads
from plastic_search.network.kernels.tracing.step_function import Plastic, StepFunction
from plastic_search.network.kernels.tracing.survey import survey
from plastic_search.network.kernels.tracing.trace import trace
from plastic_search.network.kernels.tracing.unread import READS_INPUTS
from plastic_search.network.kernels.tracing.verify import out_of_range
from plastic_search.network.spec import Bound, Layer
from plastic_search.precisions import Format, Rounding

__all__ = ["capture"]

_KEPT = 512
_FLOAT = Formats()
_READS_INPUTS = Unsupported(READS_INPUTS)
_PATIENCE = 32  # captures of equal parts, after which what they read is taken to change all the time


class _Around(NamedTuple):
    """What else decides about a program, beside the parts."""

    dtype: torch.dtype
    default: torch.dtype
    bound: Bound = Bound.NONE
    rounding: Rounding | None = None
    remainder: int = 0
    columns: int | None = None
    units: int = 0
    controls: tuple[str, ...] = ()
    activity: Format | None = None  # of what the units send


class _Captured(NamedTuple):
    """What is known of some parts."""

    parts: tuple[Any, ...]  # held, so that no others are at their addresses
    reads: Reads | None  # None: nothing is compared, and nothing was captured
    program: StepProgram | Unsupported


_lock = threading.RLock()


def _renew_lock() -> None:
    """A thread of the parent may hold the lock at the moment of a fork, and the child would wait for ever."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)
_by_address: dict[tuple[Any, ...], _Captured] = {}
_by_content: dict[tuple[Any, ...], _Captured] = {}
_captures: Counter[tuple[Any, ...]] = Counter()  # by content


def capture(
    layer: Layer,
    plastic: bool,
    dtype: torch.dtype,
    form: Formats = _FLOAT,
    controls: tuple[str, ...] = (),
    columns: int = 0,
    units: int = 0,
) -> StepProgram | Unsupported:
    """The program of a layer's parts, or why there is none. Equal parts, of which nothing changed, give one object.

    Args:
        plastic: whether any connection is.
        form: the formats of its trace and activity.
        controls: what is imposed on a step, fields of `step.Controls`.
        columns, units: of the layer's inputs, and of the layer that its modulation names. A modulation that reads
            inputs is captured for a number of them.
    """
    parts = (layer.cell, layer.rule, layer.modulation) if plastic else (layer.cell,)
    around = _Around(dtype, torch.get_default_dtype(), activity=form.activity, controls=controls)
    if plastic:
        around = around._replace(bound=layer.bound, units=units)
        if form.trace is not None:
            around = around._replace(rounding=form.trace.rounding, remainder=form.trace.remainder)
    program = _program(parts, around)
    return _program(parts, around._replace(columns=columns)) if program == _READS_INPUTS else program


def _program(parts: tuple[Any, ...], around: _Around) -> StepProgram | Unsupported:
    key = (*map(id, parts), *around)
    found = _by_address.get(key)
    if found is None or (found.reads is not None and not found.reads.unchanged()):
        with _lock:  # so that two threads get one object
            found = _renewed(parts, around)
            _keep(_by_address, key, found)
    return found.program


def _renewed(parts: tuple[Any, ...], around: _Around) -> _Captured:
    """What parts compute now, from an earlier capture of equal ones if nothing they read has changed."""
    cell, *others = parts
    plastic = Plastic(others[0], others[1], *around[2:7]) if others else None
    content = (*map(_content, parts), *around)
    try:
        hash(content)
    except TypeError as error:
        reason = f"a setting of its parts is of a type that cannot be compared ({error})"
        return _Captured(parts, None, Unsupported(reason))
    try:
        reads = survey((*parts, *_types(cell, plastic, around.dtype)))
    except UnsupportedError as error:
        return _Captured(parts, None, Unsupported(str(error)))
    except Exception as error:  # attributes may be computed by the user's code, and modules absent
        reason = f"what its step reads cannot be found ({type(error).__name__}: {error})"
        return _Captured(parts, None, Unsupported(reason))
    before = _by_content.get(content)
    if before is not None and before.reads is not None:
        if not (what := before.reads.difference()):
            return before._replace(parts=parts, reads=reads)
        if _captures[content] >= _PATIENCE:
            reason = f"its step reads {what}, which keeps changing; make it a setting, a parameter or a state"
            return _Captured(parts, None, Unsupported(reason))
    _captures[content] += 1
    program = trace(cell, plastic, around.dtype, around.controls, around.activity)
    if isinstance(program, StepProgram) and (why := out_of_range(program, parts, around.dtype)):
        program = Unsupported(why)
    found = _Captured(parts, reads, program)
    if what := reads.difference():
        return _Captured(parts, None, Unsupported(f"its step changes {what}, which it reads"))
    return _keep(_by_content, content, found)


def _keep(kept: dict[tuple[Any, ...], _Captured], key: tuple[Any, ...], found: _Captured) -> _Captured:
    kept.pop(key, None)
    if len(kept) >= _KEPT:
        oldest = next(iter(kept))
        del kept[oldest], _captures[oldest]
    kept[key] = found
    return found


def _content(value: Any) -> Any:
    """What distinguishes a part from others, also where `==` does not: 0.0 and -0.0, 1 and True, uncompared fields."""
    match value:
        case float():
            return (float, value.hex())
        case tuple():
            return (type(value), *map(_content, value))
        case Part():
            return (type(value), *((name, _content(each)) for name, each in vars(value).items()))
    return (type(value), value)


def _types(cell: Any, plastic: Any, dtype: torch.dtype) -> set[type]:
    """The classes of the parameters and states of parts, whose methods a step may call."""
    try:
        step = StepFunction(cell, plastic, dtype, 2, 3)
    except Exception:  # which `trace` reports
        return set()
    return _tuples((step.initial_states, step.initial_params))


def _tuples(tree: Any) -> set[type]:
    return {type(tree)}.union(*map(_tuples, tree)) if isinstance(tree, tuple) else set()
