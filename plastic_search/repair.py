"""A run folder whose files were cut short, made whole again: what is broken is set aside, never deleted."""

from __future__ import annotations

import json
from pathlib import Path

from plastic_search import runs
from plastic_search.search import ARMS, Arm, Direction, open_journal
from plastic_search.study import Study, locked, open_study

__all__ = ["repair"]


def repair(out: Path) -> list[str]:
    """Keep the journal up to its first broken line, every whole line of the runs, and the runs that the journal knows.

    The journal is replayed in order, so what follows a broken line of it cannot be relied on; a run stands for itself.

    Returns:
        A sentence for each thing done; empty where nothing was broken.
    """
    with locked(out):
        done = [told for told in (_begun(out / runs.JOURNAL), _sifted(out / runs.RUNS)) if told]
        if runs.load(out).study["study"].get("kind") != Study.__name__:  # a sweep has no journal
            return done
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


def _begun(journal: Path) -> str:
    """Cut the journal before its first broken line; the old file stays under another name."""
    lines = _lines(journal)
    good = next((i for i, line in enumerate(lines) if not runs.is_whole(line)), len(lines))
    if good == len(lines):
        return ""
    aside = _aside(journal)
    runs.write_text(journal, "".join(lines[:good]))
    return (
        f"{journal.name}: kept the {good} lines before the first broken one, of {len(lines)}, since a journal is read "
        f"in order; the old file is {aside.name}"
    )


def _sifted(path: Path) -> str:
    """Take the broken lines out of the runs; the old file stays under another name."""
    lines = _lines(path)
    good = [line for line in lines if runs.is_whole(line, runs.is_run)]
    if len(good) == len(lines):
        return ""
    aside = _aside(path)
    runs.write_text(path, "".join(good))
    return f"{path.name}: kept {len(good)} of {len(lines)} lines, all that are whole; the old file is {aside.name}"


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines(keepends=True) if path.is_file() else []


def _aside(path: Path) -> Path:
    """Rename `path` to a name that is not taken."""
    number = next(n for n in range(1, 10_000) if not path.with_suffix(f".torn-{n}").exists())
    return path.rename(path.with_suffix(f".torn-{number}"))
