"""Files that are written whole or not at all, and files that grow by whole lines."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plastic_search.core.errors import PlasticSearchError


def made(out: Path) -> Path:
    """The folder `out`, made where it was not there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(out, error) from None
    return out


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file that grows by whole lines; none where the file does not exist.

    Raises:
        PlasticSearchError: a line is broken, or the last one is not ended.
    """
    if not path.is_file():
        return []
    text = path.read_text(errors="replace")
    made = []
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if not is_whole(line):
            raise _torn(path, number)
        made.append(json.loads(line))
    return made


def is_whole(line: str, holds: Callable[[dict[str, Any]], bool] = lambda data: True) -> bool:
    """Whether a line is ended, and is a JSON object for which `holds` holds."""
    try:
        data = json.loads(line) if line.endswith("\n") else None
    except ValueError:
        return False
    return isinstance(data, dict) and holds(data)


def _torn(path: Path, number: int) -> PlasticSearchError:
    return PlasticSearchError(
        f"{path} is torn at line {number}; nothing was changed. "
        f"`plastic-search repair {path.parent}` keeps what is whole and sets the old file aside"
    )


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The JSON object in a file of at most 64 MiB.

    Args:
        remedy: what to do where it is damaged.
    """
    if path.stat().st_size > 64 * 2**20:
        raise PlasticSearchError(f"{path} is larger than any file of ours: {path.stat().st_size} bytes; {remedy}")
    try:
        data = json.loads(path.read_text())
    except ValueError as error:
        raise PlasticSearchError(f"{path} is damaged, it is not JSON ({error}); {remedy}") from None
    if not isinstance(data, dict):
        raise PlasticSearchError(f"{path} must hold a JSON object, but holds a {type(data).__name__}; {remedy}")
    return data


def unwritable(folder: Path, error: OSError) -> PlasticSearchError:
    """What a user is told where nothing can be written in a folder."""
    blocked = isinstance(error, FileExistsError | NotADirectoryError)
    file = next((p for p in (folder, *folder.parents) if p.is_file()), None) if blocked else None
    reason = f"{file} is a file, not a folder" if file else f"cannot write in {folder}: {error.strerror}"
    return PlasticSearchError(f"{reason}; choose another folder with --out")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: to a temporary file beside it, then renamed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise unwritable(path.parent, error) from None
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _opened(path: Path) -> Any:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab", buffering=0)
    except OSError as error:
        raise unwritable(path.parent, error) from None
