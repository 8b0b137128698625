"""The maze network of Backpropamine with retroactive modulation (Miconi et al. 2019), equations (1), (4) and (5).

100 tanh units, of which the recurrent weights are plastic; 17 inputs. The five linear outputs are four logits and
the value. What is written is the eligibility trace of before, M(t) E(t), as in the released program and in the
paper's order. One learned eta for E, from 0.01; the trace is clipped to 1, E is not. The start is that of
maze/batch.py: w and alpha from U(0, 0.01), others as torch's nn.Linear.
"""

from plastic_search.core.loading import value
from plastic_search.core.space import override
from plastic_search.modulations import FanOut
from plastic_search.modulations.retroactive import Retroactive

SPACE = override(
    value("search_spaces", "published_maze_simple"),
    "layers.0.modulation",
    Retroactive(FanOut.NETWORK, eligibility=0.01),
)
