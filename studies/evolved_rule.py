"""Is a plasticity rule better evolved, or learned by gradients? (Najarro and Risi 2020, Schmidgall 2020)"""

from plastic_search.experiments.comparison import Case, Comparison, Metric
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.abcd import ABCD
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.tasks.digit_recall import DigitRecall
from plastic_search.trainers.evolution import Evolution
from plastic_search.trainers.gradient import Gradient
from plastic_search.training.strategies.open_es import OpenES

STUDY = Comparison(
    question="Is a plasticity rule with its weights better evolved, or learned by gradients, from as many episodes?",
    spec=NetworkSpec((Layer(5, rule=ABCD(), plastic=Pathway.INPUT, structure=FeedForward()),)),
    task=DigitRecall(ways=5),
    trainer=Gradient(steps=1500, batch=64),
    cases=(
        Case("learned", label="all learned by gradients"),
        Case("evolved", trainer=Evolution(OpenES(0.05, 0.02), generations=94, candidates=64, episodes=16),
             label="all evolved"),
        Case("hybrid",
             trainer=Evolution(OpenES(0.05, 0.02), generations=125, candidates=16, episodes=16,
                               paths=("layers.*.rule", "layers.*.alpha"), inner=Gradient(steps=2, batch=16, reports=1)),
             label="rule evolved, weights learned"),
        Case("weights", trainer=Evolution(OpenES(0.05, 0.02), generations=94, candidates=64, episodes=16,
                                          paths=("layers.*.weight", "layers.*.bias")),
             label="weights evolved, rule as drawn"),
    ),
    metrics=(Metric("score", "accuracy"), Metric("frozen", "with its trace held at zero")),
    reference="learned",
    seeds=(0, 1, 2, 3, 4),
    notes=(
        "Each case draws 96,000 episodes: 1,500 updates of 64; 94 generations of 64 candidates with 16 each (96,256); "
        "or 125 of 16 candidates, each with 2 updates of 16 and 16 for its fitness.",
        "All candidates of a generation meet the same episodes, so that evolution sees fewer different ones.",
    ),
)  # fmt: skip
