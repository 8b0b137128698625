"""Does a network learn within an episode which arm of a bandit pays best? About a minute of training.

A first look: memory in the activity of units is enough here, so the network without plasticity learns it too.
"""

from plastic_search.cells.linear import Linear
from plastic_search.cells.rnn import RNN
from plastic_search.environments.bandit import Bandit
from plastic_search.experiments.comparison import Better, Case, Change, Comparison, Metric
from plastic_search.modulations import FanOut
from plastic_search.modulations.simple import Simple
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.hebb import Hebb
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.trainers.actor_critic import ActorCritic

STUDY = Comparison(
    question="Does a network learn within an episode which arm of a bandit pays best, with and without plasticity?",
    cases=(
        Case("modulated", about="the network sets the rate of its plasticity at every step"),
        Case("fixed", changes=(Change("layers.0.plastic", Pathway.NONE),), about="no plasticity"),
    ),
    spec=NetworkSpec(
        (
            Layer(24, RNN(), Hebb(), Simple(FanOut.NETWORK), plastic=Pathway.RECURRENT),
            Layer(4, Linear(), structure=FeedForward()),  # three logits and the value
        )
    ),
    task=Bandit(arms=3, steps=40),
    trainer=ActorCritic(steps=500, learning_rate=4e-3, batch=60, gamma=0.5, concentration=0.01),
    metrics=(
        Metric("score", "reward per pull"),
        Metric("best arm, last quarter", "best arm in the last quarter"),
        Metric("best arm, first quarter", "best arm in the first quarter", Better.NEITHER),
    ),
    reference="fixed",
    seeds=(0, 1, 2),
)
