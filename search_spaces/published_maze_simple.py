"""The maze network of Backpropamine with simple modulation (Miconi et al. 2019), equations (1) and (3).

100 tanh units, of which the recurrent weights are plastic; 17 inputs. The five linear outputs are four logits and
the value. One M = tanh(v . x + b) for the network, without fan-out, as in the paper; it may be negative. The trace
is clipped to 1. The start is that of maze/batch.py of the released program: w and alpha from U(0, 0.01), other
layers as torch's nn.Linear. `published_maze_fan_out` is the other one.
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
        Layer(100, RNN(), Hebb(), Simple(FanOut.NETWORK), plastic=Pathway.RECURRENT),
        Layer(5, Linear(), structure=FeedForward()),
    ),
    initial=(
        Initial("layers.*.weight.input", FanIn()),
        Initial("layers.*.bias", FanIn()),
        Initial("layers.0.weight.recurrent", Uniform(0.0, 0.01)),
        Initial("layers.0.alpha", Uniform(0.0, 0.01)),
        Initial("layers.0.modulation.weight", Uniform(-0.1, 0.1)),
        Initial("layers.0.modulation.bias", Uniform(-0.1, 0.1)),
    ),
)
