"""What happens while a question is worked on, as the command line shows it."""

from __future__ import annotations

from typing import NamedTuple


class Event(NamedTuple):
    """Something happened in a study."""

    stage: str  # search, final, quantized
    done: int
    total: int
    best: float | None  # best score so far: of complete trials in a search, of the winner's seeds among finalists
    text: str  # what, in a few words
