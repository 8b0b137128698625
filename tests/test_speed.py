"""What the machine has, what runs where, and a benchmark with its page. Times are never asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plastic_search import speed
from plastic_search.benchmark import Benchmark, Case, measure
from plastic_search.cells.lstm import LSTM
from plastic_search.doctor import examine
from plastic_search.errors import PlasticSearchError
from plastic_search.spec import Layer, Pathway


def small() -> Benchmark:
    layers = (Layer(5, plastic=Pathway.RECURRENT), Layer(3, LSTM(), plastic=Pathway.BOTH))
    return Benchmark("How long?", tuple(Case(layer, batch=2, time=4) for layer in layers), rounds=1)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    *_, (_, last) = measure(small())
    return last


def test_a_benchmark_tells_every_ratio_and_on_what_it_was_taken(found: dict[str, Any]) -> None:
    assert [case["name"] for case in found["cases"]] == ["RNN Hebb Simple", "LSTM Hebb Simple"]
    assert [case["plain_name"] for case in found["cases"]] == ["RNN", "LSTM"]
    for case in found["cases"]:
        assert case["spread"][0] <= case["speedup"] <= case["spread"][1]
        assert min(case[key] for key in ("law", "fast", "plain", "over_plain", "rate")) > 0
    assert set(found["memory"]) == {"reference", "cpu"}
    assert min(found["compile"].values()) > 0
    assert {"processor", "cores"} <= set(found["machine"])


def test_the_page_is_one_file_that_holds_the_figures(found: dict[str, Any], tmp_path: Path) -> None:
    page = speed.write(found | {"question": "<script>?"}, tmp_path).read_text()
    assert json.loads((tmp_path / "report.json").read_text())["cases"] == json.loads(json.dumps(found["cases"]))
    assert "<script" not in page
    assert page.count("<svg") == 2
    assert "http:" not in page.replace("http://www.w3.org", "")
    assert "https:" not in page
    assert f"{found['cases'][0]['speedup']:.1f}" in page


def test_a_benchmark_of_nothing_is_refused() -> None:
    with pytest.raises(PlasticSearchError, match="at least one case"):
        Benchmark("What?", ())


def test_the_doctor_finds_a_fast_kernel_for_every_combination_of_ours() -> None:
    told = examine()
    assert told["slow"] == {}
    assert told["kernels"]["cpu"] >= 60
    assert told["versions"]["llvmlite"] != "not installed"


def test_bench_and_doctor_answer_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from plastic_search.benchmark import Benchmark, Case\nfrom plastic_search.spec import Layer, Pathway\n"
        'BENCHMARK = Benchmark("?", (Case(Layer(4, plastic=Pathway.INPUT), 2, 3),), 1)\n'
    )
    command = [sys.executable, "-c", "from plastic_search.cli import main; main()"]
    words = ["bench", str(file), "--out", str(tmp_path / "page"), "--json"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["question"] == "?"
    assert (tmp_path / "page" / "report.html").is_file()
    wrong = subprocess.run([*command, "bench", "nothing"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "no benchmark is called 'nothing'; known: layers" in wrong.stderr
