"""The order of the house: who may import whom, what a file may hold, and how long it may be."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import plastic_search
from plastic_search import content
from plastic_search.part import NO_EQUATION, Part, equation

ROOT = Path(plastic_search.__file__).parent
HOME = ROOT.parent

FLOORS = (  # a module imports only from floors that stand before its own
    {"errors"},
    {"part"},
    {"space", "runs", "origins", "content", "statistics", "images", "datasets"},
    {"graph_files"},
    {"graph_metrics"},
    {"graph_compare"},
    {"cells", "rules", "modulations", "structures", "precisions", "tasks"},
    {"spec", "own_parts"},
    {"parameters", "quantize"},
    {"step"},
    {"kernels"},
    {"network"},
    {"probing"},
    {"liveness"},
    {"population", "shrink"},
    {"adaptation"},
    {"course"},
    {"answers", "rollout", "stepped", "topology", "ablations", "controls", "evaluation"},
    {"trainers", "exports"},
    {"contest", "updates"},
    {"jobs"},
    {"pool", "search", "study"},
    {"conduct"},
    {"sweep"},
    {"quantized", "exported", "repair"},
    {"testing", "shrunk"},
    {"findings", "growth_findings", "console"},
    {"commands", "wording", "figures"},
    {"comparisons", "stability"},
    {"verdicts"},
    {"page"},
    {"report", "speed", "sweep_page", "shown", "doctor", "benchmark", "growth", "growth_page"},
    {"cli_machine", "cli_growth", "cli_topology"},
    {"cli"},
)
FLOOR = {room: n for n, rooms in enumerate(FLOORS) for room in rooms}
PROSE = {
    "errors",
    "content",
    "runs",
    "origins",
    "statistics",
    "graph_files",
    "graph_metrics",
    "graph_compare",
    "findings",
    "commands",
    "console",
    "wording",
    "figures",
    "comparisons",
    "verdicts",
    "page",
    "report",
    "speed",
    "growth_findings",
    "growth_page",
}
PARTS = {"cells", "rules", "modulations", "structures", "precisions", "tasks", "trainers"}  # one part a file
NEIGHBOURS = {"structures", "tasks"}  # folders whose members may build on one another
ONLY_IN = {  # a third party's only doors
    "brevitas": {"quantize"},
    "llvmlite": {"kernels"},
    "optuna": {"study", "search"},
    "onnx": {"exports"},
    "onnxscript": {"exports"},
    "onnxruntime": {"exports"},
    "networkx": {"topology", "stability", "graph_files", "graph_metrics", "graph_compare", "figures"},
    "matplotlib": {"figures", "speed", "sweep_page", "growth_page"},
    "jinja2": {"report", "speed", "sweep_page", "growth_page"},
    "typer": {"cli", "cli_machine", "cli_growth", "cli_topology"},
    "rich": {"cli", "console"},
}

FILES = sorted(ROOT.rglob("*.py"))
CONTENT = [(folder, file) for folder in content.VARIABLES for file in sorted((HOME / folder).glob("*.py"))]
MEMBERS = [f for f in FILES if f.parent.name in PARTS and f.parent.parent == ROOT and not f.name.startswith("_")]


def room(file: Path) -> str:
    """`rules` for plastic_search/rules/oja.py, `step` for plastic_search/step.py."""
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


@pytest.mark.parametrize("file", [f for f in FILES if room(f) != "__init__"], ids=name_of)
def test_a_module_imports_only_from_floors_below(file: Path) -> None:
    mine = room(file)
    assert mine in FLOOR, f"give {mine!r} a floor in tests/test_house.py"
    for line, (other, *inside) in ours(file):
        at = f"{name_of(file)}:{line}"
        assert other in FLOOR, f"{at} imports {other!r}, which has no floor"
        if other != mine:
            assert FLOOR[other] < FLOOR[mine], f"{at} looks up, or sideways, from {mine} to {other}"
        elif mine in PARTS and file.name != "__init__.py":
            assert not inside or mine in NEIGHBOURS or not (file.parent / f"{inside[0]}.py").exists(), (
                f"{at}: members of {mine} are strangers to one another"
            )
        if mine in PROSE:
            assert other in PROSE | {"part"}, f"{at}: {mine} reads records only, and may not import {other}"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_third_parties_come_in_by_their_own_doors(file: Path) -> None:
    for line, module in imports(file):
        doors = ONLY_IN.get(module.split(".")[0])
        assert doors is None or room(file) in doors, f"{name_of(file)}:{line}: {module} belongs to {doors}"


def test_prose_needs_neither_torch_nor_optuna() -> None:
    rooms = sorted((PROSE | {"cli", "datasets", "part"}) & {room(f) for f in FILES})
    figures = [f"figures.{f.stem}" for f in FILES if room(f) == "figures" and f.stem != "__init__"]
    modules = ", ".join(f"plastic_search.{name}" for name in [*rooms, *figures])
    heavy = "{'torch', 'optuna', 'brevitas', 'onnx'}"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {modules}; sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"],
        cwd=HOME,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"importing {modules} loads {done.stderr}"


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
    if room(file) == "rules":
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
    variable = content.VARIABLES[folder]
    _, *body = tree(file).body
    beside = ast.Import | ast.ImportFrom
    if folder == "benchmarks":  # a rule of one's own is timed too
        beside |= ast.ClassDef
    values = [node for node in body if not isinstance(node, beside)]
    assert [ast.unparse(n.targets[0]) for n in values if isinstance(n, ast.Assign)] == [variable], (
        f"{name_of(file)} must assign {variable}, and nothing else"
    )
    assert len(values) == 1, f"{name_of(file)}:{values[-1].lineno} does more than hold {variable}"
    logic = [node.lineno for node in ast.walk(values[0]) if isinstance(node, LOGIC)]
    assert not logic, f"{name_of(file)}:{logic[0]} computes; a content file only names values"
    kinds = {"search_spaces": {"NetworkSpec"}, "studies": {"Study", "Sweep"}, "reports": {"Report"}}.get(
        folder, {"Benchmark"}
    )
    assert type(content.value(folder, str(file))).__name__ in kinds
