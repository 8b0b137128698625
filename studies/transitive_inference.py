"""Do plastic networks learn a hidden order, and infer unseen pairs?

At the published scale (Miconi and Kay 2025): 200 units, retroactive
plasticity, modulator m (tanh(a . h) - tanh(c . h)), 30,000 updates.
Not as in the paper: the product of activities is written, not its
tanh (they differ by at most 0.24); each neuron has its own sum of
the two signals, from m = 1; one list an episode, not three.
"""

from plastic_search.cells.linear import Linear
from plastic_search.cells.rnn import RNN
from plastic_search.environments.transitive_inference import TransitiveInference
from plastic_search.experiments.comparison import Better, Case, Comparison, Metric
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.several import Several
from plastic_search.network.initial import FanIn, Full, Initial, Uniform
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.hebb import Hebb
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.trainers.actor_critic import ActorCritic
from plastic_search.training.optimisers import Adam

STUDY = Comparison(
    question="Do networks that modulate their own plasticity learn a hidden order, and infer pairs they never saw?",
    cases=(Case("retroactive", about="the network writes an eligibility trace when it chooses to"),),
    spec=NetworkSpec(
        (
            Layer(
                200,
                RNN(),
                Hebb(),
                Retroactive(signal=Several(signals=2), eligibility=0.7),
                plastic=Pathway.RECURRENT,
                limit=50.0,
            ),
            Layer(3, Linear(), structure=FeedForward()),  # two logits and the value
        ),
        initial=(
            Initial("layers.*.weight.input", FanIn()),
            Initial("layers.*.bias", FanIn()),
            Initial("layers.0.weight.recurrent", Uniform(-0.0707, 0.0707)),
            Initial("layers.0.alpha", Uniform(-0.01, 0.01)),
            Initial("layers.0.modulation.signal.weight", Uniform(-0.0707, 0.0707)),
            Initial("layers.0.modulation.signal.bias", Uniform(-0.0707, 0.0707)),
            Initial("layers.0.modulation.signal.base", Full(0.0)),
        ),
    ),
    task=TransitiveInference(),
    trainer=ActorCritic(
        steps=30_000,
        learning_rate=1e-4,
        batch=32,
        concentration=0.1,
        trace_penalty=1e-4,
        clip=2.0,
        burn_in=100,
        optimiser=Adam(epsilon=1e-6),
    ),
    metrics=(
        Metric("score", "right in test trials"),
        Metric("adjacent", "right, neighbours"),
        Metric("not adjacent", "right, pairs never seen"),
        Metric("training trials", "right in training trials"),
        Metric("frozen", "test trials, trace frozen at 0", Better.NEITHER),
        Metric("clamped", "test trials, rate held at its mean", Better.NEITHER),
    ),
    seeds=(0, 1, 2, 3, 4),
)
