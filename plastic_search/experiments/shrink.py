"""The chosen network of a study without its dead units: how much smaller and faster it is, and its bundle."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import torch

from plastic_search.environments import Environment
from plastic_search.experiments.export import saved_run, task_of
from plastic_search.experiments.folder import open_question, spec_of
from plastic_search.experiments.parameters import load_parameters
from plastic_search.export.parameters import Codes, parameters
from plastic_search.network.module import Network
from plastic_search.network.rollout import Rollout
from plastic_search.records.folder import RunFolder
from plastic_search.topology.liveness import plan
from plastic_search.topology.shrink import shrink

__all__ = ["gains", "shrunk", "size"]

_ROUNDS, _STEPS, _BATCHES = 31, 20, (1, 32, 256)


def shrunk(
    folder: Path | str, name: str = "winner", seed: int | None = None, out: Path | str | None = None
) -> dict[str, Any]:
    """The gains of shrinking one trained network of the study in `folder`.

    Args:
        name: `winner`, another finalist or a quantized network.
        seed: of which seed; None takes the study's first.
        out: where the smaller network's bundle goes; None writes nothing.

    Raises:
        PlasticSearchError: there is no such network, or it cannot be shrunk.
    """
    with RunFolder.open(folder) as opened:
        question = open_question(opened)
        run, file = saved_run(opened, name, question.seeds[0] if seed is None else seed)
        task = task_of(question, run)
        net = Network(spec_of(opened, run), task.inputs, run.seed)
        load_parameters(net, file)
        study = opened.name
    small = shrink(net)
    found = {"name": run.name, "seed": run.seed} | gains(net, small)
    if out is not None:
        from plastic_search.export import bundle

        about = {"study": study, "network": f"{run.name}, shrunk", "trial": run.trial, "seed": run.seed}
        bundle.write(small, out, task=None if isinstance(task, Environment) else task, about=about)
        found["bundle"] = str(out)
    return found


def gains(net: Network, small: Network) -> dict[str, Any]:
    """Sizes of both, and how long they take.

    `faster` is how many times, the median of the ratios of runs that took turns: of a `Rollout`'s, whose weights are
    laid out already, and of `call`s of the network, which lay them out each time, 0.15 ms a layer whatever its size.
    """
    times = {(how, batch): _times(how, batch, net, small) for how in _HOW for batch in _BATCHES}
    found: dict[str, Any] = {"before": size(net), "after": size(small), "seconds": {}, "faster": {}}
    for (how, batch), both in times.items():
        found["seconds"].setdefault(how, {})[_episodes(batch)] = [statistics.median(each) for each in both]
        ratios = [a / b for a, b in zip(*both, strict=True)]
        found["faster"].setdefault(how, {})[_episodes(batch)] = statistics.median(ratios)
    timed = f"forward, {_STEPS} steps, one thread, median of {_ROUNDS} rounds in turn"
    return found | {"timed": timed, "kept": list(plan(net).reasons)}


def size(net: Network) -> dict[str, Any]:
    """Units of each layer, connections, and what is deployed: parameters, their bytes, and the numbers of a trace.

    Absent connections are counted where their place in a matrix is kept; scores of gates are not deployed.
    """
    deployed = parameters(net).values()
    return {
        "units": [layer.units for layer in net.spec.layers],
        "connections": net.connections(),
        "parameters": sum((each.codes if isinstance(each, Codes) else each).numel() for each in deployed),
        "bytes": sum(each.nbytes for each in deployed),
        "trace": sum(shape.post * shape.width for shape in net.shapes),
    }


class _Called:
    """A network as it is called."""

    def __init__(self, net: Network, batch: int) -> None:
        self.run = net

    def forget(self) -> None:
        """There is nothing."""


_HOW = {"rollout": Rollout, "call": _Called}


@torch.no_grad()
def _times(how: str, batch: int, *nets: Network) -> list[list[float]]:
    x = torch.randn(_STEPS, batch, nets[0].inputs, generator=torch.Generator().manual_seed(0))
    times: list[list[float]] = [[] for _ in nets]
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # two would wait for one another where another process is at work
    try:
        runs = [_HOW[how](net, batch) for net in nets]
        for turn in range(_ROUNDS + 2):
            for each, took in zip(runs, times, strict=True):
                began = time.perf_counter()
                each.run(x)
                if turn >= 2:  # compiled, and its memory met
                    took.append(time.perf_counter() - began)
                each.forget()
    finally:
        torch.set_num_threads(before)
    return times


def _episodes(count: int) -> str:
    return "1 episode" if count == 1 else f"{count} episodes"
