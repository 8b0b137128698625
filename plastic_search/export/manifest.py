"""The manifest of a bundle: its keys, and its verification against the files. Needs neither torch nor onnx."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import NoneType
from typing import Any

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.paths import as_path
from plastic_search.export import runner

__all__ = ["FORMAT", "read", "seal", "verify"]

FORMAT = "plastic_search/bundle/1"
_HEADER = 2**20  # bytes of a safetensors header
_NEEDED = {"step.onnx", "parameters.safetensors", "runner.py"}
_KEYS: dict[str, tuple[type, ...]] = {
    "format": (str,),
    "about": (dict,),
    "spec": (dict,),
    "input": (dict,),
    "output": (dict,),
    "state": (list,),
    "precision": (dict,),
    "session": (dict,),
    "parity": (dict,),
    "examples": (dict, NoneType),
    "files": (dict,),
    "versions": (dict,),
    "digest": (str,),
}
_INNER = {
    "input": {"name", "width"},
    "output": {"name", "width"},
    "precision": {"weight", "alpha", "trace"},
    "parity": {"steps", "compared", "largest", "stepwise", "ties", "free_ties", "allowed"},
    "examples": {
        "task", "split", "seed", "count", "asked", "score_name", "chance", "score", "exported_score", "largest",
        "apart",
    },
}  # fmt: skip
_NEWER = {"parity.free_ties"}  # keys that bundles of an earlier version lack
_STATE, _FILE = {"name", "shape", "dtype", "start"}, {"bytes", "sha256"}


def read(folder: Path | str) -> dict[str, Any]:
    """The manifest of the bundle in `folder`, after checking that every byte of the bundle is as it was written.

    Raises:
        PlasticSearchError: a file is missing, changed or unknown, or the manifest is malformed; the message names it.
    """
    folder = as_path(folder)
    try:
        manifest = runner.load_manifest(folder)
        _check(manifest, folder / runner.MANIFEST)
        runner.check_files(folder, manifest["files"])
        for name in manifest["files"]:
            if name.endswith(".safetensors"):
                _check_header(folder / name)
    except runner.BundleError as error:
        raise PlasticSearchError(str(error)) from None
    except OSError as error:
        raise PlasticSearchError(f"cannot read {error.filename or folder}: {error.strerror}") from None
    return manifest


def verify(folder: Path | str) -> None:
    """Check that a bundle is, byte for byte, what was written.

    Raises:
        PlasticSearchError: as `read` does.
    """
    read(folder)


def seal(manifest: dict[str, Any]) -> str:
    """The text of a manifest, with its digest.

    Raises:
        PlasticSearchError: a value is not JSON, or a key is unknown or missing.
    """
    try:
        plain = json.loads(json.dumps(manifest, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise PlasticSearchError(f"a manifest holds only JSON values, but {error}; look at `about`") from None
    sealed = plain | {"digest": runner.digest(plain)}
    _check(sealed, Path(runner.MANIFEST))
    return runner.dumped(sealed)


def _check(manifest: dict[str, Any], path: Path) -> None:
    """Refuse a manifest with unknown or missing keys, or with values of a wrong type."""
    _keys(manifest, set(_KEYS), "", path)
    if manifest["format"] != FORMAT:
        raise PlasticSearchError(f"{path} is of format {manifest['format']!r}, but this version reads {FORMAT!r}")
    for key, kinds in _KEYS.items():
        if not isinstance(manifest[key], kinds):
            raise PlasticSearchError(f"{path}: {key} is a {type(manifest[key]).__name__}, not a {kinds[0].__name__}")
    for key, known in _INNER.items():
        if manifest[key] is not None:
            _keys(manifest[key], known, f"{key}.", path)
    for i, each in enumerate(manifest["state"]):
        _keys(each, _STATE, f"state.{i}.", path)
    for name, each in manifest["files"].items():
        _keys(each, _FILE, f"files.{name}.", path)
        if not re.fullmatch(r"[0-9a-f]{64}", str(each["sha256"])) or type(each["bytes"]) is not int:
            raise PlasticSearchError(f"{path}: files.{name} needs a sha256 and a number of bytes, but is {each!r}")
    wanted = _NEEDED | ({"examples.safetensors"} if manifest["examples"] else set())
    for name in sorted(wanted - manifest["files"].keys()):
        raise PlasticSearchError(f"{path} does not list {name}, which every such bundle contains")


def _keys(data: Any, known: set[str], at: str, path: Path) -> None:
    if not isinstance(data, dict):
        raise PlasticSearchError(f"{path}: {at.rstrip('.')} must be a JSON object, but is {data!r}")
    for name in data:
        if name not in known:
            raise unknown("key of a manifest", at + name, {at + each for each in known}, f"It stands in {path}.")
    for name in sorted(known - data.keys() - {each.removeprefix(at) for each in _NEWER}):
        raise PlasticSearchError(f"{path} lacks {at}{name}")


def _check_header(path: Path) -> None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > min(_HEADER, path.stat().st_size - 8):
        raise PlasticSearchError(f"{path} announces a header of {length} bytes; that of a bundle is shorter")
