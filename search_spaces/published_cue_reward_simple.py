"""The cue-reward network of Backpropamine with simple modulation (Miconi et al. 2019), equations (1) and (3).

200 tanh units, of which the recurrent weights are plastic; 27 inputs. The three linear outputs are two logits and the
value. One M = tanh(v . x + b) for the network, without fan-out; it may be negative. The trace is clipped to 1. The
start is that of the released program sr/: w and alpha from U(0, 0.01), other layers as torch's nn.Linear. Adam:
learning rate 1e-4, epsilon 1e-6; gradient clipped to 2.
"""

from plastic_search.cells.linear import Linear
from plastic_search.cells.rnn import RNN
from plastic_search.modulations import FanOut
from plastic_search.modulations.simple import Simple
from plastic_search.network.initial import FanIn, Initial, Uniform
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.hebb import Hebb
from plastic_search.structures.feed_forward import FeedForward

SPACE = NetworkSpec(
    layers=(
        Layer(200, RNN(), Hebb(), Simple(FanOut.NETWORK), plastic=Pathway.RECURRENT),
        Layer(3, Linear(), structure=FeedForward()),
    ),
    initial=(
        Initial("layers.*.weight.input", FanIn()),
        Initial("layers.*.bias", FanIn()),
        Initial("layers.0.weight.recurrent", Uniform(0.0, 0.01)),
        Initial("layers.0.alpha", Uniform(0.0, 0.01)),
        Initial("layers.0.modulation.weight", Uniform(-0.0707, 0.0707)),
        Initial("layers.0.modulation.bias", Uniform(-0.0707, 0.0707)),
    ),
)
