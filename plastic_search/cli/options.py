"""Options and arguments that several commands share."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["CORES", "Folder", "Json", "Parts", "Workers", "print_json"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Parts = Annotated[list[Path], typer.Option("--parts", help="A Python file with parts of your own. Repeatable.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="How many networks are trained at a time.")]
Folder = Annotated[Path, typer.Argument(help="A run folder, such as runs/digit_recall.")]

CORES = max(1, min(len(os.sched_getaffinity(0)), 8)) if hasattr(os, "sched_getaffinity") else 2


def print_json(data: Any) -> None:
    """Print one JSON object on standard output."""
    print(json.dumps(data, indent=1))
