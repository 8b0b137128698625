"""Features that do not change, and one plastic layer that receives them and, by a skip connection, the input."""

from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.cells.rnn import RNN
from plastic_search.core.space import choice, integer, real
from plastic_search.modulations.constant import Constant
from plastic_search.modulations.learned import Learned
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.simple import Simple
from plastic_search.network.spec import AlphaShape, Bound, Layer, NetworkSpec, Pathway
from plastic_search.rules.abcd import ABCD
from plastic_search.rules.bcm import BCM
from plastic_search.rules.delta import Delta
from plastic_search.rules.hebb import Hebb
from plastic_search.rules.oja import Oja
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated

SPACE = NetworkSpec(
    layers=(
        Layer(
            units=integer(32, 96, log=True),
            cell=choice(RNN(), LSTM()),
            structure=Gated(density=real(0.15, 0.5), support=FeedForward()),
        ),
        Layer(
            units=5,
            skip=(1,),
            cell=choice(RNN(), Linear()),
            plastic=Pathway.INPUT,
            rule=choice(ABCD(), BCM.space(), Delta(), Hebb.space(), Oja()),
            modulation=choice(Constant.space(), Learned(), Retroactive(), Simple()),
            structure=Gated(density=real(0.15, 0.5), plastic=real(0.3, 1.0), support=FeedForward()),
            bound=choice(Bound.HARD, Bound.SOFT),
            alpha=choice(AlphaShape.SYNAPSE, AlphaShape.NEURON),
        ),
    )
)
