"""A layered graph as SVG: nodes in columns, edges as curves with their weight as hover text, matrices of squares."""

from __future__ import annotations

import itertools
import math
from html import escape
from typing import NamedTuple

from plastic_search.report.figures._canvas import INK, MUTED, ORANGE, PAPER, WIDTH, short

__all__ = ["Block", "Edge", "grid", "label", "matrices", "matrix", "picture"]

_HEIGHT, _TOP, _CELL = 400.0, 34.0, 22.0
_FIXED, _PLASTIC = MUTED, ORANGE
_TITLE = 118.0  # points that a column's title takes
_LEVELS = 4  # shades of a matrix
_SQUARES = 8000  # most connections that one matrix draws

Place = tuple[float, float]


class Edge(NamedTuple):
    """One synapse."""

    source: str
    target: str
    pre: tuple[int, int]  # layer (-1: input) and index
    post: tuple[int, int]
    weight: float
    alpha: float
    plastic: bool


class Block(NamedTuple):
    """All synapses from one part of a network to another."""

    pre: int  # layer; -1 is the input
    post: int
    edges: int
    possible: int
    plastic: int


def grid(inputs: int) -> int:
    """The side of the image that so many inputs look like: a square of 25 pixels or more, and few others; else 0."""
    side = math.isqrt(inputs)
    return side if side >= 5 and inputs - side * side <= side else 0


def picture(edges: list[Edge], sizes: list[int], most: int) -> tuple[str, float]:
    """The graph, with the `most` strongest edges into each layer, and how far down it reaches."""
    loops = any(e.pre[0] == e.post[0] == len(sizes) - 2 for e in edges)
    places = _places(sizes, 84.0 if loops else 24.0)
    drawn: list[tuple[Edge, float]] = []
    for layer in range(len(sizes) - 1):
        mine = [e for e in edges if e.post[0] == layer][:most]
        top = max((abs(e.weight) for e in mine), default=1.0) or 1.0
        drawn += [(e, abs(e.weight) / top) for e in mine]
    body = [_group(drawn, places, False), _group(drawn, places, True), _nodes(edges, sizes, places)]
    return "\n".join(body), _TOP + _HEIGHT


def _places(sizes: list[int], right: float) -> dict[tuple[int, int], Place]:
    """Where each node stands; `right` is left free for edges that loop back to the last layer."""
    result: dict[tuple[int, int], Place] = {}
    side, middle = grid(sizes[0]), _TOP + _HEIGHT / 2
    left = 14 + side * _cell(side) if side else 40.0
    for layer in range(-1, len(sizes) - 1):
        n = sizes[layer + 1]
        if layer == -1 and side:
            result |= _grid_places(n, side, middle)
            continue
        x = left + (WIDTH - right - left) * (layer + 1) / max(len(sizes) - 1, 1)
        step = min(_HEIGHT / max(n, 1), 46.0)
        result |= {(layer, i): (x, middle + step * (i - (n - 1) / 2)) for i in range(n)}
    return result


def _cell(side: int) -> float:
    """How wide one input of an image is drawn."""
    return min(_CELL, (_HEIGHT - 40) / (side + 2))


