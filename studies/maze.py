"""Does modulated plasticity find a hidden reward again and again, where plain plasticity and a plain network do not?

Maze foraging of Backpropamine (Miconi et al. 2019, section 4.2): 200 steps, a reward of 10 in a cell that differs
from episode to episode. The networks are the paper's, 100 units, and so are batch, discount, factors of the loss and
the bound of the gradient. Reduced: a maze of 7 x 7 cells inside its wall (`size` 9) in place of 9 x 9; learning rate
1e-3 in place of 1e-4; 1,000 updates in place of 200,000, the same for all; 5 seeds in place of 9 or 10.
"""

from plastic_search.core.loading import value
from plastic_search.environments.maze import Maze
from plastic_search.experiments.comparison import Better, Case, Change, Comparison, Metric
from plastic_search.network.spec import Pathway
from plastic_search.trainers.actor_critic import ActorCritic
from plastic_search.training.optimisers import Adam

STUDY = Comparison(
    question="Does modulated plasticity find a hidden reward again and again, where plain plasticity does not?",
    cases=(
        Case(
            "rnn",
            value("search_spaces", "published_maze_plastic"),
            changes=(Change("layers.0.plastic", Pathway.NONE),),
            about="no plasticity",
        ),
        Case(
            "plastic",
            value("search_spaces", "published_maze_plastic"),
            about="plastic at a rate that is learned between episodes, equation (2)",
        ),
        Case(
            "simple",
            value("search_spaces", "published_maze_simple"),
            about="the network sets the rate of its plasticity at every step, equation (3)",
        ),
        Case(
            "retroactive",
            value("search_spaces", "published_maze_retroactive"),
            about="the same, applied to an eligibility trace, equations (4) and (5)",
        ),
    ),
    task=Maze(size=9, steps=200),
    trainer=ActorCritic(
        steps=1000, learning_rate=1e-3, batch=30, concentration=0.03, clip=4.0, optimiser=Adam(epsilon=1e-4)
    ),
    metrics=(
        Metric("score", "reward of an episode"),
        Metric("second half", "reward of its second half"),
        Metric("frozen", "reward, trace frozen at 0", Better.NEITHER),
        Metric("shuffled", "reward, trace shuffled", Better.NEITHER),
        Metric("clamped", "reward, rate held at its mean", Better.NEITHER),
    ),
    reference="plastic",
    seeds=(0, 1, 2, 3, 4),
    notes=(
        "Reduced from the paper: 7 x 7 cells inside the wall for 9 x 9, learning rate 1e-3 for 1e-4, 1,000 updates for "
        "200,000, 5 seeds for 9 or 10. Value errors are those of each episode; the released program takes the value of "
        "the first episode for all.",
    ),
)
