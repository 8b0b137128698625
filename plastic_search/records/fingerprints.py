"""Fingerprints of user-defined parts and of data: whether they are still those with which runs were recorded.

There is no way to compare behaviour but to compare code, so this module parses the user's files. Formatting, comments,
docstrings, and statements that a part does not use do not count; of an import only the names count, not the module. Of
data every byte counts.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part, source
from plastic_search.core.paths import as_paths
from plastic_search.records.run import Outcome, Run, Stage

__all__ = ["data_digests", "digests", "kept", "typed_files", "unchanged"]

_IMPORTS = (ast.Import, ast.ImportFrom)
_TRAINERS = {  # the fields of a question that hold what trains the runs of a stage
    Stage.SEARCH: ("trainer",),
    Stage.FINAL: ("finalist",),
    Stage.QUANTIZED: ("fine_tuning",),
    Stage.SWEEP: ("trainer", "tuning"),
    Stage.COMPARISON: ("trainer", "tuning"),
}


def digests(study: dict[str, Any]) -> dict[str, str]:
    """The digest of every user-defined part that a study's JSON names and whose file is known."""
    named = {name: Part.kinds[name] for name in sorted(_kinds(study) & Part.kinds.keys())}
    return {name: digest for name, kind in named.items() if not _ours(kind) and (digest := _digest(kind, _code))}


def kept(about: dict[str, Any], runs: list[Run]) -> dict[str, str]:
    """The digests for a study.json to keep: its own, and today's of the parts that no run has used yet.

    A part that was used before digests were kept gets none, and is not compared. A digest of version 0.1, which counted
    the modules of imports too, is accepted.

    Raises:
        PlasticSearchError: a part has changed since runs used it.
    """
    kept = dict(about.get("own") or {})
    for name, now in digests(about["study"]).items():
        count = sum(_uses(about["study"], run, name) for run in runs)
        if not count or kept.get(name) == _digest(Part.kinds[name], _text):
            kept[name] = now
        elif kept.get(name, now) != now:
            raise PlasticSearchError(
                f"{name} has changed since {count} run{'s were' if count > 1 else ' was'} made with it "
                f"({source(Part.kinds[name])}); give the changed part a folder of its own with `run --out FOLDER`, "
                "or put the old text back"
            )
    return kept


def typed_files(about: dict[str, Any]) -> list[str]:
    """The user's files that define a study's parts, as they were typed: the study itself, and those of `--parts`."""
    command = about.get("command") or {}
    study, parts = str(command.get("study") or ""), map(str, command.get("parts") or ())
    return list(dict.fromkeys([study, *parts] if study.endswith(".py") else parts))


def data_digests(files: Iterable[Path | str]) -> dict[str, str]:
    """The digest of each file or folder of a study's data, by its path.

    Raises:
        PlasticSearchError: there is no such file, or it cannot be read.
    """
    return {str(path): _content(path) for path in dict.fromkeys(file.absolute() for file in as_paths(files))}


def unchanged(about: dict[str, Any], data: dict[str, str], runs: list[Run]) -> None:
    """Refuse data whose digests are not those that a study.json keeps, once there are runs; 0.1 kept none.

    Raises:
        PlasticSearchError: a file has changed.
    """
    count = sum(run.outcome != Outcome.INFEASIBLE for run in runs)
    for path, digest in data.items():
        if count and (about.get("data") or {}).get(path, digest) != digest:
            raise PlasticSearchError(
                f"the data in {path} has changed since {count} run{'s were' if count > 1 else ' was'} made with it; "
                "give the changed data a folder of its own with `run --out FOLDER`, or put the old data back"
            )


def _content(path: Path) -> str:
    """Of a file's bytes; of a folder, of the names and bytes of all files in it."""
    try:
        if not path.is_dir():
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        files = sorted(each for each in path.rglob("*") if each.is_file())
        text = "".join(f"{file.relative_to(path).as_posix()}\0{_content(file)}\0" for file in files)
    except OSError as error:
        raise PlasticSearchError(
            f"the data in {path} cannot be read ({error.strerror}); put it there, or name another path in the study"
        ) from None
    return hashlib.sha256(text.encode()).hexdigest()


