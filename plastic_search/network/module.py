"""A network: the parameters of a spec, and a loop over time. The only nn.Module."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network import step as law
from plastic_search.network.kernels.dispatch import known, sequences
from plastic_search.network.pytree import Bag
from plastic_search.network.spec import AlphaShape, Layer, NetworkSpec, Pathway, shapes
from plastic_search.network.state import State, _told, same_shapes
from plastic_search.network.step import LayerParams
from plastic_search.structures import Gates, Shape

__all__ = [
    "Network",
]


class Network(nn.Module):
    """`y, state = net(x, state=None)`: a plastic network, time first.

    Args:
        spec: what to build, with no hole left open.
        inputs: how many numbers the network hears per step.
        seed: of the parameters' start values.
        kernel: what runs it: "reference", "cpu" or "gpu"; None takes the fastest that is known to be right there.
            `plastic-search doctor` tells.

    Raises:
        PlasticSearchError: a hole is left open, a part refuses the shape it is given, or there is not one input.
    """

    def __init__(self, spec: NetworkSpec, inputs: int, seed: int = 0, kernel: str | None = None) -> None:
        super().__init__()
        if not isinstance(spec, NetworkSpec):
            raise PlasticSearchError(f"spec must be a NetworkSpec, but is {_told(spec)}")
        if type(inputs) is not int or inputs < 1:
            raise PlasticSearchError(f"inputs must be a whole number from 1, but is {_told(inputs)}")
        self.kernel = known(kernel)
        self.spec, self.inputs, self.shapes = spec, inputs, shapes(spec, inputs)
        rng = torch.Generator().manual_seed(seed)
        drawn = [_start_params(layer, shape, rng) for layer, shape in zip(spec.layers, self.shapes, strict=True)]
        self.layers = nn.ModuleList(
            Bag(params, {f"structure.{name}" for name in layer.structure.buffers})
            for layer, params in zip(spec.layers, drawn, strict=True)
        )
        self.resolve()

    @property
    def outputs(self) -> int:
        """How many numbers the network says per step."""
        return self.shapes[-1].post

    def parts(self) -> tuple[LayerParams, ...]:
        """The parameters of each layer, nested as its parts draw them."""
        return tuple(bag.tree() for bag in self.bags())

    def resolve(self) -> tuple[law.Ready, ...]:
        """The parameters as one episode uses them: gated and rounded."""
        return law.resolve(self.spec, self.shapes, self.parts())

    def start(self, batch: int) -> State:
        """The state at the start of `batch` episodes."""
        like = next(self.parameters())
        return law.start(self.spec, self.shapes, batch, like, self.resolve())

    def forward(
        self, x: Tensor, state: State | None = None, edit: Callable[[int, State], State] | None = None
    ) -> tuple[Tensor, State]:
        """Run whole episodes.

        Args:
            x: [time, batch, inputs].
            state: where the episodes go on from; None starts them.
            edit: called with the time and the state before each step; what it returns is used instead.

        Returns:
            The outputs [time, batch, outputs], and the state after the last step.

        Raises:
            PlasticSearchError: `x` or `state` has the wrong shape; the message names both.
        """
        self._check(x)
        ready = self.resolve()
        if edit is None and state is None:
            return sequences(self.spec, self.shapes, ready, None, x, self.kernel)
        fresh = law.start(self.spec, self.shapes, x.shape[1], next(self.parameters()), ready)
        now: State = fresh if state is None else same_shapes(state, fresh)
        if edit is None:
            return sequences(self.spec, self.shapes, ready, now, x, self.kernel)
        ys = []
        for t in range(x.shape[0]):
            y, now = law.step(self.spec, self.shapes, ready, edit(t, now), x[t])
            ys.append(y)
        return torch.stack(ys), now

    def connections(self) -> int:
        """How many synapses exist, gates made hard, those from units that do not exist left out."""
        like, said, count = next(self.parameters()), [next(self.parameters()).new_ones(self.inputs)], 0
        for shape, gates in zip(self.shapes, self._gates(), strict=True):
            units = like.new_ones(shape.post) if gates.units is None else gates.units
            heard = torch.cat([law.layer_inputs(shape, said), units[: shape.recurrent]])
            exists = like.new_ones(shape.post, shape.pre) if gates.exists is None else (gates.exists > 0.5).to(like)
            count += int((exists * heard).sum())
            said.append(units)
        return count

    def units(self) -> tuple[int, ...]:
        """How many units of each layer exist."""
        masks = [gates.units for gates in self._gates()]
        return tuple(s.post if m is None else int(m.sum()) for s, m in zip(self.shapes, masks, strict=True))

    def plastic_connections(self) -> int:
        """How many synapses carry a trace, gates made hard."""
        count = 0
        for layer, shape, p in zip(self.spec.layers, self.shapes, self.parts(), strict=True):
            gates = layer.structure.gates(p.structure, shape, p.weight)
            full = shape.post * shape.width
            where = gates.plastic
            if where is None and gates.exists is not None:
                where = gates.exists[:, shape.plastic]
            count += full if where is None else int((where > 0.5).sum())
        return count

    def count(self) -> int:
        """How many numbers training tunes."""
        return sum(p.numel() for p in self.parameters())

    def __repr__(self) -> str:
        """What it is made of, a line a layer."""
        lines = [
            f"Network({self.inputs} -> {self.outputs}, {self.connections()} connections, {self.count()} parameters)"
        ]
        for i, layer in enumerate(self.spec.layers):
            lines.append(f"  layers.{i}: {layer.units} units, {layer.cell}, {layer.structure}")
            if layer.plastic is not Pathway.NONE:
                lines[-1] += f", {layer.plastic.value} plastic by {layer.rule} and {layer.modulation}"
        return "\n".join([*lines, f"  precision: {self.spec.precision}"])

    def _gates(self) -> list[Gates]:
        each = zip(self.spec.layers, self.shapes, self.parts(), strict=True)
        return [layer.structure.gates(p.structure, shape, p.weight) for layer, shape, p in each]

    def bags(self) -> list[Bag]:
        """The parameters of each layer."""
        return list(self.layers)  # type: ignore[arg-type]

    def _check(self, x: Tensor) -> None:
        if not isinstance(x, Tensor):
            raise PlasticSearchError(
                f"x must be a tensor [time, batch, inputs], but is {_told(x)}; `torch.as_tensor` makes one"
            )
        if x.dim() != 3 or x.shape[2] != self.inputs or x.shape[0] < 1:
            raise PlasticSearchError(
                f"x must be [time, batch, inputs] with inputs={self.inputs} and at least one step, "
                f"but has shape {list(x.shape)}"
            )
        like = next(self.parameters())
        if x.dtype != like.dtype:
            raise PlasticSearchError(f"x must be {like.dtype}, as the network's parameters are, but is {x.dtype}")
        if x.device != like.device:
            raise PlasticSearchError(f"x must be on {like.device}, as the network is, but is on {x.device}")


def _start_params(layer: Layer, shape: Shape, rng: Generator) -> LayerParams:
    width = shape.width
    reach = shape.pre**-0.5
    weight = reach * torch.randn(layer.cell.drives, shape.post, shape.pre, generator=rng)
    sizes = {
        AlphaShape.SYNAPSE: (shape.post, width),
        AlphaShape.NEURON: (shape.post, 1),
        AlphaShape.NETWORK: (1, 1),
    }
    alpha = 0.01 * torch.randn(sizes[layer.alpha] if width else (0, 0), generator=rng)
    return LayerParams(
        weight,
        torch.zeros(layer.cell.drives, shape.post),
        alpha,
        layer.rule.params(shape.post, width, rng) if width else (),
        layer.modulation.params(shape.post, rng) if width else (),
        layer.structure.params(shape, rng),
    )
