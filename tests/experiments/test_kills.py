"""A study that is killed again and again, in every stage, ends with the runs and models of one that was left alone."""

from __future__ import annotations

import json
import os
import random
from contextlib import suppress
from pathlib import Path

import pytest
from small import study

from plastic_search.experiments.quantize import quantize
from plastic_search.experiments.runner import run
from plastic_search.records import run as runs

KILLS = 24  # of one study, which writes 146 times


class Killed(BaseException):
    """Stands for kill -9."""


def carry_out(out: Path) -> None:
    for _ in run(study(), "small", out, 1):
        pass
    for _ in quantize(out, (4,), 1):
        pass


def output(out: Path) -> tuple[list[object], dict[str, bytes], str]:
    """Every run but for its times, the parameters, and the trials as the journal has them."""
    record = runs.load(out)
    found = sorted(
        (r.key, r.outcome, json.dumps(r.spec), json.dumps(r.choices), json.dumps(r.metrics), json.dumps(r.curve))
        for r in record.runs
    )
    models = {str(p.relative_to(out)): p.read_bytes() for p in sorted((out / runs.MODELS).rglob("*.safetensors"))}
    logs = [json.loads(line) for line in (out / runs.JOURNAL).read_text().splitlines()]
    trials = [(log.get("study_id"), log.get("params")) for log in logs if log["op_code"] == 4]
    return [*found, json.dumps(record.importances)], models, json.dumps(sorted(map(json.dumps, trials)))


def test_kills_in_every_stage_change_no_run_and_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, total = 0, 0  # until the next kill; in all, of a study that is left alone
    fsync, replace = os.fsync, os.replace

    def step() -> None:
        nonlocal steps, total
        steps, total = steps - 1, total + 1
        if steps == 0:
            raise Killed

    def counted_fsync(fd: int) -> None:
        step()
        fsync(fd)

    def counted_replace(*paths: str) -> None:
        step()
        replace(*paths)

    monkeypatch.setattr(os, "fsync", counted_fsync)
    monkeypatch.setattr(os, "replace", counted_replace)
    carry_out(tmp_path / "whole")
    rng, writes = random.Random(0), total
    kills, folders = 0, 0
    while kills < KILLS:
        folders += 1
        out = tmp_path / f"killed {folders}"
        while kills < KILLS:
            steps = rng.randint(2, max(3, 2 * writes // KILLS))
            with suppress(Killed):
                carry_out(out)
                break
            kills += 1
        steps = 0
        carry_out(out)
        assert output(out) == output(tmp_path / "whole")