def _uses(study: dict[str, Any], run: Run, name: str) -> bool:
    """Whether a run used the part: it is in its network, or is the study's task or the run's trainer."""
    if run.outcome == Outcome.INFEASIBLE:
        return False
    trained = run.stage != Stage.QUANTIZED or run.choices.get("tuned")
    fields = ("task", *(_TRAINERS.get(run.stage, ()) if trained else ()))
    cases = [case for case in study.get("cases", ()) if case["name"] == run.name]  # of a comparison
    return name in _kinds([run.spec, *cases, *(study.get(field) for field in fields)])


def _kinds(data: Any) -> set[str]:
    """Every kind that JSON data names."""
    if isinstance(data, dict):
        own = {data["kind"]} if isinstance(data.get("kind"), str) else set[str]()
        return own.union(*map(_kinds, data.values()))
    return set[str]().union(*map(_kinds, data)) if isinstance(data, list) else set()


def _ours(kind: type[Part]) -> bool:
    return kind.__module__.split(".")[0] == "plastic_search"


def _file(kind: type[Part]) -> str | None:
    return getattr(sys.modules.get(kind.__module__), "__file__", None)


def _digest(kind: type[Part], code: Callable[[Any], str]) -> str:
    """Of the code of a part and its bases, with what that uses of its file, as text; "" where a file is not known."""
    own = [each for each in kind.__mro__ if issubclass(each, Part) and not _ours(each)]
    files = [_file(each) for each in own]
    if not all(file and Path(file).is_file() for file in files):
        return ""
    used = [_used(each.__qualname__.split(".")[0], Path(str(file))) for each, file in zip(own, files, strict=True)]
    return hashlib.sha256("".join(map(code, used)).encode()).hexdigest()


def _used(name: str, file: Path) -> list[ast.stmt]:
    """The statements of a file that define `name`, and those that define the names in them."""
    wanted, body = {name, "*"}, ast.parse(file.read_text(encoding="utf-8")).body
    while True:
        used = [statement for statement in body if wanted.intersection(_defines(statement))]
        more = wanted.union(_names(used))
        if more == wanted:
            return used
        wanted = more


def _defines(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement defines; of one that is not so simple, every name in it."""
    match statement:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            yield statement.name
        case ast.Assign():
            yield from _names(statement.targets)
        case ast.AnnAssign() | ast.AugAssign():
            yield from _names([statement.target])
        case _:
            yield from _names([statement])


def _names(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Every name in some code."""
    for node in (inner for each in nodes for inner in ast.walk(each)):
        match node:
            case ast.Name():
                yield node.id
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name
            case ast.alias():
                yield node.asname or node.name.split(".")[0]


def _code(statements: list[ast.stmt]) -> str:
    """Statements as text, their imports as a sorted list of names: a module that has moved does not count."""
    imports = [node for each in statements for node in ast.walk(each) if isinstance(node, _IMPORTS)]
    used = {"*"}.union(_names(each for each in statements if not isinstance(each, _IMPORTS)))
    aliases = [(next(_names([alias])), alias.name.split(".")[-1]) for node in imports for alias in node.names]
    names = sorted({f"{meaning} as {name}" for name, meaning in aliases if name in used})
    return f"{names}{_text(statements, _IMPORTS)}"


def _text(node: Any, without: tuple[type[ast.stmt], ...] = ()) -> str:
    """Code without its docstrings and some kinds of statements; unlike `ast.dump`, the same in every Python."""
    if isinstance(node, list):
        rest = [n for n in node if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
        return f"[{', '.join(_text(n, without) for n in rest if not isinstance(n, without))}]"
    if isinstance(node, ast.AST):
        values = [(field, _text(value, without)) for field, value in ast.iter_fields(node) if value is not None]
        return f"{type(node).__name__}({', '.join(f'{field}={text}' for field, text in values if text != '[]')})"
    return repr(node)
