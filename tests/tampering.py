"""Bundles changed as by someone who knows the format: digests are made anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plastic_search.export import manifest, runner

__all__ = ["refused", "replace_file", "reseal", "runs"]


def reseal(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the manifest of the bundle in `folder`."""
    path = folder / runner.MANIFEST
    data = json.loads(path.read_text())
    change(data)
    path.write_text(manifest.dumped(data | {"digest": runner.digest(data)}))


def replace_file(folder: Path, name: str, data: bytes) -> None:
    """Give a file another content, and list it."""
    (folder / name).write_bytes(data)
    entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    reseal(folder, lambda listed: listed["files"].update({name: entry}))


def refused(folder: Path) -> str:
    """The error of one line with which the runner refuses a bundle."""
    with pytest.raises(runner.BundleError) as raised:
        runner.examples(folder)
    text = str(raised.value)
    assert "\n" not in text
    assert len(text) < 1000
    return text


def runs(folder: Path) -> bool:
    """Whether a bundle is taken by the package and by the runner, which raise otherwise."""
    manifest.read(folder)
    return "differ" in runner.examples(folder)
