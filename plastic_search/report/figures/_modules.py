"""A graph's adjacency matrix with its communities side by side, and a drawing that needs no page around it."""

from __future__ import annotations

from html import escape

from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.figures._graph import Edge, label, matrix

__all__ = ["alone", "matrix_of_modules", "page"]

_MARGIN = 12  # points around a drawing that stands alone


def matrix_of_modules(edges: list[Edge], groups: list[set[str]], top: float) -> tuple[str, float]:
    """All nodes against all, ordered by community, each framed; and how far down it reaches."""
    order = sorted((i, _place(node), node) for i, group in enumerate(groups) for node in group)
    place = {node: i for i, (_, _, node) in enumerate(order)}
    cell = min(9.0, (canvas.WIDTH - 4) / max(len(order), 1))
    side, y = cell * len(order), top + 20
    moved = [e._replace(pre=(0, place[e.source]), post=(0, place[e.target])) for e in edges]
    most = max((abs(e.weight) for e in edges), default=1.0)
    parts = [
        label(1, top + 12, f"all nodes by community: {len(groups)} of them, framed", "start"),
        matrix(moved, most, (1, y), (side, side), cell),
    ]
    at = 0
    for i, group in enumerate(groups):
        parts.append(_frame(i, group, (1 + at * cell, y + at * cell), cell))
        at += len(group)
    return "\n".join(parts), y + side + 8


def _place(node: str) -> tuple[str, int]:
    layer, _, index = node.rpartition(".")
    return layer, int(index)


def _frame(i: int, group: set[str], corner: tuple[float, float], cell: float) -> str:
    counts: dict[str, int] = {}
    for layer, _ in sorted(map(_place, group)):
        counts[layer] = counts.get(layer, 0) + 1
    counted = ", ".join(f"{n} of {layer}" for layer, n in counts.items())
    side = cell * len(group)
    return (
        f'<rect x="{corner[0]:.1f}" y="{corner[1]:.1f}" width="{side:.1f}" height="{side:.1f}" '
        f'style="fill: {canvas.INK}; fill-opacity: 0; stroke: {canvas.INK}; stroke-width: 0.8">'
        f"<title>{escape(f'community {i}: {counted}')}</title></rect>"
    )


def alone(title: str, height: float, body: str) -> str:
    """An SVG file of its own: its size, its colours and its font are in it."""
    width, tall = canvas.WIDTH + 2 * _MARGIN, height + 2 * _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{tall:g}" '
        f'viewBox="{-_MARGIN} {-_MARGIN} {width} {tall:g}" style="stroke-linejoin: round; font-family: sans-serif">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect x="{-_MARGIN}" y="{-_MARGIN}" width="{width}" height="{tall:g}" style="fill: {canvas.PAPER}"/>\n'
        f"{body.replace('font-family: inherit', 'font-family: sans-serif')}\n</svg>\n"
    )


def page(title: str, caption: str, drawing: str) -> str:
    """An HTML file of its own around a drawing."""
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>body {{ max-width: {canvas.WIDTH + 24}px; margin: 2em auto; font: 15px/1.5 sans-serif; "
        f"color: {canvas.INK}; background: {canvas.PAPER} }} svg {{ max-width: 100%; height: auto }}</style>\n"
        f"<h1>{escape(title)}</h1>\n<p>{escape(caption)}</p>\n{drawing}</html>\n"
    )
