"""The small plastic LSTM of Backpropamine, with retroactive modulation (Miconi et al. 2019, section 4.3).

The recurrent path into the candidate is plastic, with one alpha for each connection, and the postsynaptic activity
is the candidate. One modulating neuron for each layer, M = tanh(v . h + b) of the previous h, is fanned out by one
learned weight for each connection and multiplies the eligibility trace of before; no constant (base) is added. One
eta of E is learned for each layer. There is no released program: followed is the paper, as far as it is known to
us. It searched the scale of the start, U(-0.1, 0.1) here, between 0.09 and 0.12, and an L2 penalty between 1e-6 and
1e-2 beside SGD (learning rate 1, 13 epochs, windows of 20 steps, clipped to 5). Layers had about 200 units, so many
that all variants have equally many parameters. The trace is clipped to 1. Embedding and softmax of 10,000 words lie
outside.
"""

from plastic_search.cells.lstm import LSTM
from plastic_search.modulations import FanOut, Reads
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.simple import Simple
from plastic_search.network.initial import Full, Initial, Uniform
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.hebb import Hebb

SPACE = NetworkSpec(
    layers=(
        Layer(
            200,
            LSTM(),
            Hebb(),
            Retroactive(signal=Simple(FanOut.SYNAPSE, reads=Reads.PREVIOUS)),
            plastic=Pathway.RECURRENT,
        ),
        Layer(
            200,
            LSTM(),
            Hebb(),
            Retroactive(signal=Simple(FanOut.SYNAPSE, reads=Reads.PREVIOUS)),
            plastic=Pathway.RECURRENT,
        ),
    ),
    initial=(
        Initial("layers.*.weight", Uniform(-0.1, 0.1)),
        Initial("layers.*.bias", Uniform(-0.1, 0.1)),
        Initial("layers.*.alpha", Uniform(-0.1, 0.1)),
        Initial("layers.*.modulation.signal.base", Full(0.0)),
    ),
    held=("layers.*.modulation.signal.base",),
)
