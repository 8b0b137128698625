"""The network in a bundle, rebuilt: its outputs equal those of the network that was exported, bit for bit."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path
from plastic_search.export import manifest
from plastic_search.export.packing import unpack
from plastic_search.export.rebuilding import Stored, parameter_sizes, rebuild
from plastic_search.network.module import Network
from plastic_search.network.spec import NetworkSpec
from plastic_search.precisions import Role

__all__ = ["load"]


_FILE, _AGAIN = "parameters.safetensors", "the bundle is damaged; write it again"
_CODED = re.compile(r"(layers\.\d+\.(?:weight|alpha))\.codes([124]?)")  # name, and bits of packed ones


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
    return rebuild(spec, inputs, _read(path, spec, inputs), path, _AGAIN)


def _read(path: Path, spec: NetworkSpec, inputs: int) -> dict[str, Stored]:
    """Every parameter by its path: `layers.0.weight`."""
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise PlasticSearchError(f"{path} is damaged ({error}); {_AGAIN}") from None
    coded = {key: found.groups() for key in tensors if (found := _CODED.fullmatch(key))}
    steps = {name: tensors.pop(f"{name}.step", None) for name in {name for name, _ in coded.values()}}
    codes = {key: tensors.pop(key) for key in coded}
    stored = {name: Stored(tensor, None) for name, tensor in tensors.items()}
    for key, (name, width) in coded.items():
        if name in stored:
            raise PlasticSearchError(f"{path} has {name} twice, with codes and without, or packed; {_AGAIN}")
        if (step := steps[name]) is None or step.numel() != 1:
            raise PlasticSearchError(f"{path} lacks the step of {name}; {_AGAIN}")
        whole = _unpacked(codes[key], int(width), spec, name, inputs, path) if width else codes[key]
        stored[name] = Stored(whole * step, step)
    return stored


def _unpacked(packed: Tensor, width: int, spec: NetworkSpec, name: str, inputs: int, path: Path) -> Tensor:
    """The codes of a parameter, of the size that the spec gives it."""
    form, size = spec.precision.format(Role(name.rpartition(".")[2])), parameter_sizes(spec, inputs).get(name)
    if form is None or size is None:
        raise PlasticSearchError(f"{path} has codes of {name}, which by the spec is a float or absent; {_AGAIN}")
    try:
        return torch.from_numpy(unpack(packed.numpy(), width, size, form.top))
    except ValueError as error:
        raise PlasticSearchError(f"{path}: {name}: {error}; {_AGAIN}") from None
