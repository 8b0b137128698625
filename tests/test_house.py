"""The order of the house: who may import whom, what a file may hold, and how long it may be."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

import plastic_search
from plastic_search.core import loading
from plastic_search.core.part import NO_EQUATION, Part, equation

ROOT = Path(plastic_search.__file__).parent
HOME = ROOT.parent

# A wing imports from those before it, and never from one of its own group; later `<` earlier reads as "may import".
ORDER = (
    "core < records, surrogates, encoders < cells, rules, modulations, structures, precisions, tasks, environments"
    " < network < training, topology, export < trainers < testing, experiments, report < __init__ < cli"
)
FLOOR = {wing: n for n, wings in enumerate(ORDER.split(" < ")) for wing in wings.split(", ")}
REPORT_READS = {"core", "records", "topology", "report"}  # pages are written from records, without torch
# of one part a file
PARTS = {
    "cells", "surrogates", "rules", "modulations", "structures", "precisions", "encoders", "tasks", "environments",
    "trainers",
}  # fmt: skip
NEIGHBOURS = {"cells", "modulations", "structures", "tasks", "environments"}  # their members may build on one another
ONLY_IN = {  # a third party's only doors
    "brevitas": {"network/quantization"},
    "cmaes": {"training/strategies/cma_es"},
    "llvmlite": {"network/kernels"},
    "triton": {"network/kernels"},
    "optuna": {"experiments/optuna_search", "experiments/journal"},
    "onnx": {"export"},
    "onnxscript": {"export"},
    "onnxruntime": {"export"},
    "qonnx": {"export"},
    "networkx": {"topology", "report"},
    "defusedxml": {"topology"},
    "pooch": {"tasks/_archives"},
    "h5py": {"tasks/_events", "export/nir"},
    "nir": {"export/nir"},
    "gymnasium": {"environments/_copies"},
    "pandas": {"records/table", "experiments", "report"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "typer": {"cli"},
    "rich": {"cli"},
}

FILES = sorted(ROOT.rglob("*.py"))
CONTENT = [(folder, file) for folder in loading.VARIABLES for file in sorted((HOME / folder).glob("*.py"))]
MEMBERS = [f for f in FILES if f.parent.name in PARTS and f.parent.parent == ROOT and not f.name.startswith("_")]


def wing(file: Path) -> str:
    """`rules` for plastic_search/rules/oja.py."""
    return file.relative_to(ROOT).with_suffix("").parts[0]


def name_of(file: Path) -> str:
    return str(file.relative_to(HOME))


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(), str(file))


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, lazily or not, with its line: `plastic_search.rules.oja`."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(file)}:{node.lineno} imports relatively"
            if node.module == "plastic_search":
                yield from ((node.lineno, f"plastic_search.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module or ""


def ours(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The rooms, with what is inside them, that a file imports."""
    for line, module in imports(file):
        head, *rest = module.split(".")
        if head == "plastic_search" and rest and rest != ["__version__"]:
            yield line, rest


def test_the_root_holds_folders_only() -> None:
    files = {p.name for p in ROOT.iterdir() if p.is_file()}
    assert files == {"__init__.py", "py.typed"}, f"a file in the root: {sorted(files)}"
    wings = {p.name for p in ROOT.iterdir() if p.is_dir() and any(p.glob("*.py"))}
    assert wings <= FLOOR.keys(), f"give {sorted(wings - FLOOR.keys())} a place in ORDER"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_go_one_way(file: Path) -> None:
    mine = wing(file)
    for line, (other, *inside) in ours(file):
        at = f"{name_of(file)}:{line}"
        if other not in FLOOR:  # a name of the package's own, such as plastic_search.Network
            other = "__init__"
        if other != mine:
            assert FLOOR[other] < FLOOR[mine], f"{at} looks up, or sideways, from {mine} to {other}"
        elif mine in PARTS and file.name != "__init__.py":
            member = bool(inside) and not inside[0].startswith("_") and (file.parent / f"{inside[0]}.py").exists()
            assert not member or mine in NEIGHBOURS, f"{at}: members of {mine} do not import one another"
        if mine == "report":
            assert other in REPORT_READS, f"{at}: report reads records only, and may not import {other}"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_third_parties_come_in_by_their_own_doors(file: Path) -> None:
    own = file.relative_to(ROOT).with_suffix("").as_posix()
    for line, module in imports(file):
        doors = ONLY_IN.get(module.split(".")[0])
        assert doors is None or any(own == door or own.startswith(f"{door}/") for door in doors), (
            f"{name_of(file)}:{line}: {module} belongs to {sorted(doors or ())}"
        )


def test_no_two_modules_import_each_other_in_a_circle() -> None:
    """At import time; what is imported inside a function, or for type checking, does not count."""
    names = {module_name(f) for f in FILES}
    graph = nx.DiGraph()
    for file in FILES:
        top = [n for n in tree(file).body if isinstance(n, ast.Import | ast.ImportFrom)]
        for node in top:
            module = getattr(node, "module", None) or ""
            for alias in node.names:
                full = f"{module}.{alias.name}" if module else alias.name
                target = full if full in names else module if module in names else None
                if target:
                    graph.add_edge(module_name(file), target)
    circles = [sorted(c) for c in nx.strongly_connected_components(graph) if len(c) > 1]
    assert not circles, f"modules that import each other: {circles}"


