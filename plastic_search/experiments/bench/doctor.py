"""What this machine has, and which kernel runs what here, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from plastic_search.core.part import Part, discover, open_set
from plastic_search.network.formats import formats
from plastic_search.network.kernels.cpu.cache import distrust, folder
from plastic_search.network.kernels.dispatch import choose
from plastic_search.network.kernels.gpu import backend
from plastic_search.network.spec import Layer, NetworkSpec, Pathway, shapes
from plastic_search.records import provenance
from plastic_search.records.provenance import versions

__all__ = ["examine"]

_UNITS, _INPUTS = 4, 3  # of the layers that are looked at; what runs them does not depend on it
_AXES = {"cells": "cell", "rules": "rule", "modulations": "modulation"}  # open sets, and the layer's fields for them


def examine() -> dict[str, Any]:
    """Versions, machine, cache, and the kernel of every cell, rule and modulation with the reason where it is slow.

    Each part is looked at in a layer whose other parts are the default ones. A kernel is captured part by part, so what
    it takes singly it takes together, and a combination is slow if one of its parts is.
    """
    place = folder()
    files = list(place.glob("*.o")) if place.is_dir() else []
    slow, total, fast = {}, 1, 1
    for axis, name in _AXES.items():
        parts = discover(open_set(axis))
        reasons = {kind: _why_slow(name, part) for kind, part in parts.items()}
        slow |= {f"{name} {kind}": why for kind, why in reasons.items() if why}
        total *= len(parts)
        fast *= sum(not why for why in reasons.values())
    cache: dict[str, Any] = {"folder": str(place), "kernels": len(files), "bytes": sum(f.stat().st_size for f in files)}
    if why := distrust(place):
        cache["not used"] = why
    return {
        "versions": versions(),
        "machine": provenance.machine() | {"threads": torch.get_num_threads()},
        "gpu": _gpu(),
        "cache": cache,
        "kernels": {"cpu": fast, "reference": total - fast},
        "slow": slow,
    }


def _gpu() -> str:
    """What GPU there is, and whether anything of ours runs on it."""
    if not torch.cuda.is_available():
        return "none; kernels run on the CPU"
    name, why = torch.cuda.get_device_name(), backend.GPU().unsupported(torch.zeros(1, device="cuda"))
    runs = "networks that are there run by the gpu kernel, where the cpu kernel would take them"
    return f"{name}; {why.reason if why else runs}"


def _why_slow(name: str, kind: type[Part]) -> str:
    """Why a layer with such a part is run by the reference; "" if it is not."""
    try:
        part: Any = kind()
    except TypeError:  # of a dataclass
        return "not known, since it has settings without a default value"
    spec = NetworkSpec((replace(Layer(_UNITS, plastic=Pathway.BOTH), **{name: part}),))
    x = torch.zeros(1, 1, _INPUTS)
    choice = choose(None, spec.layers[0], shapes(spec, _INPUTS)[0], formats(spec)[0], x)
    return choice.reason if choice.kernel == "reference" else ""
