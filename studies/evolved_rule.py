"""Is a plasticity rule better evolved, or learned by gradients? (Najarro and Risi 2020, Schmidgall 2020)"""

from plastic_search.experiments.comparison import Case, Comparison, Metric
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.abcd import ABCD
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.trainers.evolution import Evolution
from plastic_search.trainers.gradient import Gradient
from plastic_search.training.strategies.open_es import OpenES

STUDY = Comparison(
    question="Is a plasticity rule with its weights better evolved, or learned by gradients, from as many episodes?",
    spec=NetworkSpec((Layer(8, rule=ABCD(), plastic=Pathway.INPUT, structure=FeedForward()),)),
    task=PatternCompletion(bits=8, patterns=1, present=2, delay=1),
    trainer=Gradient(steps=3200, batch=64),
    cases=(
        Case("learned", label="all learned by gradients"),
        Case("evolved", trainer=Evolution(OpenES(0.05, 0.03), generations=200, candidates=64, episodes=16),
             label="all evolved"),
        Case("hybrid",
             trainer=Evolution(OpenES(0.05, 0.03), generations=267, candidates=16, episodes=16,
                               paths=("layers.*.rule", "layers.*.alpha"), inner=Gradient(steps=2, batch=16, reports=1)),
             label="rule evolved, weights learned"),
        Case("weights", trainer=Evolution(OpenES(0.05, 0.03), generations=200, candidates=64, episodes=16,
                                          paths=("layers.*.weight", "layers.*.bias")),
             label="weights evolved, rule as drawn"),
    ),
    metrics=(Metric("score", "bits right"), Metric("frozen", "with its trace held at zero")),
    reference="learned",
    seeds=(0, 1, 2, 3, 4),
    notes=(
        "Each case draws 204,800 episodes: 3,200 updates of 64; 200 generations of 64 candidates with 16 each; or 267 "
        "of 16 candidates, each with 2 updates of 16 and 16 for its fitness (205,056).",
        "All candidates of a generation meet the same episodes, so that evolution sees fewer different ones.",
    ),
)  # fmt: skip
