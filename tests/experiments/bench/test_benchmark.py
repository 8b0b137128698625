"""What the machine has, what runs where, and a benchmark with its page. Times are never asserted."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import forked
import pytest
import torch
import torch._inductor.config as inductor
from command_line import call, refused

from plastic_search.cells.lstm import LSTM
from plastic_search.core import loading
from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments.bench import processes as bench_processes
from plastic_search.experiments.bench.benchmark import Benchmark, measure
from plastic_search.experiments.bench.contenders import compiled_step
from plastic_search.experiments.bench.doctor import examine
from plastic_search.experiments.bench.processes import Workload
from plastic_search.network.kernels.dispatch import SlowerPath
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.report import bench_page
from plastic_search.rules import Change, Outer, Rule
from plastic_search.structures.gated import Gated
from plastic_search.testing import rule_promises

PLASTIC = Pathway.RECURRENT


def small() -> Benchmark:
    first = Workload(Layer(5, plastic=PLASTIC), batch=2, time=4)
    lstm = Workload(Layer(3, LSTM(), plastic=Pathway.BOTH), batch=2, time=4)
    gated = Workload(Layer(5, structure=Gated(0.5), plastic=PLASTIC), batch=2, time=4)
    others = (
        Workload(Layer(9, plastic=PLASTIC), batch=2, time=4),
        Workload(Layer(5, plastic=PLASTIC), batch=2, time=7),
    )
    return Benchmark(
        "How long?", (first, lstm, *others), 1, stepped=(first,), lasting=(replace(lstm, time=50),), learned=(gated,)
    )


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What a benchmark finds, but for what a C++ compiler makes; its processes fork from one that has torch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
        patch.setattr(bench_processes, "multiprocessing", SimpleNamespace(get_context=lambda _: forked.processes()))
        *_, (_, last) = measure(small())
    return last.to_json()


def test_a_benchmark_tells_every_ratio_and_on_what_it_was_taken(found: dict[str, Any]) -> None:
    assert [case["name"] for case in found["cases"]] == [
        "RNN Hebb Simple",
        "LSTM Hebb Simple",
        *["RNN Hebb Simple"] * 2,
    ]
    assert [case["plain_name"] for case in found["cases"]] == ["RNN", "LSTM", "RNN", "RNN"]
    for case in found["cases"]:
        assert case["spread"][0] <= case["speedup"] <= case["spread"][1]
        assert min(case[key] for key in ("reference", "fast", "plain", "over_plain", "rate")) > 0
    assert min(found["compile"].values()) > 0
    assert min(found["floor"].values()) > 0
    assert {"processor", "cores"} <= set(found["machine"])
    assert found["own_rules"] == {}


def test_memory_is_told_of_the_first_case_and_of_those_that_last(found: dict[str, Any]) -> None:
    first, long = found["memory"]
    assert (first["time"], first["traces"]) == (4, 4 * 4 * 2 * 5 * 5)
    assert (long["time"], long["traces"]) == (50, 4 * 50 * 2 * 3 * (17 + 3))
    assert first["reference"] is not None
    assert long["reference"] is None


def test_what_it_costs_to_learn_a_structure_is_told(found: dict[str, Any]) -> None:
    (row,) = found["learned"]
    assert row["structure"] == "Gated"
    assert row["spread"][0] <= row["ratio"] <= row["spread"][1]
    assert min(row["dense"], row["learned"]) > 0


def test_a_step_compiled_by_torch_competes_or_tells_why_not(found: dict[str, Any]) -> None:
    (row,) = found["stepped"]
    figures = [row[key] for key in ("compiling", "reference", "stepped", "fast", "over_reference", "speedup")]
    if row["reason"]:  # no C++ compiler, for one
        assert figures == [None] * 6
    else:
        assert min(figures) > 0
        assert row["spread"][0] <= row["speedup"] <= row["spread"][1]


def test_a_step_compiled_by_torch_is_the_reference_step(monkeypatch: pytest.MonkeyPatch) -> None:
    compile = partial(torch.compile, backend="eager")  # which needs no C++ compiler
    monkeypatch.setattr(torch, "compile", compile)
    for layer in (Layer(5, plastic=PLASTIC), Layer(3, LSTM(), plastic=Pathway.BOTH)):
        net, x = Network(NetworkSpec((layer,)), 4, kernel="reference"), torch.randn(6, 2, 4)
        result = compiled_step(net, x)
        assert result.forward is not None, result.reason
        torch.testing.assert_close(result.forward(x)[0], net(x)[0])


def test_a_compiler_that_fails_is_a_reason_on_the_page(
    found: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no C++ compiler <here>\nwith a trace of many lines")

    monkeypatch.setattr(torch, "compile", refuse)
    only = replace(small(), cases=small().cases[:1], lasting=())
    row = next(so_far.to_json()["stepped"][0] for text, so_far in measure(only) if "torch.compile" in text)
    assert row["reason"] == "no C++ compiler <here>"
    assert row["stepped"] is None
    page = bench_page.write(found | {"stepped": [row]}, tmp_path).read_text()
    assert "not run: no C++ compiler &lt;here&gt;" in page
    assert json.loads((tmp_path / "report.json").read_text())["stepped"][0]["stepped"] is None


def test_the_page_is_one_file_that_holds_the_figures(found: dict[str, Any], tmp_path: Path) -> None:
    page = bench_page.write(found | {"question": "<script>?"}, tmp_path).read_text()
    assert json.loads((tmp_path / "report.json").read_text())["cases"] == json.loads(json.dumps(found["cases"]))
    assert "<script" not in page
    assert page.count("<svg") == 2
    assert "time against units, against steps, on" in page  # no case has another batch than the first
    assert "http:" not in page.replace("http://www.w3.org", "")
    assert "https:" not in page
    for case in found["cases"]:
        assert f"{case['speedup']:.1f} [" in page
        assert f"{100 * case['rate'] / found['floor']['operations']:.0f} %" in page
        size = " \N{MULTIPLICATION SIGN} ".join(str(case[key]) for key in ("batch", "time", "units"))
        assert f"{case['name']}, {size}" in page  # in the plot of ratios


def test_what_cannot_be_drawn_is_left_out(found: dict[str, Any], tmp_path: Path) -> None:
    page = bench_page.write(found | {"cases": found["cases"][:1], "stepped": []}, tmp_path).read_text()
    assert page.count("<svg") == 1
    assert "Time against size" not in page
    assert "torch.compile" not in page


def test_our_benchmark_has_lines_to_draw_and_a_rule_of_its_own_that_is_compiled() -> None:
    value = loading.value("benchmarks", "layers")
    rows = [{"name": c.name, "batch": c.batch, "time": c.time, "units": c.layer.units} for c in value.cases]
    drawn = bench_page.lines(rows)
    assert set(drawn) == {"units", "batch", "time"}
    assert min(map(len, drawn.values())) >= 4
    (rule,) = {
        type(c.layer.rule) for c in value.cases if not type(c.layer.rule).__module__.startswith("plastic_search")
    }
    rule_promises(rule)
    x, spec = torch.randn(5, 2, 3), NetworkSpec((Layer(7, rule=rule(), plastic=PLASTIC),))
    reference, fast = (Network(spec, 3, kernel=kernel)(x)[0] for kernel in ("reference", "cpu"))
    torch.testing.assert_close(fast, reference)


def test_the_plain_loop_of_our_benchmark_is_the_reference_step() -> None:
    value = loading.value("benchmarks", "layers")
    kinds = {case.name: case.layer for case in value.cases}
    assert len(kinds) == 4
    for layer in kinds.values():
        net, x = Network(NetworkSpec((replace(layer, units=7),)), 4, kernel="reference"), torch.randn(9, 3, 4)
        y, trace = value.by_hand(net)(x)
        expected, (state,) = net(x)
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(trace, state.trace)


def test_a_plain_loop_is_timed_and_judged_where_there_is_one(found: dict[str, Any], tmp_path: Path) -> None:
    def by_hand(net: Network) -> Any:
        return lambda x: net(x)

    only = replace(small(), cases=small().cases[:1], by_hand=by_hand)
    text, so_far = next(iter(measure(only)))
    row = so_far.to_json()["cases"][0]
    assert row["loop_spread"][0] <= row["over_loop"] <= row["loop_spread"][1]
    assert f"{row['over_loop']:.1f} times a plain loop" in text
    page = bench_page.write(found | {"cases": [row]}, tmp_path).read_text()
    assert "Times faster than a plain loop" in page
    assert found["cases"][0]["loop"] is None
    assert "Times faster than the reference step" in bench_page.write(found, tmp_path).read_text()


def test_a_benchmark_of_nothing_is_refused() -> None:
    with pytest.raises(PlasticSearchError, match="at least one case"):
        Benchmark("What?", ())


def test_the_doctor_finds_a_fast_kernel_for_every_combination_of_ours() -> None:
    assert "every combination of parts has a fast kernel" in call("doctor").stdout
    message = json.loads(call("doctor", "--json").stdout)
    assert message["slow"] == {}
    assert message["kernels"]["cpu"] >= 60
    assert message["versions"]["llvmlite"] != "not installed"
    assert "not used" not in message["cache"]


def test_the_doctor_names_slow_parts_and_a_cache_that_is_open_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(frozen=True)
    class Sorted(Rule):
        """dH = sort(post) (x) pre"""

        def step(self, params: Any, state: Any, seen: Any) -> Any:
            return Change((Outer(seen.post.sort(-1).values, seen.pre),)), state

    @dataclass(frozen=True)
    class Wanting(Sorted):
        """dH = sort(post) (x) pre, with a setting that has no default"""

        gain: float

    monkeypatch.setenv("PLASTIC_SEARCH_CACHE", str(tmp_path))
    (tmp_path / "plastic_search").mkdir()
    (tmp_path / "plastic_search").chmod(0o777)
    with pytest.warns(SlowerPath, match="Sorted"):
        message = examine()
    assert message["slow"] == {
        "rule Sorted": "the operation aten.sort is not known to it",
        "rule Wanting": "not known, since it has settings without a default value",
    }
    assert 0 < message["kernels"]["reference"] < message["kernels"]["cpu"]  # two rules, and all the others
    assert message["cache"]["not used"].startswith(f"others may write in {tmp_path / 'plastic_search'}, which")


MINE = '''
from dataclasses import dataclass
from plastic_search.experiments.bench.benchmark import Benchmark
from plastic_search.experiments.bench.processes import Workload
from plastic_search.rules import Change, Outer, Rule
from plastic_search.network.spec import Layer, Pathway

@dataclass(frozen=True)
class Quiet(Rule):
    """dH = 0.5 post (x) pre"""

    def step(self, params, state, seen):
        return Change((Outer(seen.post, seen.pre, 0.5),)), state

CASES = (Workload(Layer(4, rule=Quiet(), plastic=Pathway.INPUT), 2, 3),)
BENCHMARK = Benchmark("?", CASES, 1, stepped=CASES)
'''


def test_bench_answers_on_the_command_line_about_a_rule_of_the_users_own_and_without_a_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    monkeypatch.setattr(bench_processes, "multiprocessing", SimpleNamespace(get_context=lambda _: forked.processes()))
    with inductor.patch({"cpp.cxx": (None, str(tmp_path / "none"))}):
        done = call("bench", str(file), "--out", str(tmp_path / "page"), "--json")
    message = json.loads(done.stdout)
    assert message["question"] == "?"
    assert message["own_rules"] == {"Quiet": "dH = 0.5 post (x) pre"}
    assert "No working C++ compiler" in message["stepped"][0]["reason"]
    assert "Quiet is a rule of the benchmark" in (tmp_path / "page" / "report.html").read_text()
    assert "no benchmark is called 'nothing'; known: ant, binary, c_step, " in refused("bench", "nothing")


def test_a_page_has_a_table_for_a_gpu_where_there_is_one(found: dict[str, Any], tmp_path: Path) -> None:
    assert "On the GPU" not in bench_page.write(found | {"gpu": "", "on_gpu": []}, tmp_path).read_text()
    page = bench_page.write(found | {"gpu": "a large GPU", "on_gpu": found["cases"]}, tmp_path).read_text()
    assert "The same on a large GPU" in page


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_cases_are_run_on_a_gpu() -> None:
    *_, (_, last) = measure(replace(small(), on_gpu=(small().cases[0],)))
    assert last.gpu
    assert last.on_gpu[0].speedup > 0
