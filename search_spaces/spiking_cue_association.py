"""A feed-forward spiking network with plastic synapses for cue association, after SpikePropamine.

40 leaky integrate-and-fire units and two leaky integrators as a readout. The synapses onto the spiking units are
plastic by Oja's rule on spike traces, at a rate that is learned for each. Schmidgall et al. 2021 (arXiv 2106.02681)
combine a fixed and a plastic part of the synapses of such units, with Oja's rule and BCM; sizes and constants are ours,
since theirs could not be read. Intrinsic numbers of the units are not trained.
"""

from plastic_search.cells.integrator import Integrator
from plastic_search.cells.lif import LIF
from plastic_search.modulations import FanOut
from plastic_search.modulations.learned import Learned
from plastic_search.network.initial import FanIn, Initial, Normal
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.trace_oja import TraceOja
from plastic_search.structures.feed_forward import FeedForward

SPACE = NetworkSpec(
    layers=(
        Layer(
            40,
            LIF(membrane=5.0),
            TraceOja(tau=5.0),
            Learned(0.06, FanOut.SYNAPSE),
            FeedForward(),
            plastic=Pathway.INPUT,
            limit=2.0,
        ),
        Layer(2, Integrator(start=10.0), structure=FeedForward()),
    ),
    held=("layers.*.cell",),
    initial=(Initial("layers.*.weight.input", FanIn(3.0)), Initial("layers.0.alpha", Normal(0.1))),
)
