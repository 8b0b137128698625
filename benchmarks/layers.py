"""How long do a plastic layer's episodes take, beside the reference step and a layer that is not plastic?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from plastic_search.cells.lstm import LSTM
from plastic_search.experiments.bench.benchmark import Benchmark
from plastic_search.experiments.bench.processes import Workload
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, Pathway
from plastic_search.rules import Activity, Change, Outer, Rule
from plastic_search.structures.blocks import Blocks
from plastic_search.structures.gated import Gated
from plastic_search.structures.hard_concrete import HardConcrete
from plastic_search.structures.pooled import Pooled
from plastic_search.structures.pruned import Pruned
from plastic_search.structures.rewired import Rewired


class Recent(NamedTuple):
    pre: Tensor  # [batch, pre]
    post: Tensor  # [batch, post]


@dataclass(frozen=True)
class Timing(Rule):
    """dH = post (x) recent(pre) - recent(post) (x) pre, recent' = recent + rate (now - recent)"""

    rate: float = 0.5

    def state(self, batch: int, post: int, pre: int, like: Tensor) -> Recent:
        return Recent(like.new_zeros(batch, pre), like.new_zeros(batch, post))

    def step(self, params: tuple[()], state: Recent, seen: Activity) -> tuple[Change, Recent]:
        change = Change((Outer(seen.post, state.pre), Outer(state.post, seen.pre, -1.0)))
        pre = state.pre + self.rate * (seen.pre - state.pre)
        return change, Recent(pre, state.post + self.rate * (seen.post - state.post))


