"""Two graphs of networks of one size, edge by edge, and how much of what they share chance would have given them."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np

from plastic_search.core.errors import PlasticSearchError
from plastic_search.topology.metrics import called, metrics, projections, randomized
from plastic_search.topology.schema import sizes

__all__ = ["compare"]

_RANDOM = 20  # graphs of the degrees of the first
_SCALARS = (
    "edges", "plastic", "density", "loops", "reciprocity", "clustering", "modularity", "path_length",
    "small_worldness", "longest_path", "strong_components", "largest_strong_component", "outputs_reached",
)  # fmt: skip


def compare(a: nx.DiGraph, b: nx.DiGraph, seed: int = 0) -> dict[str, Any]:
    """What two graphs share and where they differ, as plain data.

    `by_chance` is what graphs with as many edges in each projection would share, with the number of standard deviations
    that the graphs lie above it; `by_degree` what random graphs of the first one's degrees share with the second.

    Raises:
        PlasticSearchError: they are of networks of different sizes.
    """
    if sizes(a) != sizes(b):
        at, (left, right) = next(_differing(sizes(a), sizes(b)))
        raise PlasticSearchError(
            f"the graphs are of different networks: {called(at - 1)} has {left} nodes in the first and {right} in the "
            "second; only graphs of one size have edges to compare"
        )
    mine, theirs = set(a.edges), set(b.edges)
    shared, union = mine & theirs, mine | theirs
    expected, variance = _chance(a, b)
    by_degree = _by_degree(a, b, seed)
    total = len(mine) + len(theirs)
    measured = [metrics(each, seed) for each in (a, b)]
    plastic = [{e for e in shared if each.edges[e].get("plastic")} for each in (a, b)]
    return {
        "only_a": len(mine - theirs),
        "only_b": len(theirs - mine),
        "shared": len(shared),
        "jaccard": len(shared) / len(union),
        "by_chance": {
            "shared": expected,
            "jaccard": expected / (total - expected),
            "z": (len(shared) - expected) / variance**0.5 if variance > 0 else None,
        },
        "by_degree": {"shared": by_degree, "jaccard": by_degree / (total - by_degree)},
        "plastic_only_a": len(plastic[0] - plastic[1]),
        "plastic_only_b": len(plastic[1] - plastic[0]),
        "plastic_both": len(plastic[0] & plastic[1]),
        "edges": {
            "only_a": sorted(map(list, mine - theirs)),
            "only_b": sorted(map(list, theirs - mine)),
            "plastic_only_a": sorted(map(list, plastic[0] - plastic[1])),
            "plastic_only_b": sorted(map(list, plastic[1] - plastic[0])),
        },
        "metrics": {
            name: [m.get(name) for m in measured] for name in _SCALARS if measured[0].get(name) != measured[1].get(name)
        },
    }


def _differing(a: list[int], b: list[int]) -> Any:
    longest = max(len(a), len(b))
    pairs = zip(*([*each, *[0] * (longest - len(each))] for each in (a, b)), strict=True)
    yield from ((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])


def _chance(a: nx.DiGraph, b: nx.DiGraph) -> tuple[float, float]:
    """Mean and variance of the shared edges, were each projection's edges drawn anew (hypergeometric)."""
    theirs = {(p.pre, p.post): p.edges for p in projections(b)}
    mean, variance = 0.0, 0.0
    for p in projections(a):
        n, k, m = p.possible, p.edges, theirs.get((p.pre, p.post), 0)
        mean += k * m / n
        variance += k * (m / n) * (1 - m / n) * (n - k) / (n - 1) if n > 1 else 0.0
    return mean, variance


def _by_degree(a: nx.DiGraph, b: nx.DiGraph, seed: int) -> float:
    """The mean of the shared edges over random graphs of `a`'s degrees; loops stay as they are."""
    rng = np.random.default_rng(seed)
    order = {node: i for i, node in enumerate(a)}
    pre, post = np.array([(order[x], order[y]) for x, y in b.edges if x != y]).reshape(-1, 2).T
    loops = sum(a.has_edge(n, n) and b.has_edge(n, n) for n in a)
    return loops + float(np.mean([randomized(a, rng)[pre, post].sum() for _ in range(_RANDOM)]))
