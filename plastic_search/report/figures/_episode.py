"""One episode as a moving picture: what the environment draws, and below it reward and plasticity under a cursor."""

from __future__ import annotations

from typing import NamedTuple

from plastic_search.core.printable import printable
from plastic_search.records.episodes import Episode
from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.figures import _frames

__all__ = ["caption", "draw", "scored"]

_LEFT, _RIGHT, _TOP, _PANEL, _GAP = 58, 12, 8, 56, 26  # points; a panel's height, and the gap above it for its title
_CELL, _PICTURE = 26.0, 300.0  # the largest size of a cell, and of the picture's height
_FRAMES, _POINTS = 600, 1500  # the most that are shown; of longer episodes every second, third, ...
_STEP, _SHORTEST, _LONGEST = 0.15, 4.0, 60.0  # seconds of a step, and of the whole


class _Panel(NamedTuple):
    """One quantity over time."""

    title: str
    lines: list[tuple[str, list[float]]]  # colour, values
    first: int  # step of the first value


def draw(episode: Episode, name: str = "episode") -> str:
    """The SVG, in colours of its own, which `_canvas.variable` exchanges for those of a page.

    It moves by CSS alone, stops under the pointer, and stands still for readers who prefer that.

    Args:
        name: what its classes begin with; no other drawing of a page may have the same.
    """
    stride = -(-len(episode.frames) // _FRAMES) or 1
    shown = _frames.grid(episode.frames[::stride])
    steps, picture, css, at = len(episode.rewards), "", "", float(_TOP)
    if shown is not None:
        size = min(_CELL, (canvas.WIDTH - _LEFT - _RIGHT) / shown.columns, _PICTURE / shown.rows)
        picture, css = _frames.draw(name, shown, (_LEFT, at), size)
        at += shown.rows * size
    panels = _panels(episode)
    begin, drawn = at + _GAP, []
    for panel in panels:
        drawn.append(_panel(panel, episode, at + _GAP))
        at += _GAP + _PANEL
    width = canvas.WIDTH - _LEFT - _RIGHT
    cursor = f'<path class="m {name}-c" d="M{_LEFT} {begin:g}V{at:g}" stroke="{canvas.INK}" stroke-width="1.2"/>'
    label = f"An episode of {episode.name}, seed {episode.seed}: {scored(episode)}"
    height = at + 34
    sheet = f'<rect width="{canvas.WIDTH}" height="{height:g}" fill="{canvas.PAPER}"/>'
    style = f"<style>{_style(name, steps, width)}{css}</style>"
    fonts = 'font-family="system-ui, sans-serif" font-size="10.5" fill="none"'
    inside = "\n".join([style, sheet, picture, *drawn, _axis(steps, at), cursor])
    whole = f'{canvas.header(label, height)}\n<g class="{name}" {fonts}>\n{inside}\n</g>\n</svg>'
    return printable(whole)


def caption(episode: Episode) -> str:
    """How to read it."""
    marks = {"#": "Grey: walls.", "@": "Disc: the agent.", "*": "Diamond: the reward."}
    seen = [text for mark, text in marks.items() if any(mark in frame for frame in episode.frames)]
    below = ["Reward: of each action, where the network can receive it, a step later."]
    if episode.layers:
        below.append("Modulator: the plasticity rate, mean over units; below it the mean of its magnitude, and of |H|.")
    if len(episode.layers) > 1:
        below.append(f"Lines: layers {', '.join(str(each.layer) for each in episode.layers)}.")
    moving = "The picture stops under the pointer." if episode.frames else "The cursor stops under the pointer."
    return " ".join([*seen, *below, moving])


def scored(episode: Episode) -> str:
    """What it is scored, in words: reward 12"""
    return f"{episode.score_name} {'not measured' if episode.score is None else _number(episode.score)}"


def _panels(episode: Episode) -> list[_Panel]:
    panels = [_Panel("reward", [(canvas.ORANGE, episode.rewards)], 1)]
    for title, name in (("modulator", "signal"), ("magnitude of the rate", "rate"), ("mean |H|", "trace")):
        lines = [(canvas.look(i).colour, getattr(each, name)) for i, each in enumerate(episode.layers)]
        if lines and not (name == "rate" and all(each.rate == each.signal for each in episode.layers)):
            panels.append(_Panel(title, lines, 0))
    return panels


def _panel(panel: _Panel, episode: Episode, top: float) -> str:
    """One quantity: its title, its smallest and largest value, and its lines; rewards that are rare as strokes."""
    values = [value for _, line in panel.lines for value in line]
    low, high = min(0.0, *values), max(0.0, *values)
    high = high if high > low else low + 1.0
    steps, bottom = len(episode.rewards), top + _PANEL

    def x(step: float) -> float:
        return _LEFT + (canvas.WIDTH - _LEFT - _RIGHT) * step / steps

    def y(value: float) -> float:
        return bottom - _PANEL * (value - low) / (high - low)

    drawn = [f'<text x="{_LEFT}" y="{top - 6:g}" fill="{canvas.INK}">{panel.title}</text>']
    for value in sorted({low, 0.0, high}):
        drawn.append(
            f'<path d="M{_LEFT} {y(value):.2f}H{canvas.WIDTH - _RIGHT}" stroke="{canvas.GRID}" stroke-width="0.8"/>'
        )
    for value in sorted({low, high}):
        drawn.append(_text(_LEFT - 6, y(value) + 3.5, "end", _number(value)))
    rare = panel.first == 1 and sum(value != 0 for value in values) <= steps / 2
    for colour, line in panel.lines:
        stride = -(-len(line) // _POINTS)
        points = [(x(i + panel.first), y(line[i])) for i in range(0, len(line), stride)]
        if rare:
            path = "".join(f"M{x(i + 1):.2f} {y(0.0):.2f}V{y(v):.2f}" for i, v in enumerate(line) if v)
        else:
            path = "M" + "L".join(f"{a:.2f} {b:.2f}" for a, b in points)
        drawn.append(f'<path d="{path}" stroke="{colour}" stroke-width="1.5"/>' if path else "")
    return "\n".join(filter(None, drawn))


def _axis(steps: int, at: float) -> str:
    """Numbers of steps, and what they are, below the last panel."""
    width = canvas.WIDTH - _LEFT - _RIGHT
    ticks = sorted({round(steps * part / 4) for part in range(5)})
    texts = [_text(_LEFT + width * tick / steps, at + 15, "middle", str(tick)) for tick in ticks]
    return "\n".join([*texts, _text(_LEFT + width / 2, at + 29, "middle", "step")])


def _style(name: str, steps: int, width: float) -> str:
    """The CSS of the cursor, and what holds for everything that moves."""
    seconds = min(max(_STEP * steps, _SHORTEST), _LONGEST)
    return (
        f".{name} .m{{animation:{seconds:g}s step-end infinite}}"
        f".{name} .{name}-c{{animation-name:{name}-c;animation-timing-function:linear}}"
        f"@keyframes {name}-c{{from{{transform:translate(0,0)}}to{{transform:translate({width}px,0)}}}}"
        f".{name}:hover .m{{animation-play-state:paused}}"
        f"@media (prefers-reduced-motion:reduce),print{{.{name} .m{{animation:none}}}}"
    )


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.5g}" y="{y:.5g}" text-anchor="{anchor}" fill="{canvas.INK}">{text}</text>'


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
