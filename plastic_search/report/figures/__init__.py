"""Figures: what a record looks like. Each is a module that computes and then draws.

A figure's module has TITLE, QUESTION (one sentence that the figure answers), SECTION (where on the page it
stands), ORDER (its place among all figures), NEEDS (the command that makes what it shows), and

    data(record) -> a NamedTuple, or None where the record lacks what it would show
    caption(data) -> how to read it, in a sentence or two
    draw(data) -> inline SVG

A module dropped into this folder is a figure; nothing else need be touched.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, NamedTuple

from plastic_search.core.errors import PlasticSearchError
from plastic_search.records.run import Record

__all__ = ["Figure", "figures"]


class Figure(NamedTuple):
    """One figure: what it asks, where it stands, and how it is made."""

    name: str
    title: str
    question: str
    section: str
    order: int
    needs: str
    data: Callable[[Record], Any]
    caption: Callable[[Any], str]
    draw: Callable[[Any], str]


def figures() -> dict[str, Figure]:
    """Every figure of this folder by name, in the order in which a page shows them.

    Raises:
        PlasticSearchError: a module of the folder lacks what a figure needs.
    """
    found = [_figure(info.name) for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_")]
    return {figure.name: figure for figure in sorted(found, key=lambda figure: (figure.order, figure.name))}


def _figure(name: str) -> Figure:
    module = importlib.import_module(f"{__name__}.{name}")
    constants = ("TITLE", "QUESTION", "SECTION", "ORDER", "NEEDS")
    lacking = [n for n in (*constants, "data", "caption", "draw") if not hasattr(module, n)]
    if lacking:
        raise PlasticSearchError(f"{module.__file__} is no figure yet: it lacks {', '.join(lacking)}")
    declared = {n.lower(): getattr(module, n) for n in constants}
    return Figure(name=name, data=module.data, caption=module.caption, draw=module.draw, **declared)
