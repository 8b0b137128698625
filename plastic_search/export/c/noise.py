"""The noise of stochastic rounding from one step to the next, captured from the function that the reference uses."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from plastic_search.export.c.fixed import Fixed, Form
from plastic_search.network.kernels.torch_internals import capture_graph
from plastic_search.network.kernels.tracing.ir import Axis, GraphBuilder, Node
from plastic_search.network.kernels.tracing.lowering import interpret
from plastic_search.network.quantization import next_dither

__all__ = ["next_noise"]


@cache
def next_noise() -> tuple[Node, Fixed]:
    """The node of the next dither, of the input `dither`; and its forms in integers."""
    builder = GraphBuilder()
    node = np.array([builder.input("dither", 0, Axis.ONE)], object).reshape(1, 1, 1)
    graph = capture_graph(lambda dither: [next_dither(dither)], [torch.zeros(1, 1, 1)])
    (after,) = interpret(graph, [node], {}, builder)
    return after.item(), Fixed(lambda slot: Form(30, 1.0), {Axis.ONE: 1})
