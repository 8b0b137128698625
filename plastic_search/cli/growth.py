"""The command that repeats the study of networks that choose their size."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["grow"]


def grow(
    out: Annotated[Path, typer.Option(help="The run folder.")] = Path("runs/growth"),
    cycles: Annotated[int, typer.Option(min=1, help="Updates of each network.")] = 100_000,
    seeds: Annotated[int, typer.Option(min=1, help="Networks in each condition.")] = 20,
    workers: Annotated[int, typer.Option("--workers", min=1, help="How many conditions are trained at a time.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Let networks grow and shrink on easy and hard texts, beside networks of fixed size.

    Stopped, the same command goes on; what is finished is not run again.
    """
    from plastic_search.cli.console import follow
    from plastic_search.experiments import growth

    follow(growth.grow(out, cycles, seeds, workers))
    print((out / "growth.json").read_text() if as_json else out)
