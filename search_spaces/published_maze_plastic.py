"""The maze network of Backpropamine without modulation (Miconi et al. 2019), equations (1) and (2).

100 tanh units, of which the recurrent weights are plastic; 17 inputs. The five linear outputs are four logits and
the value. One learned eta for all. The trace is clipped to 1, as in the paper and in maze/batch.py of the released
program, whose start this is: w and alpha from U(0, 0.01), eta 0.01, other layers as torch's nn.Linear. Adam:
learning rate 1e-4, epsilon 1e-4; gradient clipped to 4 there, to 7 in the paper.
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
        Layer(100, RNN(), Hebb(), Learned(rate=0.01), plastic=Pathway.RECURRENT),
        Layer(5, Linear(), structure=FeedForward()),
    ),
    initial=(
        Initial("layers.*.weight.input", FanIn()),
        Initial("layers.*.bias", FanIn()),
        Initial("layers.0.weight.recurrent", Uniform(0.0, 0.01)),
        Initial("layers.0.alpha", Uniform(0.0, 0.01)),
    ),
)
