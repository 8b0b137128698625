"""The command that turns run folders into one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["table"]

_MAIN = (  # columns that are printed; files have all
    "folder", "stage", "name", "trial", "seed", "outcome", "metrics.score", "metrics.connections", "costs.seconds",
)  # fmt: skip


def table(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, such as runs/digit_recall.")],
    csv: Annotated[Path | None, typer.Option(help="Write a CSV file with all columns.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="Write a Parquet file with all columns (needs pyarrow).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all columns as a JSON list of rows.")] = False,
) -> None:
    """Show run folders as one table: a row for each run, a column for each metric, cost, choice and field of the spec.

    Example: plastic-search table runs/digit_recall runs/density_digits --csv runs.csv
    """
    from plastic_search.cli.console import print_line, print_table
    from plastic_search.records import table as tables
    from plastic_search.records.files import destination

    for file in filter(None, (csv, parquet)):
        destination(file)
    rows = tables.folders(folders)
    if csv is not None:
        tables.write(rows, csv, "csv")
        print_line(csv)
    if parquet is not None:
        tables.write(rows, parquet, "parquet")
        print_line(parquet)
    if as_json:
        print(rows.to_json(orient="records", indent=1))  # in ASCII
    elif csv is None and parquet is None:
        shown = rows[[name for name in _MAIN if name in rows]]
        cells = ([_cell(value) for value in row] for row in shown.itertuples(index=False))
        print_table(f"{len(rows)} runs", [str(name) for name in shown], cells, whole=3)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return str(value)
