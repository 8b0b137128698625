"""Two layers of spiking units and a readout: every choice that a spiking network offers beside its weights.

For a task of two answers, such as `CueAssociation`; `--set layers.2.units=10` makes it one for ten.
"""

from plastic_search.cells import Reset
from plastic_search.cells.alif import ALIF
from plastic_search.cells.delayed import Delayed
from plastic_search.cells.integrator import Integrator
from plastic_search.cells.lif import LIF
from plastic_search.core.space import choice, integer, real
from plastic_search.modulations import FanOut
from plastic_search.modulations.learned import Learned
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.several import Several
from plastic_search.modulations.simple import Simple
from plastic_search.network.initial import FanIn, Initial, Normal
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.pair_stdp import PairSTDP
from plastic_search.rules.trace_bcm import TraceBCM
from plastic_search.rules.trace_oja import TraceOja
from plastic_search.rules.weight_dependent_stdp import WeightDependentSTDP
from plastic_search.structures.blocks import Blocks
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.self_recurrent import SelfRecurrent
from plastic_search.surrogates.arctan import Arctan
from plastic_search.surrogates.box import Box
from plastic_search.surrogates.fast_sigmoid import FastSigmoid
from plastic_search.surrogates.sigmoid import Sigmoid
from plastic_search.surrogates.triangle import Triangle

SPACE = NetworkSpec(
    layers=(
        Layer(
            units=integer(16, 64, log=True),
            cell=choice(
                LIF(
                    membrane=real(3.0, 30.0, log=True),
                    synapse=choice(0.0, 3.0),
                    refractory=integer(0, 3),
                    reset=choice(Reset.ZERO, Reset.SUBTRACT),
                    surrogate=choice(Arctan(), Box(), FastSigmoid(), Sigmoid(), Triangle()),
                ),
                ALIF(
                    membrane=real(3.0, 30.0, log=True),
                    surrogate=choice(Arctan(), Box(), FastSigmoid(), Sigmoid(), Triangle()),
                    adaptation=real(20.0, 200.0, log=True),
                ),
                Delayed(
                    LIF(
                        membrane=real(3.0, 30.0, log=True),
                        surrogate=choice(Arctan(), Box(), FastSigmoid(), Sigmoid(), Triangle()),
                    ),
                    integer(1, 16, log=True),
                ),
            ),
            plastic=choice(Pathway.INPUT, Pathway.NONE),
            rule=choice(PairSTDP.space(), TraceBCM.space(), TraceOja.space(), WeightDependentSTDP.space()),
            modulation=choice(
                Learned(0.06, FanOut.SYNAPSE),
                Retroactive(),
                Several(signals=integer(1, 4)),
                Simple(),
            ),
            structure=choice(FeedForward(), SelfRecurrent(), Dense()),
            limit=2.0,
        ),
        Layer(
            units=integer(16, 64, log=True),
            cell=choice(
                LIF(
                    membrane=real(3.0, 30.0, log=True),
                    surrogate=choice(Arctan(), Box(), FastSigmoid(), Sigmoid(), Triangle()),
                ),
                Delayed(
                    LIF(
                        membrane=real(3.0, 30.0, log=True),
                        surrogate=choice(Arctan(), Box(), FastSigmoid(), Sigmoid(), Triangle()),
                    ),
                    integer(1, 16, log=True),
                ),
            ),
            structure=choice(
                FeedForward(), SelfRecurrent(), Blocks(keep=integer(1, 3), support=choice(FeedForward(), Dense()))
            ),
            skip=choice((), (1,)),
        ),
        Layer(
            units=2,
            cell=Integrator(start=real(5.0, 50.0, log=True)),
            structure=choice(FeedForward(), Blocks(keep=integer(1, 2), support=FeedForward())),
            skip=choice((), (1,), (1, 2)),
        ),
    ),
    held=choice((), ("layers.*.cell",)),
    initial=(
        Initial("layers.*.weight.input", FanIn(real(1.0, 6.0, log=True))),
        Initial("layers.0.alpha", Normal(0.1)),
    ),
)
