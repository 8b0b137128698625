"""Compiles LLVM assembly to callable functions, once: machine code is cached on disk for later processes.

The cache lies in the folder of the environment variable PLASTIC_SEARCH_CACHE, else in the user's cache folder. A file's
name is the hash of the assembly, the processor's features and LLVM's version, so no entry is ever out of date; each
begins with the hash of its content, so a damaged one is compiled again. Only the user may write there, since it holds
code.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from plastic_search.records.files import replacing

__all__ = ["Code", "Compiled", "cache_folder", "compiled", "flushes", "wide"]

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


def cache_folder() -> Path:
    """Where compiled code is kept between processes."""
    named = os.environ.get("PLASTIC_SEARCH_CACHE") or os.environ.get("XDG_CACHE_HOME")
    base = Path(named) if named else Path.home() / ".cache"
    return base / "plastic_search" / "kernels"


def compiled(text: str, names: tuple[str, ...]) -> Compiled:
    """The functions `names` of a module given as LLVM assembly."""
    target = _target()
    key = hashlib.sha256("\n".join((text, *target.identity)).encode()).hexdigest()
    with _lock:
        if key not in _compiled:
            began, path = time.perf_counter(), cache_folder() / f"{key}.o"
            data = _read(path)
            cached = data is not None
            if data is None:
                data = _object(text)
                _write(path, data)
            functions = _loaded(data, names)
            _compiled[key] = Compiled(functions, time.perf_counter() - began, cached)
        return _compiled[key]


class _Target(NamedTuple):
    machine: Any
    identity: tuple[str, ...]  # processor, its features, LLVM's version, and platform


@cache
def _target() -> _Target:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu, features, opt=3, codemodel="jitdefault", jit=True
    )
    version = ".".join(map(str, llvm.llvm_version_info))
    return _Target(machine, (cpu, features, version, llvm.get_default_triple()))


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
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = llvm.create_pass_builder(_target().machine, options)
    builder.getModulePassManager().run(module, builder)
    return _target().machine.emit_object(module)


def _loaded(data: bytes, names: tuple[str, ...]) -> dict[str, Any]:
    import llvmlite.binding as llvm

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(data))
    engine.finalize_object()
    _engines.append(engine)
    return {name: Code(engine.get_function_address(name)) for name in names}


def _machine() -> Any:
    """A new target machine, since an engine takes ownership of it."""
    import llvmlite.binding as llvm

    return llvm.Target.from_default_triple().create_target_machine(jit=True)


def _read(path: Path) -> bytes | None:
    try:
        if os.name == "posix" and path.stat().st_uid not in (os.getuid(), 0):
            return None
        data = path.read_bytes()
    except OSError:
        return None
    digest, content = data[:32], data[32:]
    return content if hashlib.sha256(content).digest() == digest else None


def _write(path: Path, data: bytes) -> None:
    """Write a file atomically; a folder that cannot be written is no reason to fail."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(path) as temporary:
            temporary.write_bytes(hashlib.sha256(data).digest() + data)
    except OSError as error:
        print(f"compiled code cannot be kept in {path.parent}: {error.strerror}", file=sys.stderr)
