"""Files that are written whole or not at all, and files that grow by whole lines."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path

__all__ = [
    "append_lines", "destination", "is_temporary", "is_whole", "make_folder", "parse", "read_json", "read_lines",
    "replacing", "torn", "undone", "unwritable", "write_bytes", "write_text",
]  # fmt: skip

_LARGEST = 64 * 2**20  # bytes of a JSON file
_DEEPEST = 100  # nested lists and objects in one
_TEMPORARY = re.compile(r"\..+\.(json|jsonl|log|html|safetensors|csv|parquet)\.[a-z0-9_]{8}")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SPECIAL = (  # what a file would take the place of for good
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)  # fmt: skip


def destination(path: Path | str) -> Path:
    """The file that `replacing` replaces: `path`, or where a symbolic link leads.

    A command asks for it before its work, so that nothing is computed for a place that is refused.

    Raises:
        PlasticSearchError: a folder, a device, a pipe or a socket is there.
    """
    path = as_path(path)
    if name := _special(path):
        raise PlasticSearchError(f"{path} is {name}, where a file cannot be written; name another file")
    return path.resolve() if path.is_symlink() else path


def _is_there(path: Path | str) -> bool:
    """Whether there is a file to read, or to add to; whoever opened a pipe would wait for ever.

    Raises:
        PlasticSearchError: a folder, a device, a pipe or a socket is there.
    """
    path = as_path(path)
    if name := _special(path):
        raise PlasticSearchError(f"{path} is {name}, where a file is wanted; put the file back in its place")
    return path.is_file()


def _special(path: Path) -> str:
    """What stands at a path in place of a file; "" for a file, for nothing, and where that cannot be seen."""
    try:
        mode = path.stat().st_mode
    except OSError:  # whoever writes there says it
        return ""
    return next((name for is_one, name in _SPECIAL if is_one(mode)), "")


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary file beside `path`, which takes its place once the block ends without an exception.

    Where `path` is a symbolic link, it stays one, and the file that it leads to is replaced. What the block wrote has
    reached the disk before it is renamed, so a reader sees the old file or the new one.

    Example:
        >>> with replacing(folder / "0.safetensors") as temporary:
        ...     save_file(tensors, temporary)

    Raises:
        OSError: the folder cannot be made, or the file cannot be written.
        PlasticSearchError: a folder, a device, a pipe or a socket is there.
    """
    path = destination(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """Whether `replacing` may have given a file this name, which then was left by a process that was killed."""
    return _TEMPORARY.fullmatch(name) is not None


def write_text(path: Path | str, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        PlasticSearchError: it cannot be written.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        PlasticSearchError: it cannot be written.
    """
    path = as_path(path)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise unwritable(path.parent, error) from None


def append_lines(path: Path | str, objects: Iterable[dict[str, Any]]) -> None:
    """Add JSON objects to a file, a line each; all of them have reached the disk when this returns, or none is there.

    Raises:
        PlasticSearchError: the file cannot be written, or something else is in its place.
    """
    path = as_path(path)
    text = "".join(json.dumps(each, allow_nan=False) + "\n" for each in objects)
    _is_there(path)
    with undone(path), path.open("ab", buffering=0) as file:
        left = memoryview(text.encode())
        while left:  # a full disk takes a part of it
            left = left[file.write(left) or 0 :]
        os.fsync(file.fileno())


@contextmanager
def undone(path: Path | str) -> Iterator[None]:
    """Cut off what the block added to a file, if it does not come to its end.

    Raises:
        PlasticSearchError: for an OSError inside.
    """
    path = as_path(path)
    size = path.stat().st_size if path.is_file() else None
    try:
        yield
    except BaseException as error:
        with suppress(OSError):
            if size is None:
                path.unlink(missing_ok=True)
            else:
                os.truncate(path, size)
        if isinstance(error, OSError):
            raise unwritable(path.parent, error) from None
        raise


def make_folder(path: Path | str) -> Path:
    """`path`, created with its parents where it does not exist.

    Raises:
        PlasticSearchError: it cannot be created.
    """
    path = as_path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from None
    return path


def read_lines(path: Path | str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file that grows by whole lines; none where the file does not exist.

    Raises:
        PlasticSearchError: a line is broken, or the last one is not ended; or something else than a file is there.
    """
    path = as_path(path)
    if not _is_there(path):
        return
    with path.open(errors="replace", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            data = _object(line)
            if data is None:
                raise torn(path, number)
            yield data


def is_whole(line: str, check: Callable[[dict[str, Any]], bool] = lambda data: True) -> bool:
    """Whether a line is ended, and is a JSON object that passes `check`."""
    data = _object(line)
    return data is not None and check(data)


def parse(text: str) -> Any:
    """JSON data.

    Raises:
        ValueError: it is none; or lists and objects in it are nested more than 100 deep; or a text in it has half a
            character, which nothing can print.
    """
    try:
        data = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    level, depth = [data], 0
    while level := [child for each in level for child in _children(each)]:
        depth += 1
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} deep")
    if "\\ud" in text.lower():
        try:
            json.dumps(data, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a text in it has half a character, a lone surrogate") from None
    return data


def _children(data: Any) -> Iterable[Any]:
    return data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()


def _object(line: str) -> dict[str, Any] | None:
    try:
        data = parse(line) if line.endswith("\n") else None
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def torn(path: Path | str, number: int) -> PlasticSearchError:
    """The error for a file of which line `number` is broken."""
    path = as_path(path)
    return PlasticSearchError(
        f"{path} is torn at line {number}; nothing was changed. "
        f"`plastic-search repair {path.parent}` keeps what is whole and sets the old file aside"
    )


def read_json(path: Path | str, remedy: str) -> dict[str, Any]:
    """The JSON object in a file of at most 64 MiB.

    Args:
        remedy: what to do where it is damaged.

    Raises:
        PlasticSearchError: it is larger, or no JSON object, or no file.
    """
    path = as_path(path)
    _is_there(path)
    if path.stat().st_size > _LARGEST:
        raise PlasticSearchError(f"{path} is larger than any file of ours: {path.stat().st_size} bytes; {remedy}")
    try:
        data = parse(path.read_text())
    except ValueError as error:
        raise PlasticSearchError(f"{path} is damaged, it is not JSON ({error}); {remedy}") from None
    if not isinstance(data, dict):
        raise PlasticSearchError(f"{path} must hold a JSON object, but holds a {type(data).__name__}; {remedy}")
    return data


def unwritable(
    folder: Path | str, error: OSError, remedy: str = "choose another folder with --out"
) -> PlasticSearchError:
    """The error for a folder in which nothing can be written.

    Args:
        remedy: what to do, where the disk is not full.
    """
    folder = as_path(folder)
    blocked = isinstance(error, FileExistsError | NotADirectoryError)
    file = next((p for p in (folder, *folder.parents) if p.is_file()), None) if blocked else None
    if error.errno in _FULL:
        return PlasticSearchError(
            f"no space left in {folder} ({error.strerror}); what was written before is whole: make room, and give the "
            "same command again"
        )
    if error.errno == errno.EFBIG:
        return PlasticSearchError(
            f"cannot write in {folder}: {error.strerror}, there is a limit on the size of files (ulimit -f); what was "
            "written before is whole: raise the limit, and give the same command again"
        )
    reason = f"{file} is a file, not a folder" if file else f"cannot write in {folder}: {error.strerror or error}"
    return PlasticSearchError(f"{reason}; {remedy}")
