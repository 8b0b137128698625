"""Where a result comes from: what a record may keep of the machine, and what a task's file says of its data."""

from __future__ import annotations

import platform

from plastic_search.records import provenance


def test_the_machine_is_told_without_naming_it() -> None:
    text = provenance.machine()
    assert list(text) == ["processor", "cores", "system", "python"]
    assert all(text.values())
    assert platform.node() not in text.values()


def test_a_commit_is_one_or_nothing() -> None:
    commit = provenance.code().removesuffix("+")
    assert commit == "" or (len(commit) == 40 and int(commit, 16) > 0)


def test_a_task_of_ours_tells_its_data() -> None:
    assert "UCI" in provenance.data("DigitRecall")
    assert "60, 20 and 20 %" in provenance.data("DigitRecall")
    assert "MIT licence" in provenance.data("OmniglotRecall")
    assert provenance.data("Nobodys") == ""
