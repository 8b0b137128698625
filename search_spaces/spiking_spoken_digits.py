"""Three hidden layers of spiking units for spoken digits, self-recurrent and with skip connections (ScSr-SNN).

After Zhang and Li 2021 (arXiv 2010.12691): every unit receives itself and the layers before, some of them over skip
connections, and the intrinsic numbers of the units are trained with the weights (BIP). Which layers their skip
connections join, and which numbers they train, could not be read: here each layer receives the two before it, and time
constants, thresholds and resistances are trained. 64 units in a layer, and ten leaky integrators as a readout.
"""

from plastic_search.cells.integrator import Integrator
from plastic_search.cells.lif import LIF
from plastic_search.network.initial import FanIn, Initial
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.self_recurrent import SelfRecurrent

SPACE = NetworkSpec(
    layers=(
        Layer(64, LIF(membrane=18.0, synapse=2.0), structure=SelfRecurrent()),
        Layer(64, LIF(membrane=18.0, synapse=2.0), structure=SelfRecurrent(), skip=(1,)),
        Layer(64, LIF(membrane=18.0, synapse=2.0), structure=SelfRecurrent(), skip=(1,)),
        Layer(10, Integrator(start=20.0), structure=FeedForward(), skip=(1,)),
    ),
    initial=(Initial("layers.*.weight.input", FanIn(6.0)),),
)
