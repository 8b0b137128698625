"""What the command line shows a person: progress, tables, summaries. Programs read `--json` instead."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from plastic_search.records.run import Record, Run

__all__ = ["follow", "print_table", "say", "summary", "summary_table"]

_BEST = {"final": "winner's best"}  # what the best of a stage is of, where it is not of all
_STAGES = {
    "search": "searching", "final": "training finalists", "quantized": "quantizing", "sweep": "sweeping",
    "comparison": "comparing",
}  # fmt: skip
_QUIET = 30.0  # seconds between two lines about the same piece of work


class Event(Protocol):
    """What `follow` reads of a study's event."""

    @property
    def stage(self) -> str: ...
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def best(self) -> float | None: ...
    @property
    def text(self) -> str: ...


def say(text: str) -> None:
    """A line for a person, on standard error, so that standard output holds results alone."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(escape(text))


def follow(events: Iterable[Event]) -> None:
    """Draw events as they come: a live bar in a terminal, now and then a line elsewhere."""
    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        _live(events, console)
    else:
        _lines(events)


def _live(events: Iterable[Event], console: Console) -> None:
    columns = (
        TextColumn("{task.description:<20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[best]}"),
        TextColumn("[dim]{task.fields[last]}"),
    )
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, Any] = {}
        for event in events:
            if event.stage not in tasks:
                name = _STAGES.get(event.stage, event.stage)
                tasks[event.stage] = progress.add_task(name, total=event.total, best="", last="")
            best = _best(event)
            last = escape(event.text)
            progress.update(tasks[event.stage], completed=event.done, total=event.total, best=best, last=last)


def _lines(events: Iterable[Event]) -> None:
    """About twenty lines a stage, each with the time that is left; one in half a minute where an item takes long."""
    stage, began, first, printed, last = "", 0.0, 0, 0.0, -1
    for event in events:
        now = time.monotonic()
        if event.stage != stage:
            stage, began, first, last = event.stage, now, event.done, -1
        same, last = event.done == last, event.done
        if now - printed < _QUIET if same else event.done % max(1, event.total // 20) and event.done != event.total:
            continue
        printed = now
        spent, made = now - began, event.done - first
        left = f", about {spent / made * (event.total - event.done):.0f} s left" if made else ""
        best = f", {told}" if (told := _best(event)) else ""
        name = _STAGES.get(event.stage, event.stage)
        print(f"{name} {event.done}/{event.total}{best}{left} ({event.text})", file=sys.stderr, flush=True)


def _best(event: Event) -> str:
    return "" if event.best is None else f"{_BEST.get(event.stage, 'best')} {event.best:.3f}"


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], whole: int = 1) -> None:
    """A table on standard output.

    Args:
        whole: how many of the first columns are never broken over lines: names are copied from them.
    """
    table = Table(title=escape(title), title_justify="left", header_style="bold", box=None, pad_edge=False)
    for i, name in enumerate(columns):
        table.add_column(escape(name), overflow="fold", no_wrap=i < whole)
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    console = Console(highlight=False)
    least = console.measure(table, options=console.options.update(max_width=1000)).minimum
    console.width = max(console.width, least)  # rather a broken line than a figure that lost its end
    console.print(table)


def summary(record: Record) -> dict[str, Any]:
    """The run folder in a few numbers: per stage and network, how many runs, and means over those that are complete."""
    groups: dict[str, dict[str, list[Run]]] = {}
    for run in record.runs:
        groups.setdefault(run.stage, {}).setdefault(run.name, []).append(run)
    stages = {stage: {name: _means(all_of) for name, all_of in names.items()} for stage, names in groups.items()}
    return {"name": record.name, "folder": str(record.folder), "question": record.study["question"], "stages": stages}


def summary_table(record: Record) -> None:
    """`summary`, for a person."""
    told = summary(record)
    say(told["question"])
    rows = [
        (
            stage,
            name,
            str(v["runs"]),
            *(_figure(v[m]) for m in ("score", "frozen", "shuffled")),
            _count(v["connections"]),
        )
        for stage, names in told["stages"].items()
        for name, v in names.items()
    ]
    columns = ("stage", "network", "runs", "mean\nscore", "trace\nfrozen", "trace\nshuffled", "connections")
    print_table(f"{told['folder']}: means are over runs that are complete", columns, rows, whole=len(columns))


def _means(all_of: list[Run]) -> dict[str, Any]:
    """A run that was stopped early tells nothing of a score at the end."""
    ended = [run.metrics for run in all_of if run.outcome == "complete"]
    made: dict[str, Any] = {"runs": len(all_of), "complete": len(ended)}
    for name in ("score", "frozen", "shuffled", "connections"):
        values = [m[name] for m in ended if name in m]
        made[name] = sum(values) / len(values) if values else None
    return made


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
