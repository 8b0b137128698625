"""One text after another, in equal shares of training (Miconi 2016, arXiv 1606.06216: easy, hard, easy)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.tasks import Stream
from plastic_search.tasks.repeated_pairs import RepeatedPairs
from plastic_search.tasks.reversed_groups import ReversedGroups


@dataclass(frozen=True)
class Switched(Stream):
    """the text is that of stages[i] from i / n to (i + 1) / n of training, with a new text at each change

    `episodes`, `entropy` and `text`, which do not depend on the progress of training, are those of the last stage.

    Args:
        stages: the texts, each for an equal share of training.
        window: symbols between two updates; every stage has the same.
    """

    stages: tuple[Stream, ...] = (RepeatedPairs(), ReversedGroups(), RepeatedPairs())

    def check(self) -> None:
        if not self.stages or any(each.window != self.window for each in self.stages):
            raise PlasticSearchError(
                f"Switched wants at least one stage, all with a window of {self.window} as it has itself, "
                f"but got windows of {[each.window for each in self.stages]}"
            )

    @property
    def entropy(self) -> float:
        return self.stages[-1].entropy

    def text(self, length: int, rng: Generator) -> Tensor:
        return self.stages[-1].text(length, rng)

    def phase(self, progress: float) -> Stream:
        return self.stages[min(int(progress * len(self.stages)), len(self.stages) - 1)]
