"""What a function's code names: globals, attributes, modules and constants, those of functions inside it included."""

from __future__ import annotations

import dis
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple

from plastic_search.network.kernels.tracing.ir import UnsupportedError

__all__ = ["Accesses", "accesses"]

_HIDDEN = {  # attributes and functions by which a step could tell how it is run
    "requires_grad", "grad_fn", "is_leaf", "is_grad_enabled", "is_inference", "is_inference_mode_enabled", "data_ptr",
    "is_autocast_enabled", "_version", "stride", "is_contiguous", "get_num_threads", "initial_seed", "get_rng_state",
    "is_cuda", "is_cpu",
}  # fmt: skip
_DOT = ("LOAD_ATTR", "LOAD_METHOD")


class Accesses(NamedTuple):
    """What some code names."""

    variables: tuple[tuple[str, tuple[str, ...]], ...]  # globals and builtins, each with the dots that follow it
    attributes: frozenset[str]
    modules: tuple[str, ...]  # which it imports while it runs
    constants: tuple[Any, ...]


@lru_cache(maxsize=4096)
def accesses(code: CodeType) -> Accesses:
    """What some code names.

    Raises:
        UnsupportedError: it assigns to a global, or looks at how it is run.
    """
    steps, variables, attributes, modules = list(dis.get_instructions(code)), [], set[str](), []
    for i, step in enumerate(steps):
        match step.opname:
            case "LOAD_GLOBAL" | "LOAD_NAME":
                variables.append((step.argval, _dots(steps[i + 1 : i + 9])))
            case "STORE_GLOBAL" | "DELETE_GLOBAL":
                raise UnsupportedError(f"its step changes the global {step.argval}")
            case "IMPORT_NAME":
                modules.append(step.argval)
            case "LOAD_ATTR" | "LOAD_METHOD" | "LOAD_SUPER_ATTR" | "IMPORT_FROM":
                if step.argval in _HIDDEN or (step.argval == "device" and _dots(steps[i + 1 : i + 2])):
                    raise UnsupportedError(f"its step looks at `{step.argval}`, so at how it is run")
                attributes.add(step.argval)
    found = Accesses(tuple(variables), frozenset(attributes), tuple(modules), ())
    for constant in code.co_consts:
        inner = accesses(constant) if isinstance(constant, CodeType) else None
        found = Accesses(
            found.variables + (inner.variables if inner else ()),
            found.attributes | (inner.attributes if inner else set()),
            found.modules + (inner.modules if inner else ()),
            found.constants + (inner.constants if inner else (constant,)),
        )
    return found


def _dots(steps: list[dis.Instruction]) -> tuple[str, ...]:
    """The attributes that are read one after another: `nn`, `functional`, `relu`."""
    names = []
    for step in steps:
        if step.opname not in _DOT:
            break
        names.append(step.argval)
    return tuple(names)
