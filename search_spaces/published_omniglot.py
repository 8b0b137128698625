"""The plastic readout of the Omniglot network (Miconi et al. 2018, section 4.4).

Equations (1), without recurrence and with a softmax for tanh, and (3), Oja's rule. Inputs are the 64 features of
the encoder, four convolutions that lie outside, and then the label of a presented image, one-hot, 0 in the query
step; a held weight of 1,000 makes the output the label itself. The postsynaptic activity is the softmax. Only
features have plastic weights, which start from N(0, 0.01) and alphas from U(0, 0.01), eta from 0.01, as in the
released program; there is no bias. Columns of the label have a trace too, which nothing reads, since their alphas
are held at 0.
"""

from plastic_search.cells.softmax import Softmax
from plastic_search.modulations.learned import Learned
from plastic_search.network.initial import Full, Initial, Normal, OneToOne, Uniform
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.rules.oja import Oja
from plastic_search.structures.feed_forward import FeedForward

SPACE = NetworkSpec(
    layers=(Layer(5, Softmax(), Oja(), Learned(rate=0.01), FeedForward(), plastic=Pathway.INPUT, bound=Bound.NONE),),
    initial=(
        Initial("layers.0.weight.0:64", Normal(0.01)),
        Initial("layers.0.weight.64:69", OneToOne(1000.0)),
        Initial("layers.0.alpha.0:64", Uniform(0.0, 0.01)),
        Initial("layers.0.alpha.64:69", Full(0.0)),
    ),
    held=("layers.0.weight.64:69", "layers.0.alpha.64:69", "layers.0.bias"),
)
