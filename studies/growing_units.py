"""Do networks that choose their number of units adapt it to the task? (Miconi 2016, arXiv 1606.06216, version B)"""

from plastic_search.cells.linear import Linear
from plastic_search.experiments.comparison import Better, Case, Comparison, Floor, Metric, Published
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.grown import Grown
from plastic_search.tasks.repeated_pairs import RepeatedPairs
from plastic_search.tasks.reversed_groups import ReversedGroups
from plastic_search.tasks.switched import Switched
from plastic_search.trainers.windowed import Windowed

HARD, EASY, SWITCHED = ReversedGroups(), RepeatedPairs(), Switched()


def network(units: int, structure: Grown) -> NetworkSpec:
    return NetworkSpec((Layer(units, structure=structure), Layer(HARD.outputs, Linear(), structure=FeedForward())))


def fixed(units: int) -> Case:
    spec = network(units, Grown(start=units, adds=0.0, deletes=0.0))
    return Case(f"fixed-{units}", spec, HARD, label=f"{units} units, hard text", group="fixed")


VARIABLE = network(100, Grown(unasked=1e-4))  # as the released code has it
CASES = (
    Case("variable-hard", VARIABLE, HARD, label="chooses its size, hard text", group="variable"),
    fixed(37),
    Case("variable-easy", VARIABLE, EASY, label="chooses its size, easy text", group="variable"),
    Case("easy-hard-easy", VARIABLE, SWITCHED, label="chooses its size, easy, hard, easy", group="variable"),
    fixed(20),
    fixed(75),
    fixed(100),
)


def published(*texts: str) -> tuple[Published, ...]:
    return tuple(Published(case.name, text) for case, text in zip(CASES, texts, strict=True))


def switched(name: str, label: str, text: str) -> Metric:
    return Metric(name, label, Better.LOWER, "units", published=(Published("easy-hard-easy", text),))


LOSS = published("10.2", "13 to 14", "9", "9", "13 to 14", "13 to 14", "15.5")  # read off figures
UNITS = published("37", "37", "14 (figure: 16)", "19", "20", "75", "100")

STUDY = Comparison(
    question="Do networks that choose their number of units adapt it to the task, and do better for it?",
    cases=CASES,
    trainer=Windowed(steps=100_000, reports=200),
    metrics=(
        Metric("loss", "loss at the end", Better.LOWER, "nats a window", limit=11.0, published=LOSS),
        Metric("units", "units at the end", Better.LOWER, "units", published=UNITS),
        switched("units_third", "units at a third of training", "14"),
        switched("units_two_thirds", "units at two thirds of training", "42"),
        switched("units_largest", "units at most", "about 60"),
    ),
    reference="variable-hard",
    seeds=tuple(range(20)),
    floors=(Floor("entropy of the hard text", HARD.floor), Floor("entropy of the easy text", EASY.floor)),
    notes=(
        "The hard text is solved below 11 nats a window; runs end near 10, or near 13 and above.",
        "Published figures are medians of 20 runs.",
    ),
)
