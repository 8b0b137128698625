"""Compile the GPU's kernel for some layers, as Triton does before a call, without running it.

python compile_for_gpu.py 80 90 compiles for NVIDIA's sm_80 and sm_90, and prints the size of each function. It needs no
GPU.
"""

from __future__ import annotations

import sys
import warnings
from itertools import product

import torch
from torch import Tensor

from plastic_search.cells.gru import GRU
from plastic_search.cells.lstm import LSTM
from plastic_search.cells.softmax import Softmax
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.network.formats import formats
from plastic_search.network.kernels import autograd
from plastic_search.network.kernels.buffers import Call
from plastic_search.network.kernels.gpu.backend import GPU, argument_names, call_source, loaded, with_scratch
from plastic_search.network.kernels.gpu.function import tile
from plastic_search.network.kernels.gpu.layer import NUMBERS, argument
from plastic_search.network.kernels.passes import Prepared, Steps
from plastic_search.network.module import Network
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.network.step import start
from plastic_search.precisions import Rounding
from plastic_search.precisions.integer import Integer
from plastic_search.rules.abcd import ABCD

LAYERS = (
    NetworkSpec((Layer(100, plastic=Pathway.RECURRENT),)),
    NetworkSpec((Layer(512, plastic=Pathway.RECURRENT),)),
    NetworkSpec((Layer(100, modulation=Retroactive(), plastic=Pathway.BOTH, bound=Bound.SOFT),)),
    NetworkSpec((Layer(40, LSTM(), ABCD(), plastic=Pathway.INPUT),)),
    NetworkSpec((Layer(40, plastic=Pathway.BOTH),), Integer(4, 4, 8, Rounding.STOCHASTIC)),
    NetworkSpec((Layer(33, LSTM()),)),
    NetworkSpec((Layer(40, LSTM(), plastic=Pathway.BOTH), Layer(2)), Integer(4, 4, 8, activity=4)),
    NetworkSpec((Layer(40), Layer(2)), Integer(activity=1)),
    NetworkSpec((Layer(100, GRU(), plastic=Pathway.BOTH),)),
    NetworkSpec((Layer(40, Softmax(), plastic=Pathway.INPUT),)),
)


class Compiler(GPU):
    """Compiles instead of running."""

    def __init__(self, architecture: int) -> None:
        self.architecture = architecture

    def prepare(self, call: Call, function: str, tensors: dict[str, Tensor], sums: dict[str, Tensor]) -> Prepared:
        import triton  # pyright: ignore[reportMissingImports]
        from triton.backends.compiler import GPUTarget  # pyright: ignore[reportMissingImports]
        from triton.compiler import ASTSource  # pyright: ignore[reportMissingImports]

        arguments = with_scratch(call, tensors, sums)
        pointer = "*fp64" if call.signature.double else "*fp32"
        types = dict.fromkeys(map(argument, argument_names(arguments)), pointer) | dict.fromkeys(NUMBERS, "i32")
        source = ASTSource(loaded(call_source(call, arguments))[function], types)
        options = {"num_warps": tile(call.signature, call.sizes, function).warps, "num_stages": 1}
        compiled = triton.compile(source, target=GPUTarget("cuda", self.architecture, 32), options=options)
        print(f"sm_{self.architecture} {function}: {len(compiled.asm['cubin'])} bytes")

        def clear(steps: Steps | None = None) -> None:
            for tensor in (*tensors.values(), *sums.values()):
                tensor.zero_()

        return clear


def main() -> None:
    warnings.simplefilter("ignore")
    for spec, backend in product(LAYERS, map(Compiler, map(int, sys.argv[1:]))):
        net, x = Network(spec, 17), torch.zeros(3, 2, 17)
        ready, form = net.resolve(), formats(spec)[0]
        state = start(spec, net.shapes, 2, x, ready)
        y, _ = autograd.sequence(backend, spec.layers[0], net.shapes[0], form, ready[0], state[0], x)
        y.sum().backward()


if __name__ == "__main__":
    main()
