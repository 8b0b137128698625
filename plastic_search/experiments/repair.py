"""Repair of a run folder with truncated files: broken lines are set aside, never deleted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plastic_search.core.errors import unknown
from plastic_search.core.paths import as_path
from plastic_search.experiments.folder import KINDS
from plastic_search.experiments.journal import Direction, Expected, chosen, open_journal, sound_lines
from plastic_search.experiments.search import expected
from plastic_search.experiments.study import Objective, Study
from plastic_search.records import run
from plastic_search.records.files import is_whole, read_lines, replacing, write_text
from plastic_search.records.folder import RunFolder
from plastic_search.records.run import Stage

__all__ = ["repair"]


def repair(out: Path | str) -> list[str]:
    """Keep every whole line of the runs, the journal up to its first damaged line, and the runs that the journal knows.

    The journal is replayed in order, so what follows a damaged line of it cannot be relied on; a run stands for itself.
    The study is not made, so parts of the user's own need not be known.

    Returns:
        A sentence for each thing done; empty where nothing was broken.
    """
    out = as_path(out)
    with RunFolder.open(out) as folder:
        done = [text for text in [_sifted(out / run.RUNS)] if text]
        directions = _directions(out)
        if not directions:
            return done
        wanted = expected(directions, folder.stage(Stage.SEARCH))
        cut = _begun(out / run.JOURNAL, wanted)
        values = chosen(open_journal(out / run.JOURNAL, wanted))
        lines = list(read_lines(out / run.RUNS))
        kept = [x for x in lines if x["stage"] != Stage.SEARCH or _is_known(x, values, bool(cut))]
        done += [cut] if cut else []
        if len(kept) < len(lines):
            aside = _aside(out / run.RUNS)
            write_text(out / run.RUNS, "".join(json.dumps(x) + "\n" for x in kept))
            done.append(f"{len(lines) - len(kept)} runs that the journal no longer knows are in {aside.name} only")
        return done


def _directions(out: Path) -> list[Direction]:
    """Those of a study's objectives, which its journal must have; of another question, which has no journal, none.

    Raises:
        PlasticSearchError: study.json is damaged, or an objective is unknown.
    """
    data = run.read_study(out)["study"]
    if KINDS.get(str(data.get("kind")), Study) is not Study:
        return []
    names = data.get("objectives")
    if not isinstance(names, list):
        return [each.direction for each in Study.objectives]
    known = {each.value: each for each in Objective}
    for name in names:
        if str(name) not in known:
            raise unknown("objective", str(name), known, f"It stands in {out / run.STUDY}.")
    return [known[str(name)].direction for name in names]


def _is_known(line: dict[str, Any], values: Mapping[tuple[str, int], Mapping[str, Any]], cut: bool) -> bool:
    """Whether the journal has the trial of a run; where it was damaged, with the values that the run was made with."""
    at = line["name"], line["trial"]
    return at in values and (not cut or line.get("choices", {}).items() <= values[at].items())


def _begun(journal: Path, wanted: Expected) -> str:
    """Cut the journal before its first damaged line; the old file stays under another name."""
    good, lines = sound_lines(journal, wanted)
    if good == len(lines):
        return ""
    aside = _aside(journal)
    with replacing(journal) as temporary:
        temporary.write_bytes(b"".join(lines[:good]))
    return (
        f"{journal.name}: kept the {good} lines before the first damaged one, of {len(lines)}, since a journal is read "
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
