"""A study: one question, asked of a space, on a task, with a budget; and the file in which it is written down."""

from __future__ import annotations

import fcntl
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, Protocol

from plastic_search import origins, own_parts, runs
from plastic_search.errors import PlasticSearchError
from plastic_search.jobs import versions
from plastic_search.part import Part, discover, equation
from plastic_search.runs import Record
from plastic_search.space import Choice, holes
from plastic_search.spec import NetworkSpec
from plastic_search.tasks import Task
from plastic_search.trainers import Trainer
from plastic_search.trainers.gradient import Gradient

__all__ = ["Objective", "Question", "Study", "begin", "change", "locked", "made", "open_study", "same_parts"]

_WIDTH = 60  # of a value in a message


class Objective(Enum):
    """What a search looks for."""

    SCORE = "score"  # larger is better
    CONNECTIONS = "connections"  # fewer is better

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        return "maximize" if self is Objective.SCORE else "minimize"


class Question(Protocol):
    """What a run folder holds the answer to: a part with these."""

    @property
    def question(self) -> str: ...
    @property
    def task(self) -> Task: ...
    @property
    def trials(self) -> int: ...
    @property
    def seeds(self) -> tuple[int, ...]: ...

    def to_json(self) -> Any: ...

    def about(self) -> dict[str, Any]:
        """What study.json tells of it, beyond what it tells of all; with a `schema`."""
        ...


@dataclass(frozen=True)
class Study(Part):
    """space x task x trainer x budget x seeds x objectives

    Args:
        question: what the study asks, in one sentence.
        space: a spec with holes.
        task: what the networks are asked to do.
        trainer: how each trial is trained.
        finalist: how the winners and their controls are trained, anew and for longer.
        fine_tuning: how a network is trained on after its numbers have been rounded.
        objectives: what the search looks for; the first one chooses the winner.
        worth: how far on the way from a guess (0) to perfection (1) a network must come before its size counts:
            first good, then small.
        trials: of each search, the learning one and the random one, over all restarts.
        trial_seeds: of each trial.
        seeds: of each finalist.
    """

    question: str
    space: NetworkSpec
    task: Task
    trainer: Trainer = Gradient(steps=500)
    finalist: Trainer = Gradient(steps=2000)
    fine_tuning: Trainer = Gradient(steps=200, learning_rate=3e-3, settle=1.0)
    objectives: tuple[Objective, ...] = (Objective.SCORE, Objective.CONNECTIONS)
    worth: float = 0.9
    trials: int = 24
    trial_seeds: tuple[int, ...] = (0,)
    seeds: tuple[int, ...] = (0, 1, 2)

    def check(self) -> None:
        if self.trials < 1 or not self.trial_seeds or not self.seeds:
            raise PlasticSearchError("a study needs at least one trial, one trial seed and one seed")
        for name, seeds in (("trial_seeds", self.trial_seeds), ("seeds", self.seeds)):
            if len(set(seeds)) < len(seeds):
                raise PlasticSearchError(
                    f"{name} must all differ, but are {list(seeds)}: a seed that is run twice is no evidence"
                )
        if not 0.0 <= self.worth <= 1.0:
            raise PlasticSearchError(f"a study's worth is a share, 0 to 1, but is {self.worth}")
        if self.objectives[:1] != (Objective.SCORE,):
            raise PlasticSearchError("the first objective of a study must be 'score', which chooses the winner")
        open_elsewhere = [
            a for f in ("task", "trainer", "finalist", "fine_tuning") for a, _ in holes(getattr(self, f), f)
        ]
        if open_elsewhere:
            raise PlasticSearchError(f"a study has holes in its space alone, but {open_elsewhere[0]} is open too")

    def about(self) -> dict[str, Any]:
        """What study.json tells of a study alone."""
        return {
            "schema": "plastic_search/study/1",
            "trainer": self.finalist.to_json(),
            "trial_seeds": list(self.trial_seeds),
            "objectives": [o.value for o in self.objectives],
            "parts": _parts(),
            "holes": {address: _hole(hole) for address, hole in holes(self.space)},
        }


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
    own = own_parts.kept(record)
    if own != record.study.get("own", {}):
        runs.write_text(folder / runs.STUDY, json.dumps(record.study | {"own": own}, indent=1))


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Only one process works in a run folder at a time; the folder must be there."""
    if not out.is_dir():
        runs.load(out)  # tells that there is no study
    try:
        file = (out / ".lock").open("a")
    except OSError as error:
        raise runs.unwritable(out, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise PlasticSearchError(f"another process is at work in {out}; wait for it, or choose --out") from None
        yield


def made(out: Path) -> Path:
    """The folder `out`, made where it was not there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise runs.unwritable(out, error) from None
    return out


def begin(study: Question, name: str, out: Path, asked: dict[str, Any] | None = None) -> None:
    """Write study.json, or see that the one that is there asks the same.

    Args:
        asked: the words in which it was asked, for whoever wants to ask it again; nothing is decided by them.
    """
    data, path, old = study.to_json(), out / runs.STUDY, {}
    own = own_parts.digests(data)
    if path.is_file():
        record = runs.load(out)
        old = record.study
        difference = change(old["study"], data)
        if difference:
            raise PlasticSearchError(
                f"{out} holds another question: {difference}. Nothing was changed; give this question a folder of its "
                "own with --out FOLDER"
            )
        own = own_parts.kept(record)
    fresh = not old or old["trials"] < study.trials
    about = _common(study, name, data) | study.about() if fresh else dict(old)
    if asked is not None and "asked" not in about and about["trials"] == study.trials:
        about["asked"] = asked
    if own:
        about["own"] = own
    if about != old:
        runs.write_text(path, json.dumps(about, indent=1))


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
        "machine": origins.machine(),
        "code": origins.code(),
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


def _parts() -> dict[str, dict[str, str]]:
    """Every part that a network can be made of, with its equation and where it comes from."""
    made = {}
    for axis in ("cells", "rules", "modulations", "structures", "precisions"):
        for name, kind in discover(f"plastic_search.{axis}").items():
            source = (sys.modules[kind.__module__].__doc__ or "").strip().split("\n")[0]
            made[name] = {"axis": axis.removesuffix("s"), "equation": equation(kind), "source": source}
    return made


def _hole(hole: Part) -> dict[str, Any]:
    return {"kind": "Choice", "options": list(hole.labels)} if isinstance(hole, Choice) else hole.to_json()
