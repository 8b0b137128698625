"""Contenders at several sizes: their time, their memory, and the page. Times are never asserted."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import forked
import pytest
import torch
from command_line import call

from plastic_search.core import loading
from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments.bench import across_sizes
from plastic_search.experiments.bench.across_sizes import AcrossSizes, Size

TINY = Size(batch=3, time=12, inputs=5, units=20)
OWN = """
import torch
from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments.bench.across_sizes import AcrossSizes, Size, Work

def one(size):
    "Adds."
    x, w = torch.ones(size.time, size.inputs), torch.ones(size.units, size.inputs, requires_grad=True)
    return Work(lambda: x @ w.T, w)

def twice(size):
    found = one(size)
    return Work(lambda: 2.0 * found.forward(), found.weight)

def absent(size):
    raise PlasticSearchError("nothing is installed")

def broken(size):
    raise ValueError("it <broke>")

BENCHMARK = AcrossSizes("How long?", (one, twice, absent, broken), (Size(2, 3, 4, 5), Size(2, 3, 4, 7)), rounds=2)
"""


def test_time_memory_and_results_are_compared_with_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = SimpleNamespace(get_context=lambda _: forked.processes(), set_forkserver_preload=lambda _: None)
    monkeypatch.setattr(across_sizes, "multiprocessing", quick)
    monkeypatch.setattr(across_sizes, "_LEAST", 0.0001)
    (tmp_path / "own.py").write_text(OWN)
    found = json.loads(call("bench", "own.py", "--json", "--out", "page", cwd=tmp_path).stdout)
    for case, units in zip(found["cases"], (5, 7), strict=True):
        one, twice, absent, broken = case["contenders"]
        assert (case["units"], one["name"], one["about"]) == (units, "one", "Adds.")
        assert (one["ratio"], one["differ"], one["direction"]) == (1.0, 0.0, 0.0)
        assert twice["differ"] == 1.0
        assert twice["direction"] < 1e-6
        assert twice["bytes"] is not None
        assert twice["spread"][0] <= twice["ratio"] <= twice["spread"][1]
        assert (absent["reason"], broken["reason"]) == ("nothing is installed", "ValueError: it <broke>")
        assert absent["seconds"] is None
    page = (tmp_path / "page" / "report.html").read_text()
    assert "not run: nothing is installed" in page
    assert "it &lt;broke&gt;" in page
    assert page.count("<svg") == 1
    assert "plastic-search bench own.py" in page
    with pytest.raises(PlasticSearchError, match="needs two contenders"):
        AcrossSizes("How long?", (), (TINY,))


def test_all_of_ours_compute_the_same_spikes_and_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)  # which takes long
    monkeypatch.setattr(across_sizes, "_LEAST", 0.0)
    value = loading.value("benchmarks", "spiking")
    found = {each.name: each for each in across_sizes._timed(replace(value, rounds=1), TINY)}
    assert len(found) == 8
    for name in ("snntorch", "norse", "spikingjelly", "plain loop", "compiled loop"):
        if found[name].reason:
            assert "pip install" in found[name].reason
            continue
        assert found[name].differ == 0.0
        assert (found[name].direction or 0.0) < 1e-5
    assert not found["plain loop"].reason
    assert (found["plastic"].direction or 0.0) > 1e-4
    assert found["matrix products"].differ is None


def test_a_library_that_is_missing_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    value: Any = loading.value("benchmarks", "spiking")
    for name in value.packages:
        monkeypatch.setitem(sys.modules, name, None)
    for prepare in value.contenders[1:4]:
        with pytest.raises(PlasticSearchError, match=f"{prepare.__name__} is not installed; python -m pip install"):
            prepare(TINY)
