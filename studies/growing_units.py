"""Do networks that choose their number of units adapt it to the task? (Miconi 2016, arXiv 1606.06216, version B)"""

from plastic_search.cells.linear import Linear
from plastic_search.experiments.comparison import Better, Case, Change, Comparison, Floor, Metric, Published
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.grown import Grown
from plastic_search.tasks.repeated_pairs import RepeatedPairs
from plastic_search.tasks.reversed_groups import ReversedGroups
from plastic_search.tasks.switched import Switched
from plastic_search.trainers.windowed import Windowed

STUDY = Comparison(
    question="Do networks that choose their number of units adapt it to the task, and do better for it?",
    spec=NetworkSpec((Layer(100, structure=Grown(spontaneous=1e-4)), Layer(4, Linear(), structure=FeedForward()))),
    task=ReversedGroups(),
    trainer=Windowed(steps=100_000, reports=200),
    cases=(
        Case("variable-hard", label="chooses its size, hard text", group="variable"),
        Case("fixed-37", None, (Change("layers.0", Layer(37, structure=Grown(start=37, adds=0.0, deletes=0.0))),),
             label="37 units, hard text", group="fixed"),
        Case("variable-easy", task=RepeatedPairs(), label="chooses its size, easy text", group="variable"),
        Case("easy-hard-easy", task=Switched(), label="chooses its size, easy, hard, easy", group="variable"),
        Case("fixed-20", None, (Change("layers.0", Layer(20, structure=Grown(start=20, adds=0.0, deletes=0.0))),),
             label="20 units, hard text", group="fixed"),
        Case("fixed-75", None, (Change("layers.0", Layer(75, structure=Grown(start=75, adds=0.0, deletes=0.0))),),
             label="75 units, hard text", group="fixed"),
        Case("fixed-100", None, (Change("layers.0", Layer(100, structure=Grown(start=100, adds=0.0, deletes=0.0))),),
             label="100 units, hard text", group="fixed"),
    ),
    metrics=(
        Metric("loss", "loss at the end", Better.LOWER, "nats a window", limit=11.0, published=(
            Published("variable-hard", "10.2"), Published("fixed-37", "13 to 14"), Published("variable-easy", "9"),
            Published("easy-hard-easy", "9"), Published("fixed-20", "13 to 14"), Published("fixed-75", "13 to 14"),
            Published("fixed-100", "15.5"),
        )),
        Metric("units", "units at the end", Better.NEITHER, published=(
            Published("variable-hard", "37"), Published("variable-easy", "14 (figure: 16)"),
            Published("easy-hard-easy", "19"),
        )),
        Metric("units_third", "units at a third", Better.NEITHER, published=(Published("easy-hard-easy", "14"),)),
        Metric("units_two_thirds", "units at two thirds", Better.NEITHER,
               published=(Published("easy-hard-easy", "42"),)),
        Metric("units_largest", "units at most", Better.NEITHER, published=(Published("easy-hard-easy", "about 60"),)),
    ),
    reference="variable-hard",
    seeds=(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19),
    floors=(Floor("of the hard text", ReversedGroups().floor), Floor("of the easy text", RepeatedPairs().floor)),
    notes=(
        "Published figures are medians of 20 runs; the losses are read off figures.",
        "The hard text is solved below 11 nats a window: runs end near 10, or near 13 and above.",
    ),
)  # fmt: skip
