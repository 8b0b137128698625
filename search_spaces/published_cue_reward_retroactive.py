"""The cue-reward network of Backpropamine with retroactive modulation (Miconi et al. 2019), equations (4) and (5).

As `published_cue_reward_simple`, but M(t) writes the eligibility trace of before. One learned eta for it, from 0.1.
"""

from plastic_search.core.loading import value
from plastic_search.core.space import override
from plastic_search.modulations import FanOut
from plastic_search.modulations.retroactive import Retroactive

SPACE = override(
    value("search_spaces", "published_cue_reward_simple"),
    "layers.0.modulation",
    Retroactive(FanOut.NETWORK, eligibility=0.1),
)
