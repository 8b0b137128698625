"""Pattern completion of 50 bits by decaying Hebbian traces (Miconi et al. 2018, section 4.1).

Equations (1) and (2). 51 tanh units, one for each bit and one that a bias keeps at 1; 50 inputs, each added to the
drive of its unit times 20, and held, as the bias is. The last layer passes the first 50 on. The trace is not
bounded. The program has N(0, 0.01) for w and alpha, 0.01 for eta, and Adam with learning rate 3e-4 after every
single episode, without clipping; the paper gives no other numbers. For 1,000 bits, write 1001, 1000 and 1000:1001.
"""

from plastic_search.cells.linear import Linear
from plastic_search.cells.rnn import RNN
from plastic_search.modulations.learned import Learned
from plastic_search.network.initial import Full, Initial, Normal, OneToOne
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.rules.hebb import Hebb
from plastic_search.structures.feed_forward import FeedForward

SPACE = NetworkSpec(
    layers=(
        Layer(51, RNN(), Hebb(decay=1.0), Learned(rate=0.01), plastic=Pathway.RECURRENT, bound=Bound.NONE),
        Layer(50, Linear(), structure=FeedForward()),
    ),
    initial=(
        Initial("layers.0.weight.input", OneToOne(20.0)),
        Initial("layers.0.weight.recurrent", Normal(0.01)),
        Initial("layers.0.alpha", Normal(0.01)),
        Initial("layers.0.bias.50:51", Full(20.0)),
        Initial("layers.1.weight", OneToOne()),
    ),
    held=("layers.0.weight.input", "layers.0.bias", "layers.1"),
)
