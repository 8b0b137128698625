"""Whatever is printed in the terminal: messages, progress, tables and summaries; programs read `--json` instead.

Names, questions and messages come from files, some of them other people's: all text passes `printable` here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from plastic_search.core.printable import printable
from plastic_search.experiments.events import Event, how_it_ended
from plastic_search.records.run import RUNS, Record, Run

__all__ = ["cut", "fail", "follow", "print_line", "print_table", "say", "summary", "summary_table"]

_BEST = {"final": "winner's best"}  # stages whose best score is of one network, not of all
_STAGES = {
    "search": "searching", "final": "training finalists", "quantized": "quantizing", "sweep": "sweeping",
    "comparison": "comparing",
}  # fmt: skip
_SHOWN = 5  # runs that are not complete, each in a line below a summary
_QUIET = 30.0  # seconds between two lines about the same piece of work


def fail(text: str) -> None:
    """Print an error on standard error, in one line."""
    print(f"plastic-search: {printable(' '.join(text.split()), keep='')}", file=sys.stderr)


def print_line(text: object = "") -> None:
    """Print a line of a result on standard output."""
    print(printable(str(text), keep=""))


def say(text: str) -> None:
    """Print a message on standard error, so that standard output holds results alone."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(_plain(text))


def follow(events: Iterable[Event]) -> None:
    """Report progress as events arrive: a live bar in a terminal, about twenty lines a stage elsewhere."""
    console, events = Console(stderr=True, highlight=False), _noticed(events)
    if console.is_terminal:
        _live(events, console)
    else:
        _lines(events)


def _noticed(events: Iterable[Event]) -> Iterator[Event]:
    """The events, each after its notice has been printed."""
    for event in events:
        if event.notice:
            say(event.notice)
        yield event


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
            last = _plain(event.text)
            progress.update(tasks[event.stage], completed=event.done, total=event.total, best=best, last=last)


def _lines(events: Iterable[Event]) -> None:
    """About twenty lines a stage, each with an estimate of the remaining time; one in half a minute for long items."""
    stage, began, first, printed, last = "", 0.0, 0, 0.0, -1
    for event in events:
        now = time.monotonic()
        if event.stage != stage:
            stage, began, first, last = event.stage, now, event.done, -1
        same, last = event.done == last, event.done
        if now - printed < _QUIET if same else event.done % max(1, event.total // 20) and event.done != event.total:
            continue
        printed = now
        spent, completed = now - began, event.done - first
        left = f", about {spent / completed * (event.total - event.done):.0f} s left" if completed else ""
        best = f", {_best(event)}" if event.best is not None else ""
        name = _STAGES.get(event.stage, event.stage)
        text = f"{name} {event.done}/{event.total}{best}{left} ({event.text})"
        print(printable(text, keep=""), file=sys.stderr, flush=True)


def _best(event: Event) -> str:
    return "" if event.best is None else f"{_BEST.get(event.stage, 'best')} {event.best:.3f}"


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], whole: int = 1) -> None:
    """A table on standard output.

    Args:
        whole: number of leading columns that are never wrapped, so that names can be copied from them.
    """
    table = Table(header_style="bold", box=None, pad_edge=False)
    for i, name in enumerate(columns):
        table.add_column(_plain(name), overflow="fold", no_wrap=i < whole)
    for row in rows:
        table.add_row(*(_plain(str(cell)) for cell in row))
    console = Console(highlight=False)
    least = console.measure(table, options=console.options.update(max_width=1000)).minimum
    console.width = max(console.width, least)  # the terminal wraps lines rather than truncate numbers
    console.print(f"[italic]{_plain(title)}[/italic]", soft_wrap=True)  # a narrow table would break a title of its own
    console.print(table)


def cut(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Rows of a table of two columns, the second one cut so that each row fits into a line of the terminal."""
    texts = [(Text(first), Text(second)) for first, second in rows]
    room = Console().width - 2 - max((first.cell_len for first, _ in texts), default=0)
    for _, second in texts:
        second.truncate(max(room, 20), overflow="ellipsis")
    return [(first.plain, second.plain) for first, second in texts]


def summary(record: Record) -> dict[str, Any]:
    """Summary of a run folder: for each stage and network the number of runs, and means over complete runs."""
    groups: dict[str, dict[str, list[Run]]] = {}
    for run in record.runs:
        groups.setdefault(run.stage, {}).setdefault(run.name, []).append(run)
    stages = {stage: {name: _means(runs) for name, runs in names.items()} for stage, names in groups.items()}
    return {"name": record.name, "folder": str(record.folder), "question": record.study["question"], "stages": stages}


def summary_table(record: Record) -> None:
    """Print the `summary` of a run folder as a table."""
    data = summary(record)
    say(data["question"])
    rows = [
        (
            stage,
            name,
            str(v["runs"]),
            *(_figure(v[m]) for m in ("score", "frozen", "shuffled")),
            _count(v["connections"]),
        )
        for stage, names in data["stages"].items()
        for name, v in names.items()
    ]
    columns = ("stage", "network", "runs", "mean\nscore", "trace\nfrozen", "trace\nshuffled", "connections")
    print_table(f"{data['folder']}: means over complete runs", columns, rows, whole=len(columns))
    lost = [run for run in record.runs if run.stage != "search" and run.outcome != "complete"]
    for run in lost[:_SHOWN]:
        say(f"not complete: {how_it_ended(run)}")
    if len(lost) > _SHOWN:
        say(f"not complete: {len(lost) - _SHOWN} more runs; {record.folder / RUNS} has their notes")


def _plain(text: str) -> str:
    """Text as rich prints it: its brackets are no markup."""
    return escape(printable(text))


def _means(runs: list[Run]) -> dict[str, Any]:
    """Counts of runs, and means over complete ones: a run that was stopped early has no final score."""
    complete = [run.metrics for run in runs if run.outcome == "complete"]
    means: dict[str, Any] = {"runs": len(runs), "complete": len(complete)}
    for name in ("score", "frozen", "shuffled", "connections"):
        values = [metrics[name] for metrics in complete if name in metrics]
        means[name] = sum(values) / len(values) if values else None
    return means


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
