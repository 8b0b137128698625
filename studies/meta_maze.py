"""How much reward does a network find in gymnax' MetaMaze within 1e8 steps of it?

gymnax (Lange 2022) has an LSTM of 48 units that its evolution strategy brings to a reward of 32 in about 1.6e10 steps.
Here its MetaMaze has its default settings, and an LSTM of 48 units and the maze network of Backpropamine (Miconi et
al. 2019, simple modulation) learn from 7,770 updates of 64 episodes of 201 steps each, that is 1.0e8 steps.
"""

from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.core.loading import value
from plastic_search.environments.meta_maze import MetaMaze
from plastic_search.experiments.comparison import Better, Case, Comparison, Metric
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.trainers.actor_critic import ActorCritic
from plastic_search.training.optimisers import Adam

STUDY = Comparison(
    question="How much reward does a network find in gymnax' MetaMaze within 1e8 steps of it?",
    cases=(
        Case(
            "lstm",
            NetworkSpec((Layer(48, LSTM()), Layer(5, Linear(), structure=FeedForward()))),
            about="an LSTM of 48 units without plasticity, as large as gymnax'",
        ),
        Case(
            "simple",
            value("search_spaces", "published_maze_simple"),
            about="100 plastic units, whose network sets the rate of their plasticity at every step",
        ),
    ),
    task=MetaMaze(),
    trainer=ActorCritic(
        steps=7770, learning_rate=1e-3, batch=64, concentration=0.03, clip=4.0, optimiser=Adam(epsilon=1e-4)
    ),
    metrics=(
        Metric("score", "reward of an episode"),
        Metric("frozen", "reward, trace frozen at 0", Better.NEITHER),
    ),
    reference="lstm",
    seeds=(0,),
    notes=(
        "gymnax reports a reward of 32 for its LSTM of 48 units after about 1.6e10 steps of an evolution strategy; "
        "that figure was not measured here.",
    ),
)
