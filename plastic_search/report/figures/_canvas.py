"""A sheet to draw on: matplotlib without pyplot, and SVG that takes its colours and font from the page around it."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

from plastic_search.core.printable import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from plastic_search.core.statistics import Estimate

__all__ = [
    "BLUE", "COLOURS", "CUT", "GREEN", "GRID", "INK", "MUTED", "ORANGE", "PAPER", "PURPLE", "SKY", "WIDTH",
    "YELLOW", "Look", "bare", "beyond", "chance_line", "curve", "distinct", "header", "interval_row", "legend",
    "legend_height", "look", "name_rows", "render", "short", "spread", "variable", "whiskers",
    "whole_ticks",
]  # fmt: skip

CUT = " An arrowhead: the interval goes on beyond the axis."
WIDTH = 680  # points; a page shows one as one pixel

# Okabe and Ito's palette, distinguishable for colour-blind readers; `variable` lets the page adapt each to the dark.
BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY = "#0072b2", "#d55e00", "#009e73", "#b5548a", "#c98a00", "#3a9bdc"
INK, MUTED, GRID, PAPER = "#1f2428", "#68707a", "#e4e3de", "#fdfcf9"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY)
_MARKERS = "os^DvPX"
_NAMES: dict[str, str] = dict(
    zip(
        (*COLOURS, INK, MUTED, GRID, PAPER),
        ("blue", "orange", "green", "purple", "yellow", "sky", "ink", "muted", "grid", "paper"),
        strict=True,
    )
)
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 11.0,
    "axes.labelsize": 11.0,
    "axes.titlesize": 11.0,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "legend.fontsize": 10.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.titlelocation": "left",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.solid_capstyle": "round",
    "figure.constrained_layout.use": True,
    "axes.unicode_minus": True,
}


class Look(NamedTuple):
    """How one network, search or group of cases is drawn in every figure of a page."""

    colour: str
    dash: Any  # of matplotlib: "-", or (offset, (points on, points off, ...))
    marker: str


def look(i: int) -> Look:
    """The i-th look; no two have both colour and dash in common, whatever their number.

    After six colours the line changes: solid, dashed, then a dash with one dot after it, with two, and so on. Markers
    change from one look to the next, for readers who see no colours.
    """
    turn, hue = divmod(i, len(COLOURS))
    dotted = (5.0, 1.6, *(1.0, 1.6) * (turn - 1))
    return Look(COLOURS[hue], (0, dotted) if turn else "-", _MARKERS[i % len(_MARKERS)])


def render(name: str, label: str, height: float, paint: Callable[[Figure], None]) -> str:
    """An inline SVG of WIDTH by `height` points: `paint` fills it.

    Args:
        name: of the figure; it makes the ids of the drawing its own.
        label: what it shows, for those who cannot see it.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = _STYLE | {"svg.hashsalt": name}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
        FigureCanvasSVG(figure)
        paint(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(printable(out.getvalue()), name, label, height)


def _inline(text: str, name: str, label: str, height: float) -> str:
    """Matplotlib's file as an element of a page: no metadata, no page-wide style, no id that another drawing has."""
    for prefix, uri in _NAMESPACES.items():
        ElementTree.register_namespace(prefix, uri)
    root = ElementTree.fromstring(text)
    for child in [e for e in root if e.tag == f"{_SVG}metadata" or e.find(f"{_SVG}style") is not None]:
        root.remove(child)
    used = {found for e in root.iter() for value in e.attrib.values() for found in _REFERENCE.findall(value)}
    for element in root.iter():
        element.attrib = {
            key: _attribute(key, value, name) for key, value in element.items() if _kept(key, value, used)
        }
        if element.tag != f"{_SVG}text":
            element.text = "\n" if len(element) else None
        element.tail = "\n"
    body = ElementTree.tostring(root, "unicode")
    return header(label, height) + body[body.index(">") + 1 :].rstrip()


_SVG = "{http://www.w3.org/2000/svg}"
_NAMESPACES = {"": "http://www.w3.org/2000/svg", "xlink": "http://www.w3.org/1999/xlink"}
_REFERENCE = re.compile(r"(?:^|url\()#([^)]+)")  # to an id of the same drawing


def _kept(key: str, value: str, used: set[str]) -> bool:
    """Ids that nothing refers to, and rotations by nothing, are left out."""
    return value in used if key == "id" else not (key == "transform" and value.startswith(("rotate(0 ", "rotate(-0 ")))


def _attribute(key: str, value: str, name: str) -> str:
    """Ids with the figure's name before them, colours as variables, the page's font, and two decimals."""
    if key == "id":
        return f"{name}-{value}"
    if key == "style":
        return variable(re.sub(r"'DejaVu Sans'[^;]*", "inherit", value))
    if key in ("d", "x", "y"):
        return re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), value)
    return _REFERENCE.sub(lambda m: m[0].replace("#", f"#{name}-"), value)


