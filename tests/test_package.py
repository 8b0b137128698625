"""What is shipped: the content folders, the template and the type marker are inside the wheel."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_wheel_holds_code_content_and_template(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    for shelf in ("search_spaces", "studies", "reports"):
        for file in (ROOT / shelf).glob("*.py"):
            assert f"plastic_search/_content/{shelf}/{file.name}" in names
    assert {"plastic_search/py.typed", "plastic_search/network/step.py", "plastic_search/export/runner.py"} <= names
    assert any(n.startswith("plastic_search/report/templates/") for n in names)


def test_constraints_fix_a_version_of_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    fixed = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    for requirement in wanted:
        name = requirement.split(">")[0].split("<")[0].split("[")[0].lower()
        assert name in fixed, f"constraints.txt has no version of {name}"
