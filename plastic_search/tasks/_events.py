"""Files of events, as published: spikes in HDF5 (SHD, SSC) and events of 40 bits (N-MNIST).

They are looked for in the folder that PLASTIC_SEARCH_DATA names and in the user's cache. None is downloaded here, since
they are large; what is missing is explained with the command that fetches it. They are checked by their structure.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError, one_line
from plastic_search.core.loading import optional
from plastic_search.core.paths import as_path
from plastic_search.tasks._archives import FOLDER, DataMissing, folders

__all__ = ["UNITS", "Spikes", "address_events", "located", "spikes_of"]

UNITS = 700  # channels of the cochlea model of SHD and SSC
_HEIDELBERG = (
    "mkdir -p {{folder}} && cd {{folder}} && curl -fLO https://zenkelab.org/datasets/md5sums.txt"
    " -fLO https://zenkelab.org/datasets/{name}.gz && md5sum --check --ignore-missing md5sums.txt && gunzip {name}.gz"
)
_AT_ONCE = 500  # recordings that are counted at a time
_MOST = 255  # spikes that are counted in one step of one channel
_WRAPPED, _OVERFLOW = 240, 1 << 13  # the row of an event that says that time has wrapped around, and by how much, us


class Spikes(NamedTuple):
    """The recordings of one file."""

    counts: Tensor  # [recordings, steps, channels], bytes
    labels: Tensor  # [recordings]
    speakers: Tensor | None  # [recordings], where the file names them


def located(path: str, commands: str) -> Path:
    """The file or folder `path` of the data folder, or of the cache.

    Args:
        commands: what fetches it, with `{folder}` where the folder's name belongs; for the message.

    Raises:
        DataMissing: it is in neither.
    """
    places = list(folders())
    for place in places:
        if (place / path).exists():
            return place / path
    fetch = commands.format(folder=shlex.quote(str((places[0] / path).parent)))
    raise DataMissing(
        f"{path} is neither in the folder that {FOLDER} names nor in {places[-1]}; fetch it by `{fetch}`, or set "
        f"{FOLDER} to a folder that holds it"
    )


def spikes_of(path: str, classes: int, steps: int, seconds: float, channels: int) -> Spikes:
    """The spikes of a file of SHD or SSC, counted in `steps` steps over `seconds`, in `channels` groups of the 700.

    Spikes after `seconds` are left out.

    Args:
        path: such as `shd/shd_test.h5`, in the data folder.
        classes: how many labels there are.

    Raises:
        DataMissing: there is no such file on this machine.
        PlasticSearchError: h5py is not installed, or the file is not of the published form.
    """
    found = located(path, _HEIDELBERG.format(name=path.rpartition("/")[2]))
    h5py = optional("h5py", "SHD and SSC are read with h5py", "spiking")
    try:
        with h5py.File(found, "r") as file:
            return _counted(file, found, classes, steps, seconds, channels)
    except PlasticSearchError:
        raise
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlasticSearchError(
            f"{found} is not a file of spikes as SHD and SSC are published, HDF5 with spikes/times, spikes/units and "
            f"labels ({one_line(error)}); fetch it anew"
        ) from None


def _counted(file: Any, path: Path, classes: int, steps: int, seconds: float, channels: int) -> Spikes:
    times, units, labels = file["spikes"]["times"], file["spikes"]["units"], np.asarray(file["labels"][:])
    if not len(times) == len(units) == len(labels) or not len(labels):
        raise _damaged(path, f"it has {len(times)} times, {len(units)} units and {len(labels)} labels")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes:
        raise _damaged(path, f"labels must be whole numbers from 0 to {classes - 1}")
    counts = torch.zeros(len(labels), steps, channels, dtype=torch.uint8)
    for start in range(0, len(labels), _AT_ONCE):
        when, where = times[start : start + _AT_ONCE], units[start : start + _AT_ONCE]
        counts[start : start + len(when)] = _binned(when, where, path, steps, seconds, channels)
    named = file["extra"]["speaker"][:] if "extra" in file and "speaker" in file["extra"] else None
    if named is not None and len(named) != len(labels):
        raise _damaged(path, f"it has {len(named)} speakers and {len(labels)} labels")
    speakers = None if named is None else torch.from_numpy(np.asarray(named, np.int64))
    return Spikes(counts, torch.from_numpy(labels.astype(np.int64)), speakers)


def _binned(when: Any, where: Any, path: Path, steps: int, seconds: float, channels: int) -> Tensor:
    """Spikes of recordings, lists of times and units, counted [recordings, steps, channels]."""
    lengths = np.array([len(each) for each in when])
    if (lengths != [len(each) for each in where]).any():
        raise _damaged(path, "a recording has as many times as units, but not here")
    time, unit = np.concatenate(when).astype(np.float64), np.concatenate(where).astype(np.int64)
    if len(time) and not (np.isfinite(time).all() and time.min() >= 0 and unit.min() >= 0 and unit.max() < UNITS):
        raise _damaged(path, f"times must be finite and from 0, and units from 0 to {UNITS - 1}")
    step = np.floor(time * (steps / seconds)).astype(np.int64)
    row, kept = np.repeat(np.arange(len(lengths)), lengths), step < steps
    at = (row * steps + step) * channels + unit * channels // UNITS
    counts = np.bincount(at[kept], minlength=len(lengths) * steps * channels)
    return torch.from_numpy(np.minimum(counts, _MOST).astype(np.uint8)).view(len(lengths), steps, channels)


def _damaged(path: Path, what: str) -> PlasticSearchError:
    return PlasticSearchError(f"{path} is not a file of spikes as SHD and SSC are published: {what}")


def address_events(path: Path | str, side: int) -> np.ndarray:
    """The events of an N-MNIST file, whole numbers [events, 4]: microseconds, row, column, polarity (0 off, 1 on).

    An event is 40 bits: 8 of the column, 8 of the row, 1 of the polarity, 23 of the time, the highest first. A row of
    240 is no event: all times from there on are 2^13 us later.

    Raises:
        PlasticSearchError: the file ends within an event, or an event lies outside of `side` rows and columns.
    """
    data = np.frombuffer(as_path(path).read_bytes(), np.uint8)
    if len(data) % 5:
        raise PlasticSearchError(f"{path} ends within an event: {len(data)} bytes, where an event has 5; fetch it anew")
    column, row, *time = data.reshape(-1, 5).T.astype(np.int64)
    wrapped = row == _WRAPPED
    when = ((time[0] & 127) << 16) + (time[1] << 8) + time[2] + _OVERFLOW * wrapped.cumsum()
    events = np.stack([when, row, column, time[0] >> 7], 1)[~wrapped]
    if len(events) and max(events[:, 1].max(), events[:, 2].max()) >= side:
        raise PlasticSearchError(f"{path} has events outside of {side} x {side} pixels; it is not a file of N-MNIST")
    return events
