"""The parameters of a trained network as a safetensors file."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path
from plastic_search.network.module import Network
from plastic_search.records.files import write_bytes

__all__ = ["load_parameters", "save_parameters"]

_RENAMED = {  # of a structure's parameters, since 0.1
    "opened": "annealing_factor", "settled": "frozen", "hearing": "post", "heard": "pre", "asked": "probe",
    "asked_plastic": "plastic_probe",
}  # fmt: skip
_AGAIN = "remove it, and the command that trained it (`plastic-search run`, or `quantize`) trains it again"


def save_parameters(net: Network, path: Path | str) -> None:
    """Write the parameters and buffers of `net`, whole or not at all.

    Raises:
        PlasticSearchError: the file cannot be written.
    """
    write_bytes(as_path(path), save({name: p.detach().contiguous() for name, p in net.state_dict().items()}))


def load_parameters(net: Network, path: Path | str) -> None:
    """Fill `net` with the parameters in a safetensors file; names of earlier versions are read.

    Raises:
        PlasticSearchError: the file is missing or damaged, or is of another network.
    """
    path = as_path(path)
    if not path.is_file():
        raise PlasticSearchError(f"there are no parameters at {path}; the command that trained them makes them again")
    try:
        tensors = {_renamed(name): tensor for name, tensor in load_file(path).items()}
    except SafetensorError as error:
        raise PlasticSearchError(f"{path} is damaged ({error}); {_AGAIN}") from None
    wanted = {n: list(p.shape) for n, p in net.state_dict().items()}
    found = {n: list(t.shape) for n, t in tensors.items()}
    if wanted != found:
        odd = next(n for n in wanted | found if wanted.get(n) != found.get(n))
        raise PlasticSearchError(
            f"{path} is of another network: {odd} should be {wanted.get(odd)}, is {found.get(odd)}; {_AGAIN}"
        )
    net.load_state_dict(tensors)


def _renamed(name: str) -> str:
    """`layers.0.structure__frozen` for `layers.0.structure__settled`."""
    head, structure, last = name.partition("structure__")
    return f"{head}{structure}{_RENAMED.get(last, last) if structure else last}"
