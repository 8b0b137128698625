"""Private interfaces of torch are used by one file of the kernels only."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from plastic_search.network.kernels import torch_internals

HOME = Path(torch_internals.__file__)
OTHERS = [file for file in sorted(HOME.parent.rglob("*.py")) if file != HOME]


def private(text: str) -> Iterator[str]:
    """Attributes of torch, and modules of torch that are imported, with a part that begins with an underscore."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] == "torch":
                used = [f"{module}.{alias.name}" for alias in names]
            case ast.Import(names=names):
                used = [alias.name for alias in names if alias.name.split(".")[0] == "torch"]
            case ast.Attribute() if ast.unparse(node).startswith("torch."):
                used = [ast.unparse(node)]
            case _:
                used = []
        yield from (name for name in used if any(re.match("_[^_]", part) for part in name.split(".")))


@pytest.mark.parametrize("file", OTHERS, ids=lambda file: file.stem)
def test_private_torch_is_used_in_one_file(file: Path) -> None:
    assert not list(private(file.read_text()))


def test_private_torch_is_recognised() -> None:
    assert {"torch._C", "torch.utils._pytree"} <= set(private(HOME.read_text()))
