"""Score against bits: every role of the winner's numbers together, and each role alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from plastic_search import findings
from plastic_search.figures import _canvas as canvas
from plastic_search.runs import Record, Run
from plastic_search.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Fewer bits, role by role"
QUESTION = "How few bits can weights, alphas and the trace be held in, and does it help to write the trace by chance?"
SECTION, ORDER, NEEDS = "bits", 60, "quantize"

ROLES = ("weight", "alpha", "trace")


class Variant(NamedTuple):
    """The winner, rounded one way."""

    name: str
    family: str  # uniform, weight, alpha, trace, mixed
    bits: dict[str, int | None]  # of each role; None is float
    rounding: str  # of the trace
    tuned: bool
    seeds: list[float]
    score: Estimate
    change: Estimate | None  # against the float winner


class Bits(NamedTuple):
    score_name: str
    chance: float | None
    float_score: float | None
    variants: list[Variant]


def data(record: Record) -> Bits | None:
    """Every variant, finest first; None where none was made."""
    names = list(dict.fromkeys(r.name for r in record.stage("quantized")))
    reference = findings.group(record, "winner")
    made = []
    for name in names:
        group = findings.group(record, name, "quantized")
        score = group.mean()
        if score is not None:
            made.append(_variant(name, group.runs[0], group.values(), score, reference.values()))
    if not made:
        return None
    mean = reference.mean()
    order = sorted(made, key=lambda v: (_FAMILIES.index(v.family), -_width(v), v.rounding, v.tuned, v.name))
    return Bits(findings.score_name(record), findings.chance(record), mean.value if mean else None, order)


_FAMILIES = ("uniform", "mixed", *ROLES)


def _variant(name: str, run: Run, values: dict[int, float], score: Estimate, reference: dict[int, float]) -> Variant:
    bits = {role: int(b) if (b := findings.finite(run.choices.get(role))) is not None else None for role in ROLES}
    held = [role for role in ROLES if bits[role] is not None]
    widths = {bits[role] for role in held}
    family = held[0] if len(held) == 1 else "uniform" if len(held) == len(ROLES) and len(widths) == 1 else "mixed"
    rounding, tuned = str(run.choices.get("rounding", "nearest")), bool(run.choices.get("tuned", False))
    change = findings.compared(values, reference)
    return Variant(name, family, bits, rounding, tuned, list(values.values()), score, change)


def _width(variant: Variant) -> float:
    """Mean bits of the roles that are rounded."""
    held = [b for b in variant.bits.values() if b is not None]
    return sum(held) / len(held) if held else 32.0


def tick(variant: Variant) -> str:
    """How a variant's bits are written: 4, or 4/4/8 where roles differ."""
    if variant.family in ("uniform", *ROLES):
        return f"{_width(variant):g}"
    return "/".join("-" if b is None else str(b) for b in variant.bits.values())


def caption(data: Bits) -> str:
    """How to read it."""
    lines = [name for name, known in (("the float winner", data.float_score), ("chance", data.chance)) if known]
    marks = f" Dashed and dotted lines: {' and '.join(lines)}." if lines else ""
    return (
        "Above, weights, alphas and trace all in as many bits (4/4/8: an 8-bit trace beside 4-bit weights and alphas); "
        "below, one of them alone, the others in float. Left, rounded and tested; right, trained on for a while with "
        "the rounding in place. Filled marks: the trace is written by stochastic rounding, up with a probability "
        f"equal to the distance covered; hollow ones: to nearest. Bars: 95 % Student intervals over seeds.{marks}"
    )


def draw(data: Bits) -> str:
    """All roles above, each alone below; before fine-tuning left, after it right."""
    columns = [t for t in (False, True) if any(v.tuned == t for v in data.variants)]
    rows = [f for f in (("uniform", "mixed"), ROLES) if any(v.family in f for v in data.variants)]
    marks = [s for v in data.variants for s in v.seeds] + [x for x in (data.chance, data.float_score) if x is not None]

    def paint(figure: Figure) -> None:
        grid = figure.subplots(len(rows), len(columns), sharey=True, squeeze=False)
        for families, line in zip(rows, grid, strict=True):
            for tuned, axes in zip(columns, line, strict=True):
                shown = [v for v in data.variants if v.family in families and v.tuned == tuned]
                ticks = dict.fromkeys(tick(v) for v in sorted(data.variants, key=_width) if v.family in families)
                _panel(axes, shown, list(ticks), data)
                what = "all roles" if "uniform" in families else "one role alone"
                axes.set_title(f"{what}, {'fine-tuned' if tuned else 'rounded only'}")
            line[0].legend(loc="lower right", frameon=False, borderaxespad=1.2, handletextpad=0.2)
            line[0].set_ylabel(f"test {data.score_name}")
        for axes in grid[-1]:
            axes.set_xlabel("bits")
        room = 0.06 * (max(marks) - min(marks)) + 0.01
        grid[0][0].set_ylim(min(marks) - room, max(marks) + room)

    return canvas.render("bits", f"{TITLE}. {QUESTION}", 40 + 230 * len(rows), paint)


def _panel(axes: Axes, variants: list[Variant], ticks: list[str], data: Bits) -> None:
    """One line for each role and rounding; where all roles are rounded, for each rounding."""
    canvas.chance_line(axes, data.chance)
    if data.float_score is not None:
        axes.axhline(data.float_score, color=canvas.INK, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
    lines: dict[tuple[str, str], list[Variant]] = {}
    for each in variants:
        lines.setdefault((each.family if each.family in ROLES else "all", each.rounding), []).append(each)
    for (what, rounding), members in lines.items():
        colour = canvas.COLOURS[ROLES.index(what)] if what in ROLES else canvas.INK
        filled, label = rounding == "stochastic", rounding if what == "all" else what
        if what == "trace":
            label = "trace, stochastic" if filled else "trace, nearest"
        members = sorted(members, key=lambda v: ticks.index(tick(v)))
        shift = 0.06 if filled else -0.06
        spots = [(ticks.index(tick(v)) + shift, v) for v in members]
        for x, each in spots:
            canvas.whiskers(axes, x, each.score.low, each.score.high, colour, "y")
        alike = [(x, v.score.value) for x, v in spots if v.family != "mixed"]
        if alike:
            axes.plot(*zip(*alike, strict=True), color=colour, linewidth=1.3, linestyle="-" if filled else "--",
                      alpha=0.8)  # fmt: skip
        axes.plot([x for x, _ in spots], [v.score.value for _, v in spots], linestyle="none", marker="o", color=colour,
                  markerfacecolor=colour if filled else canvas.PAPER, markersize=6, label=label, zorder=4)  # fmt: skip
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_xlim(-0.5, len(ticks) - 0.5)
    canvas.bare(axes)
