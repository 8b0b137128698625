"""The manifest of a bundle: its verification against the files. Needs neither torch nor onnx.

Its schema, its limits and most checks stand in `runner`, which is copied into bundles.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path
from plastic_search.export import graphs, runner
from plastic_search.export.packing import unpack

__all__ = ["dumped", "read", "refusals", "seal", "verify"]

_TYPES = {"float32": (1,), "int8": (3, 22), "int16": (5,)}  # of stored parameters, and ONNX's numbers: FLOAT, INT8, ...
_CODES, _PACKED = (re.compile(rf"layers\.\d+\.(weight|alpha)\.codes{width}") for width in ("", "[124]"))
_INT4 = 22


def read(folder: Path | str) -> dict[str, Any]:
    """The manifest of the bundle in `folder`, after checking that every byte of the bundle is as it was written.

    Raises:
        PlasticSearchError: a file is missing, changed, unknown, too large or malformed, or is not what the manifest
            states; the message names it.
    """
    with refusals():
        net = runner.Runner(as_path(folder))
        _check_parameters(net.manifest, net.files)
        if net.manifest["examples"]:
            _check_examples(net.manifest, runner.tensors(net.files, "examples.safetensors"))
    return net.manifest


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
    with refusals():
        runner.fit(sealed, runner.SCHEMA, runner.MANIFEST)
    return dumped(sealed)


def dumped(manifest: dict[str, Any]) -> str:
    """The text of a manifest, to the byte."""
    return json.dumps(manifest, indent=1) + "\n"


@contextmanager
def refusals() -> Iterator[None]:
    """A runner's errors become ours.

    Raises:
        PlasticSearchError: instead of a BundleError, with its message.
    """
    try:
        yield
    except runner.BundleError as error:
        raise PlasticSearchError(str(error)) from None


def _check_parameters(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
    """Refuse parameters whose types and shapes are not those that step.onnx has for them, where it uses them."""
    stored = runner.tensors(files, "parameters.safetensors")
    used = {
        str(each[8][0], "utf-8", "replace"): each
        for each in graphs.read(files["step.onnx"], "step.onnx")[0].get(5, [])
        if 8 in each
    }
    names = {name[:-1] if _PACKED.fullmatch(name) else name for name in stored}
    for name in sorted({name for name in used if name.startswith("layers.")} - names):
        raise PlasticSearchError(f"parameters.safetensors lacks {name!r}, which step.onnx has")
    for name, value in stored.items():
        if _PACKED.fullmatch(name):
            _check_packed(manifest, name, value, used.get(name[:-1]))
            continue
        kinds = _TYPES.get(value.dtype.name, ())
        if not kinds or not name.startswith("layers."):
            known = ", ".join(_TYPES)
            raise PlasticSearchError(
                f"parameters.safetensors has {name!r:.60} of {value.dtype}; parameters are called layers.0.weight, "
                f"for example, and are of one of {known}"
            )
        kind, shape = (used[name][2][0], used[name].get(1, [])) if name in used else (kinds[0], list(value.shape))
        if kind not in kinds or shape != list(value.shape):
            raise PlasticSearchError(
                f"parameters.safetensors has {name!r:.60} of {value.dtype} {list(value.shape)}, "
                f"but step.onnx has it of type {kind} {shape}"
            )
        if _CODES.fullmatch(name) and (top := _top(manifest, name)) < int(np.abs(value.astype(int)).max(initial=0)):
            raise PlasticSearchError(
                f"parameters.safetensors has integers above {top} in {name!r:.60}: more bits than the manifest states"
            )


def _top(manifest: dict[str, Any], name: str) -> int:
    """The largest code that a parameter has in the bits that the manifest states for it."""
    form = manifest["precision"].get(name.split(".")[2])
    if form is None or not 1 <= form["bits"] <= 16:
        raise PlasticSearchError(f"parameters.safetensors has {name!r:.60}, of which the manifest states no bits")
    return max(2 ** (form["bits"] - 1) - 1, 1)


def _check_packed(manifest: dict[str, Any], name: str, value: np.ndarray, used: Any) -> None:
    """Refuse packed codes that are not as many as in step.onnx, not equal to them, or have more bits than is stated."""
    width, top = int(name[-1]), _top(manifest, name)
    if used is None:  # nothing computes with them; `loading` knows their number
        return
    try:
        codes = unpack(value, width, used.get(1, []), top)
        if used[2] != [_INT4] or 9 not in used:
            raise ValueError(f"step.onnx has it of type {used[2][0]}, instead of INT4")
        if not np.array_equal(codes, unpack(np.frombuffer(used[9][0], np.uint8), 4, used.get(1, []), top)):
            raise ValueError("step.onnx has other integers")
    except ValueError as error:
        raise PlasticSearchError(f"parameters.safetensors has {name!r:.60}: {error}") from None


def _check_examples(manifest: dict[str, Any], data: dict[str, np.ndarray]) -> None:
    """Refuse examples whose shapes are not those that the manifest states."""
    about, found = manifest["examples"], {name: list(value.shape) for name, value in data.items()}
    time, count = len(data["inputs"]) if "inputs" in data else 0, about["count"]
    wanted = {
        "inputs": [time, count, manifest["input"]["width"]],
        "outputs": [time - about["asked"], count, manifest["output"]["width"]],
    }
    targets = found.pop("targets", [])
    if found != wanted or time <= about["asked"] or count not in targets:
        raise PlasticSearchError(
            f"examples.safetensors has the shapes {found | {'targets': targets}}, but the manifest states {wanted}, "
            f"and targets of {count} examples"
        )
    for name in wanted:
        if data[name].dtype != np.float32:
            raise PlasticSearchError(f"examples.safetensors has {name} of {data[name].dtype} instead of float32")