def plain_loop(net: Network) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The layer of a case as a user of torch writes it, a loop over time; it returns the outputs and the last trace."""
    (layer,), (p,) = net.spec.layers, net.parts()
    lstm, retroactive = isinstance(layer.cell, LSTM), isinstance(layer.modulation, Retroactive)

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias = p.weight.flatten(0, 1), p.bias.flatten()
        y = memory = recent_pre = recent_post = x.new_zeros(x.shape[1], layer.units)
        trace = eligibility = x.new_zeros(x.shape[1], layer.units, layer.units)
        outputs = []
        for inputs in x:
            pre = y
            drive = torch.addmm(bias, torch.cat([inputs, pre], 1), weight.T).unflatten(1, (-1, layer.units))
            plastic = drive[:, -1] + torch.bmm(p.alpha * trace, pre.unsqueeze(2)).squeeze(2)
            post = y = torch.tanh(plastic)
            if lstm:
                forget, write, read = torch.sigmoid(drive[:, :3]).unbind(1)
                memory = forget * memory + write * post
                y = read * torch.tanh(memory)
            if isinstance(layer.rule, Timing):
                change = torch.bmm(post.unsqueeze(2), recent_pre.unsqueeze(1))
                change = change - torch.bmm(recent_post.unsqueeze(2), pre.unsqueeze(1))
                recent_pre = recent_pre + layer.rule.rate * (pre - recent_pre)
                recent_post = recent_post + layer.rule.rate * (post - recent_post)
            else:
                change = torch.bmm(post.unsqueeze(2), pre.unsqueeze(1))
            signal = torch.tanh(y @ p.modulation.weight + p.modulation.bias).unsqueeze(1)
            rate = (signal * p.modulation.fan + p.modulation.base).unsqueeze(2)
            if retroactive:
                eta = p.modulation.eligibility
                trace = torch.clamp(trace + rate * eligibility, -layer.limit, layer.limit)
                eligibility = (1 - eta) * eligibility + eta * change
            else:
                trace = torch.clamp(trace + rate * change, -layer.limit, layer.limit)
            outputs.append(y)
        return torch.stack(outputs), trace

    return forward


BENCHMARK = Benchmark(
    question="How long do a plastic layer's episodes take, forward and backward?",
    by_hand=plain_loop,
    cases=(
        Workload(Layer(100, plastic=Pathway.RECURRENT), batch=30, time=200),
        # other layers
        Workload(Layer(100, LSTM(), plastic=Pathway.RECURRENT), batch=30, time=200),
        Workload(Layer(100, modulation=Retroactive(), plastic=Pathway.RECURRENT), batch=30, time=200),
        Workload(Layer(100, rule=Timing(), plastic=Pathway.RECURRENT), batch=30, time=200),
        # other sizes of all three
        Workload(Layer(512, plastic=Pathway.RECURRENT), batch=8, time=100),
        Workload(Layer(100, plastic=Pathway.RECURRENT), batch=128, time=50),
        # the first with other units, episodes or steps: a line in a plot each
        Workload(Layer(16, plastic=Pathway.RECURRENT), batch=30, time=200),
        Workload(Layer(32, plastic=Pathway.RECURRENT), batch=30, time=200),
        Workload(Layer(64, plastic=Pathway.RECURRENT), batch=30, time=200),
        Workload(Layer(200, plastic=Pathway.RECURRENT), batch=30, time=200),
        Workload(Layer(100, plastic=Pathway.RECURRENT), batch=1, time=200),
        Workload(Layer(100, plastic=Pathway.RECURRENT), batch=4, time=200),
        Workload(Layer(100, plastic=Pathway.RECURRENT), batch=10, time=200),
        Workload(Layer(100, plastic=Pathway.RECURRENT), batch=60, time=200),
        Workload(Layer(100, plastic=Pathway.RECURRENT), batch=30, time=25),
        Workload(Layer(100, plastic=Pathway.RECURRENT), batch=30, time=50),
        Workload(Layer(100, plastic=Pathway.RECURRENT), batch=30, time=100),
        Workload(Layer(100, plastic=Pathway.RECURRENT), batch=30, time=400),
    ),
    stepped=(
        Workload(Layer(100, plastic=Pathway.RECURRENT), batch=30, time=200),
        Workload(Layer(32, plastic=Pathway.RECURRENT), batch=30, time=200),
        Workload(Layer(100, LSTM(), plastic=Pathway.RECURRENT), batch=30, time=200),
        Workload(Layer(100, rule=Timing(), plastic=Pathway.RECURRENT), batch=30, time=200),
    ),
    lasting=(Workload(Layer(100, plastic=Pathway.RECURRENT), batch=8, time=5000),),
    learned=(
        Workload(Layer(100, structure=Gated(0.2, 0.5), plastic=Pathway.RECURRENT), batch=30, time=200),
        Workload(Layer(100, structure=Gated(0.2, 0.5), plastic=Pathway.RECURRENT), batch=64, time=20),
        Workload(
            Layer(64, structure=Gated(0.2, 0.5), plastic=Pathway.RECURRENT), batch=16, time=11
        ),  # the least to share
        Workload(Layer(64, structure=Pooled(0.2, 0.5), plastic=Pathway.RECURRENT), batch=16, time=11),
        Workload(Layer(64, structure=HardConcrete(0.2, 0.5), plastic=Pathway.RECURRENT), batch=16, time=11),
        Workload(Layer(100, structure=HardConcrete(0.2, 0.5), plastic=Pathway.RECURRENT), batch=30, time=200),
        Workload(Layer(100, structure=Rewired(0.2, 0.5), plastic=Pathway.RECURRENT), batch=30, time=200),
        Workload(Layer(100, structure=Pruned(0.2, 0.5), plastic=Pathway.RECURRENT), batch=30, time=200),
        Workload(Layer(100, structure=Blocks(2), plastic=Pathway.RECURRENT), batch=30, time=200),
    ),
    on_gpu=(
        Workload(Layer(100, plastic=Pathway.RECURRENT), batch=30, time=200),
        Workload(Layer(100, LSTM(), plastic=Pathway.RECURRENT), batch=30, time=200),
        Workload(Layer(100, modulation=Retroactive(), plastic=Pathway.RECURRENT), batch=30, time=200),
        Workload(Layer(100, plastic=Pathway.RECURRENT), batch=1, time=200),
        Workload(Layer(200, plastic=Pathway.RECURRENT), batch=30, time=200),
        Workload(Layer(256, plastic=Pathway.RECURRENT), batch=256, time=200),
        Workload(Layer(512, plastic=Pathway.RECURRENT), batch=8, time=100),
        Workload(Layer(1024, plastic=Pathway.RECURRENT), batch=8, time=50),
    ),
)
