"""Pattern completion of 50 bits by Oja's rule (Miconi et al. 2018, section 4.1).

Equations (1) and (3), else `published_pattern_hebb`, which says what paper and program give.
"""

from plastic_search.core.loading import value
from plastic_search.core.space import override
from plastic_search.rules.oja import Oja

SPACE = override(value("search_spaces", "published_pattern_hebb"), "layers.0.rule", Oja())
