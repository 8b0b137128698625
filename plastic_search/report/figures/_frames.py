"""Drawings in characters as a moving picture: cells that stay are drawn once, what moves is moved by CSS keyframes.

`#` is a wall, `.` and a space are free, `@` is the agent, `*` a reward; any other character is shown as it is.
"""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from plastic_search.core.printable import printable
from plastic_search.report.figures import _canvas as canvas

__all__ = ["Grid", "Sprite", "draw", "grid", "keyframes"]

_ROWS, _COLUMNS = 60, 120  # a larger drawing is not shown
_FREE = " ."
_AWAY = "-9999px,0"  # where what is not there is moved to

Place = tuple[int, int]  # row, column


class Sprite(NamedTuple):
    """A character that moves."""

    char: str
    places: list[Place | None]  # in each frame; None where it is not there


class Grid(NamedTuple):
    """A sequence of drawings of one size."""

    rows: int
    columns: int
    fixed: dict[Place, str]  # characters that are the same in every frame; free cells are left out
    sprites: list[Sprite]


def grid(frames: list[str]) -> Grid | None:
    """What stays and what moves in drawings; None where there are none, or they are larger than a page can show."""
    drawings = [printable(frame, keep="\n").rstrip("\n").split("\n") for frame in frames]
    rows = max(map(len, drawings), default=0)
    columns = max((len(line) for lines in drawings for line in lines), default=0)
    if not 0 < columns <= _COLUMNS or rows > _ROWS:
        return None
    cells = [["".join(lines[r : r + 1]).ljust(columns) for r in range(rows)] for lines in drawings]
    fixed: dict[Place, str] = {}
    moving: list[Place] = []
    for place in ((r, c) for r in range(rows) for c in range(columns)):
        found = {lines[place[0]][place[1]] for lines in cells}
        if len(found) > 1:
            moving.append(place)
        elif (char := found.pop()) not in _FREE:
            fixed[place] = char
    chars = sorted({lines[r][c] for lines in cells for r, c in moving}.difference(_FREE))
    sprites = [
        s for char in chars for s in _sprites(char, [[p for p in moving if f[p[0]][p[1]] == char] for f in cells])
    ]
    return Grid(rows, columns, fixed, sprites)


def _sprites(char: str, places: list[list[Place]]) -> list[Sprite]:
    """As many sprites as there are characters in any frame; each stays where it is for as long as it can."""
    sprites = [Sprite(char, []) for _ in range(max(map(len, places)))]
    for here in places:
        last = [s.places[-1] if s.places else None for s in sprites]
        kept = [place if place in here else None for place in last]
        left = iter([place for place in here if place not in kept])
        for sprite, place in zip(sprites, kept, strict=True):
            sprite.places.append(place if place is not None else next(left, None))
    return sprites


def draw(name: str, shown: Grid, origin: tuple[float, float], size: float) -> tuple[str, str]:
    """The picture, and the CSS that moves it over one cycle of an animation.

    Args:
        name: what its classes and keyframes begin with.
        origin: x and y of the upper left corner.
        size: of a cell.
    """
    x, y = origin
    width, height = shown.columns * size, shown.rows * size
    drawn = [
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{canvas.GRID}" fill-opacity="0.4"/>'
    ]
    walls = "".join(
        f"M{x + c * size:g} {y + r * size:g}h{size:g}v{size:g}h-{size:g}z"
        for (r, c), char in shown.fixed.items()
        if char == "#"
    )
    drawn += [f'<path d="{walls}" fill="{canvas.MUTED}"/>'] * bool(walls)
    for place, char in shown.fixed.items():
        if char != "#":
            drawn.append(f'<g transform="translate({_at(place, origin, size)})">{_glyph(char, size)}</g>')
    css = []
    for i, sprite in enumerate(shown.sprites):
        steps = [_AWAY if p is None else _at(p, origin, size, "px") for p in sprite.places]
        css.append(keyframes(f"{name}-{i}", steps))
        css.append(f".{name} .s{i}{{animation-name:{name}-{i}}}")
        first = next(place for place in sprite.places if place is not None)
        drawn.append(
            f'<g class="m s{i}" transform="translate({_at(first, origin, size)})">{_glyph(sprite.char, size)}</g>'
        )
    return "\n".join(drawn), "\n".join(css)


def keyframes(name: str, steps: list[str]) -> str:
    """CSS keyframes that translate by each of `steps` for an equal part of a cycle."""
    changes = [(i, step) for i, step in enumerate(steps) if not i or step != steps[i - 1]]
    inside = "".join(f"{100 * i / len(steps):.5g}%{{transform:translate({step})}}" for i, step in changes)
    return f"@keyframes {name}{{{inside}}}"


def _at(place: Place, origin: tuple[float, float], size: float, unit: str = "") -> str:
    return f"{origin[0] + place[1] * size:.5g}{unit},{origin[1] + place[0] * size:.5g}{unit}"


def _glyph(char: str, size: float) -> str:
    """A character in a cell whose upper left corner is 0, 0."""
    half = size / 2
    match char:
        case "#":
            return f'<rect width="{size:g}" height="{size:g}" fill="{canvas.MUTED}"/>'
        case "@":
            return f'<circle cx="{half:g}" cy="{half:g}" r="{0.36 * size:.3g}" fill="{canvas.BLUE}"/>'
        case "*":
            far = f"{0.4 * size:.3g}"
            corners = f"M{half:g} {0.1 * size:.3g}l{far} {far}l-{far} {far}l-{far} -{far}z"
            return f'<path d="{corners}" fill="{canvas.ORANGE}"/>'
        case _:
            place = f'x="{half:g}" y="{0.78 * size:.3g}" text-anchor="middle" fill="{canvas.INK}"'
            return f'<text {place} font-family="monospace" font-size="{0.85 * size:.3g}">{escape(char)}</text>'
