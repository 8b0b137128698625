"""Does a network that modulates its own plasticity learn within an episode which of four cues is rewarded?

The cue-reward association of Backpropamine (Miconi et al. 2019, section 4.1): four cues of 20 random bits, drawn anew
for every episode, of which two are shown in each trial. Reduced: 48 units in place of 200; 12 trials in lock-step
(`lead=0`, `blanks=0`) in place of about 18 of random lengths; the policy learns from its answers alone, since other
actions have no effect; 64 episodes an update, where the paper has 30; learning rate 1e-3 in place of 1e-4; 10,000
updates in place of 200,000; 5 seeds in place of 10.
"""

from plastic_search.core.loading import value
from plastic_search.environments import Weighted
from plastic_search.environments.cue_reward import CueReward
from plastic_search.experiments.comparison import Better, Case, Change, Comparison, Metric
from plastic_search.network.initial import Uniform
from plastic_search.network.spec import Pathway
from plastic_search.trainers.actor_critic import ActorCritic
from plastic_search.training.optimisers import Adam

STUDY = Comparison(
    question="Does a network that modulates its own plasticity learn within an episode which of four cues is rewarded?",
    cases=(
        Case(
            "simple",
            value("search_spaces", "published_cue_reward_simple"),
            changes=(
                Change("layers.0.units", 48),
                Change("initial.4.values", Uniform(-0.144, 0.144)),
                Change("initial.5.values", Uniform(-0.144, 0.144)),
            ),
            about="the network sets the rate of its plasticity at every step, equation (3)",
        ),
        Case(
            "plastic",
            value("search_spaces", "published_cue_reward_plastic"),
            changes=(Change("layers.0.units", 48),),
            about="plastic at a rate that is learned between episodes, equation (2)",
        ),
        Case(
            "rnn",
            value("search_spaces", "published_cue_reward_plastic"),
            changes=(Change("layers.0.units", 48), Change("layers.0.plastic", Pathway.NONE)),
            about="no plasticity",
        ),
        Case(
            "retroactive",
            value("search_spaces", "published_cue_reward_retroactive"),
            changes=(
                Change("layers.0.units", 48),
                Change("initial.4.values", Uniform(-0.144, 0.144)),
                Change("initial.5.values", Uniform(-0.144, 0.144)),
            ),
            about="the same, applied to an eligibility trace, equations (4) and (5)",
        ),
    ),
    task=CueReward(cues=4, bits=20, steps=48, lead=0, blanks=0, weighted=Weighted.ANSWERS),
    trainer=ActorCritic(steps=10_000, learning_rate=1e-3, batch=64, clip=2.0, optimiser=Adam(epsilon=1e-6)),
    metrics=(
        Metric("score", "right in the last trial", limit=0.95),
        Metric("first trial", "right in the first trial", Better.NEITHER),
        Metric("all trials", "right in all trials"),
        Metric("frozen", "last trial, trace frozen at 0", Better.NEITHER),
        Metric("shuffled", "last trial, trace shuffled", Better.NEITHER),
        Metric("clamped", "last trial, rate held at its mean", Better.NEITHER),
    ),
    reference="plastic",
    seeds=(0, 1, 2, 3, 4),
    notes=(
        "Reduced from the paper: 48 units for 200, 12 trials in lock-step, 64 episodes an update, learning rate 1e-3 "
        "for 1e-4, 5 seeds for 10, fewer updates than 200,000; the policy learns from its answers alone.",
        "The paper's simple modulation is above 0.9 on the last trial; its networks without modulation stay at 0.5.",
    ),
)