def header(label: str, height: float) -> str:
    """The opening of a drawing of WIDTH by `height`, with its description."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'viewBox="0 0 {WIDTH} {height:g}" style="stroke-linejoin: round; font-family: inherit" '
        f'aria-label="{escape(label)}">'
    )


def variable(text: str) -> str:
    """Each colour of ours as a variable of the page, with itself as the fallback."""
    return re.sub("|".join(_NAMES), lambda m: f"var(--{_NAMES[m[0]]}, {m[0]})", text)


def short(text: str, most: int = 34) -> str:
    """`text` in at most `most` characters, its end kept, since addresses differ there."""
    flat = "".join(c if c.isprintable() else "?" for c in text)
    return flat if len(flat) <= most else "…" + flat[-(most - 1) :]


def bare(axes: Axes, grid: str = "y") -> None:
    """Thin grid lines along one axis, no tick marks."""
    axes.grid(True, axis=grid, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6)


def whole_ticks(axes: Axes) -> None:
    """Ticks at whole numbers along x."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}".replace("-", "\N{MINUS SIGN}"))


def distinct(labels: Sequence[str], most: int) -> list[str]:
    """Labels in about `most` characters each, in more where two would otherwise become alike."""
    longest = max(map(len, labels), default=0)
    while len({short(label, most) for label in labels}) < len(set(labels)) and most < longest:
        most += 1
    return [short(label, most) for label in labels]


def legend(figure: Figure) -> None:
    """What the marks of a figure mean, above all of its axes."""
    marks: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            marks.setdefault(label, handle)
    labels = list(marks)
    figure.legend(
        marks.values(), labels, loc="outside upper left", ncols=_columns(labels), frameon=False, borderaxespad=0,
        handlelength=_HANDLE / _LETTER, columnspacing=1.6,
    )  # fmt: skip


def legend_height(labels: Sequence[str]) -> float:
    """The points that a legend of so many entries takes."""
    return 18.0 * -(-len(labels) // _columns(labels))


_LETTER, _HANDLE = 10.5, 34.0  # points: the legend's font size, and the line beside an entry


def _columns(labels: Sequence[str]) -> int:
    """How many entries of a legend fit beside one another."""
    widest = 0.64 * _LETTER * max(map(len, labels), default=1) + _HANDLE + 2.6 * _LETTER
    return max(1, min(len(labels), int(WIDTH / widest)))


def curve(
    axes: Axes, label: str, x: Sequence[float], y: Sequence[float],
    band: tuple[Sequence[float], Sequence[float]] | None, look: Look,
) -> None:  # fmt: skip
    """A line with a marker at some of its points, and a band around it."""
    if band is not None:
        axes.fill_between(x, *band, color=look.colour, alpha=0.13, linewidth=0)
    apart = max(1, len(x) // 6)
    first = _MARKERS.index(look.marker) % apart
    axes.plot(x, y, color=look.colour, linewidth=1.8, linestyle=look.dash, label=label, marker=look.marker,
              markersize=4.5, markeredgewidth=0, markevery=(first, apart))  # fmt: skip


def chance_line(axes: Axes, value: float | None, along: str = "x") -> None:
    """A dotted line at the score of guessing."""
    if value is None:
        return
    line = axes.axhline if along == "x" else axes.axvline
    line(value, color=MUTED, linewidth=1, linestyle=(0, (1, 2)), zorder=1)


def whiskers(
    axes: Axes, at: float, interval: Estimate, colour: str, along: str = "x", support: tuple[float, float] | None = None
) -> None:
    """An interval, where there is one; an arrowhead where it goes on beyond the limits `support` of the axis."""
    if interval.low is None or interval.high is None:
        return
    low, high = (
        (interval.low, interval.high)
        if support is None
        else (max(interval.low, support[0]), min(interval.high, support[1]))
    )
    line = axes.hlines if along == "x" else axes.vlines
    line(at, low, high, color=colour, linewidth=2.2, alpha=0.55, zorder=2)
    for edge, cut, marker in ((low, low > interval.low, "<v"), (high, high < interval.high, ">^")):
        if cut:
            x, y = (edge, at) if along == "x" else (at, edge)
            axes.plot(x, y, marker=marker[along != "x"], color=colour, markersize=5, linestyle="none", clip_on=False,
                      zorder=3)  # fmt: skip


def interval_row(
    axes: Axes, y: float, score: Estimate, seeds: Sequence[float], look: Look, support: tuple[float, float],
    reach: float = 0.3,
) -> None:  # fmt: skip
    """A network's result across the axes at `y`: a large mark, its interval, and a small hollow mark for each seed."""
    whiskers(axes, y, score, look.colour, support=support)
    places = [y + d for d in spread(len(seeds), reach)]
    axes.plot(sorted(seeds), places, linestyle="none", marker=look.marker, markersize=3.5, markerfacecolor=PAPER,
              markeredgecolor=look.colour, zorder=3)  # fmt: skip
    axes.plot(score.value, y, linestyle="none", marker=look.marker, markersize=8, color=look.colour, zorder=4)


def name_rows(axes: Axes, labels: Sequence[str], limits: tuple[float, float], measured: str) -> None:
    """Rows from the top, each with its name, and what is measured along them."""
    axes.set_yticks(range(len(labels)), distinct(labels, 40))
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlim(*limits)
    axes.set_xlabel(measured)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.4g}")
    bare(axes, "x")
    axes.spines["left"].set_visible(False)


def beyond(interval: list[Estimate], support: tuple[float, float]) -> bool:
    """Whether any interval goes on beyond the limits of an axis."""
    return any(
        e.low is not None and e.high is not None and (e.low < support[0] or e.high > support[1]) for e in interval
    )


def spread(count: int, width: float = 0.5) -> Sequence[float]:
    """`count` offsets around zero."""
    return [0.0] if count < 2 else [width * (i / (count - 1) - 0.5) for i in range(count)]
