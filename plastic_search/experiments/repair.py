"""Repair of a run folder with truncated files: broken lines are set aside, never deleted."""

from __future__ import annotations

import json
from pathlib import Path

from plastic_search.core.paths import as_path
from plastic_search.experiments.folder import open_question
from plastic_search.experiments.optuna_search import ARMS, Arm, Direction, open_journal
from plastic_search.experiments.study import Study
from plastic_search.records import run
from plastic_search.records.files import is_whole, read_lines, write_text
from plastic_search.records.folder import RunFolder
from plastic_search.records.run import Stage

__all__ = ["repair"]


def repair(out: Path | str) -> list[str]:
    """Keep the journal up to its first broken line, every whole line of the runs, and the runs that the journal knows.

    The journal is replayed in order, so what follows a broken line of it cannot be relied on; a run stands for itself.

    Returns:
        A sentence for each thing done; empty where nothing was broken.
    """
    out = as_path(out)
    with RunFolder.open(out) as folder:
        done = [text for text in (_begun(out / run.JOURNAL), _sifted(out / run.RUNS)) if text]
        if not isinstance(study := open_question(folder), Study):  # it has no journal
            return done
        storage = open_journal(out / run.JOURNAL)
        directions: list[Direction] = [o.direction for o in study.objectives]
        known = {name: len(Arm(name, storage, study.space, directions).trials()) for name in ARMS}
        lines = list(read_lines(out / run.RUNS))
        kept = [x for x in lines if x["stage"] != Stage.SEARCH or x["trial"] < known.get(x["name"], 0)]
        if len(kept) < len(lines):
            aside = _aside(out / run.RUNS)
            write_text(out / run.RUNS, "".join(json.dumps(x) + "\n" for x in kept))
            done.append(f"{len(lines) - len(kept)} runs that the journal no longer knows are in {aside.name} only")
        return done


def _begun(journal: Path) -> str:
    """Cut the journal before its first broken line; the old file stays under another name."""
    lines = _lines(journal)
    good = next((i for i, line in enumerate(lines) if not is_whole(line)), len(lines))
    if good == len(lines):
        return ""
    aside = _aside(journal)
    write_text(journal, "".join(lines[:good]))
    return (
        f"{journal.name}: kept the {good} lines before the first broken one, of {len(lines)}, since a journal is read "
        f"in order; the old file is {aside.name}"
    )


def _sifted(path: Path) -> str:
    """Take the broken lines out of the runs; the old file stays under another name."""
    lines = _lines(path)
    good = [line for line in lines if is_whole(line, run.is_run)]
    if len(good) == len(lines):
        return ""
    aside = _aside(path)
    write_text(path, "".join(good))
    return f"{path.name}: kept {len(good)} of {len(lines)} lines, all that are whole; the old file is {aside.name}"


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines(keepends=True) if path.is_file() else []


def _aside(path: Path) -> Path:
    """Rename `path` to a name that is not taken."""
    number = next(n for n in range(1, 10_000) if not path.with_suffix(f".torn-{n}").exists())
    return path.rename(path.with_suffix(f".torn-{number}"))
