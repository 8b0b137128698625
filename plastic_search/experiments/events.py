"""What happens while a question is worked on, as the command line shows it."""

from __future__ import annotations

from typing import NamedTuple

from plastic_search.records.run import Stage


class Event(NamedTuple):
    """A piece of work ended, or a long one advanced."""

    stage: Stage
    done: int  # pieces of work that have ended: trials in a search, else runs
    total: int
    best: float | None  # best score so far: of complete trials in a search, of the winner's seeds among finalists
    text: str  # what, in a few words
    notice: str = ""  # a sentence that must be seen before the work goes on
