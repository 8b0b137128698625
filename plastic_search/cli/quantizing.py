"""The command that takes a network to few bits: a grid of widths, one combination, or a search within a budget."""

from __future__ import annotations

import re
import shlex
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plastic_search.cli.options import CORES, Folder, Json, Parts, Workers, print_json
from plastic_search.core.errors import PlasticSearchError
from plastic_search.records.run import WIDTHS

if TYPE_CHECKING:
    from plastic_search.experiments.bit_budget import Chosen
    from plastic_search.experiments.events import Event

__all__ = ["quantize"]

_GRID = ",".join(map(str, WIDTHS))
_UNITS = {"": 1, "b": 1, "kb": 1000, "kib": 1024, "mb": 1000**2, "mib": 1024**2}


def quantize(
    folder: Folder,
    name: Annotated[
        str, typer.Option(help="Which network: a finalist, or a case. Default: the winner, or the best case.")
    ] = "",
    bits: Annotated[
        str,
        typer.Option(help="Widths to try: 8,4; or one combination: weight=4,alpha=4,trace=3,rounding=feedback."),
    ] = _GRID,
    activity_bits: Annotated[str, typer.Option(help="Widths of activity to try too: 8,4,2,1. Default: none.")] = "",
    budget: Annotated[str, typer.Option(help="Search the bits that score best in so many bytes: 8kB, or 8KiB.")] = "",
    trials: Annotated[
        int | None, typer.Option(min=1, help="With --budget: combinations that each of two searches measures.")
    ] = None,
    workers: Workers = CORES,
    parts: Parts = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Quantize a network's weight, alpha and trace; measure it before and, where the question says how, after tuning.

    Widths are tried for all roles together and for each alone. A combination is tried alone: what it leaves out is a
    float; rounding, of the trace, is nearest, stochastic or feedback. A budget is of weights, alphas and the trace.

    Examples: plastic-search quantize runs/maze --name modulated --bits 4

    plastic-search quantize runs/mine --bits weight=4,alpha=4,trace=3,rounding=feedback

    plastic-search quantize runs/mine --budget 8kB
    """
    from plastic_search.cli.console import follow
    from plastic_search.core import loading
    from plastic_search.experiments import quantize as quantized
    from plastic_search.experiments.bit_budget import TRIALS, search_bits
    from plastic_search.experiments.variants import combination

    loading.load_parts(parts)
    _check_together(bits, activity_bits, budget, trials)
    found: list[Chosen] = []
    if budget:
        search = search_bits(folder, _bytes(budget), trials or TRIALS, workers, tuple(parts), name)
        follow(_kept(search, found))
    else:
        active = _widths("--activity-bits", activity_bits) if activity_bits else ()
        ways = combination(bits) if "=" in bits else _widths("--bits", bits)
        follow(quantized.quantize(folder, ways, workers, tuple(parts), name, active))
    _print(folder, [(best, _bytes(budget)) for best in found], as_json)


def _check_together(bits: str, activity_bits: str, budget: str, trials: int | None) -> None:
    """Refuse options that do not go together."""
    if budget and (bits != _GRID or activity_bits):
        other = "--bits" if bits != _GRID else "--activity-bits"
        raise PlasticSearchError(f"--budget chooses the bits itself, so {other} cannot be given beside it")
    if trials is not None and not budget:
        raise PlasticSearchError("--trials is of a search within a --budget, such as 8kB, but none is given")
    if "=" in bits and activity_bits:
        first = activity_bits.split(",")[0]
        raise PlasticSearchError(f"--activity-bits goes with widths; here add activity={first} to --bits {bits}")


def _kept(search: Generator[Event, None, Chosen], found: list[Chosen]) -> Generator[Event]:
    """The events of a search, whose result is added to a list."""
    found.append((yield from search))


def _print(folder: Path, found: list[tuple[Chosen, int]], as_json: bool) -> None:
    """What is quantized in a folder, or what a search found within a budget."""
    from plastic_search.cli.console import summary, summary_table
    from plastic_search.records import run as runs

    record = runs.load(folder)
    kept = record._replace(runs=record.stage("quantized"))
    if as_json:
        chosen = [best._asdict() | {"budget": budget} for best, budget in found]
        print_json(summary(kept) | ({"chosen": chosen[0]} if chosen else {}))
    elif found:
        _print_chosen(folder, *found[0])
    else:
        summary_table(kept)


def _print_chosen(folder: Path, best: Chosen, budget: int) -> None:
    from plastic_search.cli.console import print_line

    how = "fine-tuned" if best.tuned else "rounded only"
    before = "" if best.in_float is None else f"; the float network {best.in_float:.3f}"
    print_line(f"{best.bits}, {how}: {best.bytes:,} of {budget:,} bytes, test score {best.score:.3f}{before}")
    print_line(f"weights {best.weight:,}, alphas {best.alpha:,}, trace of one episode {best.trace:,} bytes")
    searches = ", ".join(f"{name} {score:.3f}" for name, score in best.found.items())
    print_line(
        f"of {best.fitting:,} combinations that fit, {best.measured:,} were measured"
        + (f"; the best of each search, by validation score: {searches}" if searches else "")
    )
    print_line(f"next: plastic-search export {shlex.quote(str(folder))} --name {shlex.quote(best.name)}")


def _bytes(text: str) -> int:
    """8000 for `8kB`, 8192 for `8KiB`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip(), re.ASCII)
    scale = _UNITS.get(match[2].lower()) if match else None
    if match is None or scale is None or not (count := int(float(match[1]) * scale)):
        raise PlasticSearchError(
            f"--budget needs a number of bytes, such as 8kB, 8KiB (8,192) or 8000, but got {text!r}"
        )
    return count


def _widths(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(width) for width in text.split(","))
    except ValueError:
        wanted = "such as 8,4" + ", or one combination, such as weight=4,alpha=4,trace=4" * (option == "--bits")
        raise PlasticSearchError(f"{option} needs whole numbers with commas, {wanted}, but got {text!r}") from None
