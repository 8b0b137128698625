"""Command lines for a page: what would fill a gap in its run folder, and what would make the whole folder again."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from plastic_search.records.fingerprints import typed_files
from plastic_search.records.run import PREFERRED, WIDTHS, Finalist, Record, Run, rounded_network
from plastic_search.report import groups

__all__ = ["again", "filling", "folder", "running"]

_ROLES = ("weight", "alpha", "trace")


def filling(record: Record, verb: str) -> str:
    """The command that fills what a verb makes, in the folder where the record is."""
    return _line(record, verb, folder(record))


def again(record: Record) -> list[str]:
    """The commands that would make the record anew, as they were typed."""
    command = _typed(record)
    where = str(command.get("out") or folder(record))
    result = [_line(record, "run", where)]
    for network in dict.fromkeys(rounded_network(run) for run in record.stage("quantized")):
        named = ["--name", network] if network != Finalist.WINNER else []
        result += [_line(record, "quantize", where, named + options) for options in _quantized(record, network)]
    exported = record.stage("exported")
    mine = [_options(record, run) for run in exported if not groups.outdated(record, run)]
    result += [_line(record, "export", where, options) for options in mine or [[]] * bool(exported)]
    return [*dict.fromkeys(result), _line(record, "report", where)]


def running(record: Record, run: Run) -> str:
    """The command that runs an exported network."""
    bundle = os.path.normpath(Path(folder(record)) / str(run.choices.get("bundle", "bundle")))
    return f"python {shlex.quote(Path(bundle, 'runner.py').as_posix())}"


def folder(record: Record) -> str:
    """Where the record is, as one who stands where the page was made would write it."""
    here = Path.cwd()
    inside = record.folder.is_absolute() and record.folder.is_relative_to(here)
    return (record.folder.relative_to(here) if inside else record.folder).as_posix()


def _line(record: Record, verb: str, where: str, options: list[str] | None = None) -> str:
    """One command line. Its parts are those of the study; a study that is a file may define parts itself."""
    command = _typed(record)
    study, parts = str(command.get("study") or record.name), [str(p) for p in command.get("parts") or ()]
    words = [where]
    if verb == "run":
        words = [study, *(w for each in command.get("sets") or () for w in ("--set", str(each)))]
        words += [] if Path(where) == Path("runs") / Path(study).stem else ["--out", where]
    else:
        parts = typed_files(record.study)
    words += options or []
    if verb != "report":  # it runs no network
        words += [w for part in dict.fromkeys(parts) for w in ("--parts", part)]
    return shlex.join(["plastic-search", verb, *words])


def _typed(record: Record) -> dict[str, Any]:
    """What was typed, where the record knows."""
    command = record.study.get("command")
    return command if isinstance(command, dict) else {}


def _quantized(record: Record, network: str) -> list[list[str]]:
    """The options of the commands that rounded a network: the grid of widths, and each combination by itself."""
    mine = [run.choices for run in record.stage("quantized") if rounded_network(run) == network]
    grid, alone = [c for c in mine if not {"bits", "budget"} & c.keys()], [str(c["bits"]) for c in mine if "bits" in c]
    budgets = [str(c["budget"]) for c in mine if "budget" in c]
    grid = [c for c in grid if alone == budgets == [] or _is_rounded(c)]  # the float network goes with each of them
    result = []
    if grid:
        widths, active = _widths(grid, mine), _activity_widths(grid)
        options = ["--bits", widths] if widths not in ("", ",".join(map(str, WIDTHS))) else []
        result.append(options + (["--activity-bits", active] if active else []))
    result += [["--bits", each] for each in dict.fromkeys(alone)]
    return result + [["--budget", each] for each in dict.fromkeys(budgets)]


def _is_rounded(choices: dict[str, Any]) -> bool:
    return any(isinstance(choices.get(role), int) for role in (*_ROLES, "activity"))


def _widths(grid: list[dict[str, Any]], mine: list[dict[str, Any]]) -> str:
    """The widths that all roles of a network were rounded to together; of one without a trace, its weights.

    Args:
        grid: of all that was rounded, what the grid of widths did. Where another command had rounded all roles
            together before, it rounded each alone.
    """
    rounded = [_bits_of(choices) for choices in grid]
    most = max(map(len, rounded))
    alike = {each[0] for each in rounded if len(each) == most and len({*each}) == 1}
    others = {each[0] for each in map(_bits_of, mine) if len(each) == most and len({*each}) == 1}
    alike |= others & {each[0] for each in rounded if len(each) == 1}
    return ",".join(str(width) for width in sorted(alike, reverse=True))


def _bits_of(choices: dict[str, Any]) -> list[int]:
    return [b for role in _ROLES if isinstance(b := choices.get(role), int)]


def _activity_widths(mine: list[dict[str, Any]]) -> str:
    """The widths of activity."""
    widths = (choices.get("activity") for choices in mine)
    return ",".join(map(str, sorted({b for b in widths if isinstance(b, int)}, reverse=True)))


def _options(record: Record, run: Run) -> list[str]:
    """The options of export that differ from its defaults."""
    rounded = {r.name for r in record.stage("quantized")}
    usual = PREFERRED if PREFERRED in rounded else "winner"
    first = next(iter(record.study.get("seeds") or ()), run.seed)
    bundle = str(run.choices.get("bundle", "bundle"))
    result = ["--name", run.name] if run.name != usual else []
    result += ["--seed", str(run.seed)] if run.seed != first else []
    return result + (["--out", os.path.normpath(Path(folder(record)) / bundle)] if bundle != "bundle" else [])
