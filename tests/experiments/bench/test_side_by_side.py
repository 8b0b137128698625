"""Contenders timed in turn: the first is what the others are compared with."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import call

from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments.bench.side_by_side import SideBySide, time_all


def slow_one() -> Callable[[], None]:
    """Sleeps."""
    return lambda: time.sleep(0.02)


def quick() -> Callable[[], None]:
    return lambda: None


def test_ratios_are_those_of_the_first() -> None:
    first, other = time_all(SideBySide("Which is faster?", (slow_one, quick), rounds=2))
    assert (first.name, first.about, first.ratio) == ("slow one", "Sleeps.", 1.0)
    assert first.spread == (1.0, 1.0)
    assert other.spread[0] <= other.ratio <= other.spread[1]
    with pytest.raises(PlasticSearchError, match="there must be two of them"):
        SideBySide("Which?", (quick,))


def test_the_command_prints_a_table(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from plastic_search.experiments.bench.side_by_side import SideBySide\n"
        "def one(): return int\ndef two(): return int\nBENCHMARK = SideBySide('Is it?', (one, two), 1)\n"
    )
    printed = call("bench", "own.py", cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    assert "Is it?" in printed.stdout
    assert "two" in printed.stdout
