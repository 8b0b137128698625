"""With `--every`: integers in C are their golden model over 10,000 steps, for every rule, cell and modulation.

About an hour on one core; `-k LSTM` runs one cell.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from test_c import CELLS, MODULATIONS, RULES, layer_of, needs_compiler, network

from plastic_search.core.errors import PlasticSearchError
from plastic_search.export.c import writing
from plastic_search.export.c.exact import check_exact
from plastic_search.export.c.network import Arithmetic, source
from plastic_search.export.c.running import compiled
from plastic_search.network.spec import Bound
from plastic_search.precisions import Rounding
from plastic_search.precisions.integer import Integer

STEPS, BITS = 10_000, ((8, 8, 8), (4, 4, 4), (2, 2, 2))
BOUNDS, ROUNDINGS = (Bound.HARD, Bound.SOFT), (Rounding.NEAREST, Rounding.STOCHASTIC, Rounding.FEEDBACK)
REFUSED = re.compile(
    r"has no form in integers: (it uses (exp|log|sqrt|sin|cos)|it divides by|a sum in it|a drive could)"
)
UNDEFINED = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all")


@needs_compiler
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: type(cell).__name__)
def test_every_rule_and_modulation(cell: object, every: bool, tmp_path: Path) -> None:
    if not every:
        pytest.skip("with --every")
    refused = set()
    for turn, (rule, modulation) in enumerate(itertools.product(RULES, MODULATIONS)):
        bits, rounding, bound = BITS[turn % 3], ROUNDINGS[turn // 3 % 3], BOUNDS[turn // 9 % 2]
        net = network(
            [layer_of(turn, cell=cell, rule=rule, modulation=modulation, bound=bound)], Integer(*bits, rounding)
        )
        try:
            code = source(net, "network", Arithmetic.INTEGER)
        except PlasticSearchError as error:
            if not REFUSED.search(str(error)):
                raise
            refused.add((type(rule).__name__, str(error).split("integers: ")[1]))
            continue
        texts = {"network.c": code.code, "network.h": code.header, "check.c": writing.template("check.c", "network")}
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        program = compiled([tmp_path / "check.c", tmp_path / "network.c"], tmp_path / "check", UNDEFINED)
        check_exact(program, code, net.inputs, STEPS, turn)
    print(type(cell).__name__, "refused:", sorted(refused))
    assert len(refused) < len(RULES) * len(MODULATIONS) / 2 or "it uses exp" in str(refused)
