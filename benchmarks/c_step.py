"""How long does one step of a plastic network in 8 bits take in C, beside eager torch and onnxruntime?"""

import ctypes
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from plastic_search.experiments.bench.side_by_side import SideBySide
from plastic_search.export.c.network import Arithmetic, source
from plastic_search.export.c.running import compiled
from plastic_search.export.onnx import export_step
from plastic_search.export.runner import open_session
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.network.state import named
from plastic_search.precisions import Rounding
from plastic_search.precisions.integer import Integer


def _network(kernel: str | None = None) -> Network:
    """64 units, 64 inputs, every connection plastic, batch 1; weight, alpha and trace in 8 bits."""
    layer = Layer(64, plastic=Pathway.BOTH)
    return Network(NetworkSpec((layer,), Integer(8, 8, 8, Rounding.NEAREST)), 64, kernel=kernel)


def _inputs() -> torch.Tensor:
    return torch.randn(200, 1, 64, generator=torch.Generator().manual_seed(0))


def eager_torch() -> Callable[[], object]:
    """The reference step in torch, 200 steps without gradients."""
    net, x = _network("reference"), _inputs()
    return lambda: torch.no_grad()(net)(x)


def onnxruntime_step() -> Callable[[], object]:
    """step.onnx of the same network in onnxruntime, on one thread, 200 steps."""
    net, xs = _network(), _inputs().numpy()
    with tempfile.TemporaryDirectory() as folder:
        export_step(net, Path(folder) / "step.onnx", steps=5)
        session = open_session((Path(folder) / "step.onnx").read_bytes())
    with torch.no_grad():
        state = named(net(torch.zeros(1, 1, 64))[1])
    first = {name: np.zeros_like(value.numpy()) for name, value in state.items()}
    after = [each.name for each in session.get_outputs()][1:]

    def run() -> None:
        feeds = dict(first)
        for x in xs:
            _, *values = session.run(None, {"x": x, **feeds})
            feeds = {name.removesuffix(".next"): value for name, value in zip(after, values, strict=True)}

    return run


def c_in_integers() -> Callable[[], object]:
    """The same network as C in integers (-O3), called from Python 200 times, plasticity included."""
    return _called(("-O3",))


def c_in_integers_for_this_machine() -> Callable[[], object]:
    """The same, compiled with -O3 -march=native."""
    return _called(("-O3", "-march=native"))


def _called(flags: tuple[str, ...]) -> Callable[[], object]:
    code = source(_network(), "network", Arithmetic.INTEGER)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "network.c").write_text(code.code)
        (Path(folder) / "network.h").write_text(code.header)
        library = compiled([f"{folder}/network.c"], f"{folder}/network.so", (*flags, "-shared", "-fPIC"))
        network = ctypes.CDLL(str(library))
    xs = np.round(_inputs()[:, 0].numpy() * 2**12).clip(-(2**15), 2**15 - 1).astype(np.int16)
    state = ctypes.create_string_buffer(2 * code.state)
    output = ctypes.create_string_buffer(2 * 64)
    rows = [ctypes.c_void_p(x.ctypes.data) for x in xs]

    def run() -> np.ndarray:
        network.network_init(state)
        for x in rows:
            network.network_step(state, x, output)
        return xs  # which `rows` points into

    return run


BENCHMARK = SideBySide(
    question="How long does one step of 64 plastic units in 8 bits take in C, beside eager torch and onnxruntime?",
    contenders=(eager_torch, onnxruntime_step, c_in_integers, c_in_integers_for_this_machine),
    rounds=9,
)
