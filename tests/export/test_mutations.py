"""Mutated bundles whose digests are made anew are refused, or run, and do nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import mutants

from plastic_search.export import manifest, runner

SEED = 0
PEAK = 2**28 + 2 * mutants.MEMORY  # bytes: an interpreter with its libraries, and what onnxruntime may use


def _tried(small: Path, first: int, count: int, folder: Path) -> tuple[list[list[str]], int]:
    """Lines [number, kind, result] of mutants, and the last one that was begun where the process did not end well."""
    home = folder / "home"
    environment = os.environ | {"HOME": str(home), "TMPDIR": str(home)}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(Path(runner.__file__).parents[2]), str(Path(mutants.__file__).parent)]
    )
    words = [sys.executable, "-W", "error", "-B", mutants.__file__, str(small), str(first), str(count), str(SEED)]
    done = subprocess.run(words, cwd=folder / "work", env=environment, capture_output=True, text=True, check=False)
    lines = [line.split(" ", 2) for line in done.stdout.splitlines()]
    died = int(lines[-1][0]) if done.returncode and lines else -1
    assert not done.returncode or lines, done.stderr
    return lines, died


def test_mutants_are_refused_or_run_and_nothing_else(small: Path, mutations: int, tmp_path: Path) -> None:
    for name in ("work", "home"):
        (tmp_path / name).mkdir()
    first, results, peak = 0, [], 0
    while first < mutations:
        lines, died = _tried(small, first, mutations - first, tmp_path)
        if died >= 0:
            results += [*lines[:-1], [*lines[-1][:2], "ended the process"]]
            first = died + 1
        else:
            results += lines[:-1]
            peak, first = int(lines[-1][1]), mutations
    odd = [line for line in results if line[2] not in ("refused", "ran")]
    assert not odd, odd[:20]
    assert peak < PEAK
    assert {each.name for each in tmp_path.iterdir()} == {"work", "home"}
    assert [each.name for each in (tmp_path / "work").iterdir()] == ["mutant"]
    assert not list((tmp_path / "home").iterdir())
    manifest.read(small)
    found = Counter((kind, result) for _, kind, result in results)
    print(*(f"{kind} {result}: {n}" for (kind, result), n in sorted(found.items())), f"peak: {peak}", sep=", ")
    for change in mutants.CHANGES:
        for result in ("refused", "ran"):
            assert found[change.__name__, result] > mutations // 200, f"{change.__name__} is never {result}"
