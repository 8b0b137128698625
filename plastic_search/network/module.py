"""The network as an nn.Module: the parameters of a spec, and the loop over time."""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Generator, Tensor, nn

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.blocks import buffer_names, held_blocks
from plastic_search.network.episodes import run
from plastic_search.network.initial import draw_initial
from plastic_search.network.interventions import Given, Interventions
from plastic_search.network.kernels.dispatch import known
from plastic_search.network.numbers import check_numbers
from plastic_search.network.pytree import Bag
from plastic_search.network.spec import AlphaShape, Layer, NetworkSpec, Pathway, shapes
from plastic_search.network.state import State, checked_batch, describe, same_shapes
from plastic_search.network.step import LayerParams, LayerState, Ready, layer_inputs, resolve, separated, start
from plastic_search.network.validity import warn_of_doubts
from plastic_search.network.watch import Watch
from plastic_search.structures import Gates, Shape

__all__ = ["Network", "check_network"]


class Network(nn.Module):
    """A plastic network: `y, state = net(x, state=None)`, time first.

    Args:
        spec: the architecture; every search parameter must have a value.
        inputs: input size.
        seed: of the initial parameters.
        kernel: "reference", "cpu" or "gpu"; None takes the fastest one that supports the layer and the device
            (`plastic-search doctor` lists them).

    Raises:
        PlasticSearchError: a search parameter has no value, a part refuses the shape of its layer, or `inputs` is not
            a whole number from 1.

    Example:
        spec = NetworkSpec((Layer(32, plastic=Pathway.BOTH), Layer(5)))
        net = Network(spec, inputs=8, seed=0)
        y, state = net(torch.randn(20, 16, 8))  # [time, batch, inputs] to [time, batch, 5]
        y.square().mean().backward()  # through all time steps, traces included
        later, state = net(torch.randn(10, 16, 8), state)  # the same episodes go on
        assert state[0].trace.shape == (16, 32, 8 + 32)  # [batch, post, width of the plastic pathway]

    `plastic_search.network.recording.record` returns what happens inside, at every step.
    """

    def __init__(self, spec: NetworkSpec, inputs: int, seed: int = 0, kernel: str | None = None) -> None:
        super().__init__()
        if not isinstance(spec, NetworkSpec):
            raise PlasticSearchError(f"spec must be a NetworkSpec, but is {describe(spec)}")
        if type(inputs) is not int or inputs < 1:
            raise PlasticSearchError(f"inputs must be a whole number from 1, but is {describe(inputs)}")
        self.kernel = known(kernel)
        self.spec, self.inputs, self.shapes = spec, inputs, shapes(spec, inputs)
        warn_of_doubts(spec)
        self._numbers: torch.dtype | None = None  # the type for which the settings were checked
        drawn = _drawn(spec, self.shapes, torch.Generator().manual_seed(seed))
        buffers = buffer_names(spec, self.shapes, drawn)
        self.layers = nn.ModuleList(Bag(*each) for each in zip(drawn, buffers, strict=True))
        if not self.count():
            raise PlasticSearchError(f"nothing is left to train: held={spec.held} names every parameter")
        self.watch = Watch(spec)
        self.resolve()

    @property
    def outputs(self) -> int:
        """Output size."""
        return self.shapes[-1].post

    def parts(self) -> tuple[LayerParams, ...]:
        """The parameters of each layer, nested as its parts draw them."""
        return tuple(bag.tree() for bag in self.bags())

    def resolve(self) -> tuple[Ready, ...]:
        """The parameters as an episode uses them: gated and rounded."""
        ready = resolve(self.spec, self.shapes, self.parts())
        self.watch.look(self.bags(), ready)
        return ready

    def initial_state(self, batch: int) -> State:
        """The state at the start of `batch` episodes: [batch, ...] in every tensor, all 0 but the noise of rounding.

        Raises:
            PlasticSearchError: `batch` is not a whole number from 0.
        """
        like = next(self.parameters())
        self._check_numbers(like.dtype)
        return State(start(self.spec, self.shapes, checked_batch(batch), like, self.resolve()))

    def forward(
        self, x: Tensor, state: tuple[LayerState, ...] | None = None, **interventions: Unpack[Given]
    ) -> tuple[Tensor, State]:
        """Run whole episodes.

        Args:
            x: [time, batch, inputs].
            state: the state from which the episodes continue; None starts new ones.
            interventions: what is imposed on the episodes, as data; see `interventions.Interventions`.
                lengths [batch]: the steps that each episode has; outputs after its end are 0.
                reset [time, batch] or [time]: an episode begins at this step.
                clear [time, batch] or [time]: before this step all is 0 but traces and states of rules and modulations.
                freeze [time, batch] or [time]: the trace does not change in this step.
                clamp [time, batch] or [time]: the plasticity rate in this step; NaN where the modulation sets it.
                shuffle [time]: the seed of a permutation of the trace's entries before this step; -1 for none.

        Returns:
            The outputs [time, batch, outputs], and the state after the last step of each episode.

        Raises:
            PlasticSearchError: an argument has the wrong shape, and the message names both; or a setting is a number
                that the network's tensors do not hold.
        """
        self.check(x)
        ready = self.resolve()
        begun = None
        if state is not None:
            begun = same_shapes(state, start(self.spec, self.shapes, x.shape[1], next(self.parameters()), ready))
        given = Interventions.of(interventions)
        return run(self.spec, self.shapes, ready, begun, x, self.kernel, given)

    def connections(self) -> int:
        """Number of synapses that exist, gates thresholded at 0.5; those from units that do not exist are excluded."""
        return sum(int(mask.sum()) for mask in self.existing())

    def existing(self) -> tuple[Tensor, ...]:
        """Of each layer, 1 where a synapse exists and 0 elsewhere [post, pre], as `connections` counts them."""
        like, masks = next(self.parameters()), []
        units = [like.new_ones(self.inputs)]  # 1 for each unit that exists, of the input and of each layer
        for shape, gates in zip(self.shapes, self._gates(), strict=True):
            own = like.new_ones(shape.post) if gates.units is None else gates.units
            pre = torch.cat([separated(shape, layer_inputs(shape, units))[0], own[: shape.recurrent]])
            exists = like.new_ones(shape.post, shape.pre) if gates.exists is None else (gates.exists > 0.5).to(like)
            masks.append((exists * pre).detach())
            units.append(own)
        return tuple(masks)

    def units(self) -> tuple[int, ...]:
        """Number of units of each layer that exist."""
        masks = [gates.units for gates in self._gates()]
        return tuple(s.post if m is None else int(m.sum()) for s, m in zip(self.shapes, masks, strict=True))

    def plastic_connections(self) -> int:
        """Number of synapses that have a trace, gates thresholded at 0.5."""
        return sum(int(mask.sum()) for mask in self.plastic())

    def plastic(self) -> tuple[Tensor, ...]:
        """Of each layer, 1 where a synapse has a trace and 0 elsewhere [post, width of the plastic pathway]."""
        like, masks = next(self.parameters()), []
        for shape, gates in zip(self.shapes, self._gates(), strict=True):
            plastic = gates.plastic
            if plastic is None and gates.exists is not None:
                plastic = gates.exists[:, shape.plastic]
            masks.append(like.new_ones(shape.post, shape.width) if plastic is None else (plastic > 0.5).to(like))
        return tuple(masks)

    def count(self) -> int:
        """Number of parameters, in scalars; those that are held are not counted, nor are buffers."""
        held = held_blocks(self.spec, self.shapes, self.parts())
        return sum(p.numel() for p in self.parameters()) - sum(int(mask.sum()) for mask in held.values())

    def __repr__(self) -> str:
        """A summary, with one line for each layer."""
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

    def check(self, x: Tensor) -> None:
        """Refuse inputs that are not [time, batch, inputs], of the network's type and on its device."""
        if not isinstance(x, Tensor):
            raise PlasticSearchError(
                f"x must be a tensor [time, batch, inputs], but is {describe(x)}; `torch.as_tensor` makes one"
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
        self._check_numbers(x.dtype)

    def _check_numbers(self, dtype: torch.dtype) -> None:
        if self._numbers is not dtype:
            check_numbers(self.spec, dtype)
            self._numbers = dtype


def check_network(net: Any) -> None:
    """Refuse what is no `Network`.

    Raises:
        PlasticSearchError: it is something else; the message says what.
    """
    if not isinstance(net, Network):
        raise PlasticSearchError(f"net must be a Network, but is {describe(net)}")


def _drawn(spec: NetworkSpec, shapes: tuple[Shape, ...], rng: Generator) -> list[LayerParams]:
    """The initial parameters of each layer."""
    try:
        drawn = [_initial(layer, shape, rng) for layer, shape in zip(spec.layers, shapes, strict=True)]
        return draw_initial(spec, shapes, drawn, rng) if spec.initial else drawn
    except RuntimeError:
        check_numbers(spec, torch.get_default_dtype())  # which torch does not draw numbers beyond
        raise


def _initial(layer: Layer, shape: Shape, rng: Generator) -> LayerParams:
    """Initial parameters: weights of standard deviation 1 / sqrt(pre), or the structure's; alphas of 0.01, biases 0."""
    width = shape.width
    weight = shape.pre**-0.5 * torch.randn(layer.cell.drives, shape.post, shape.pre, generator=rng)
    weight[layer.cell.plastic] = layer.structure.initial(weight[layer.cell.plastic], shape)
    sizes = {
        AlphaShape.SYNAPSE: (shape.post, width),
        AlphaShape.NEURON: (shape.post, 1),
        AlphaShape.NETWORK: (1, 1),
    }
    alpha = 0.01 * torch.randn(sizes[layer.alpha] if width else (0, 0), generator=rng)
    return LayerParams(
        weight,
        torch.zeros(layer.cell.sums, shape.post),
        alpha,
        layer.cell.params(shape.post, rng),
        layer.rule.params(shape.post, width, rng) if width else (),
        layer.modulation.params(shape.post, width, rng) if width else (),
        layer.structure.params(shape, rng),
    )
