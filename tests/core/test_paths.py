"""Whoever takes a path takes text as well, and refuses anything else by name."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pandas import DataFrame
from small import study

import plastic_search
from plastic_search.core import loading
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path, as_paths
from plastic_search.experiments import parameters
from plastic_search.experiments.export import export
from plastic_search.experiments.quantize import quantize
from plastic_search.experiments.repair import repair
from plastic_search.experiments.runner import run
from plastic_search.experiments.shrink import shrunk
from plastic_search.export import bundle, manifest
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.records import run as records
from plastic_search.records import table
from plastic_search.records.files import read_json, read_lines, write_text
from plastic_search.records.folder import RunFolder
from plastic_search.report import report
from plastic_search.topology import files
from plastic_search.topology.conversion import to_graph

INNER = ("cli.", "experiments.workers", "experiments.jobs", "network.kernels")  # called by ours alone, with a `Path`
NET = Network(NetworkSpec((Layer(2),)), inputs=1)


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public function, and every public method of a public class."""
    for info in pkgutil.walk_packages(plastic_search.__path__, "plastic_search."):
        name = info.name.removeprefix("plastic_search.")
        if f"{name}.".startswith(INNER) or name.startswith(INNER):
            continue
        module = importlib.import_module(info.name)
        for public in getattr(module, "__all__", ()):
            value = getattr(module, public)
            if inspect.isfunction(value):
                yield f"{name}.{public}", value
            elif inspect.isclass(value) and value.__module__ == module.__name__:
                methods = {n: getattr(value, n) for n in vars(value) if n == "__init__" or not n.startswith("_")}
                yield from ((f"{name}.{public}.{n}", m) for n, m in methods.items() if callable(m))


def test_no_public_function_wants_a_path_object_alone() -> None:
    found = 0
    for name, function in functions():
        for parameter in inspect.signature(function).parameters.values():
            kind = str(parameter.annotation)
            if re.search(r"\bPath\b", kind):
                found += 1
                assert re.search(r"\bstr\b", kind), f"{name}: {parameter} takes no text"
    assert found > 30


TAKERS: list[Callable[[Any], Any]] = [
    RunFolder,
    lambda path: RunFolder.open(path).__enter__(),
    records.load,
    records.read_study,
    lambda path: list(records.read_runs(path)),
    lambda path: records.append(path, []),
    lambda path: records.models(path, "winner", {}),
    table.runs,
    table.trials,
    table.curves,
    lambda path: table.folders([path]),
    lambda path: table.write(DataFrame(), path, "csv"),
    lambda path: report.write(records.Record("x", Path(), {}, [], {}, {}), path),
    lambda path: bundle.write(NET, path, task=None, about={}),
    manifest.read,
    manifest.verify,
    lambda path: parameters.save_parameters(NET, path),
    lambda path: parameters.load_parameters(NET, path),
    loading.load_module,
    lambda path: loading.load_parts([path]),
    lambda path: loading.value("studies", path),
    export,
    lambda path: list(quantize(path)),
    lambda path: list(run(study(), "x", path)),
    lambda path: list(run(study(), "x", "runs/x", files=(path,))),
    repair,
    shrunk,
    plastic_search.load,
    lambda path: write_text(path, ""),
    lambda path: list(read_lines(path)),
    lambda path: read_json(path, ""),
    files.read,
    lambda path: files.write(to_graph(NET), path),
    files.find,
    files.connectome,
]


@pytest.mark.parametrize("taker", TAKERS, ids=lambda taker: getattr(taker, "__qualname__", str(taker)))
@pytest.mark.parametrize("wrong", [3, None, b"runs/x", "", ["runs/x"], "a\0b"])
def test_what_is_no_path_is_refused(taker: Callable[[Any], Any], wrong: Any) -> None:
    with pytest.raises(PlasticSearchError, match=r"a path must be text or a pathlib\.Path, but is"):
        taker(wrong)


def test_a_list_of_paths_is_one() -> None:
    assert as_paths(("a", Path("b"))) == [Path("a"), Path("b")]
    for wrong in ("mine.py", Path("mine.py"), 3):
        with pytest.raises(PlasticSearchError, match=r"wanted a list of paths, but got .*; write \[\.\.\.\]"):
            loading.load_parts(wrong)  # type: ignore[arg-type]


def test_a_path_of_any_kind_is_taken() -> None:
    class Mine(os.PathLike[str]):
        def __fspath__(self) -> str:
            return "runs/x"

    assert as_path("runs/x") == as_path(Path("runs/x")) == as_path(Mine()) == Path("runs/x")  # type: ignore[arg-type]


def test_text_does_what_a_path_does(tmp_path: Path) -> None:
    text = str(tmp_path)
    parameters.save_parameters(NET, f"{text}/net.safetensors")
    parameters.load_parameters(NET, f"{text}/net.safetensors")
    assert files.write(to_graph(NET), f"{text}/net.json") == tmp_path / "net.json"
    assert files.find(f"{text}/net.json")[0] == "net"
    with RunFolder.open(f"{text}/run", create=True) as folder:
        assert folder.path == tmp_path / "run"
    (tmp_path / "mine.py").write_text("A = 1\n")
    assert loading.load_module(f"{text}/mine.py").A == 1
