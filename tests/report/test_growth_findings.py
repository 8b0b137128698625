"""Verdicts of the page about growing networks follow their intervals."""

from __future__ import annotations

from typing import Any

from plastic_search.report.growth_findings import verdicts


def lines(loss: list[float], units: list[float], third: float = 0.0, two: float = 0.0) -> list[dict[str, Any]]:
    return [
        {"seed": k, "cycles": 90, "curve": [[30, 20.0, third], [60, 15.0, two], [90, at, n]], "seconds": 1.0}
        for k, (at, n) in enumerate(zip(loss, units, strict=True))
    ]


def test_verdicts_follow_the_intervals() -> None:
    near, far, some = [10.0 + 0.01 * k for k in range(10)], [14.0 + 0.01 * k for k in range(10)], list(range(30, 40))
    runs = {
        "variable-hard": lines(near, [37.0 + k % 2 for k in range(10)]),
        "variable-easy": lines(near, [14.0 + k % 2 for k in range(10)]),
        "easy-hard-easy": lines(near, [20.0] * 10, third=14.0, two=40.0),
        "fixed-20": lines(far, [20.0] * 10),
    }
    assert [v["answer"] for v in verdicts(runs)] == ["yes"] * 5
    assert "23 [22, 24] units more" in verdicts(runs)[0]["told"]
    runs |= {"fixed-37": lines(near, [37.0] * 10), "variable-easy": lines(near, list(map(float, some)))}
    assert [v["answer"] for v in verdicts(runs)][:2] == ["unclear", "unclear"]
    runs["variable-hard"] = lines(far[:5] + near[:5], [10.0] * 10)
    runs["easy-hard-easy"] = lines(near, [50.0] * 10, third=14.0, two=14.0)
    assert [v["answer"] for v in verdicts(runs)] == ["no", "unclear", "unclear", "unclear", "no"]
    runs["variable-hard"] = lines([16.0] * 10, [10.0] * 10)
    assert [v["answer"] for v in verdicts(runs)][1:3] == ["no", "no"]
