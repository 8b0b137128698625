"""A run folder and the question in it: opened, begun, compared with what is asked now."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import equation
from plastic_search.experiments.question import Question
from plastic_search.experiments.study import Study
from plastic_search.records import fingerprints, provenance
from plastic_search.records import run as runs
from plastic_search.records.files import write_text
from plastic_search.records.provenance import versions
from plastic_search.records.run import Record

_WIDTH = 60  # of a value in a message


def open_study(folder: Path) -> tuple[Study, Record]:
    """The study that a run folder holds, and its record.

    Raises:
        PlasticSearchError: the folder is no whole one, or a part of the user's own is unknown, or was changed.
    """
    record = runs.load(folder)
    if record.study["study"].get("kind") != Study.__name__:
        raise PlasticSearchError(
            f"{folder} holds a {record.study['study'].get('kind')}, which has no winner; name the folder of a study"
        )
    study = Study.from_json(record.study["study"])
    same_parts(folder, record)
    return study, record


def same_parts(folder: Path, record: Record) -> None:
    """See that the user's own parts are what they were, and keep digests of those that are new.

    Raises:
        PlasticSearchError: a part is unknown, or was changed.
    """
    own = fingerprints.kept(record)
    if own != record.study.get("own", {}):
        write_text(folder / runs.STUDY, json.dumps(record.study | {"own": own}, indent=1))


def begin(study: Question, name: str, out: Path, asked: dict[str, Any] | None = None) -> None:
    """Write study.json, or see that the one that is there asks the same.

    Args:
        asked: the words in which it was asked, for whoever wants to ask it again; nothing is decided by them.
    """
    data, path, old = study.to_json(), out / runs.STUDY, {}
    own = fingerprints.digests(data)
    if path.is_file():
        record = runs.load(out)
        old = record.study
        difference = change(old["study"], data)
        if difference:
            raise PlasticSearchError(
                f"{out} holds another question: {difference}. Nothing was changed; give this question a folder of its "
                "own with --out FOLDER"
            )
        own = fingerprints.kept(record)
    fresh = not old or old["trials"] < study.trials
    about = _common(study, name, data) | study.about() if fresh else dict(old)
    if asked is not None and "asked" not in about and about["trials"] == study.trials:
        about["asked"] = asked
    if own:
        about["own"] = own
    if about != old:
        write_text(path, json.dumps(about, indent=1))


def _common(asked: Question, name: str, data: dict[str, Any]) -> dict[str, Any]:
    """What study.json tells of anything that is asked, `data`, and of where and by what it was asked."""
    return {
        "name": name,
        "question": asked.question,
        "task": {
            "kind": type(asked.task).__name__,
            "about": equation(type(asked.task)),
            "score_name": asked.task.score_name,
            "chance": asked.task.chance,
        },
        "trials": asked.trials,
        "seeds": list(asked.seeds),
        "study": data,
        "versions": versions(),
        "machine": provenance.machine(),
        "code": provenance.code(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


_GONE = object()  # what stands where nothing stands


def change(old: Any, new: Any, at: str = "") -> str:
    """The first address at which two studies differ, other than in their number of trials, and how."""
    if old is _GONE or new is _GONE:
        return f"{at} is new: {_short(new)}" if old is _GONE else f"{at} is gone; it was {_short(old)}"
    if isinstance(old, dict) and isinstance(new, dict):
        if old.get("kind") == new.get("kind") == "Choice":
            return _other_options(old["options"], new["options"], at)
        keys = [key for key in old | new if (at, key) != ("", "trials")]
        pairs = [(f"{at}.{key}" if at else key, old.get(key, _GONE), new.get(key, _GONE)) for key in keys]
    elif isinstance(old, list) and isinstance(new, list):
        pairs = [(f"{at}.{i}", a, b) for i, (a, b) in enumerate(zip_longest(old, new, fillvalue=_GONE))]
    else:
        return "" if old == new else "{} was {}, is {}".format(at, *_apart(json.dumps(old), json.dumps(new)))
    return next((found for where, a, b in pairs if (found := change(a, b, where))), "")


def _other_options(old: list[Any], new: list[Any], at: str) -> str:
    """What a choice gained or lost, or where one of its options differs."""
    olds, news = [_option(o) for o in old], [_option(o) for o in new]
    for verb, some, others in (("gained", news, olds), ("lost", olds, news)):
        found = [name for name in dict.fromkeys(some) if name not in others]
        if found:
            return f"{at} {verb} the option{'s' if len(found) > 1 else ''} {', '.join(found)}"
    if olds != news:
        return f"{at} has its options in another order, or another number of times: {_short(olds)}, now {_short(news)}"
    return next((c for n, a, b in zip(olds, old, new, strict=True) if (c := change(a, b, f"{at}.{n}"))), "")


def _option(option: Any) -> str:
    return str(option["kind"]) if isinstance(option, dict) else str(option)


def _apart(old: str, new: str) -> tuple[str, str]:
    """Two texts, cut so that where they part is seen."""
    same = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    start = max(0, same - 20) if max(len(old), len(new)) > _WIDTH else 0
    return _cut(old, start), _cut(new, start)


def _cut(text: str, start: int = 0) -> str:
    left = text[start:]
    return ("..." if start else "") + (left if len(left) <= _WIDTH else left[: _WIDTH - 3] + "...")


def _short(value: Any) -> str:
    return _cut(json.dumps(value))
