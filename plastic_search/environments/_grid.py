"""A maze of pillars as tables: what every action does in every free cell, and what is seen there.

Tables and steps are NumPy's, which takes a third of torch's time for a few dozen episodes, two thirds for a thousand.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError

__all__ = ["UP_DOWN_LEFT_RIGHT", "Grid", "check_size", "drawn", "grid", "others"]

UP_DOWN_LEFT_RIGHT = ((-1, 0), (1, 0), (0, -1), (0, 1))
_SMALLEST = 5


class Grid(NamedTuple):
    """A square maze with a wall around it. Its free cells are counted from 0, row by row.

    A cell times 4 plus an action is the row of a table.
    """

    places: tuple[tuple[int, int], ...]  # row and column of each free cell
    centre: int  # the free cell in the middle
    after: NDArray[Any]  # [4 * cells] the cell that an action leads to, times 4
    bumps: NDArray[Any]  # [4 * cells] 1.0 where it is against a wall
    windows: NDArray[
        Any
    ]  # [4 * cells, 9] walls among the 3x3 cells around one, row by row, 1.0 each; the same four times
    last: NDArray[Any]  # [4 * cells, 4] the action, one-hot


def check_size(name: str, size: int) -> None:
    """Refuse a size that has no middle, or no room; `name` is the field's."""
    if size < _SMALLEST or size % 2 == 0:
        raise PlasticSearchError(f"{name} must be odd and at least {_SMALLEST}, outer wall included, but is {size}")


@cache
def grid(size: int, directions: tuple[tuple[int, int], ...] = UP_DOWN_LEFT_RIGHT) -> Grid:
    """The maze of `size` by `size` cells, outer wall included, with a pillar at every cell of even row and column.

    Args:
        directions: rows and columns that each of the four actions moves by.
    """
    edge, middle = (0, size - 1), (size // 2, size // 2)

    def wall(row: int, column: int) -> bool:
        return row in edge or column in edge or (row % 2 == column % 2 == 0 and (row, column) != middle)

    places = tuple((row, column) for row, column in product(range(size), repeat=2) if not wall(row, column))
    number = {place: n for n, place in enumerate(places)}
    moves = [(place, (place[0] + down, place[1] + right)) for place in places for down, right in directions]
    around = list(product((-1, 0, 1), repeat=2))
    windows = [[float(wall(row + i, column + j)) for i, j in around] for row, column in places]
    return Grid(
        places,
        number[middle],
        np.array([4 * number.get(there, number[here]) for here, there in moves]),
        np.array([there not in number for _, there in moves], np.float32),
        np.array(windows, np.float32).repeat(4, 0),
        np.tile(np.eye(4, dtype=np.float32), (len(places), 1)),
    )


def others(forbidden: Tensor, cells: int, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """Free cells other than `forbidden`, drawn evenly: [*shape], to which `forbidden` broadcasts."""
    cell = torch.randint(cells - 1, shape, generator=rng)
    return cell.masked_fill_(cell == forbidden, cells - 1)  # which has not been drawn, in the place of `forbidden`


def drawn(places: tuple[tuple[int, int], ...], agent: int, reward: int) -> str:
    """The maze as lines of characters: `#` a wall, `.` a free cell, `*` the reward, `@` the agent."""
    side = max(row for row, _ in places) + 2
    marks = dict.fromkeys(places, ".") | {places[reward]: "*"} | {places[agent]: "@"}
    return "\n".join("".join(marks.get((row, column), "#") for column in range(side)) for row in range(side))
