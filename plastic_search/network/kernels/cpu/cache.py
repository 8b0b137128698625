"""Compiled code on disk, for later processes. It is executed, so what others may have written is never read.

The cache lies in the folder of the environment variable PLASTIC_SEARCH_CACHE, else in the user's cache folder. A file
is named by its key, the hash of all that decides its content, so no file is ever out of date; it begins with the digest
of key and content, so one that is damaged, cut short, or that of another key, is compiled again. Anyone can compute a
digest: what protects the code is that folders and files belong to this user (or to root), and that nobody else may
write them. Where that is not so, one line says it, and code is compiled in memory.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path

from plastic_search.records.files import replacing

__all__ = ["distrust", "folder", "read", "write"]

_LARGEST = 64 * 2**20  # bytes of a file; those of the longest functions have a few hundred thousand
_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH

_said: set[str] = set()


def folder() -> Path:
    """Where compiled code is kept between processes. A relative XDG_CACHE_HOME counts as none, as it is specified."""
    named, cache = os.environ.get("PLASTIC_SEARCH_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
    base = named or (cache if os.path.isabs(cache) else os.path.join(os.path.expanduser("~"), ".cache"))
    return Path(base) / "plastic_search" / "kernels"


def distrust(place: Path) -> str:
    """Why the folder `place` is not used, although it could be; "" where this user alone can write there.

    Folders above it that do not exist are fine, since `write` makes them; those that do must not be open to others
    either, unless they are like /tmp, where nobody can rename what is not theirs.
    """
    if os.name != "posix":
        return ""
    for own in (place.parent, place):  # those further up may be links: what they lead to is looked at
        if own.is_symlink():
            return f"{own} is a symbolic link"
    real = Path(os.path.realpath(place))
    if not place.is_absolute() and str(place).startswith("~"):
        return "there is no home folder"
    for each in (*reversed(real.parents), real):
        try:
            found = each.lstat()
        except OSError:
            return ""
        if why := _shared(each, found, own=each in (real, real.parent)):
            return why
    return ""


def _shared(path: Path, found: os.stat_result, own: bool) -> str:
    """Why a folder is not this user's alone; `own` is one that we make."""
    if not stat.S_ISDIR(found.st_mode):
        return f"{path} is not a folder"
    root = () if own else (os.lstat("/").st_uid,)  # of a container, for which root is somebody else
    if found.st_uid not in (os.geteuid(), 0, *root):
        return f"{path} belongs to another user"
    if found.st_mode & _BY_OTHERS and (own or not found.st_mode & stat.S_ISVTX):
        return f"others may write in {path}, which `chmod go-w` ends"
    return ""


def read(key: str) -> bytes | None:
    """The code that is kept under a key; None where there is none that can be trusted."""
    place = folder()
    if why := distrust(place):
        return _say(f"compiled code is not kept: {why}; PLASTIC_SEARCH_CACHE names another folder")
    path = place / f"{key}.o"
    try:
        with open(os.open(path, _OPEN), "rb") as file:
            found = os.fstat(file.fileno())
            if why := _foreign(found):
                return _say(f"{path} is compiled again: {why}")
            data = file.read(_LARGEST)
    except OSError:
        return None
    digest, content = data[:32], data[32:]
    return content if digest == _digest(key, content) else None


def _foreign(found: os.stat_result) -> str:
    """Why a file is not one that this user alone has written."""
    if not stat.S_ISREG(found.st_mode):
        return "it is not a plain file"
    if found.st_size > _LARGEST:
        return "it is larger than any of ours"
    if os.name != "posix":
        return ""
    if found.st_uid not in (os.geteuid(), 0):
        return "it belongs to another user"
    return "others may write it" if found.st_mode & _BY_OTHERS or found.st_nlink != 1 else ""


def write(key: str, content: bytes) -> None:
    """Keep code under a key, whole or not at all; a folder that cannot be written is no reason to fail."""
    place = folder()
    try:
        if distrust(place):
            return
        for each in (*reversed(place.parents), place):
            if not each.exists():
                each.mkdir(mode=0o700, exist_ok=True)  # whatever the umask
        if distrust(place):
            return
        file = place / f"{key}.o"
        file.unlink(missing_ok=True)  # it was not trusted, and a link is not followed
        with replacing(file) as temporary:
            temporary.write_bytes(_digest(key, content) + content)
    except OSError as error:
        _say(f"compiled code cannot be kept in {place}: {error.strerror}")


def _digest(key: str, content: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\n" + content).digest()


def _say(text: str) -> None:
    """Print a line, once in a process."""
    if text not in _said:
        _said.add(text)
        print(text, file=sys.stderr, flush=True)
