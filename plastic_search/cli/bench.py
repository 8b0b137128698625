"""The commands about this machine rather than about a study: doctor and bench."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from plastic_search.experiments.bench.side_by_side import SideBySide

__all__ = ["bench", "doctor"]


def doctor(
    parts: Annotated[list[Path], typer.Option("--parts", help="A Python file with parts of your own.")] = [],  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Report what this machine has, which kernel runs which parts here, and why not a faster one."""
    from plastic_search.cli.console import print_line, print_table, say
    from plastic_search.core import loading
    from plastic_search.experiments.bench import doctor as ask

    loading.load_parts(parts)
    say("looking at every cell, rule and modulation, which takes some seconds")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what runs slowly is in the table
        found = ask.examine()
    if as_json:
        print(json.dumps(found, indent=1))
        return
    for title in ("versions", "machine", "cache", "kernels", "slow"):
        rows = [(str(key), str(value)) for key, value in found[title].items()]
        print_table(title, ("what", "is"), rows or [("nothing", "every combination of parts has a fast kernel")])
    print_line(f"gpu: {found['gpu']}")


def bench(
    benchmark: Annotated[
        str, typer.Argument(help="One of `list benchmarks`, or a file that defines BENCHMARK.")
    ] = "layers",
    out: Annotated[
        Path | None,
        typer.Option(help="A folder, or the page itself, NAME.html. By default runs/speed, or runs/speed_spiking."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Time plastic layers on this machine, beside the reference step and torch's own layers, and write a page.

    Where a C++ compiler is found, the reference step compiled by torch is timed too.

    `bench spiking` times layers of units that fire beside snnTorch, norse and SpikingJelly, as far as these are
    installed, and loops in torch, with the memory of each, and writes a page. `bench evolution`, `bench reward` and
    `bench ant` are timed side by side and printed as a table, and so are, by `bench binary`, products of -1 and 1.
    """
    from plastic_search.core import loading
    from plastic_search.core.errors import PlasticSearchError
    from plastic_search.experiments.bench.across_sizes import AcrossSizes, time_and_memory
    from plastic_search.experiments.bench.benchmark import Benchmark, measure
    from plastic_search.experiments.bench.side_by_side import SideBySide
    from plastic_search.report import bench_page, sizes_page

    path, value = loading.find("benchmarks", benchmark), loading.value("benchmarks", benchmark)
    if isinstance(value, SideBySide):
        _side_by_side(value, as_json)
    elif isinstance(value, AcrossSizes):
        again = partial(sizes_page.write, command=f"plastic-search bench {benchmark}")
        _on_a_page(time_and_memory(value, path), again, out or Path(f"runs/speed_{path.stem}"), as_json)
    elif isinstance(value, Benchmark):
        _on_a_page(measure(value, (path,)), bench_page.write, out or Path("runs/speed"), as_json)
    else:
        raise PlasticSearchError(f"BENCHMARK must be a Benchmark, but is a {type(value).__name__}")


def _on_a_page(steps: Iterator[tuple[str, Any]], write: Callable[..., Path], out: Path, as_json: bool) -> None:
    """Measure, saying what was measured, and write the page of all results."""
    from plastic_search.cli.console import print_line, say
    from plastic_search.records.files import destination, make_folder
    from plastic_search.report.html import page_path

    make_folder(destination(page_path(out)).parent)
    found: dict[str, Any] = {}
    for text, so_far in steps:
        say(text)
        found = so_far.to_json()
    page = write(found, out)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        print_line(page)


def _side_by_side(benchmark: SideBySide, as_json: bool) -> None:
    """Time the contenders, and print how they compare with the first."""
    from plastic_search.cli.console import print_table
    from plastic_search.experiments.bench.side_by_side import time_all

    found = time_all(benchmark)
    if as_json:
        print(json.dumps([each._asdict() for each in found], indent=1))
        return
    rows = [
        (each.name, f"{each.seconds:.4g} s", f"{each.ratio:.1f} ({each.spread[0]:.1f} to {each.spread[1]:.1f})")
        for each in found
    ]
    print_table(benchmark.question, ("what", "time", "times faster than the first"), rows)
