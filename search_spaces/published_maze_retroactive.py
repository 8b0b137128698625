"""The maze network of Backpropamine with retroactive modulation (Miconi et al. 2019), equations (1), (4) and (5).

100 tanh units, of which the recurrent weights are plastic; 17 inputs. The five linear outputs are four logits and
the value. What is written is the eligibility trace of before, M(t) E(t), as in the released program and in the
paper's order. One learned eta for E, from 0.01; the trace is clipped to 1, E is not. The start is that of
maze/batch.py: w and alpha from U(0, 0.01), others as torch's nn.Linear.
"""

from plastic_search.cells.linear import Linear
from plastic_search.cells.rnn import RNN
from plastic_search.modulations import FanOut
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.network.initial import FanIn, Initial, Uniform
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.hebb import Hebb
from plastic_search.structures.feed_forward import FeedForward

SPACE = NetworkSpec(
    layers=(
        Layer(100, RNN(), Hebb(), Retroactive(FanOut.NETWORK, eligibility=0.01), plastic=Pathway.RECURRENT),
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