def _grid_places(inputs: int, side: int, middle: float) -> dict[tuple[int, int], Place]:
    extra = inputs - side * side
    cell = _cell(side)
    top = middle - cell * (side + (2 if extra else 0)) / 2
    result = {}
    for i in range(inputs):
        row, column = (i // side, i % side) if i < side * side else (side + 1, i - side * side)
        result[-1, i] = (14 + cell * (column + 0.5), top + cell * (row + 0.5))
    return result


def _group(drawn: list[tuple[Edge, float]], places: dict[tuple[int, int], Place], plastic: bool) -> str:
    colour = _PLASTIC if plastic else _FIXED
    lines = [_curve(e, s, places) for e, s in reversed(drawn) if e.plastic == plastic]
    return f'<g style="fill: none; stroke: {colour}; stroke-linecap: round">' + "".join(lines) + "</g>"


def _curve(edge: Edge, strength: float, places: dict[tuple[int, int], Place]) -> str:
    (x1, y1), (x2, y2) = places[edge.pre], places[edge.post]
    if edge.pre == edge.post:
        path = f"M{x1:.1f} {y1:.1f}c14-14 22 12 1 2"
    elif edge.pre[0] == edge.post[0]:
        out = 18 + 0.22 * abs(y2 - y1)
        path = f"M{x1:.1f} {y1:.1f}C{x1 + out:.1f} {y1:.1f} {x2 + out:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    else:
        half = (x2 - x1) / 2
        path = f"M{x1:.1f} {y1:.1f}C{x1 + half:.1f} {y1:.1f} {x2 - half:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    look = f"stroke-width: {0.4 + 2.0 * strength:.2f}; stroke-opacity: {0.1 + 0.65 * strength**1.5:.2f}"
    return f'<path d="{path}" style="{look}"><title>{escape(described(edge))}</title></path>'


def described(edge: Edge) -> str:
    """An edge in words."""
    alpha = f", alpha {edge.alpha:+.3f}" if edge.plastic else ""
    return f"{edge.source} to {edge.target}: weight {edge.weight:+.3f}{alpha}, {'plastic' if edge.plastic else 'fixed'}"


def _nodes(edges: list[Edge], sizes: list[int], places: dict[tuple[int, int], Place]) -> str:
    leaving: dict[tuple[int, int], float] = {}
    for e in edges:
        leaving[e.pre] = leaving.get(e.pre, 0.0) + abs(e.weight)
    pixels = [leaving.get((-1, i), 0.0) for i in range(sizes[0])]
    least, most = min(pixels, default=0.0), max(pixels, default=0.0)
    side, parts = grid(sizes[0]), []
    for (layer, i), (x, y) in places.items():
        if layer == -1 and side:
            parts.append(_pixel(x, y, f"input.{i}", (pixels[i] - least) / ((most - least) or 1.0), side))
            continue
        radius = min(5.0, 0.36 * min(_HEIGHT / max(sizes[layer + 1], 1), 46.0))
        name = f"input.{i}" if layer == -1 else f"layers.{layer}.{i}"
        look = f'style="fill: {PAPER}; stroke: {INK}; stroke-width: {max(0.5, radius / 4):.1f}"'
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" {look}><title>{name}</title></circle>')
    return "".join(parts) + _titles(sizes, places)


def _titles(sizes: list[int], places: dict[tuple[int, int], Place]) -> str:
    """What each column is, on two lines in turn where the columns are too close for one."""
    columns = [(layer, [x for (at, _), (x, _) in places.items() if at == layer]) for layer in range(-1, len(sizes) - 1)]
    spots = [(layer, (min(xs) + max(xs)) / 2) for layer, xs in columns if xs]
    close = any(b - a < _TITLE for (_, a), (_, b) in itertools.pairwise(spots))
    parts = []
    for turn, (layer, x) in enumerate(spots):
        y = 12 + 15 * (turn % 2) if close else 14
        fits = min(x, WIDTH - x) >= _TITLE / 2
        anchor, x = ("middle", x) if fits else ("end", WIDTH - 2) if x > WIDTH / 2 else ("start", 2)
        parts.append(label(x, y, called(layer, sizes[layer + 1]), anchor))
    return "".join(parts)


def _pixel(x: float, y: float, name: str, share: float, side: int) -> str:
    """One input of an image, opaque, so that the edges pass beneath."""
    size = _cell(side) - min(3.0, 0.2 * _cell(side))
    box = f'x="{x - size / 2:.1f}" y="{y - size / 2:.1f}" width="{size:.1f}" height="{size:.1f}" rx="2.5"'
    return (
        f'<rect {box} style="fill: {PAPER}"/>'
        f'<rect {box} style="fill: {INK}; fill-opacity: {0.08 + 0.72 * share:.2f}"><title>{name}</title></rect>'
    )


def called(layer: int, units: int) -> str:
    """A part of the network with its size."""
    side = grid(units)
    image = f" = {side} x {side} + {units - side * side}".removesuffix(" + 0") if side else ""
    return f"input, {units}{image}" if layer == -1 else f"layer {layer}, {units} unit{'s' if units != 1 else ''}"


def matrices(edges: list[Edge], sizes: list[int], top: float) -> tuple[str, float]:
    """The adjacency matrix of each layer below one another from `top` on, and how far down they reach."""
    parts, y = [], top
    for layer in range(len(sizes) - 1):
        mine = [e for e in edges if e.post[0] == layer]
        sources = sorted({e.pre[0] for e in mine}, key=lambda s: (s == layer, -s))
        if not mine:
            continue
        columns = sum(sizes[s + 1] for s in sources)
        gap = 26.0
        cell = min(9.0, (WIDTH - 20 - gap * (len(sources) - 1)) / columns, 420.0 / sizes[layer + 1])
        x = 1.0
        shown = mine[:_SQUARES]
        cut = f", the strongest {len(shown)} of {len(mine)}" if len(shown) < len(mine) else ""
        parts.append(label(x, y + 12, f"into layer {layer}{cut}", "start"))
        for source in sources:
            width, height = sizes[source + 1] * cell, sizes[layer + 1] * cell
            name = "itself" if source == layer else "input" if source == -1 else f"layer {source}"
            from_x = x if width > 60 else x - 1
            parts.append(label(from_x, y + 28, f"from {name}", "start", MUTED))
            block = [e for e in shown if e.pre[0] == source]
            parts.append(matrix(block, abs(mine[0].weight), (x, y + 34), (width, height), cell))
            x += max(width, 60.0) + gap
        y += 34 + sizes[layer + 1] * cell + 22
    return "\n".join(parts), y


def matrix(block: list[Edge], most: float, corner: Place, extent: Place, cell: float) -> str:
    """Squares of one source, shaded on the scale of the whole layer, whose largest weight is `most`."""
    (x, y), (width, height), top = corner, extent, most or 1.0
    shades: dict[tuple[bool, int], list[Edge]] = {}
    for e in block:
        level = min(int(_LEVELS * math.sqrt(abs(e.weight) / top)), _LEVELS - 1)
        shades.setdefault((e.plastic, level), []).append(e)
    size = 0.9 if cell > 3 else 1
    paths = []
    for (plastic, level), members in sorted(shades.items()):
        squares = "".join(f"M{e.pre[1]} {e.post[1]}h{size}v{size}h-{size}z" for e in members)
        colour, opacity = _PLASTIC if plastic else _FIXED, 0.25 + 0.75 * level / (_LEVELS - 1)
        paths.append(f'<path d="{squares}" style="fill: {colour}; fill-opacity: {opacity:.2f}"/>')
    frame = (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'style="fill: {INK}; fill-opacity: 0.03"/>'
    )
    return f'{frame}<g transform="translate({x:.1f} {y:.1f}) scale({cell:.3f})">{"".join(paths)}</g>'


def label(x: float, y: float, text: str, anchor: str, colour: str = INK) -> str:
    """A line of text at a place, cut where it is too long."""
    look = f"font-size: 11px; text-anchor: {anchor}; fill: {colour}; font-family: inherit"
    return f'<text x="{x:.1f}" y="{y:.1f}" style="{look}">{escape(short(text, 60))}</text>'
