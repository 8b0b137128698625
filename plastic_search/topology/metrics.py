"""What a network scientist asks of a graph: degrees, loops, clusters, motifs, communities, paths.

Clusters, motifs and paths are those of the graph as a whole, without edges from a unit to itself. What is called random
has the same units with the same numbers of edges in and out from the same layers: edges swap their ends within a
projection, from one layer to another, so a random graph is one that the network could have had.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations, product
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from plastic_search.core.errors import PlasticSearchError
from plastic_search.topology.schema import sizes

__all__ = ["Projection", "called", "communities", "degrees", "metrics", "motifs", "projections", "randomized"]

_MOST = 3000  # nodes, for what takes the square of them in memory
_WORK = 2e10  # multiplications that random graphs may cost together
_SWAPS = 20  # rounds in each of which every edge is offered one swap

Matrix = NDArray[np.float32]


class Projection(NamedTuple):
    """The edges from one layer to another, or within one."""

    pre: int  # -1 is the input
    post: int
    edges: int
    possible: int
    plastic: int


def metrics(graph: nx.DiGraph, seed: int = 0) -> dict[str, Any]:
    """Everything at once, as plain data; `notes` says what was sampled or left out.

    Args:
        graph: as `graph_files.read` gives it.
        seed: of the random graphs and of the search for communities.
    """
    if not graph.number_of_edges():
        raise PlasticSearchError("the graph has no edges, so there is nothing to measure")
    made = _counts(graph) | _components(graph)
    if len(graph) > _MOST:
        left = "clustering, motifs, communities and small-worldness are left out"
        return made | {"notes": [f"the graph has more than {_MOST:,} nodes: {left}"]}
    rng = np.random.default_rng(seed)
    order, matrix = _matrix(graph)
    samples = int(np.clip(_WORK / (9.0 * len(order) ** 3), 5, 100))
    random = [randomized(graph, rng) for _ in range(samples)]
    few = random[: min(samples, 10)]
    groups = communities(graph, seed)
    made |= {
        "reciprocity": _share(float((matrix * matrix.T).sum()), float(matrix.sum())),
        "clustering": clustering(matrix),
        "modularity": _modularity(graph, groups),
        "communities": sorted((len(group) for group in groups), reverse=True),
    }
    made |= _small_world(matrix, few) | {"motifs": motifs(matrix, random)}
    made["notes"] = [
        f"z of motifs: against {samples} random graphs of equal degrees in every projection, seed {seed}",
        f"small-worldness: against {len(few)} of them, edges taken both ways, over pairs that a path joins",
    ]
    return made


def called(layer: int) -> str:
    """A layer as a graph names it."""
    return "input" if layer == -1 else f"layers.{layer}"


def projections(graph: nx.DiGraph) -> list[Projection]:
    """The edges from layer to layer, in order."""
    widths, counts = sizes(graph), dict[tuple[int, int], list[int]]()
    layer = dict(graph.nodes(data="layer"))
    for pre, post, plastic in graph.edges(data="plastic", default=False):
        count = counts.setdefault((layer[post], layer[pre]), [0, 0])
        count[0] += 1
        count[1] += bool(plastic)
    return [
        Projection(pre, post, edges, widths[pre + 1] * widths[post + 1], plastic)
        for (post, pre), (edges, plastic) in sorted(counts.items())
    ]


def degrees(graph: nx.DiGraph) -> dict[str, Any]:
    """How many nodes have how many edges in and out: units alone in, inputs too out."""
    units = [n for n, layer in graph.nodes(data="layer") if layer != -1]
    found = {
        "in": np.array([d for _, d in graph.in_degree(units)]),  # type: ignore[operator]
        "out": np.array([d for _, d in graph.out_degree()]),  # type: ignore[operator]
    }
    return {
        way: {
            "mean": float(values.mean()),
            "median": float(np.median(values)),
            "most": int(values.max()),
            "idle": int((values == 0).sum()),
            "distribution": {int(d): int(n) for d, n in zip(*np.unique(values, return_counts=True), strict=True)},
        }
        for way, values in found.items()
    }


def _counts(graph: nx.DiGraph) -> dict[str, Any]:
    parts, edges = projections(graph), graph.number_of_edges()
    loops = nx.number_of_selfloops(graph)
    return {
        "nodes": len(graph),
        "sizes": sizes(graph),
        "edges": edges,
        "plastic": sum(p.plastic for p in parts),
        "density": edges / sum(p.possible for p in parts),
        "loops": loops,
        "projections": [
            {"from": called(p.pre), "to": called(p.post), "edges": p.edges, "density": p.edges / p.possible,
             "plastic": p.plastic}
            for p in parts
        ],
        "degrees": degrees(graph),
    }  # fmt: skip


def _components(graph: nx.DiGraph) -> dict[str, Any]:
    """Loops of any length, and the longest way through what is left when each of them counts as one node."""
    parts = list(nx.strongly_connected_components(graph))
    layered = nx.condensation(graph, scc=parts)
    last = len(sizes(graph)) - 2
    ways = nx.DiGraph(graph.edges)
    ways.add_nodes_from(graph)
    ways.add_edges_from(("any input", n) for n, layer in graph.nodes(data="layer") if layer == -1)
    reached = nx.descendants(ways, "any input")
    outputs = [n for n, layer in graph.nodes(data="layer") if layer == last]
    return {
        "longest_path": int(nx.dag_longest_path_length(layered, weight="")),
        "strong_components": len(parts),
        "largest_strong_component": max(map(len, parts)),
        "outputs_reached": sum(n in reached for n in outputs),
        "outputs": len(outputs),
    }


def _matrix(graph: nx.DiGraph) -> tuple[list[Any], Matrix]:
    """1 from pre (row) to post (column), nothing on the diagonal."""
    order = list(graph)
    place = {node: i for i, node in enumerate(order)}
    matrix = np.zeros((len(order), len(order)), dtype=np.float32)
    for pre, post in graph.edges:
        matrix[place[pre], place[post]] = float(pre != post)
    return order, matrix


def clustering(matrix: Matrix) -> float:
    """The mean share of closed triangles among those that a node could be in (Fagiolo 2007); nodes in none count 0."""
    both = matrix + matrix.T
    triangles = ((both @ both) * both.T).sum(1) / 2
    total, mutual = both.sum(1), (matrix * matrix.T).sum(1)
    possible = total * (total - 1) - 2 * mutual
    return float(np.divide(triangles, possible, out=np.zeros_like(triangles), where=possible > 0).mean())


def communities(graph: nx.DiGraph, seed: int = 0) -> list[set[str]]:
    """Groups of nodes with more edges among them than their degrees let expect (Louvain), the largest first."""
    plain = nx.Graph(graph.edges)
    plain.add_nodes_from(graph)
    found = nx.community.louvain_communities(plain, weight=None, seed=seed)
    return sorted(found, key=lambda group: (-len(group), min(group)))


def _modularity(graph: nx.DiGraph, groups: list[set[str]]) -> float:
    plain = nx.Graph(graph.edges)
    plain.add_nodes_from(graph)
    return float(nx.community.modularity(plain, groups, weight=None))


def _small_world(matrix: Matrix, random: list[Matrix]) -> dict[str, Any]:
    """sigma = (C / C_random) / (L / L_random) (Humphries and Gurney 2008), of the graph with edges both ways."""
    clusters, length = _undirected(matrix)
    found = [_undirected(each) for each in random]
    by_chance, far = float(np.mean([c for c, _ in found])), float(np.mean([each for _, each in found]))
    known = clusters > 0 and by_chance > 0 and length > 0
    return {
        "path_length": length,
        "small_worldness": (clusters / by_chance) / (length / far) if known else None,
    }


def _undirected(matrix: Matrix) -> tuple[float, float]:
    both = np.maximum(matrix, matrix.T)
    return clustering(both), _length(both)


def _length(both: Matrix) -> float:
    """The mean number of steps between two nodes that a path joins."""
    seen = np.eye(len(both), dtype=bool)
    reach, steps, total, pairs = seen, 0, 0, 0
    while True:
        after = (reach.astype(np.float32) @ both) > 0
        reach, steps = after & ~seen, steps + 1
        new = int(reach.sum())
        if new == 0:
            return total / pairs if pairs else 0.0
        total, pairs, seen = total + steps * new, pairs + new, seen | reach


def motifs(matrix: Matrix, random: list[Matrix]) -> dict[str, dict[str, Any]]:
    """How often each connected triad occurs, under its name of Holland and Leinhardt, and how unusual that is.

    `z` is the distance to the mean of the random graphs, in their standard deviations; None where all are alike.
    """
    mine, theirs = census(matrix), [census(each) for each in random]
    made = {}
    for name, count in mine.items():
        values = np.array([each[name] for each in theirs])
        spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        z = (count - float(values.mean())) / spread if spread > 0 else None
        made[name] = {"count": count, "random": float(values.mean()), "z": z}
    return made


def census(matrix: Matrix) -> dict[str, int]:
    """How many sets of three nodes have each of the 13 patterns in which all three hang together."""
    mutual = matrix * matrix.T
    single = matrix - mutual
    none = 1.0 - np.maximum(matrix, matrix.T)
    np.fill_diagonal(none, 0.0)
    kinds = {"m": mutual, "s": single, "t": single.T, "n": none}
    products: dict[str, Matrix] = {}
    made = {}
    for name, code, alike in _patterns():
        if code[:2] not in products:
            products[code[:2]] = kinds[code[0]] @ kinds[code[1]]
        found = (products[code[:2]] * kinds[code[2]].T).sum(dtype=np.float64)
        made[name] = round(float(found) * alike / 6)
    return made


@cache
def _patterns() -> list[tuple[str, str, int]]:
    """Each connected triad: its name, the dyads i-j, j-k and k-i of one form of it, and how many forms it has."""
    turned = {"m": "m", "s": "t", "t": "s", "n": "n"}
    made: dict[str, tuple[str, set[str]]] = {}
    for code in map("".join, product("mst", "mst", "mstn")):
        forms = {_form(code, order, turned) for order in permutations(range(3))}
        name = str(nx.triad_type(_triad(code)))
        made.setdefault(name, (code, forms))
    return [(name, code, len(forms)) for name, (code, forms) in sorted(made.items())]


def _form(code: str, order: tuple[int, ...], turned: dict[str, str]) -> str:
    """The same triad with its nodes in another order."""
    dyads = {}
    for (a, b), kind in zip(((0, 1), (1, 2), (2, 0)), code, strict=True):
        dyads[a, b], dyads[b, a] = kind, turned[kind]
    i, j, k = order
    return dyads[i, j] + dyads[j, k] + dyads[k, i]


def _triad(code: str) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(3))
    for (a, b), kind in zip(((0, 1), (1, 2), (2, 0)), code, strict=True):
        graph.add_edges_from([(a, b)] * (kind in "ms") + [(b, a)] * (kind in "mt"))
    return graph


def randomized(graph: nx.DiGraph, rng: np.random.Generator) -> Matrix:
    """The matrix of a random graph of equal degrees: pairs of edges within a projection exchange their posts.

    In each of 20 rounds every edge is paired with another of its projection; a swap that would make an edge that is
    there already, or join a unit to itself, is not made. Edges from a unit to itself are left out.
    """
    order = {node: i for i, node in enumerate(graph)}
    layer = dict(graph.nodes(data="layer"))
    groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for pre, post in graph.edges:
        if pre != post:
            groups.setdefault((layer[pre], layer[post]), []).append((order[pre], order[post]))
    made = np.zeros((len(order), len(order)), dtype=np.float32)
    for members in groups.values():
        pre, post = np.array(members).T
        made[pre, post] = 1.0
        for _ in range(_SWAPS):
            _swap(made, pre, post, rng)
    return made


def _swap(matrix: Matrix, pre: NDArray[Any], post: NDArray[Any], rng: np.random.Generator) -> None:
    """Offer each of a projection's edges one swap, in place."""
    order = rng.permutation(len(pre))
    half = len(order) // 2
    a, b = order[:half], order[half : 2 * half]
    new = np.concatenate([np.stack([pre[a], post[b]]), np.stack([pre[b], post[a]])], axis=1)
    taken = (matrix[new[0], new[1]] > 0) | (new[0] == new[1])
    code = new[0] * len(matrix) + new[1]
    once = np.zeros(len(code), dtype=bool)
    once[np.unique(code, return_index=True)[1]] = True  # of swaps that make the same edge, one
    free = (~taken & once).reshape(2, half).all(0)
    a, b = a[free], b[free]
    matrix[pre[a], post[a]] = matrix[pre[b], post[b]] = 0.0
    post[a], post[b] = post[b], post[a]
    matrix[pre[a], post[a]] = matrix[pre[b], post[b]] = 1.0


def _share(part: float, of: float) -> float:
    return part / of if of else 0.0
