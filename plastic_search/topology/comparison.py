"""Comparison of two graphs edge by edge, with the overlap expected by chance."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import networkx as nx
import numpy as np

from plastic_search.core.errors import PlasticSearchError
from plastic_search.topology.metrics import metrics, projections, randomized
from plastic_search.topology.schema import layer_name, sizes

__all__ = ["compare"]

_RANDOM = 20  # graphs with the degrees of the first
_SCALARS = (
    "edges", "plastic", "density", "loops", "reciprocity", "clustering", "modularity", "path_length",
    "small_worldness", "longest_path", "strong_components", "largest_strong_component", "outputs_reached",
)  # fmt: skip


def compare(a: nx.DiGraph, b: nx.DiGraph, seed: int = 0) -> dict[str, Any]:
    """Shared and differing edges and measures of two graphs, as plain data.

    `by_chance` holds the overlap expected of graphs with as many edges in each projection, and its distance `z` to the
    actual one in standard deviations; `by_degree` the mean overlap of `b` with random graphs of `a`'s degrees.

    Raises:
        PlasticSearchError: they are of networks of different sizes.
    """
    for i, (left, right) in enumerate(zip_longest(sizes(a), sizes(b), fillvalue=0)):
        if left != right:
            raise PlasticSearchError(
                f"the graphs are of different networks: {layer_name(i - 1)} has {left} nodes in the first and {right} "
                "in the second; only graphs of one size have edges to compare"
            )
    edges_a, edges_b = set(a.edges), set(b.edges)
    shared, total = edges_a & edges_b, len(edges_a) + len(edges_b)
    expected, variance = _expected(a, b)
    by_degree = _by_degree(a, b, seed)
    measured_a, measured_b = metrics(a, seed), metrics(b, seed)
    plastic_a, plastic_b = ({e for e in shared if each.edges[e].get("plastic")} for each in (a, b))
    lists = {
        "only_a": edges_a - edges_b,
        "only_b": edges_b - edges_a,
        "plastic_only_a": plastic_a - plastic_b,
        "plastic_only_b": plastic_b - plastic_a,
    }
    return {
        "only_a": len(lists["only_a"]),
        "only_b": len(lists["only_b"]),
        "shared": len(shared),
        "jaccard": len(shared) / len(edges_a | edges_b),
        "by_chance": {
            "shared": expected,
            "jaccard": expected / (total - expected),
            "z": (len(shared) - expected) / variance**0.5 if variance > 0 else None,
        },
        "by_degree": {"shared": by_degree, "jaccard": by_degree / (total - by_degree)},
        "plastic_only_a": len(lists["plastic_only_a"]),
        "plastic_only_b": len(lists["plastic_only_b"]),
        "plastic_both": len(plastic_a & plastic_b),
        "edges": {name: sorted(map(list, edges)) for name, edges in lists.items()},
        "metrics": {
            name: [measured_a.get(name), measured_b.get(name)]
            for name in _SCALARS
            if measured_a.get(name) != measured_b.get(name)
        },
    }


def _expected(a: nx.DiGraph, b: nx.DiGraph) -> tuple[float, float]:
    """Mean and variance of the shared edges if each projection's edges were drawn at random (hypergeometric)."""
    edges_b = {(p.pre, p.post): p.edges for p in projections(b)}
    mean, variance = 0.0, 0.0
    for p in projections(a):
        n, k, m = p.possible, p.edges, edges_b.get((p.pre, p.post), 0)
        mean += k * m / n
        variance += k * (m / n) * (1 - m / n) * (n - k) / (n - 1) if n > 1 else 0.0
    return mean, variance


def _by_degree(a: nx.DiGraph, b: nx.DiGraph, seed: int) -> float:
    """Mean number of edges that random graphs of `a`'s degrees share with `b`; loops of `a` stay as they are."""
    rng = np.random.default_rng(seed)
    order = {node: i for i, node in enumerate(a)}
    pre, post = np.array([(order[x], order[y]) for x, y in b.edges if x != y]).reshape(-1, 2).T
    loops = sum(a.has_edge(n, n) and b.has_edge(n, n) for n in a)
    return loops + float(np.mean([randomized(a, rng)[pre, post].sum() for _ in range(_RANDOM)]))
