"""What is exported is the network: any part, any precision, to the last integer; and what is not, is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor

from plastic_search.cells import Cell, Response
from plastic_search.cells.linear import Linear
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part, discover, open_set
from plastic_search.export import bundle, nir
from plastic_search.export import onnx as target
from plastic_search.export.onnx import export_step
from plastic_search.export.parameters import Codes, parameters, prepared
from plastic_search.export.parity import ALLOWED, check
from plastic_search.export.runner import open_session
from plastic_search.export.sequence import export_sequence
from plastic_search.modulations import FanOut
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.network import step as reference
from plastic_search.network.module import Network
from plastic_search.network.operations import count_operations
from plastic_search.network.spec import AlphaShape, Bound, Layer, NetworkSpec, Pathway
from plastic_search.network.state import named
from plastic_search.precisions import Rounding
from plastic_search.precisions.floating import Floating
from plastic_search.precisions.integer import Integer
from plastic_search.rules import Activity, Change, Outer, Rule
from plastic_search.rules.hebb import Hebb
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.structures.graph import Graph
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.topology.shrink import shrink

pytestmark = pytest.mark.usefixtures("quick_code")
INPUTS = 5
NAMES = ("rules", "cells", "modulations", "structures")
FOUND: Any = {name: [kind() for kind in discover(open_set(name)).values()] for name in NAMES}
FOUND["modulations"].append(Retroactive(fan_out=FanOut.NETWORK))
FOUND["structures"] += [Gated(density=0.6, plastic=0.5), Graph(fixed=((0, 1), (2, 11)), plastic=((1, 3), (2, 14)))]
PRECISIONS = [Integer(), Floating(), Integer(4, 4, 8), Integer(3, 8, 5, Rounding.NEAREST), Integer(8, None, None)]
PRECISIONS += [Integer(8, 8, 8, activity=8), Integer(None, None, None, activity=3)]


def layer_of(turn: int) -> Layer:
    """A plastic layer of the parts whose turn it is: over enough turns, each is once in a layer."""

    def member(of: Any) -> Any:
        return list(of)[turn % len(list(of))]

    structure, bound = member(FOUND["structures"]), member((Bound.HARD, Bound.SOFT))
    pathways = [p for p in Pathway if p is not Pathway.NONE and (structure.recurrent or p is Pathway.INPUT)]
    return Layer(
        units=3, cell=member(FOUND["cells"]), rule=member(FOUND["rules"]), modulation=member(FOUND["modulations"]),
        structure=structure, plastic=Pathway.BOTH if structure.recurrent else member(pathways), bound=bound,
        alpha=member(AlphaShape), skip=(1,), limit=0.5 + turn % 2,
    )  # fmt: skip


def network(layer: Layer, precision: Any = None, seed: int = 0) -> Network:
    """A layer of 7 that is not plastic, then `layer`; its parameters are not those of the start."""
    spec = NetworkSpec((Layer(units=7, structure=FeedForward()), layer), precision or Integer())
    net, rng = Network(spec, INPUTS, seed), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=rng))
    return net


PLAIN = Layer(units=3, plastic=Pathway.BOTH, skip=(1,))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, Path]:
    """A network with a stochastically rounded trace, and its file."""
    net, path = network(PLAIN, Integer(4, 8, 8)), tmp_path_factory.mktemp("plain") / "step.onnx"
    export_step(net, path)
    return net, path


@pytest.fixture
def _own_parts() -> Iterator[None]:
    """Parts that a test defines are forgotten after it."""
    before = dict(Part.kinds)
    yield
    Part.kinds.clear()
    Part.kinds.update(before)


@pytest.mark.parametrize("turn", range(max(len(PRECISIONS), *map(len, FOUND.values()))))
def test_every_part_exports_exactly(turn: int, tmp_path: Path) -> None:
    net = network(layer_of(turn), PRECISIONS[turn % len(PRECISIONS)], turn)
    parity = export_step(net, tmp_path / "step.onnx", steps=60, seed=turn)
    assert parity.steps == 60
    assert parity.stepwise <= ALLOWED
    assert parity.largest <= ALLOWED
    assert parity.compared == 60 or parity.free_ties > 0
    assert export_sequence(net, tmp_path / "step.onnx", tmp_path / "sequence.onnx") <= 1e-6


def test_a_float_trace_without_a_bound_exports(tmp_path: Path) -> None:
    parity = export_step(network(replace(PLAIN, bound=Bound.NONE), Floating()), tmp_path / "step.onnx")
    assert (parity.compared, parity.ties) == (200, 0)
    assert parity.largest <= 2e-6


@pytest.mark.parametrize(
    ("bits", "kind"), [(2, TensorProto.INT4), (8, TensorProto.INT8), (16, TensorProto.INT16)]
)  # fmt: skip
def test_rounded_parameters_are_integers_in_the_file(bits: int, kind: int, tmp_path: Path) -> None:
    net = network(replace(PLAIN, structure=Gated(density=0.6, plastic=0.5)), Integer(bits, bits, bits))
    export_step(net, tmp_path / "step.onnx")
    graph = onnx.load(tmp_path / "step.onnx").graph
    kept = {each.name: each for each in graph.initializer}
    for i, ready in enumerate(prepared(net)):
        for name, value in (("weight", ready.weight), ("alpha", ready.alpha)):
            if value is None:
                continue
            codes, step = kept[f"layers.{i}.{name}.codes"], kept[f"layers.{i}.{name}.step"]
            assert codes.data_type == kind
            assert len(codes.raw_data) == -(-value.numel() * max(bits, 4) // 8)
            assert f"layers.{i}.{name}" not in kept
            restored = numpy_helper.to_array(codes).astype(np.float32) * numpy_helper.to_array(step)
            assert np.array_equal(restored, value.numpy())
    assert sum(node.op_type == "DequantizeLinear" for node in graph.node) == 3


def test_onnxruntime_dequantizes_to_the_very_floats(plain: tuple[Network, Path], tmp_path: Path) -> None:
    net, path = plain
    model = onnx.load(path)
    ready = prepared(net)
    for i in range(2):
        shape = list(ready[i].weight.shape)
        info = onnx.helper.make_tensor_value_info(f"layers.{i}.weight", onnx.TensorProto.FLOAT, shape)
        model.graph.output.append(info)
    onnx.save(model, tmp_path / "more.onnx")
    session = open_session((tmp_path / "more.onnx").read_bytes())
    feeds = {each.name: np.zeros([1, *each.shape[1:]], np.float32) for each in session.get_inputs()}
    *_, first, second = session.run(None, feeds)
    assert np.array_equal(first, ready[0].weight.numpy())
    assert np.array_equal(second, ready[1].weight.numpy())


def test_gated_alpha_keeps_the_step_it_was_rounded_with() -> None:
    net = network(replace(PLAIN, structure=Gated(density=1.0, plastic=0.2)), Integer(4, 4, 8))
    codes, ready = parameters(net)["layers.1.alpha"], prepared(net)[1].alpha
    assert isinstance(codes, Codes)
    assert ready is not None
    assert torch.equal(codes.value, ready)
    full = net.parts()[1].alpha
    assert float(codes.step) == pytest.approx(float(full.detach().abs().max()) / 7)


def test_inputs_and_outputs_are_the_state_by_name(plain: tuple[Network, Path]) -> None:
    net, path = plain
    graph, state = onnx.load(path).graph, named(net.initial_state(1))
    assert [each.name for each in graph.input] == ["x", *state]
    assert [each.name for each in graph.output] == ["y", *(f"{name}.next" for name in state)]
    assert all(each.type.tensor_type.shape.dim[0].dim_param == "batch" for each in (*graph.input, *graph.output))


@pytest.mark.parametrize("batch", [1, 2, 17])
def test_any_batch_runs(batch: int, plain: tuple[Network, Path]) -> None:
    net, path = plain
    x = torch.randn(batch, INPUTS, generator=torch.Generator().manual_seed(batch))
    start = named(net.initial_state(batch))
    y, after = net(x.unsqueeze(0))
    values = open_session(path.read_bytes()).run(
        None, {"x": x.numpy()} | {name: value.numpy() for name, value in start.items()}
    )
    for value, wanted in zip(values, [y[0], *named(after).values()], strict=True):
        torch.testing.assert_close(torch.from_numpy(value), wanted.detach(), atol=1e-6, rtol=0)


def test_the_file_is_the_same_each_time_and_names_no_machine(plain: tuple[Network, Path], tmp_path: Path) -> None:
    net, path = plain
    export_step(net, tmp_path / "again.onnx", steps=1)
    data = path.read_bytes()
    assert (tmp_path / "again.onnx").read_bytes() == data
    for word in (str(Path(__file__).parent), str(Path(target.__file__).parent), "stack_trace", ".py"):
        assert word.encode() not in data


def test_another_rounding_is_refused(plain: tuple[Network, Path]) -> None:
    spec = replace(plain[0].spec, precision=Integer(4, 8, 8, Rounding.NEAREST))
    with pytest.raises(PlasticSearchError, match="rounds in another way"):
        check(_with(spec, plain[0]), plain[1])


@pytest.mark.parametrize("rounding", list(Rounding))
def test_another_rounding_of_fine_levels_is_refused(rounding: Rounding, tmp_path: Path) -> None:
    bits = 12 if rounding is Rounding.FEEDBACK else 16  # and 4 of what is left over
    net = network(PLAIN, Integer(8, 8, bits, rounding))
    assert export_step(net, tmp_path / "step.onnx").steps == 200
    assert export_sequence(net, tmp_path / "step.onnx", tmp_path / "sequence.onnx") == 0.0
    other = next(r for r in Rounding if r is not rounding)
    with pytest.raises(PlasticSearchError, match=r"rounds in another way|must not be used"):
        check(_with(replace(net.spec, precision=Integer(8, 8, bits, other)), net), tmp_path / "step.onnx")


@pytest.mark.parametrize("name", ["layers.0.bias", "layers.1.weight.step", "layers.1.modulation.fan"])
def test_a_changed_parameter_is_refused(name: str, plain: tuple[Network, Path], tmp_path: Path) -> None:
    model = onnx.load(plain[1])
    kept = next(each for each in model.graph.initializer if each.name == name)
    kept.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(kept) * np.float32(1.01), name))
    onnx.save(model, tmp_path / "step.onnx")
    refused = r"differs from the network's by \d\.\de-0\d at (layers|y)|one level away"
    with pytest.raises(PlasticSearchError, match=refused):
        check(plain[0], tmp_path / "step.onnx")


def test_another_rule_is_refused(plain: tuple[Network, Path]) -> None:
    first, second = plain[0].spec.layers
    spec = replace(plain[0].spec, layers=(first, replace(second, rule=Hebb(decay=0.1))))
    with pytest.raises(PlasticSearchError, match=r"layers\.1\.trace|rounds"):
        check(_with(spec, plain[0]), plain[1])


def test_the_step_of_another_network_is_refused(plain: tuple[Network, Path]) -> None:
    with pytest.raises(PlasticSearchError, match=r"the network's step has .*eligibility.*another network"):
        check(network(replace(PLAIN, modulation=Retroactive())), plain[1])
    with pytest.raises(PlasticSearchError, match="cannot run the exported step"):
        check(network(replace(PLAIN, units=4)), plain[1])


def test_a_network_that_amplifies_its_last_bits_is_not_blamed_on_the_export(tmp_path: Path) -> None:
    net = Network(NetworkSpec((Layer(units=30, plastic=Pathway.BOTH),)), INPUTS)
    with torch.no_grad():
        net.parts()[0].weight.mul_(5.0)
    parity = export_step(net, tmp_path / "step.onnx")
    assert 0 < parity.compared < parity.steps
    assert parity.largest <= ALLOWED
    assert (parity.ties, parity.free_ties) == (0, 0), "not a tie, of which a float trace has none"


def test_a_network_that_overflows_is_compared_until_then(tmp_path: Path) -> None:
    net = Network(NetworkSpec((Layer(units=7, cell=Linear()),)), INPUTS)
    with torch.no_grad():
        net.parts()[0].weight.mul_(1000.0)
    parity = export_step(net, tmp_path / "step.onnx")
    assert 0 < parity.steps < 200
    with torch.no_grad():
        net.parts()[0].weight.fill_(math.inf)
    with pytest.raises(PlasticSearchError, match="first step is not finite"):
        check(net, tmp_path / "step.onnx")


@pytest.mark.usefixtures("_own_parts")
def test_a_part_of_ones_own_exports_with_its_own_start(tmp_path: Path) -> None:
    class LeakState(NamedTuple):
        level: Tensor  # [batch, post]

    @dataclass(frozen=True)
    class Leak(Cell):
        """v' = v / 2 + drive, y = max(0, v')"""

        def state(self, batch: int, post: int, like: Tensor) -> LeakState:
            return LeakState(like.new_full((batch, post), 0.25))

        def step(self, params: tuple[()], state: LeakState, drive: Tensor) -> tuple[LeakState, Response]:
            level = state.level / 2 + drive[:, 0]
            return LeakState(level), Response(level.relu(), level.relu())

    net = network(replace(PLAIN, cell=Leak()))
    assert export_step(net, tmp_path / "step.onnx", steps=50).stepwise <= ALLOWED


@pytest.mark.usefixtures("_own_parts")
def test_a_sum_of_products_exports_as_its_operations(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Summed(Rule):
        """dH = post (x) pre, times the episode's recall, in Einstein's notation"""

        def step(self, params: tuple[()], state: tuple[()], seen: Activity) -> tuple[Change, tuple[()]]:
            post = torch.einsum("bm,bn->bm", seen.post, seen.recall)
            return Change((Outer(post, torch.einsum("bn", seen.pre)),)), state

    net = network(replace(PLAIN, rule=Summed()))
    assert export_step(net, tmp_path / "step.onnx", steps=50).stepwise <= ALLOWED
    assert "Einsum" not in {node.op_type for node in onnx.load(tmp_path / "step.onnx").graph.node}


@pytest.mark.usefixtures("_own_parts")
def test_a_step_that_tracing_would_freeze_is_refused(tmp_path: Path) -> None:
    calls: list[int] = []

    @dataclass(frozen=True)
    class Moody(Cell):
        """y = n drive, n counting the calls"""

        def step(self, params: tuple[()], state: tuple[()], drive: Tensor) -> tuple[tuple[()], Response]:
            calls.append(1)
            y = (drive[:, 0] * len(calls)).tanh()
            return state, Response(y, y)

    with pytest.raises(PlasticSearchError, match=r"differs from the network's by .* at "):
        export_step(network(replace(PLAIN, cell=Moody())), tmp_path / "step.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_own_parts")
def test_a_step_that_cannot_be_traced_is_refused(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Choosy(Cell):
        """y = |drive| by asking its sign"""

        def step(self, params: tuple[()], state: tuple[()], drive: Tensor) -> tuple[tuple[()], Response]:
            y = drive[:, 0] if drive.sum() > 0 else -drive[:, 0]
            return state, Response(y, y)

    with pytest.raises(PlasticSearchError, match="cannot be traced for ONNX"):
        export_step(network(replace(PLAIN, cell=Choosy())), tmp_path / "step.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_stays_where_an_export_fails(plain: tuple[Network, Path], tmp_path: Path) -> None:
    path = tmp_path / "step.onnx"
    path.write_text("old")
    with pytest.raises(PlasticSearchError, match="only float32"):
        export_step(network(PLAIN).double(), path)
    with pytest.raises(PlasticSearchError, match="at least one step"):
        export_step(plain[0], path, steps=0)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["step.onnx"]


def test_what_is_no_network_is_named(tmp_path: Path) -> None:
    given: Any = PLAIN
    for use in (
        lambda: export_step(given, tmp_path / "step.onnx"),
        lambda: bundle.write(given, tmp_path / "bundle", task=PatternCompletion(), about={}),
        lambda: nir.write(given, tmp_path / "net.nir"),
        lambda: shrink(given),
        lambda: count_operations(given, torch.zeros(1, 1, 1)),
    ):
        with pytest.raises(PlasticSearchError, match="net must be a Network, but is one of type Layer"):
            use()
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(plain: tuple[Network, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlasticSearchError, match=r"cannot write .*step\.onnx.*another folder"):
        export_step(plain[0], tmp_path / "file" / "step.onnx")


def test_what_is_no_onnx_file_is_named(plain: tuple[Network, Path], tmp_path: Path) -> None:
    (tmp_path / "step.onnx").write_text("nothing")
    with pytest.raises(PlasticSearchError, match=r"step\.onnx is refused"):
        check(plain[0], tmp_path / "step.onnx")


@pytest.mark.usefixtures("_own_parts")
def test_a_parameter_that_has_the_name_of_a_state_is_refused(tmp_path: Path) -> None:
    class Level(NamedTuple):
        level: Tensor

    @dataclass(frozen=True)
    class Twice(Cell):
        """y = drive + level of the unit, level' = y"""

        def params(self, post: int, rng: torch.Generator) -> Level:
            return Level(torch.zeros(post))

        def state(self, batch: int, post: int, like: Tensor) -> Level:
            return Level(like.new_zeros(batch, post))

        def step(self, params: Level, state: Level, drive: Tensor) -> tuple[Level, Response]:
            y = drive[:, 0] + params.level
            return Level(y), Response(y, y)

    with pytest.raises(PlasticSearchError, match=r"layers\.1\.cell\.level is both a parameter and a state"):
        export_step(network(replace(PLAIN, cell=Twice())), tmp_path / "step.onnx")


@pytest.mark.usefixtures("_own_parts")
def test_a_step_that_no_runner_takes_is_refused(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Convolved(Cell):
        """y = drive, averaged over neighbours"""

        def step(self, params: tuple[()], state: tuple[()], drive: Tensor) -> tuple[tuple[()], Response]:
            y = torch.nn.functional.avg_pool1d(drive, 3, 1, 1)[:, 0]
            return state, Response(y, y)

    with pytest.raises(PlasticSearchError, match="it has the operation 'AveragePool', which a step may not have"):
        export_step(network(replace(PLAIN, cell=Convolved())), tmp_path / "step.onnx")


def test_the_network_is_left_as_it_was(plain: tuple[Network, Path]) -> None:
    net, x = plain[0], torch.ones(2, 3, INPUTS)
    fresh = _with(net.spec, net)
    assert torch.equal(net(x)[0], fresh(x)[0])
    assert all(p.requires_grad for p in net.parameters())
    assert reference.resolve(net.spec, net.shapes, net.parts())[0].weight.requires_grad


def _with(spec: NetworkSpec, net: Network) -> Network:
    """A network of another spec with the parameters of `net`."""
    copy = Network(spec, INPUTS)
    copy.load_state_dict(net.state_dict())
    return copy
