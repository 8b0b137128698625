"""What a page says of one network in few bits: which role minds, what a score costs, and what writes are lost."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from plastic_search.records.run import Outcome, Record, Run, Stage, rounded_network
from plastic_search.report import groups
from plastic_search.report.formatting import MARGIN, bits, change, listed, percent

__all__ = ["contents"]

_ROLES = ("weight", "alpha", "trace", "activity")
_TRAINED = (Stage.FINAL, Stage.COMPARISON, Stage.SWEEP)
_FEW = 0.5  # fewer of the changes than this are stored: advice
_TINY = 0.1  # of a step: stochastic rounding of such changes is mostly noise
_SATURATED = 0.1  # of the traces: advice
_ADVICE = 4  # sentences at most


class _Way(NamedTuple):
    """One way of rounding a network, over the seeds that came to their end."""

    bits: str  # 4/4/3
    rounding: str  # of the trace; "" where it is a float
    tuned: bool
    widths: dict[str, int]
    score: float
    metrics: dict[str, float]  # the means of those that all have
    seeds: int
    budget: bool  # whether a search within a budget tried it

    @property
    def total(self) -> float | None:
        """Bytes of weights, alphas and trace."""
        parts = [self.metrics.get(f"bytes.{role}") for role in _ROLES[:3]]
        return None if None in parts else sum(part for part in parts if part is not None)


def contents(record: Record, network: str) -> dict[str, Any] | None:
    """What is known of a network in few bits, as plain data; None where nothing is.

    Returns:
        sensitivity: which role is the most sensitive, in a sentence; "" where no role was rounded alone.
        target: the score that costs are given for, the mean of the float network less 0.02; None for rewards.
        costs: rows: float, and of those that reach the target that of fewest bytes, rounded only and fine-tuned.
        writes: of each way of rounding the trace and each layer, what `network.writes` found.
        advice: what to do about it, in sentences.
    """
    trained = [r for stage in _TRAINED for r in record.stage(stage, network)]
    in_float = groups.average(r.metrics.get("score") for r in trained if r.outcome == Outcome.COMPLETE)
    ways = _ways(record, network)
    if not ways or in_float is None:
        return None
    target = None if groups.rewarded(trained) else in_float - MARGIN
    tuned = next((way.score for way in ways if way.tuned and not way.widths), in_float)  # float, trained on as long
    floats = {False: in_float, True: tuned}
    writes, advice = _writes(ways)
    found = {"target": target, "float": in_float, "costs": _costs(ways, floats, target is not None), "writes": writes}
    return found | {"advice": advice, "sensitivity": _sensitivity(ways, floats)}


def _ways(record: Record, network: str) -> list[_Way]:
    runs: dict[str, list[Run]] = {}
    for run in record.stage(Stage.QUANTIZED):
        known = run.outcome == Outcome.COMPLETE and groups.finite(run.metrics.get("score")) is not None
        if known and rounded_network(run) == network:
            runs.setdefault(run.name, []).append(run)
    return [_way(each) for each in runs.values()]


def _way(runs: list[Run]) -> _Way:
    choices = runs[0].choices
    widths = {role: int(width) for role in _ROLES if (width := groups.finite(choices.get(role))) is not None}
    names = set.intersection(*({*run.metrics} for run in runs))
    metrics = {n: mean for n in names if (mean := groups.average(run.metrics[n] for run in runs)) is not None}
    kept = choices.get("remainder")
    rounding = f"{choices.get('rounding', '')}{f' + {kept} bits' if kept else ''}" if "trace" in widths else ""
    shown = {role: widths.get(role) for role in _ROLES if role != "activity" or role in widths}
    return _Way(
        bits(shown) if widths else "float", rounding, bool(choices.get("tuned")), widths, metrics["score"], metrics,
        len(runs), "budget" in choices,
    )  # fmt: skip


def _costs(ways: list[_Way], floats: dict[bool, float], aimed: bool) -> list[dict[str, Any]]:
    """Rows of the table of costs; none where nothing was counted.

    Args:
        floats: the score in float, False as it is, True trained on as long as what is fine-tuned.
        aimed: whether there is a target.
    """
    known = [way for way in ways if way.total is not None]
    rows = [_cost("float, trained on as long", way) for way in known if not way.widths][:1]
    for tuned, how in ((False, "rounded only"), (True, "fine-tuned")):
        reaching = [way for way in known if way.widths and way.tuned == tuned]
        reaching = [way for way in reaching if aimed and way.score >= floats[tuned] - MARGIN]
        if reaching:
            rows.append(_cost(f"fewest bytes, {how}", min(reaching, key=lambda way: (way.total, -way.score))))
    searched = [way for way in known if way.budget and "validation" in way.metrics]
    if searched:
        best = max(searched, key=lambda way: (way.metrics["validation"], -(way.total or 0.0)))
        rows.append(_cost("best of the search within a budget", best))
    return rows


def _cost(label: str, way: _Way) -> dict[str, Any]:
    counted = {n.replace(".", "_"): value for n, value in way.metrics.items() if n.startswith(("bytes.", "step."))}
    about = {"label": label, "bits": way.bits, "rounding": way.rounding, "tuned": way.tuned, "score": way.score}
    return about | {"bytes": way.total, "step_energy": None} | counted


def _sensitivity(ways: list[_Way], floats: dict[bool, float]) -> str:
    """Which role alone loses most in how many bits, rounded only and fine-tuned, against float trained as long."""
    sentences = []
    for tuned, how in ((False, "Rounded only"), (True, "Fine-tuned")):
        alone: dict[str, dict[int, float]] = {}
        for way in ways:
            if len(way.widths) == 1 and way.tuned == tuned:
                (role, width), lost = next(iter(way.widths.items())), way.score - floats[tuned]
                alone.setdefault(role, {})[width] = max(lost, alone.get(role, {}).get(width, -math.inf))
        common = set.intersection(*map(set, alone.values())) if len(alone) > 1 else set[int]()
        if common:
            width = min(common)
            order = sorted(alone, key=lambda role: alone[role][width])
            losses = listed([f"{role} by {change(alone[role][width])}" for role in order])
            most = f": the {order[0]} is the most sensitive." if alone[order[0]][width] < 0 else "."
            sentences.append(
                f"{how}, one role alone in {width} bits and the others in float, the mean score changes with the "
                f"{losses}{' (best rounding)' if 'trace' in order else ''}{most}"
            )
    return " ".join(sentences)


def _writes(ways: list[_Way]) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows, each way of rounding the trace once, and advice; those with the trace alone stand for the others."""
    chosen: dict[tuple[int, str], _Way] = {}
    for way in sorted(ways, key=lambda way: (way.tuned, len(way.widths))):
        if "trace" in way.widths:
            chosen.setdefault((way.widths["trace"], way.rounding), way)
    rows, advice = [], dict[str, float]()
    for (width, rounding), way in sorted(chosen.items(), key=lambda item: (-item[0][0], item[0][1])):
        layers = sorted({int(n.split(".")[1]) for n in way.metrics if n.startswith("writes.")})
        for layer in layers:
            row = {name: way.metrics[f"writes.{layer}.{name}"] for name in _COUNTED}
            rows.append({"bits": width, "rounding": rounding, "layer": layer, "others": _others(way)} | row)
            for sentence, weight in _advised(width, rounding, layer, row):
                advice.setdefault(sentence, weight)
    ranked = sorted(advice, key=lambda sentence: -advice[sentence])[:_ADVICE]
    if rows and not ranked:
        ranked = ["No layer's trace stalls, or stands at its limit, in any way of rounding that was counted."]
    return rows, ranked


