"""One question of a page with its answer."""

from __future__ import annotations

from typing import NamedTuple

from plastic_search.report.groups import Contrast

__all__ = ["Verdict"]


class Verdict(NamedTuple):
    """One question with its answer."""

    key: str
    question: str
    answer: str  # yes, no, unclear, unknown
    head: str  # the answer in one sentence
    evidence: str  # what it rests on
    comparisons: list[Contrast]
