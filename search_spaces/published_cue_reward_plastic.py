"""The cue-reward network of Backpropamine without modulation (Miconi et al. 2019), equations (1) and (2).

200 tanh units, of which the recurrent weights are plastic; 27 inputs. The three linear outputs are two logits and the
value. One learned eta for all, from 0.1. Bound and start are those of `published_cue_reward_simple`.
"""

from plastic_search.cells.linear import Linear
from plastic_search.cells.rnn import RNN
from plastic_search.modulations.learned import Learned
from plastic_search.network.initial import FanIn, Initial, Uniform
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.hebb import Hebb
from plastic_search.structures.feed_forward import FeedForward

SPACE = NetworkSpec(
    layers=(
        Layer(200, RNN(), Hebb(), Learned(rate=0.1), plastic=Pathway.RECURRENT),
        Layer(3, Linear(), structure=FeedForward()),
    ),
    initial=(
        Initial("layers.*.weight.input", FanIn()),
        Initial("layers.*.bias", FanIn()),
        Initial("layers.0.weight.recurrent", Uniform(0.0, 0.01)),
        Initial("layers.0.alpha", Uniform(0.0, 0.01)),
    ),
)
