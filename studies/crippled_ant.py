"""Does plasticity help a walking body that loses a leg? (Schmidgall 2020, arXiv 2006.05832)"""

from plastic_search.cells.linear import Linear
from plastic_search.environments.crippled_ant import CrippledAnt
from plastic_search.experiments.comparison import Case, Change, Comparison, Metric
from plastic_search.network.initial import Full, Initial
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.trainers.evolution import Evolution
from plastic_search.training.strategies.open_es import OpenES

STUDY = Comparison(
    question="Does an evolved plastic network walk better on three legs than an evolved static one?",
    spec=NetworkSpec(
        (Layer(32, structure=FeedForward()), Layer(8, Linear(), plastic=Pathway.INPUT)),
        initial=(Initial("layers.*", Full(0.0)),),
    ),
    task=CrippledAnt(),
    trainer=Evolution(
        OpenES(sigma=0.02, learning_rate=0.01, decay=0.01, momentum=0.99),
        generations=100, candidates=48, episodes=5, chunk=24, reports=100,
    ),
    cases=(
        Case("plastic", label="plastic, modulated", about="1,505 parameters"),
        Case("static", changes=(Change("layers.1.plastic", Pathway.NONE),), label="static", about="1,224 parameters"),
        Case("wider", changes=(Change("layers.1.plastic", Pathway.NONE), Change("layers.0.units", 40)),
             label="static, as many parameters", about="1,512 parameters"),
    ),
    metrics=(Metric("score", "reward"), Metric("frozen", "with its trace held at zero")),
    reference="static",
    seeds=(0, 1, 2),
    notes=(
        "Settings of the author's repository: theta starts at 0, antithetic pairs, ranks less decay, Adam with a "
        "momentum of 0.99, 5 episodes a candidate, a new random leg in each. An episode has at most 1,000 steps, "
        "a seed 24 million.",
        "Other than there: Ant-v5, in which a leg is lost in every episode, and a modulator that all units share.",
    ),
)  # fmt: skip
