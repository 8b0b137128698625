"""Whether a learned structure is reproducible: how far the graphs of several seeds agree."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import networkx as nx
import numpy as np

from plastic_search.records.run import Record, file_name
from plastic_search.topology.files import from_json
from plastic_search.topology.metrics import metrics

__all__ = ["stability"]

_MEASURES = ("clustering", "modularity", "small_worldness", "path_length")


def stability(record: Record) -> list[dict[str, Any]]:
    """A row for each place of a sweep, from the graphs that it kept.

    Units within a layer have no order of their own, but inputs have: so besides shared edges a row holds how far seeds
    agree on how many connections leave each input, and on measures that do not depend on the order.
    """
    found: dict[float, list[nx.DiGraph]] = {}
    for run in record.stage("sweep"):
        graph = record.topologies.get(f"{file_name(run.name)}-{run.seed}")
        if graph is not None and run.choices["group"] == record.study["ours"]:
            found.setdefault(run.choices["at"], []).append(from_json(graph))
    plastic = record.study["budget"] == "plastic_connections"
    whole = [
        run.metrics["plastic_connections" if plastic else "connections"]
        for run in record.stage("sweep")
        if run.choices["group"] == record.study["reference"]
    ]
    possible = max(whole, default=0.0)
    return [_row(at, graphs, plastic, possible) for at, graphs in sorted(found.items()) if len(graphs) > 1]


def _row(at: float, graphs: list[nx.DiGraph], plastic: bool, possible: float) -> dict[str, Any]:
    edges = [{(u, v) for u, v, edge in g.edges(data=True) if edge.get("plastic") or not plastic} for g in graphs]
    shared = [len(a & b) / max(len(a | b), 1) for a, b in combinations(edges, 2)]
    density = min(float(np.mean([len(own) for own in edges])) / possible if possible else at, 1.0)
    value, chance = float(np.mean(shared)), density / (2.0 - density)  # of two random graphs that are as dense
    return {
        "at": at,
        "overlap": value,
        "least": min(shared),
        "most": max(shared),
        "chance": chance,
        "pairs": len(shared),
        "answer": _answer(value, chance),
        "inputs": _inputs(graphs, edges),
        "measures": {} if plastic else _measures(graphs),
    }


def _answer(value: float, chance: float) -> str:
    """Where the overlap stands between chance (0) and the same graph (1)."""
    beyond = (value - chance) / (1.0 - chance) if chance < 1.0 else 0.0
    how = "mostly reproducible" if beyond > 0.5 else "partly reproducible" if beyond > 0.1 else "mostly arbitrary"
    return f"{how}: {100 * max(beyond, 0.0):.0f} % of the way from chance to the same graph"


def _inputs(graphs: list[nx.DiGraph], edges: list[set[tuple[str, str]]]) -> float | None:
    """The mean correlation, over pairs of seeds, of how many edges leave each input."""
    names = [n for n, node in graphs[0].nodes(data=True) if node.get("layer") == -1]
    counts = np.zeros((len(edges), len(names)))
    for row, own in zip(counts, edges, strict=True):
        left = [u for u, _ in own]
        row[:] = [left.count(name) for name in names]
    if len(names) < 2 or bool((counts.std(axis=1) == 0).any()):
        return None
    pairs = [float(np.corrcoef(a, b)[0, 1]) for a, b in combinations(counts, 2)]
    return sum(pairs) / len(pairs)


def _measures(graphs: list[nx.DiGraph]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over seeds of what does not depend on the order of units."""
    each = [metrics(graph) for graph in graphs]
    result = {}
    for name in _MEASURES:
        values = [float(m[name]) for m in each if isinstance(m.get(name), int | float) and np.isfinite(m[name])]
        if len(values) == len(each):
            result[name] = {"mean": float(np.mean(values)), "deviation": float(np.std(values, ddof=1))}
    return result
