"""Run folders as pandas tables: a row for each run, each trial, or each recorded point of a learning curve.

Columns are named by path: `metrics.score`, `costs.seconds`, `choices.layers.0.units`, and the network's spec as
`layers.0.rule` (the part's name) and `layers.0.rule.Oja.decay` (a field of that part). pandas is imported when a table
is asked for, since the command line must start quickly.

Example:
    from plastic_search.records import table

    runs = table.runs("runs/digit_recall")
    final = runs[runs.stage == "final"]
    final.groupby("name")["metrics.score"].agg(["mean", "std", "count"])
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path, as_paths
from plastic_search.records.files import replacing, unwritable
from plastic_search.records.run import CurvePoint, Outcome, Record, Run, Stage, load

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["IDLE", "curves", "folders", "runs", "trials", "used", "write"]

Source = Path | str | Record
_KEYS = ("study", "stage", "name", "trial", "seed", "outcome", "note")
_MEASURED = ("metrics.", "costs.")
_WORST = [str(o) for o in (Outcome.INFEASIBLE, Outcome.TIMEOUT, Outcome.DIVERGED, Outcome.PRUNED, Outcome.COMPLETE)]
IDLE = ("rule", "modulation", "bound", "limit", "alpha")  # fields of a layer that matter where it is plastic
_CONTAINERS = ("NetworkSpec", "Layer")  # in a path, their fields follow directly; those of a part follow its name


def runs(source: Source) -> DataFrame:
    """One row for each run.

    Columns: study, stage, name, trial, seed, outcome, note, `metrics.*`, `costs.*`, `choices.*`, and the spec by path.

    Args:
        source: a run folder or the record read from one.
    """
    return _frame([_row(run) | dict(_flat(run.spec)) for run in _record(source).runs], _KEYS)


def folders(paths: Sequence[Path | str]) -> DataFrame:
    """The runs of several folders below one another, with the folder as the first column."""
    import pandas as pd

    paths = as_paths(paths)
    tables = [runs(path) for path in paths]
    for path, each in zip(paths, tables, strict=True):
        each.insert(0, "folder", str(path))
    return pd.concat(tables, ignore_index=True)


def trials(source: Source) -> DataFrame:
    """One row for each trial of a search, over its seeds, in the order of their numbers.

    Columns: arm, number, outcome (the worst over seeds), score (mean; of a pruned trial the last one recorded),
    connections (mean), seconds (sum), seeds (how many), note, `choices.*`.
    """
    searched = _record(source).stage(Stage.SEARCH)
    table = _frame([_trial_row(run) for run in searched], ("arm", "number", "outcome", "note"))
    if table.empty:
        return table
    table["rank"] = table["outcome"].map({outcome: i for i, outcome in enumerate(_WORST)})
    table["note"] = table["note"].mask(table["note"] == "")
    by_trial = table.groupby(["arm", "number"], sort=False)
    choices = by_trial[[str(name) for name in table if str(name).startswith("choices.")]].last()
    result = by_trial.agg(
        outcome=("outcome", "last"),
        score=("score", "mean"),
        connections=("connections", "mean"),
        seconds=("seconds", "sum"),
        seeds=("outcome", "size"),
        note=("note", "first"),
    )
    result["outcome"] = by_trial["rank"].min().map(dict(enumerate(_WORST))).fillna(result["outcome"])
    result["note"] = result["note"].fillna("")
    return result.join(choices).reset_index().sort_values("number", kind="stable", ignore_index=True)


def used(choices: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """The choices of a trial without those of which its network makes no use: how a trace changes, where there is none.

    Args:
        choices: path -> value.
        spec: the network as JSON; {} where it could not be built, and every choice is kept.
    """
    layers = enumerate(spec.get("layers", ()))
    still = [i for i, layer in layers if isinstance(layer, dict) and layer.get("plastic") == "none"]
    unused = {("layers", str(i), name) for i in still for name in IDLE}
    return {path: value for path, value in choices.items() if tuple(path.split(".")[:3]) not in unused}


def curves(source: Source) -> DataFrame:
    """One row for each recorded point of each run's learning curve.

    Columns: stage, name, trial, seed, step, loss, score (on validation), connections, plastic_connections, units,
    fitness and best_fitness (of a generation's candidates); NaN where something was not measured.
    """
    import pandas as pd

    rows = [
        (str(run.stage), run.name, run.trial, run.seed, *CurvePoint(*point))
        for run in _record(source).runs
        for point in run.curve
    ]
    table = pd.DataFrame(rows, columns=["stage", "name", "trial", "seed", *CurvePoint._fields])
    return table.astype(dict.fromkeys(CurvePoint._fields, float))


def write(table: DataFrame, path: Path | str, kind: Literal["csv", "parquet"]) -> None:
    """Write a table as a CSV or a Parquet file.

    Raises:
        PlasticSearchError: `path` cannot be written, or pyarrow, which writes Parquet, is not installed.
    """
    path = as_path(path)
    try:
        with replacing(path) as temporary:
            if kind == "csv":
                table.to_csv(temporary, index=False)
            else:
                whole = table.astype(dict.fromkeys(_mixed(table), "string"))
                whole.to_parquet(temporary, engine="pyarrow", index=False)
    except ImportError:
        raise PlasticSearchError(
            "a Parquet file needs pyarrow, which is not installed; install it with: "
            'python -m pip install "plastic-search[parquet]"; or use --csv'
        ) from None
    except OSError as error:
        raise unwritable(path.parent, error, f"choose another place than {path}") from None


def _mixed(table: DataFrame) -> list[str]:
    """The columns that hold values of several types, which Parquet does not allow."""
    objects = [name for name, dtype in table.dtypes.items() if dtype.kind == "O"]
    return [str(name) for name in objects if len(set(map(type, table[name].dropna()))) > 1]


def _record(source: Source) -> Record:
    return source if isinstance(source, Record) else load(source)


def _row(run: Run) -> dict[str, Any]:
    row: dict[str, Any] = {
        "study": run.study,
        "stage": str(run.stage),
        "name": run.name,
        "trial": run.trial,
        "seed": run.seed,
        "outcome": str(run.outcome),
        "note": run.note,
    }
    for prefix, values in (("metrics", run.metrics), ("costs", run.costs), ("choices", run.choices)):
        row |= {f"{prefix}.{name}": value for name, value in values.items()}
    return row


def _trial_row(run: Run) -> dict[str, Any]:
    score = _finite(run.metrics.get("score"))
    if math.isnan(score) and run.curve:
        score = _finite(CurvePoint(*run.curve[-1]).score)
    return {
        "arm": run.name,
        "number": run.trial,
        "outcome": str(run.outcome),
        "note": run.note,
        "score": score,
        "connections": _finite(run.metrics.get("connections", run.costs.get("connections"))),
        "seconds": _finite(run.costs.get("seconds")),
        **{f"choices.{path}": value for path, value in run.choices.items()},
    }


def _finite(value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if number else math.nan


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """A spec's JSON as (path, value): a part is its name, and its fields follow below that name."""
    if isinstance(value, dict):
        kind = value.get("kind")
        if isinstance(kind, str) and kind not in _CONTAINERS:
            yield path, kind
            path = f"{path}.{kind}"
        for name, inner in value.items():
            if name != "kind":
                yield from _flat(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for i, inner in enumerate(value):
            yield from _flat(inner, f"{path}.{i}")
    else:
        yield path, json.dumps(value) if isinstance(value, list) else value


def _frame(rows: list[dict[str, Any]], first: tuple[str, ...]) -> DataFrame:
    """A table with the columns that any row has: keys first, then measurements, then what was set."""
    import pandas as pd

    names = dict.fromkeys([*first, *(name for row in rows for name in row)])
    ordered = sorted(names, key=lambda name: (name not in first, not name.startswith(_MEASURED)))
    columns = {name: [row.get(name) for row in rows] for name in ordered}
    return pd.DataFrame({name: pd.Series(values, dtype=_dtype(values)) for name, values in columns.items()})


def _dtype(values: list[Any]) -> Any:
    """A type that keeps whole numbers whole where other rows have none."""
    if None not in values:
        return None
    types = {type(value) for value in values if value is not None}
    known = {int: "Int64", bool: "boolean", float: float, str: None}
    return known.get(types.pop(), object) if len(types) == 1 else object
