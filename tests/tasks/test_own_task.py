"""The how-to of one's own task: its code keeps the promises of tasks, and a study runs with it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from command_line import call

from plastic_search.core.loading import load_module
from plastic_search.tasks import Split
from plastic_search.testing import task_promises

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "own-task.md"
SETS = ("trials=1", "trainer.steps=4", "finalist.steps=4", "seeds=[0]", "layers.0.rule=Oja")


@pytest.fixture
def curves(tmp_path: Path) -> Path:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "curves.py").write_text(code)
    return tmp_path / "curves.py"


def test_a_regression_of_sequences_keeps_the_promises_of_tasks(curves: Path) -> None:
    kind = load_module(curves).Continued
    task_promises(kind)
    drawn = kind().episodes(7, Split.TEST, torch.Generator().manual_seed(0))
    assert drawn.inputs.shape == drawn.targets.shape == (29, 7, 1)


def test_the_study_runs_and_the_line_of_the_message_is_that_of_its_method(curves: Path) -> None:
    sets = [word for each in SETS for word in ("--set", each)]
    ran = call("run", "curves.py", "--workers", "1", "--json", *sets, cwd=curves.parent)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["stages"]["final"]["winner"]["complete"] == 1
    number = curves.read_text().splitlines().index("    def scores(self, outputs, episodes):") + 1
    assert f"task Continued (curves.py:{number}): scores must be floats [batch]" in PAGE.read_text()
