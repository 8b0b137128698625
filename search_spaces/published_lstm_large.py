"""The large plastic LSTM of Backpropamine, with simple modulation (Miconi et al. 2019, section 4.3).

A part of a language model. A part of a language model. Inputs are the embedding of 400, the outputs of 400 meet its
transpose; both lie outside. Plastic is the recurrent path into the candidate alone, and the postsynaptic activity
is the candidate; one alpha for each neuron, M = tanh(v . h + b) of the new h, fanned out. The trace is clipped to
2, as in the program (the paper says 1). The program has two biases for each gate, one of h and one of x, of which
one is enough. It divides the gradient of alpha by the units before clipping: `ParameterGroup("layers.*.alpha",
gradient=1 / 1149)`. SGD, learning rate 30, clipped to 0.25.
"""

from plastic_search.cells.lstm import LSTM
from plastic_search.modulations.simple import Simple
from plastic_search.network.initial import FanIn, Initial, Uniform
from plastic_search.network.spec import AlphaShape, Layer, NetworkSpec, Pathway

SPACE = NetworkSpec(
    layers=(
        Layer(1149, LSTM(), modulation=Simple(), plastic=Pathway.RECURRENT, limit=2.0, alpha=AlphaShape.NEURON),
        Layer(1149, LSTM(), modulation=Simple(), plastic=Pathway.RECURRENT, limit=2.0, alpha=AlphaShape.NEURON),
        Layer(400, LSTM(), modulation=Simple(), plastic=Pathway.RECURRENT, limit=2.0, alpha=AlphaShape.NEURON),
    ),
    initial=(
        Initial("layers.*.weight.input", FanIn()),
        Initial("layers.*.weight.recurrent", FanIn()),
        Initial("layers.*.weight.3.recurrent", Uniform(-0.01, 0.01)),
        Initial("layers.*.bias", FanIn()),
        Initial("layers.*.alpha", Uniform(0.0, 0.0001)),
        Initial("layers.*.modulation.fan", Uniform(-1.0, 1.0)),
        Initial("layers.*.modulation.base", Uniform(-1.0, 1.0)),
    ),
)
