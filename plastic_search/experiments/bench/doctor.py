"""What this machine has, and which kernel runs what here, and why."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from plastic_search.core.part import discover, open_set
from plastic_search.network.kernels.cpu.cache import folder
from plastic_search.network.kernels.dispatch import choose
from plastic_search.network.kernels.gpu import backend
from plastic_search.network.spec import Layer, NetworkSpec, Pathway, shapes
from plastic_search.precisions import Role
from plastic_search.records import provenance
from plastic_search.records.provenance import versions

__all__ = ["examine"]

_UNITS, _INPUTS = 4, 3  # of the layers that are looked at; what runs them does not depend on it


def examine() -> dict[str, Any]:
    """Versions, machine, cache, and the kernel of every cell x rule x modulation with the reason where it is slow."""
    place = folder()
    files = list(place.glob("*.o")) if place.is_dir() else []
    cells, rules, modulations = (discover(open_set(axis)) for axis in ("cells", "rules", "modulations"))
    layers = {}
    for (cell, a), (rule, b), (modulation, c) in itertools.product(cells.items(), rules.items(), modulations.items()):
        layer: Any = Layer(_UNITS, a(), b(), c(), plastic=Pathway.BOTH)  # type: ignore[arg-type]
        layers[f"{cell} {rule} {modulation}"] = _kernel(layer)
    slow = {name: reason for name, (kernel, reason) in layers.items() if kernel == "reference"}
    return {
        "versions": versions(),
        "machine": provenance.machine() | {"threads": torch.get_num_threads()},
        "gpu": _gpu(),
        "cache": {"folder": str(place), "kernels": len(files), "bytes": sum(f.stat().st_size for f in files)},
        "kernels": {"cpu": len(layers) - len(slow), "reference": len(slow)},
        "slow": slow,
    }


def _gpu() -> str:
    """What GPU there is, and whether anything of ours runs on it."""
    if not torch.cuda.is_available():
        return "none; kernels run on the CPU"
    name, why = torch.cuda.get_device_name(), backend.GPU().unsupported(torch.zeros(1, device="cuda"))
    runs = "networks that are there run by the gpu kernel, where the cpu kernel would take them"
    return f"{name}; {why.reason if why else runs}"


def _kernel(layer: Layer) -> tuple[str, str]:
    spec = NetworkSpec((layer,))
    x = torch.zeros(1, 1, _INPUTS)
    return choose(None, layer, shapes(spec, _INPUTS)[0], spec.precision.format(Role.TRACE), x)
