"""The commands about this machine rather than about a study: doctor and bench."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["bench", "doctor"]


def doctor(
    parts: Annotated[list[Path], typer.Option("--parts", help="A Python file with parts of your own.")] = [],  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Report what this machine has, which kernel runs which parts here, and why not a faster one."""
    from plastic_search.cli.console import print_table
    from plastic_search.core import loading
    from plastic_search.experiments.bench import doctor as ask

    loading.load_parts(parts)
    print("looking at every cell, rule and modulation, which takes some seconds", file=sys.stderr, flush=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what runs slowly is in the table
        found = ask.examine()
    if as_json:
        print(json.dumps(found, indent=1))
        return
    for title in ("versions", "machine", "cache", "kernels", "slow"):
        rows = [(str(key), str(value)) for key, value in found[title].items()]
        print_table(title, ("what", "is"), rows or [("nothing", "every combination of parts has a fast kernel")])
    print(f"gpu: {found['gpu']}")


def bench(
    benchmark: Annotated[
        str, typer.Argument(help="One of `list benchmarks`, or a file that defines BENCHMARK.")
    ] = "layers",
    out: Annotated[Path, typer.Option(help="Where the page goes.")] = Path("runs/speed"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Time plastic layers on this machine, beside the reference step and torch's own layers, and write a page.

    Where a C++ compiler is found, the reference step compiled by torch is timed too.
    """
    from plastic_search.core import loading
    from plastic_search.core.errors import PlasticSearchError
    from plastic_search.experiments.bench.benchmark import Benchmark, measure
    from plastic_search.records.files import make_folder
    from plastic_search.report import bench_page

    path, value = loading.find("benchmarks", benchmark), loading.value("benchmarks", benchmark)
    if not isinstance(value, Benchmark):
        raise PlasticSearchError(f"BENCHMARK must be a Benchmark, but is a {type(value).__name__}")
    make_folder(out)
    found = {}
    for text, so_far in measure(value, (path,)):
        print(text, file=sys.stderr, flush=True)
        found = so_far.to_json()
    page = bench_page.write(found, out)
    print(json.dumps(found, indent=1) if as_json else page)
