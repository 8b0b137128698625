"""The examples in docstrings run as they stand there."""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
import types
from typing import Any

import pytest
import torch

import plastic_search

MODULES = [f"network.{name}" for name in ("spec", "module", "population", "recording", "rollout", "state")]
MODULES.append("training.adaptation")


def examples() -> list[Any]:
    found = []
    for name in MODULES:
        module = importlib.import_module(f"plastic_search.{name}")
        for public in module.__all__:
            docs = inspect.getdoc(getattr(module, public)) or ""
            if code := re.search(r"^Example:\n((?:    .*\n?|\n)+)", docs, re.MULTILINE):
                found.append(pytest.param(module, textwrap.dedent(code[1]), id=public))
    return found


@pytest.mark.parametrize(("module", "code"), examples())
def test_an_example_runs(module: types.ModuleType, code: str) -> None:
    torch.manual_seed(0)
    names = {name: getattr(plastic_search, name) for name in plastic_search.__all__}
    exec(compile(code, module.__name__, "exec"), names | vars(module) | {"torch": torch})


def test_what_is_not_obvious_has_an_example() -> None:
    shown = {str(example.id) for example in examples()}
    assert shown >= {
        "Network",
        "Population",
        "Rollout",
        "NetworkSpec",
        "Layer",
        "shapes",
        "Adaptation",
        "record",
        "State",
    }
