"""What README prints runs as it is printed."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import forked
import pytest
import synthetic
from forked import Ended, in_a_fresh_process, program

from plastic_search.export import bundle
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.tasks.digit_recall import DigitRecall

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = {page: re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL) for page in PAGES}
PROGRAMS = {page: blocks if page == PAGES[0] else ["".join(blocks)] for page, blocks in BLOCKS.items() if blocks}
PYTHON = [(page, code) for page, programs in PROGRAMS.items() for code in programs]  # a page of docs is one program
RULE = next(code for _, code in PYTHON if "(Rule)" in code)


def call(*words: str, cwd: Path) -> str:
    """What the command prints."""
    return output(in_a_fresh_process(forked.command_line, cwd, (cwd, ROOT), ("plastic-search", *words), os.environ))


def run(code: str, cwd: Path) -> str:
    """What a program prints."""
    return output(in_a_fresh_process(program, cwd, (cwd, ROOT), ("-c", code), os.environ))


def output(ended: Ended) -> str:
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `make demo` has left a run folder with a bundle."""
    task, folder = DigitRecall(), tmp_path_factory.mktemp("demo")
    net = Network(NetworkSpec((Layer(units=5, plastic=Pathway.INPUT),)), task.inputs)
    bundle.write(net, folder / "runs" / "digit_recall" / "bundle", task=task, about={}, examples=5)
    synthetic.full(folder / "runs" / "digit_recall", trials=6)
    return folder


@pytest.mark.parametrize("code", [code for _, code in PYTHON], ids=[f"{page.stem}" for page, _ in PYTHON])
def test_python_runs_as_it_is_printed(code: str, demo: Path) -> None:
    if "Gymnasium(" in code:
        pytest.importorskip("gymnasium", reason="the extra rl is not installed")
    if "nir.write(" in code:
        pytest.importorskip("nir", reason="the extra spiking is not installed")
    run(code, demo)


def test_the_rule_is_one_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(RULE)
    assert "dH = post^3 (x) pre" in call("list", "rules", "--parts", "loud.py", cwd=tmp_path)
    promises = "from loud import Loud; from plastic_search.testing import rule_promises; rule_promises(Loud)"
    run(promises, tmp_path)


def test_light_commands_run_as_they_are_printed(tmp_path: Path) -> None:
    lines = re.findall(r"^    plastic-search (.*?)(?:  +#.*)?$", (ROOT / "README.md").read_text(), re.MULTILINE)
    commands = {
        "list",
        "show",
        "copy",
        "run",
        "quantize",
        "export",
        "report",
        "play",
        "table",
        "topology",
        "doctor",
        "bench",
    }
    assert {line.split()[0] for line in lines} == commands
    for line in lines:
        if line.split()[0] in ("list", "show", "copy"):
            call(*line.split(), cwd=tmp_path)


def test_the_figures_are_those_of_the_published_page() -> None:
    page = (ROOT / "reports" / "digit_recall" / "report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    rows = re.findall(r"^\| ([^|]*?) \| (0\.\d{3} \[[^|]*?\]) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(rows) == 10
    for what, score in rows:
        assert score in page, what
        for number in re.findall(r"\d,\d{3}", what):
            assert number in page, what


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "decisions" / "0001-gates.md"])
def test_the_figures_of_structures_are_those_of_the_published_sweep(page: Path) -> None:
    groups_of = json.loads((ROOT / "reports" / "density_digits" / "report.json").read_text())["groups"]
    rows = re.findall(r"^\| (0\.\d+) \| (.*) \|$", page.read_text(), re.MULTILINE)
    (head,) = re.findall(r"^\| share of connections \| (.*) \|$", page.read_text(), re.MULTILINE)
    names = {"learned (`Gated`)": "learned", "pruned by magnitude": "pruned", "regrown (RigL)": "regrown"}
    names |= {"learned (`Pooled`)": "pooled"}
    groups = [names.get(each, str(each)).replace(" mask", "") for each in str(head).split(" | ")]
    assert rows
    for place, cells in rows:
        for group, cell in zip(groups, cells.split(" | "), strict=True):
            (score,) = [row["score"] for row in groups_of[group] if row["at"] == float(place)]
            assert cell == "{:.3f} [{:.3f}, {:.3f}]".format(*(score[key] for key in ("value", "low", "high")))
