"""Architecture search and quantization of plastic, neuromodulated networks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plastic_search.core.part import Part as Part
    from plastic_search.core.space import choice as choice
    from plastic_search.core.space import integer as integer
    from plastic_search.core.space import real as real
    from plastic_search.experiments.load import load as load
    from plastic_search.experiments.study import Study as Study
    from plastic_search.network.module import Network as Network
    from plastic_search.network.spec import AlphaShape as AlphaShape
    from plastic_search.network.spec import Bound as Bound
    from plastic_search.network.spec import Layer as Layer
    from plastic_search.network.spec import NetworkSpec as NetworkSpec
    from plastic_search.network.spec import Pathway as Pathway
    from plastic_search.report.report import Report as Report

__version__ = "0.1.0"

_HOMES = {
    "AlphaShape": "network.spec",
    "Bound": "network.spec",
    "Layer": "network.spec",
    "Network": "network.module",
    "NetworkSpec": "network.spec",
    "Part": "core.part",
    "Pathway": "network.spec",
    "Report": "report.report",
    "Study": "experiments.study",
    "choice": "core.space",
    "integer": "core.space",
    "load": "experiments.load",
    "real": "core.space",
}

__all__ = ["AlphaShape", "Bound", "Layer", "Network", "NetworkSpec", "Part", "Pathway", "Report", "Study"]
__all__ += ["choice", "integer", "load", "real"]


def __getattr__(name: str) -> Any:
    """Imported at first use, so that `plastic-search --help` need not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'plastic_search' has no attribute {name!r}")
    return getattr(importlib.import_module(f"plastic_search.{_HOMES[name]}"), name)
