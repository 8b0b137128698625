"""Image completion by differentiable plasticity (Miconi et al. 2018, section 4.2), equations (1) and (2).

1,024 pixels and a bias, a tanh unit each. An input that is not 0 fixes its unit at its own value (`Clamped`), as in
the released program; inputs and bias are held. The last layer passes the pixels on. w and alpha start from N(0,
0.01), eta from 0.01; Adam with learning rate 1e-4. The bias unit is fixed at 1 here; what the program gives it is
not known to us. A layer so wide is slow: a thousand units are two million synapses.
"""

from plastic_search.cells.clamped import Clamped
from plastic_search.cells.linear import Linear
from plastic_search.modulations.learned import Learned
from plastic_search.network.initial import Full, Initial, Normal, OneToOne
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.rules.hebb import Hebb
from plastic_search.structures.feed_forward import FeedForward

SPACE = NetworkSpec(
    layers=(
        Layer(1025, Clamped(), Hebb(decay=1.0), Learned(rate=0.01), plastic=Pathway.RECURRENT, bound=Bound.NONE),
        Layer(1024, Linear(), structure=FeedForward()),
    ),
    initial=(
        Initial("layers.0.weight", Full(0.0)),
        Initial("layers.0.weight.1.input", OneToOne()),
        Initial("layers.0.weight.0.recurrent", Normal(0.01)),
        Initial("layers.0.alpha", Normal(0.01)),
        Initial("layers.0.bias.1.1024:1025", Full(1.0)),
        Initial("layers.1.weight", OneToOne()),
    ),
    held=("layers.0.weight.input", "layers.0.weight.1", "layers.0.bias", "layers.1"),
)
