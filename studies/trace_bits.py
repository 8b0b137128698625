"""How few bits can a trace have, and does it help to keep what rounding leaves over?

Only the trace is rounded; weights and alphas are floats, so that a difference is the trace's. Each network is trained
with its rounding in place (straight-through gradients).
"""

from plastic_search.cells.lstm import LSTM
from plastic_search.experiments.comparison import Case, Change, Comparison, Metric
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.precisions import Rounding
from plastic_search.precisions.integer import Integer
from plastic_search.rules.oja import Oja
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.tasks.digit_recall import DigitRecall
from plastic_search.trainers.gradient import Gradient

STUDY = Comparison(
    question="How few bits can a trace have, and does it help to keep what rounding leaves over?",
    cases=(
        Case("float"),
        Case("4 bits, nearest", changes=(Change("precision", Integer(None, None, 4, Rounding.NEAREST)),)),
        Case("4 bits, stochastic", changes=(Change("precision", Integer(None, None, 4, Rounding.STOCHASTIC)),)),
        Case("4 bits, error feedback", changes=(Change("precision", Integer(None, None, 4, Rounding.FEEDBACK)),)),
        Case("3 bits, nearest", changes=(Change("precision", Integer(None, None, 3, Rounding.NEAREST)),)),
        Case("3 bits, stochastic", changes=(Change("precision", Integer(None, None, 3, Rounding.STOCHASTIC)),)),
        Case("3 bits, error feedback", changes=(Change("precision", Integer(None, None, 3, Rounding.FEEDBACK)),)),
        Case("2 bits, nearest", changes=(Change("precision", Integer(None, None, 2, Rounding.NEAREST)),)),
        Case("2 bits, stochastic", changes=(Change("precision", Integer(None, None, 2, Rounding.STOCHASTIC)),)),
        Case("2 bits, error feedback", changes=(Change("precision", Integer(None, None, 2, Rounding.FEEDBACK)),)),
        Case("7 bits, stochastic", changes=(Change("precision", Integer(None, None, 7, Rounding.STOCHASTIC)),)),
    ),
    spec=NetworkSpec(
        (
            Layer(units=64, cell=LSTM(), structure=FeedForward()),
            Layer(units=5, skip=(1,), plastic=Pathway.INPUT, rule=Oja(), structure=FeedForward()),
        )
    ),
    task=DigitRecall(ways=5),
    trainer=Gradient(steps=1500),
    metrics=(Metric("score", "test accuracy"),),
    reference="float",
    seeds=(0, 1, 2, 3, 4),
    notes=(
        "Error feedback keeps 4 bits of what rounding leaves over beside each trace: 3 bits are stored in 7, so that "
        "the case of 7 bits is as large; what is read, and multiplied, has 3 bits.",
    ),
)
