"""Compiles LLVM assembly to callable functions, once: machine code is kept on disk for later processes (`cache`)."""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading
import time
from functools import cache
from typing import Any, NamedTuple

from plastic_search.network.kernels.cpu import cache as kept

__all__ = ["Code", "Compiled", "compiled", "flushes", "wide"]

_SPEED = 2  # of the passes over a module; those left out find nothing to do, since vectors are written as such
_LEFT_OUT = ("loop_vectorization", "slp_vectorization", "loop_unrolling")
_GENERATOR = 3  # the level of the code generator
_OBJECTS = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"d\x86", b"d\xaa")  # how object files begin; LLVM crashes on others

Code = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


class Compiled(NamedTuple):
    """The functions of one module by name, the seconds it took to get them, and whether they were in the cache."""

    functions: dict[str, Any]
    seconds: float
    cached: bool


_lock = threading.Lock()


def _renew_lock() -> None:
    """A thread of the parent may hold the lock at the moment of a fork, and the child would wait for ever."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
_compiled: dict[str, Compiled] = {}
_engines: list[Any] = []  # which own the code


def compiled(text: str, names: tuple[str, ...]) -> Compiled:
    """The functions `names` of a module given as LLVM assembly."""
    key = hashlib.sha256("\n".join((text, *names, *_target().identity)).encode()).hexdigest()
    with _lock:
        if key not in _compiled:
            began = time.perf_counter()
            functions = _kept(key, names)
            cached = functions is not None
            if functions is None:
                data = _object(text)
                kept.write(key, data)
                functions = _loaded(data, names)
            _compiled[key] = Compiled(functions, time.perf_counter() - began, cached)
        return _compiled[key]


def _kept(key: str, names: tuple[str, ...]) -> dict[str, Any] | None:
    """The functions that are in the cache; None where they are not."""
    data = kept.read(key)
    try:
        return _loaded(data, names) if data and data.startswith(_OBJECTS) else None
    except (RuntimeError, ValueError):  # of LLVM, or a function is not there
        return None


class _Target(NamedTuple):
    machine: Any
    identity: tuple[str, ...]  # processor, its features, versions, platform, and how it is compiled


@cache
def _target() -> _Target:
    import llvmlite
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu, features, opt=_GENERATOR, codemodel="jitdefault", jit=True
    )
    version = ".".join(map(str, llvm.llvm_version_info))
    how = (llvm.get_default_triple(), f"{llvmlite.__version__} {_SPEED} {_LEFT_OUT} {_GENERATOR}")
    return _Target(machine, (cpu, features, version, *how))


@cache
def wide() -> bool:
    """Whether the processor has 32 registers of 64 bytes."""
    return "+avx512f" in _target().identity[1]


@cache
def flushes() -> bool:
    """Whether the processor has a mode that flushes denormal numbers to 0, as x86 has."""
    return _target().identity[3].startswith(("x86", "i686", "i386"))


def _object(text: str) -> bytes:
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=_SPEED)
    for each in _LEFT_OUT:
        setattr(options, each, False)
    builder = llvm.create_pass_builder(_target().machine, options)
    builder.getModulePassManager().run(module, builder)
    return _target().machine.emit_object(module)


def _loaded(data: bytes, names: tuple[str, ...]) -> dict[str, Any]:
    import llvmlite.binding as llvm

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(data))
    engine.finalize_object()
    _engines.append(engine)
    addresses = {name: engine.get_function_address(name) for name in names}
    if not all(addresses.values()):
        raise ValueError(f"there is no function {' or '.join(n for n, address in addresses.items() if not address)}")
    return {name: Code(address) for name, address in addresses.items()}


def _machine() -> Any:
    """A new target machine, since an engine takes ownership of it."""
    import llvmlite.binding as llvm

    return llvm.Target.from_default_triple().create_target_machine(jit=True)
