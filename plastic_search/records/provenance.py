"""Where a result comes from: the machine, the code's commit, versions, and the data that a task's file describes."""

from __future__ import annotations

import ast
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["code", "data", "machine"]

_HOME = Path(__file__).parent.parent


def machine() -> dict[str, str]:
    """What the work is done on, for a record to keep: processor, cores, system, python. No name of a host or user."""
    able = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "processor": _processor(),
        "cores": f"{able} of {os.cpu_count() or able}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def code() -> str:
    """The commit of the checkout that runs, with a plus where files differ from it; "" where there is no checkout."""
    if not (_HOME.parent / ".git").exists():
        return ""
    commit, changed = (_git(*words) for words in (("rev-parse", "HEAD"), ("diff", "--name-only", "HEAD")))
    return commit + "+" * bool(commit and changed)


def data(kind: str) -> str:
    """The docstring of the file of one of our tasks: its data and splits; "" for other tasks.

    It is parsed, not imported, since reports are written without torch.
    """
    for path in sorted((_HOME / "tasks").glob("[!_]*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.ClassDef) and node.name == kind for node in tree.body):
            return " ".join((ast.get_docstring(tree) or "").split())
    return ""


def _processor() -> str:
    """Its name, from the system."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _git(*words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(_HOME.parent), *words], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def versions() -> dict[str, str]:
    """The versions of everything that a result depends on."""
    found = {}
    for name in ("plastic-search", "torch", "numpy", "optuna", "brevitas", "onnx", "onnxruntime", "llvmlite"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
