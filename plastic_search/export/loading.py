"""The network in a bundle, rebuilt: its outputs equal those of the network that was exported, bit for bit."""

from __future__ import annotations

import re
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path
from plastic_search.export import manifest
from plastic_search.export.rebuilding import Stored, rebuild
from plastic_search.network.module import Network
from plastic_search.network.spec import NetworkSpec

__all__ = ["load"]


_FILE, _AGAIN = "parameters.safetensors", "the bundle is damaged; write it again"
_CODED = re.compile(r"layers\.\d+\.(weight|alpha)\.codes")


def load(folder: Path | str) -> Network:
    """The network in a bundle, on the CPU.

    Raises:
        PlasticSearchError: the folder is no whole bundle, its parameters are not those of its spec, or a part of the
            user's own is unknown.

    Example:
        >>> bundle.write(net, "bundle", task=None, about={})
        >>> y, state = load("bundle")(x)  # equal to `net(x)`
    """
    folder = as_path(folder)
    content = manifest.read(folder)
    spec, inputs, path = NetworkSpec.from_json(content["spec"]), content["input"]["width"], folder / _FILE
    if type(inputs) is not int or inputs < 1:
        raise PlasticSearchError(f"{folder}: the width of the input must be a whole number from 1, but is {inputs!r}")
    return rebuild(spec, inputs, _read(path), path, _AGAIN)


def _read(path: Path) -> dict[str, Stored]:
    """Every parameter by its path: `layers.0.weight`."""
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise PlasticSearchError(f"{path} is damaged ({error}); {_AGAIN}") from None
    coded = {name.removesuffix(".codes") for name in tensors if _CODED.fullmatch(name)}
    steps = {name: tensors.pop(f"{name}.step", None) for name in coded}
    stored = {name: Stored(tensor, None) for name, tensor in tensors.items()}
    for name, step in steps.items():
        codes = stored.pop(f"{name}.codes").value
        if name in stored:
            raise PlasticSearchError(f"{path} has {name} twice, with codes and without; {_AGAIN}")
        if step is None or step.numel() != 1:
            raise PlasticSearchError(f"{path} lacks the step of {name}; {_AGAIN}")
        stored[name] = Stored(codes * step, step)
    return stored
