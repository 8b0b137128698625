"""Adding a rule is adding one file: the list, the spaces, the promises and a study find it by themselves."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from forked import in_a_fresh_process, program

ROOT = Path(__file__).parents[2]

CHECK = """
from dataclasses import replace
from pathlib import Path

import plastic_search
from plastic_search.core.part import discover
from plastic_search.core.space import each, override
from plastic_search.experiments.runner import run
from plastic_search.records.run import load
from plastic_search.rules import Rule
from plastic_search.testing import rule_promises
from small import study

assert Path(plastic_search.__file__).parent.parent == Path.cwd()
rule = discover(Rule)["Covariance"]
rule_promises(rule)
assert "Covariance" in each(Rule).labels
small = override(study(trials=1), "space.layers.1.rule", "Covariance")
assert list(run(small, "small", Path("runs/small"), 1))
record = load(Path("runs/small"))
assert record.study["parts"]["Covariance"]["equation"] == "dH = (post - mean(post)) (x) (pre - mean(pre))"
assert record.stage("final", "winner")[0].spec["layers"][1]["rule"]["kind"] == "Covariance"
"""


def test_the_rule_of_contributing_md_needs_no_other_file(tmp_path: Path) -> None:
    for folder in ("plastic_search", "studies", "search_spaces", "reports"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    code = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[0]
    (tmp_path / "plastic_search" / "rules" / "covariance.py").write_text(code)
    path = tmp_path, Path(__file__).parents[1]
    ended = in_a_fresh_process(program, tmp_path, path, ("-c", CHECK), os.environ)
    assert ended.returncode == 0, ended.stderr
