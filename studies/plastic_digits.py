"""How few of a network's connections must be plastic, and does it matter which they are?"""

from plastic_search.cells.lstm import LSTM
from plastic_search.experiments.sweep import Group, Sweep
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.oja import Oja
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.structures.rewired import Rewired
from plastic_search.tasks.digit_recall import DigitRecall
from plastic_search.trainers.gradient import Gradient

STUDY = Sweep(
    question="How few of a network's connections must be plastic, and does it matter which they are?",
    axis="share of the plastic pathway that is plastic",
    base=NetworkSpec(
        (
            Layer(units=64, cell=LSTM(), structure=FeedForward()),
            Layer(units=5, skip=(1,), plastic=Pathway.INPUT, rule=Oja(), structure=FeedForward()),
        )
    ),
    groups=(
        Group("learned", Gated(density=1.0, support=FeedForward())),
        Group("random", Rewired(density=1.0, exchanged=0.0, support=FeedForward())),
    ),
    values=(0.5, 0.2, 0.1, 0.05, 0.02),
    base_name="all plastic",
    field="plastic",
    layers=(1,),
    budget="plastic_connections",
    task=DigitRecall(ways=5),
    trainer=Gradient(steps=1500),
    tuning=Gradient(steps=500, learning_rate=3e-3, cooldown_fraction=1.0),
    seeds=(0, 1, 2, 3, 4),
)
