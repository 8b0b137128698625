"""From LLVM assembly to functions that can be called; compiled once, and kept on disk for every later process.

The cache lies in the folder that PLASTIC_SEARCH_CACHE names, else in the user's cache folder. A file's name is the
hash of what it was compiled from, the processor's features and LLVM's version, so nothing in it can be out of date;
each begins with the hash of its content, so a torn one is compiled anew. Only the user may write there, since it
holds code.
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
    """The functions of one module, by name, and how they came to be."""

    functions: dict[str, Any]
    seconds: float
    cached: bool


_lock = threading.Lock()


def _renew() -> None:
    """A forked process may have been given a lock that another thread of its parent held."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew)
_known: dict[str, Compiled] = {}
_alive: list[Any] = []  # engines, which own the code


def cache_folder() -> Path:
    """Where compiled code is kept between processes."""
    named = os.environ.get("PLASTIC_SEARCH_CACHE") or os.environ.get("XDG_CACHE_HOME")
    base = Path(named) if named else Path.home() / ".cache"
    return base / "plastic_search" / "kernels"


def compiled(text: str, names: tuple[str, ...]) -> Compiled:
    """The functions `names` of a module given as LLVM assembly."""
    target = _target()
    key = hashlib.sha256("\n".join((text, *target.told)).encode()).hexdigest()
    with _lock:
        if key not in _known:
            began = time.perf_counter()
            data = _read(cache_folder() / f"{key}.o")
            found = data is not None
            if data is None:
                data = _object(text)
                _keep(cache_folder() / f"{key}.o", data)
            functions = _loaded(data, names)
            _known[key] = Compiled(functions, time.perf_counter() - began, found)
        return _known[key]


class _Target(NamedTuple):
    machine: Any
    told: tuple[str, ...]


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
    """Whether a register holds 64 bytes, and there are 32 of them."""
    return "+avx512f" in _target().told[1]


@cache
def flushes() -> bool:
    """Whether the processor can be told to take numbers that are all but 0 for 0, as x86 can."""
    return _target().told[3].startswith(("x86", "i686", "i386"))


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
    _alive.append(engine)
    return {name: Code(engine.get_function_address(name)) for name in names}


def _machine() -> Any:
    """A target machine of its own, since an engine takes possession of it."""
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


def _keep(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; a folder that cannot be written is no reason to fail."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(path) as temporary:
            temporary.write_bytes(hashlib.sha256(data).digest() + data)
    except OSError as error:
        print(f"compiled code cannot be kept in {path.parent}: {error.strerror}", file=sys.stderr)
