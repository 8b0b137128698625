"""The CPU's kernel compiled without LLVM's optimizer: the same assembly, in an eighth of the time.

For tests of what is computed, over so many combinations of parts that compiling would take minutes. What users run is
held against the reference for some of every cell, rule and modulation by `network/kernels/test_kernels.py`, with
`--every` for every pair of them.
"""

from __future__ import annotations

from functools import cache

import llvmlite.binding as llvm
import pytest

from plastic_search.network.kernels.cpu import backend, compiler
from plastic_search.network.kernels.cpu.layer import assembly
from plastic_search.network.kernels.layout import KernelSignature


@cache
def _code(signature: KernelSignature, name: str) -> compiler.Compiled:
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu, features, opt=0, codemodel="jitdefault", jit=True)
    data = machine.emit_object(llvm.parse_assembly(assembly(signature, name)))
    return compiler.Compiled(compiler._loaded(data, (name,)), 0.0, False)


def compile_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the test ends; nothing is kept where another test, or a user, would find it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    monkeypatch.setattr(backend, "code", _code)
