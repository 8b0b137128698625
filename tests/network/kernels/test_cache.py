"""Compiled code on disk: a file is run only under its own key, whole, and if nobody else may have written it."""

from __future__ import annotations

import ctypes
import hashlib
import multiprocessing
import os
from pathlib import Path

import pytest

from plastic_search.network.kernels.cpu import cache, compiler

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")

RETURNS = """
define void @f(ptr %table, ptr %scratch, i64 %first, i64 %last) {{
  store i64 {number}, ptr %table
  ret void
}}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, of a process that has compiled nothing."""
    monkeypatch.setenv("PLASTIC_SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiler, "_compiled", {})
    monkeypatch.setattr(cache, "_said", set())
    return cache.folder()


def ran(number: int) -> tuple[int, bool]:
    """What a module computes whose function stores `number`, and whether it came from the cache."""
    compiler._compiled.clear()
    found = compiler.compiled(RETURNS.format(number=number), ("f",))
    table = ctypes.c_int64(0)
    found.functions["f"](ctypes.addressof(table), None, 0, 0)
    return table.value, found.cached


def file_of(number: int, home: Path) -> Path:
    before = set(home.glob("*"))
    ran(number)
    (file,) = set(home.glob("*")) - before
    return file


def test_code_is_kept_for_later_processes_by_this_user_alone(home: Path) -> None:
    mask = os.umask(0)
    try:
        assert ran(1) == (1, False)
    finally:
        os.umask(mask)
    assert ran(1) == (1, True)
    for each in (home, home.parent, home.parent.parent):
        assert each.stat().st_mode & 0o777 == 0o700
    assert [p.suffix for p in home.iterdir()] == [".o"]


def test_the_code_of_another_key_is_not_run_under_this_one(home: Path) -> None:
    one, two = file_of(1, home), file_of(2, home)
    two.write_bytes(one.read_bytes())
    assert ran(2) == (2, False)
    assert ran(2) == (2, True)


def test_damaged_files_are_compiled_again(home: Path) -> None:
    file = file_of(1, home)
    whole, key = file.read_bytes(), file.stem
    garbage = b"no object file" * 100
    trusted = hashlib.sha256(f"{key}\n".encode() + garbage).digest() + garbage  # as the user could have written it
    flipped = whole[:40] + bytes([whole[40] ^ 1]) + whole[41:]
    hashed = hashlib.sha256(garbage).digest() + garbage  # as earlier versions had it, which anybody could write
    for data in (b"", whole[:20], whole[:-1], flipped, hashed, trusted):
        file.write_bytes(data)
        assert ran(1) == (1, False), data[:20]
        assert file.read_bytes() == whole
    file.write_bytes(whole + bytes(cache._LARGEST))
    assert ran(1) == (1, False)


def test_what_others_may_write_is_neither_read_nor_written(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = file_of(1, home)
    for each in (home, home.parent, home.parent.parent, home.parent.parent.parent):
        for mode in (0o770, 0o702, 0o1777 if each in (home, home.parent) else 0o707):
            each.chmod(mode)
            cache._said.clear()
            assert [ran(1)[1], ran(1)[1], ran(3)] == [False, False, (3, False)]
            said = capfd.readouterr().err
            assert said.count("\n") == 1
            assert said.startswith(
                f"compiled code is not kept: others may write in {each}, which `chmod go-w` ends; PLAS"
            )
            assert list(home.iterdir()) == [file]
            each.chmod(0o700)
    assert ran(1) == (1, True)
    home.parent.parent.chmod(0o1777)  # as /tmp is
    assert ran(1) == (1, True)


def test_a_file_that_others_may_write_is_compiled_again(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = file_of(1, home)
    file.chmod(0o646)
    assert ran(1) == (1, False)
    assert f"{file} is compiled again: others may write it" in capfd.readouterr().err
    assert ran(1) == (1, True)
    os.link(file, home.parent / "other")
    assert ran(1) == (1, False)
    for make in (file.mkdir, lambda: os.mkfifo(file), lambda: file.symlink_to(home.parent / "other")):
        file.unlink()
        make()
        assert ran(1)[0] == 1
        if file.is_dir():
            file.rmdir()
            file.touch()


def test_links_and_other_owners_are_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file_of(1, home)
    moved = home.parent / "moved"
    home.rename(moved)
    home.symlink_to(moved)
    assert ran(1) == (1, False)
    assert f"{home} is a symbolic link" in capfd.readouterr().err
    home.unlink()
    moved.rename(home)
    link = home.parent.parent.with_name("link")  # a cache that lies on another disk
    link.symlink_to(home.parent.parent)
    monkeypatch.setenv("PLASTIC_SEARCH_CACHE", str(link))
    assert ran(1) == (1, True)
    if user := os.geteuid():
        monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    else:
        os.chown(home, 1234, 1234)
    assert ran(1) == (1, False)
    assert "belongs to another user" in capfd.readouterr().err


def test_a_cache_that_cannot_be_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PLASTIC_SEARCH_CACHE", str(tmp_path / "file"))
    assert ran(1) == ran(1) == (1, False)
    assert capfd.readouterr().err.count("\n") == 1
    monkeypatch.delenv("PLASTIC_SEARCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.folder() == tmp_path / "home" / ".cache" / "plastic_search" / "kernels"
    assert ran(1) == (1, False)
    assert ran(1) == (1, True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder() == tmp_path / "xdg" / "plastic_search" / "kernels"


def test_processes_that_compile_the_same_do_not_disturb_one_another(home: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert set(pool.map(_first, [5] * 8)) == {5}
    assert ran(5) == (5, True)
    assert len(list(home.iterdir())) == 1


def _first(number: int) -> int:
    return ran(number)[0]
