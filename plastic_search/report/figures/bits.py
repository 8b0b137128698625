"""Score against bits: every role of a network's numbers together, and each role alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from plastic_search.core.statistics import Estimate
from plastic_search.records.run import Finalist, Record, Run, Stage, rounded_network
from plastic_search.report import groups as findings
from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.formatting import bits
from plastic_search.report.groups import Group

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Fewer bits, role by role"
QUESTION = "How few bits can weights, alphas and the trace be held in, and does it help to write the trace by chance?"
SECTION, ORDER, NEEDS = "bits", 60, "quantize"

_ALWAYS = ("weight", "alpha", "trace")  # of which a record has the bits of every variant
ROLES = (*_ALWAYS, "activity")


class Variant(NamedTuple):
    """A network, rounded one way."""

    name: str
    family: str  # uniform, weight, alpha, trace, activity, mixed
    bits: dict[str, int | None]  # of each role; None is float. Activity is in it only where it is rounded
    rounding: str  # of the trace; with error feedback also the bits of what it keeps, "feedback + 4 bits"
    tuned: bool
    seeds: list[float]
    score: Estimate
    change: Estimate | None  # against the float network
    matched: Estimate | None  # of one that was trained on: against the float network trained on as long

    @property
    def cost(self) -> Estimate | None:
        """What rounding changes, as far as it can be told from what training on changes."""
        return self.matched or self.change

    @property
    def fair(self) -> bool:
        """Whether what it is compared with was trained as long."""
        return not self.tuned or self.matched is not None


class Bits(NamedTuple):
    score_name: str
    chance: float | None
    float_score: float | None
    float_tuned: Variant | None  # the network trained on as long as the others, but not rounded
    variants: list[Variant]

    @property
    def together(self) -> list[Variant]:
        """Those in which every role that there is was rounded: of a network without a trace, the weight."""
        rounded = [v for v in self.variants if v.family in ("uniform", "mixed") and v.bits["trace"] is not None]
        traced = any(v.family in ("alpha", "trace") for v in self.variants)
        return rounded or ([] if traced else [v for v in self.variants if v.family != "activity"])


def data(record: Record, network: str = Finalist.WINNER) -> Bits | None:
    """Every variant of the winner or another finalist, finest first; None where none was made."""
    mine = [r.name for r in record.stage(Stage.QUANTIZED) if rounded_network(r) == network]
    groups = [findings.group(record, name, Stage.QUANTIZED) for name in dict.fromkeys(mine)]
    reference = findings.group(record, network)
    longer = next((g.values() for g in groups if g.values() and not _rounded(g.runs[0])), {})
    variants = [_variant(g, score, reference.values(), longer) for g in groups if (score := g.mean()) is not None]
    searched = {g.name for g in groups if "budget" in g.runs[0].choices}  # which a page tables by themselves
    variants = [v for v in variants if v.family != "mixed" or v.name not in searched]
    rounded = [v for v in variants if v.family != _FLOAT]
    if not rounded:
        return None
    mean = reference.mean()
    order = sorted(rounded, key=lambda v: (_FAMILIES.index(v.family), -_width(v), v.rounding, v.tuned, v.name))
    tuned = next((v for v in variants if v.family == _FLOAT), None)
    return Bits(findings.score_name(record), findings.chance(record), mean.value if mean else None, tuned, order)


_FLOAT = "float"
_FAMILIES = ("uniform", "mixed", *ROLES)


def _rounded(run: Run) -> dict[str, int]:
    """The bits of each role that is rounded."""
    return {role: int(b) for role in ROLES if (b := findings.finite(run.choices.get(role))) is not None}


def _variant(group: Group, score: Estimate, reference: dict[int, float], longer: dict[int, float]) -> Variant:
    run, values = group.runs[0], group.values()
    widths, tuned = _rounded(run), bool(run.choices.get("tuned", False))
    bits = {role: widths.get(role) for role in ROLES if role in _ALWAYS or role in widths}
    family = "uniform" if tuple(widths) == _ALWAYS and len({*widths.values()}) == 1 else "mixed"
    family = next(iter(widths)) if len(widths) == 1 else family if widths else _FLOAT
    rounding, kept = str(run.choices.get("rounding", "nearest")), run.choices.get("remainder")
    rounding += f" + {kept} bits" if kept else ""
    change = findings.compared_scores(values, reference)
    matched = findings.compared_scores(values, longer) if tuned and widths else None
    return Variant(group.name, family, bits, rounding, tuned, list(values.values()), score, change, matched)


def _width(variant: Variant) -> float:
    """Mean bits of the roles that are rounded."""
    widths = [b for b in variant.bits.values() if b is not None]
    return sum(widths) / len(widths) if widths else 32.0


def tick(variant: Variant) -> str:
    """How a variant's bits are written: 4, or 4/4/8 where roles differ."""
    if variant.family in ("uniform", *ROLES):
        return f"{_width(variant):g}"
    return "/".join("-" if b is None else str(b) for b in variant.bits.values())


def width_text(variant: Variant) -> str:
    """Its bits in a sentence: 4/4/8 bits, or 4-bit weights of a network that has nothing else."""
    widths = [b for b in variant.bits.values() if b is not None]
    alone = "activity" if variant.family == "activity" else f"{variant.family}s"
    return f"{widths[0]}-bit {alone}" if variant.family in ROLES else f"{bits(variant.bits)} bits"


