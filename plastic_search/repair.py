"""A run folder whose files were cut short, made whole again: what is broken is set aside, never deleted."""

from __future__ import annotations

import json
from pathlib import Path

from plastic_search import runs
from plastic_search.search import ARMS, Arm, Direction, open_journal
from plastic_search.study import locked, open_study

__all__ = ["repair"]


def repair(out: Path) -> list[str]:
    """Keep the whole lines of the journal and of the runs, and the runs that the journal knows.

    Returns:
        A sentence for each thing done; empty where nothing was broken.
    """
    with locked(out):
        done = [told for name in (runs.JOURNAL, runs.RUNS) if (told := _whole_lines(out / name))]
        study, _ = open_study(out)
        storage = open_journal(out / runs.JOURNAL)
        directions: list[Direction] = [o.direction for o in study.objectives]
        known = {name: len(Arm(name, storage, study.space, directions).trials()) for name in ARMS}
        lines = runs.read_lines(out / runs.RUNS)
        kept = [x for x in lines if x["stage"] != "search" or x["trial"] < known.get(x["name"], 0)]
        if len(kept) < len(lines):
            aside = _aside(out / runs.RUNS)
            runs.write_text(out / runs.RUNS, "".join(json.dumps(x) + "\n" for x in kept))
            done.append(f"{len(lines) - len(kept)} runs that the journal no longer knows are in {aside.name} only")
        return done


def _whole_lines(path: Path) -> str:
    """Cut `path` before its first broken line; the old file stays under another name."""
    if not path.is_file():
        return ""
    lines = path.read_text(errors="replace").splitlines(keepends=True)
    good = next((i for i, line in enumerate(lines) if not _whole(line)), len(lines))
    if good == len(lines):
        return ""
    aside = _aside(path)
    runs.write_text(path, "".join(lines[:good]))
    return f"{path.name}: kept {good} of {len(lines)} lines; the old file is {aside.name}"


def _whole(line: str) -> bool:
    try:
        return line.endswith("\n") and isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _aside(path: Path) -> Path:
    """Rename `path` to a name that is not taken."""
    number = next(n for n in range(1, 10_000) if not path.with_suffix(f".torn-{n}").exists())
    return path.rename(path.with_suffix(f".torn-{number}"))