_COUNTED = ("size", "stored", "stalled", "saturated", "saturated_late")


def _others(way: _Way) -> str:
    """What else was rounded, and whether it was fine-tuned."""
    others = "/".join(str(way.widths.get(role, "-")) for role in ("weight", "alpha"))
    return ("" if others == "-/-" else others) + (", fine-tuned" if way.tuned else "")


def _advised(width: int, rounding: str, layer: int, row: dict[str, float]) -> list[tuple[str, float]]:
    """Sentences on one layer in one way of rounding, each with how much it matters, from 0 to 1."""
    found, whose, size = list[tuple[str, float]](), f"layer {layer}'s trace in {width} bits, {rounding}", row["size"]
    more = max(1, math.ceil(math.log2(_FEW / size))) if size > 0.0 else 0
    bits_more = f"{more} more bit{'s' * (more != 1)}"
    lost = 1.0 - row["stored"]
    if rounding.startswith("stochastic"):
        if 0.0 < size < _TINY:
            found.append((
                f"A write to {whose}, is typically {size:.2g} of a step, and {percent(row['stored'])} are made, each "
                f"by a whole step: right on average, and noisy; {bits_more} or error feedback would write smaller "
                "steps.",
                0.5 * (1.0 - size / _TINY),
            ))  # fmt: skip
    elif row["stored"] < _FEW and size > 0.0:
        remedy = f"choose {'stochastic rounding or ' * (size >= _TINY)}error feedback, or {bits_more}"
        remedy = f"keep {bits_more} of the remainder" if rounding.startswith("feedback") else remedy
        found.append((
            f"{percent(lost)} of writes to {whose}, change nothing, as a write is typically {size:.2g} of a step, and "
            f"{percent(row['stalled'])} of its synapses that were to change never did: {remedy}.",
            lost,
        ))  # fmt: skip
    if row["saturated_late"] > _SATURATED:
        found.append((
            f"{percent(row['saturated'])} of {whose}, stands at its limit at the end of an episode, and "
            f"{percent(row['saturated_late'])} after four without a reset: give it a larger limit, or let it decay.",
            row["saturated_late"] * 0.9,
        ))  # fmt: skip
    return found
