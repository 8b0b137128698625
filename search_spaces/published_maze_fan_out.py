"""The maze network of the shortest released program of Backpropamine, simplemaze/maze.py (Miconi et al. 2019).

Equations (1) and (3). 100 tanh units, of which the recurrent weights are plastic; 17 inputs.
The five linear outputs are four logits and the value. M is fanned out: each neuron has the rate f_j M + c_j, so
that plasticity need not vanish where M is 0. The paper has no fan-out here, and a bound of 1; followed is the
program: a bound of 2, w and alpha from U(0, 0.001), f, c and other layers as torch's nn.Linear.
"""

from plastic_search.cells.linear import Linear
from plastic_search.cells.rnn import RNN
from plastic_search.modulations.simple import Simple
from plastic_search.network.initial import FanIn, Initial, Uniform
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.hebb import Hebb
from plastic_search.structures.feed_forward import FeedForward

SPACE = NetworkSpec(
    layers=(
        Layer(100, RNN(), Hebb(), Simple(), plastic=Pathway.RECURRENT, limit=2.0),
        Layer(5, Linear(), structure=FeedForward()),
    ),
    initial=(
        Initial("layers.*.weight.input", FanIn()),
        Initial("layers.*.bias", FanIn()),
        Initial("layers.0.weight.recurrent", Uniform(0.0, 0.001)),
        Initial("layers.0.alpha", Uniform(0.0, 0.001)),
        Initial("layers.0.modulation.weight", Uniform(-0.1, 0.1)),
        Initial("layers.0.modulation.bias", Uniform(-0.1, 0.1)),
        Initial("layers.0.modulation.fan", Uniform(-1.0, 1.0)),
        Initial("layers.0.modulation.base", Uniform(-1.0, 1.0)),
    ),
)