def module_name(file: Path) -> str:
    """`plastic_search.rules` for plastic_search/rules/__init__.py."""
    return ".".join(file.relative_to(HOME).with_suffix("").parts).removesuffix(".__init__")


def test_reports_and_records_need_neither_torch_nor_optuna() -> None:
    light = [module_name(f) for f in FILES if wing(f) in {"core", "records", "report"}]
    light += ["plastic_search.cli.app"]  # the rest waits inside commands
    heavy = "{'torch', 'optuna', 'brevitas', 'onnx', 'pandas'}"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {', '.join(light)}; sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"],
        cwd=HOME,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"importing them loads {done.stderr}"


def classes(module_file: Path) -> list[type[Part]]:
    """The public parts that a module defines."""
    module = importlib.import_module(f"plastic_search.{module_file.parent.name}.{module_file.stem}")
    found = [k for n, k in vars(module).items() if inspect.isclass(k) and not n.startswith("_")]
    return [k for k in found if issubclass(k, Part) and k.__module__ == module.__name__]


@pytest.mark.parametrize("file", MEMBERS, ids=name_of)
def test_a_file_of_an_open_folder_is_one_part_that_says_what_it_does(file: Path) -> None:
    parts = classes(file)
    assert len(parts) == 1, f"{name_of(file)} defines {[k.__name__ for k in parts]}"
    text = equation(parts[0])
    assert parts[0].__doc__, f"{name_of(file)}: {parts[0].__name__} has no docstring"
    assert text != NO_EQUATION, f"{name_of(file)}: {parts[0].__name__} has no docstring"
    if wing(file) == "rules":
        assert "dH =" in text, f"{name_of(file)}: a rule states dH"


@pytest.mark.parametrize("file", [*FILES, *(f for _, f in CONTENT)], ids=name_of)
def test_files_and_functions_are_short_and_say_what_they_are(file: Path) -> None:
    module = tree(file)
    assert ast.get_docstring(module), f"{name_of(file)} has no docstring"
    lines = len(file.read_text().splitlines())
    assert lines <= 350, f"{name_of(file)} has {lines} lines; 350 are the most"
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 50, f"{name_of(file)}:{node.lineno}: {node.name} has {length} lines; 50 are the most"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_nothing_is_unpickled(file: Path) -> None:
    for line, module in imports(file):
        assert module.split(".")[0] not in {
            "pickle",
            "cPickle",
            "dill",
            "cloudpickle",
            "shelve",
            "marshal",
            "joblib",
        }, f"{name_of(file)}:{line} imports {module}; use safetensors and JSON"
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            where, options = f"{name_of(file)}:{node.lineno}", {k.arg: ast.unparse(k.value) for k in node.keywords}
            if ast.unparse(node.func) == "torch.load":
                assert options.get("weights_only") == "True", f"{where}: torch.load unpickles"
            assert options.get("allow_pickle", "False") == "False", f"{where} allows a pickle"


def test_nothing_is_named_utils() -> None:
    vague = {"utils", "util", "helpers", "helper", "misc", "common"}
    found = [name_of(f) for f in FILES if vague & {*f.relative_to(ROOT).with_suffix("").parts}]
    assert not found, f"a name that says nothing: {found}"


def test_the_front_door_is_almost_empty() -> None:
    assert len(plastic_search.__all__) <= 15
    for name in plastic_search.__all__:
        assert getattr(plastic_search, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Oja'"):
        _ = plastic_search.Oja


LOGIC = (ast.Lambda, ast.IfExp, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.NamedExpr, ast.BinOp)


@pytest.mark.parametrize(("folder", "file"), CONTENT, ids=[name_of(f) for _, f in CONTENT])
def test_a_content_file_holds_one_value_and_no_logic(folder: str, file: Path) -> None:
    variable = loading.VARIABLES[folder]
    _, *body = tree(file).body
    beside = ast.Import | ast.ImportFrom
    if folder == "benchmarks":  # a rule of one's own and a loop written by hand are timed too
        beside |= ast.ClassDef | ast.FunctionDef
    values = [node for node in body if not isinstance(node, beside)]
    assert [ast.unparse(n.targets[0]) for n in values if isinstance(n, ast.Assign)] == [variable], (
        f"{name_of(file)} must assign {variable}, and nothing else"
    )
    assert len(values) == 1, f"{name_of(file)}:{values[-1].lineno} does more than hold {variable}"
    logic = [node.lineno for node in ast.walk(values[0]) if isinstance(node, LOGIC)]
    assert not logic, f"{name_of(file)}:{logic[0]} computes; a content file only names values"
    kinds = {"search_spaces": {"NetworkSpec"}, "studies": {"Study", "Sweep", "Comparison"}, "reports": {"Report"}}.get(
        folder, {"AcrossSizes", "Benchmark", "SideBySide"}
    )
    assert type(loading.value(folder, str(file))).__name__ in kinds