def caption(data: Bits) -> str:
    """How to read it."""
    reference = "the float winner" + (" (at the right, trained on as long)" if data.float_tuned else "")
    lines = [name for name, known in ((reference, data.float_score), ("chance", data.chance)) if known is not None]
    marks = f" Dashed and dotted lines: {' and '.join(lines)}." if lines else ""
    roles = (
        "Above, weights, alphas and trace all in as many bits (4/4/8: an 8-bit trace beside 4-bit weights and alphas); "
        "below, one of them alone, the others in float. "
    )
    trace = (
        " Filled marks: the trace is written by stochastic rounding, up with a probability equal to the distance "
        "covered; hollow ones: to nearest."
    )
    trace += _FEEDBACK * any(v.rounding.startswith("feedback") for v in data.variants)
    traced = any(v.bits["trace"] is not None for v in data.variants)
    active = any("activity" in v.bits for v in data.variants)
    return (
        (roles if traced else "The network has no trace, and its weights alone are rounded, to nearest. ")
        + "A fourth number is the bits of activity, of what units send. " * active
        + "Left, rounded and tested; right, trained on for a while with the rounding in place."
        + trace * traced
        + f" Bars: 95 % Student intervals over seeds.{marks}"
        + canvas.CUT * canvas.beyond([v.score for v in data.variants], _limits(data))
        + ("" if data.float_tuned or not any(v.tuned for v in data.variants) else _UNMATCHED)
    )


_FEEDBACK = (
    " Half-filled marks: with error feedback the trace is read as rounded to nearest; what that leaves over is kept "
    "for each synapse, in as many more bits as are named, and added to its next change."
)
_UNMATCHED = (
    " The float winner was not trained on as long as the networks at the right, which may so lie above its line for "
    "no other reason."
)


def _limits(data: Bits) -> tuple[float, float]:
    """Wide enough for every seed and every line."""
    marks = [s for v in data.variants for s in v.seeds] + [x for x in (data.chance, data.float_score) if x is not None]
    marks += data.float_tuned.seeds if data.float_tuned else []
    margin = 0.06 * (max(marks) - min(marks)) + 0.01
    return min(marks) - margin, max(marks) + margin


def draw(data: Bits) -> str:
    """All roles above, each alone below; before fine-tuning left, after it right."""
    columns = [t for t in (False, True) if any(v.tuned == t for v in data.variants)]
    rows = [f for f in (("uniform", "mixed"), ROLES) if any(v.family in f for v in data.variants)]

    def paint(figure: Figure) -> None:
        grid = figure.subplots(len(rows), len(columns), sharey=True, squeeze=False)
        for families, line in zip(rows, grid, strict=True):
            for tuned, axes in zip(columns, line, strict=True):
                shown = [v for v in data.variants if v.family in families and v.tuned == tuned]
                ticks = dict.fromkeys(tick(v) for v in sorted(data.variants, key=_width) if v.family in families)
                _panel(axes, shown, list(ticks), data)
                what = "all roles" if "uniform" in families else "one role alone" if len(rows) > 1 else "weights"
                axes.set_title(f"{what}, {'fine-tuned' if tuned else 'rounded only'}")
            line[0].set_ylabel(f"test {data.score_name}")
        for axes in grid[-1]:
            axes.set_xlabel("bits")
        grid[0][0].set_ylim(*_limits(data))
        canvas.legend(figure)

    return canvas.render("bits", f"{TITLE}. {QUESTION}", 76 + 230 * len(rows), paint)


def _panel(axes: Axes, variants: list[Variant], ticks: list[str], data: Bits) -> None:
    """One line for each role and rounding; where all roles are rounded, for each rounding."""
    canvas.chance_line(axes, data.chance)
    longer = data.float_tuned if any(v.tuned for v in variants) else None
    reference = longer.score.value if longer else data.float_score
    if reference is not None:
        axes.axhline(reference, color=canvas.INK, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
    lines: dict[tuple[str, str], list[Variant]] = {}
    for each in variants:
        lines.setdefault((each.family if each.family in ROLES else "all", each.rounding), []).append(each)
    apart = canvas.spread(len(lines), 0.1 * (len(lines) - 1))
    for (key, members), shift in zip(lines.items(), apart, strict=True):
        spots = sorted(((ticks.index(tick(v)) + shift, v) for v in members), key=lambda spot: spot[0])
        _line(axes, *key, spots, _limits(data))
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_xlim(-0.5, len(ticks) - 0.5)
    canvas.bare(axes)


def _line(
    axes: Axes, what: str, rounding: str, spots: list[tuple[float, Variant]], limits: tuple[float, float]
) -> None:
    """One role, or all, rounded one way: colour and marker show the role, line and filling the rounding."""
    colour, _, marker = canvas.look(ROLES.index(what)) if what in ROLES else canvas.Look(canvas.INK, "-", "o")
    filled = {"stochastic": "full", "nearest": "none"}.get(rounding, "bottom")
    label = what if what in ("weight", "alpha", "activity") and rounding == "nearest" else f"{what}, {rounding}"
    for x, each in spots:
        canvas.whiskers(axes, x, each.score, colour, "y", limits)
    alike = [(x, v.score.value) for x, v in spots if v.family != "mixed"]
    if alike:
        dash = canvas.look(_ROUNDINGS.get(rounding, 2) * len(canvas.COLOURS)).dash
        axes.plot(*zip(*alike, strict=True), color=colour, linewidth=1.3, linestyle=dash, alpha=0.8)
    axes.plot([x for x, _ in spots], [v.score.value for _, v in spots], linestyle="none", marker=marker, color=colour,
              markerfacecolor=canvas.PAPER if filled == "none" else colour, markerfacecoloralt=canvas.PAPER,
              fillstyle="full" if filled == "none" else filled, markersize=6, label=label, zorder=4)  # fmt: skip


_ROUNDINGS = {"stochastic": 0, "nearest": 1}  # solid and dashed; any other has a dot after each dash
