"""Networks in C are the reference step, any part and precision, without a warning or undefined behaviour."""

from __future__ import annotations

import itertools
import math
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plastic_search.cells.alif import ALIF
from plastic_search.cells.delayed import Delayed
from plastic_search.cells.gru import GRU
from plastic_search.cells.lstm import LSTM
from plastic_search.cells.softmax import Softmax
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import discover, open_set
from plastic_search.export import c
from plastic_search.export.c import writing
from plastic_search.export.c.network import source
from plastic_search.export.c.packing import packed
from plastic_search.export.c.running import CompiledStep, compiled, compiler
from plastic_search.export.parity import Parity, compared
from plastic_search.modulations import FanOut
from plastic_search.modulations.deviation import Deviation
from plastic_search.modulations.from_layer import FromLayer
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.several import Several
from plastic_search.network.module import Network
from plastic_search.network.spec import AlphaShape, Bound, Layer, NetworkSpec, Pathway
from plastic_search.precisions import Precision, Rounding
from plastic_search.precisions.floating import Floating
from plastic_search.precisions.integer import Integer
from plastic_search.rules import Activity, Change, Rule
from plastic_search.rules.abcd import ABCD
from plastic_search.rules.bcm import BCM
from plastic_search.rules.delta import Delta
from plastic_search.rules.hebb import Hebb
from plastic_search.rules.oja import Oja
from plastic_search.rules.pair_stdp import PairSTDP
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated

needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C compiler here")
SANITIZED = ("-O0", "-fsanitize=undefined,address", "-fno-sanitize-recover=all")
CELLS, RULES, MODULATIONS, STRUCTURES = (
    [kind() for kind in discover(open_set(name)).values()] for name in ("cells", "rules", "modulations", "structures")
)
MODULATIONS.append(Retroactive(fan_out=FanOut.NETWORK))
STRUCTURES.append(Gated(density=0.3, plastic=0.2))
_FLOAT, FIRST = Floating(), Layer(5, structure=FeedForward())


def layer_of(turn: int, **parts: Any) -> Layer:
    """A plastic layer of the parts whose turn it is."""

    def member(of: Sequence[Any]) -> Any:
        return of[turn % len(of)]

    found: dict[str, Any] = {"cell": member(CELLS), "rule": member(RULES), "modulation": member(MODULATIONS)}
    found |= {"structure": member(STRUCTURES)} | parts
    recurrent = found["structure"].recurrent
    pathway = member((Pathway.BOTH, Pathway.RECURRENT)) if recurrent else Pathway.INPUT
    found = {"bound": member((Bound.HARD, Bound.SOFT, Bound.SOFT))} | found
    return Layer(3, plastic=pathway, alpha=member(tuple(AlphaShape)), skip=(1,), limit=0.5 + turn % 2, **found)


def network(layers: Sequence[Layer], precision: Precision = _FLOAT, seed: int = 0) -> Network:
    """A network whose parameters are not those of the start."""
    net, rng = Network(NetworkSpec((FIRST, *layers), precision), 4, seed), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=rng))
    return net


def parity(net: Network, folder: Path, steps: int = 30, flags: tuple[str, ...] = SANITIZED) -> Parity:
    """How closely the C of a network follows it, compiled by `flags`."""
    code = source(net, "network")
    texts = {"network.c": code.code, "network.h": code.header, "check.c": writing.template("check.c", "network")}
    for name, text in texts.items():
        (folder / name).write_text(text)
    program = compiled([folder / "check.c", folder / "network.c"], folder / "check", flags)
    with CompiledStep(program, code, net.inputs, net.outputs) as step:
        return compared(net, step, steps, seed=1)


MIXED = (  # what differs most, each in one of five layers
    {"cell": LSTM(), "rule": PairSTDP(), "modulation": Retroactive(fan_out=FanOut.SYNAPSE)},
    {"cell": Softmax(), "rule": BCM(), "modulation": FromLayer()},
    {"cell": GRU(), "rule": Delta(), "modulation": Deviation(), "bound": Bound.READ},
    {"cell": ALIF(), "rule": ABCD(), "modulation": Several()},
)


@needs_compiler
def test_parts_are_in_c_what_they_are_here(tmp_path: Path) -> None:
    found = parity(network([layer_of(k, **parts) for k, parts in enumerate(MIXED)]), tmp_path)
    assert found.steps == 30
    assert found.stepwise <= 1e-6


@needs_compiler
def test_levels_are_those_of_the_precision(tmp_path: Path) -> None:
    net = network(
        [Layer(4, Delayed(), Hebb(0.5), plastic=Pathway.BOTH)], Integer(4, 4, 4, Rounding.FEEDBACK, activity=3)
    )
    found = parity(net, tmp_path)
    assert (found.steps, found.ties) == (30, 0)
    assert found.stepwise <= 1e-6


@needs_compiler
def test_every_pair_of_parts(every: bool, tmp_path: Path) -> None:
    if not every:
        pytest.skip("with --every")
    side = max(map(len, (CELLS, RULES, MODULATIONS)))
    each = [
        layer_of(
            i + j,
            cell=CELLS[i % len(CELLS)],
            rule=RULES[j % len(RULES)],
            modulation=MODULATIONS[(i + j) % side % len(MODULATIONS)],
            bound=list(Bound)[(i + 2 * j) % 4],
        )
        for i, j in itertools.product(range(side), repeat=2)
    ]
    for first in range(0, len(each), 3):
        found = parity(network(each[first : first + 3], seed=first), tmp_path, 10, ("-O0",))
        assert found.stepwise <= 2e-6, first


@needs_compiler
def test_the_program_beside_it_goes_on_where_it_ended(tmp_path: Path) -> None:
    net = network([Layer(6, rule=Hebb(), plastic=Pathway.BOTH)], Integer())
    written = c.write(net, tmp_path / "device" / "tiny.c", steps=20)
    assert written.parity is not None
    folder = written.file.parent
    assert {p.name for p in folder.iterdir()} == {"tiny.c", "tiny.h", "main.c", "Makefile"}
    program = compiled([folder / "main.c", folder / "tiny.c"], tmp_path / "main", SANITIZED)

    def run(text: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [str(program), *options]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False, cwd=tmp_path)

    x = torch.randn(12, 1, 4, generator=torch.Generator().manual_seed(3))
    lines = [" ".join(f"{v:.9g}" for v in row.tolist()) for row in x[:, 0]]
    whole = run("\n".join(lines)).stdout
    with torch.no_grad():
        y, _ = net(x)
    found = torch.tensor([[float(v) for v in line.split()] for line in whole.splitlines()])
    torch.testing.assert_close(found, y[:, 0], rtol=0, atol=1e-6)
    first = run("\n".join(lines[:7]), "--save", "state").stdout
    assert first + run("\n".join(lines[7:]), "--restore", "state").stdout == whole
    bytes_ = (tmp_path / "state").read_bytes()
    for damaged in (bytes_[:-1], bytes_[:20] + b"!" + bytes_[21:], b"!" + bytes_[1:]):
        (tmp_path / "state").write_bytes(damaged)
        refused = run("", "--restore", "state")
        assert (refused.returncode, refused.stderr) == (1, "main: no saved state of this network: state\n")
    assert run("1 2 3 4 5").returncode == run("1 2 3 four").returncode == run("", "--help").returncode == 1


@needs_compiler
def test_integers_are_those_of_the_golden_model(tmp_path: Path) -> None:
    layers = [
        Layer(6, rule=Oja(), plastic=Pathway.BOTH),
        Layer(3, plastic=Pathway.INPUT, bound=Bound.SOFT, structure=Gated(0.5)),
    ]
    net = network(layers, Integer(4, 4, 4, Rounding.FEEDBACK))
    written = c.write(net, tmp_path / "network.c", arithmetic=c.Arithmetic.INTEGER)
    assert (written.parity, written.checked) == (None, 200)
    assert "float" not in (tmp_path / "network.c").read_text().replace("plastic", "")
    program = compiled([tmp_path / "main.c", tmp_path / "network.c"], tmp_path / "main", SANITIZED)
    x = torch.randn(20, 1, 4, generator=torch.Generator().manual_seed(3))
    text = "\n".join(" ".join(f"{v:.9g}" for v in row.tolist()) for row in x[:, 0])
    done = subprocess.run([str(program)], input=text, capture_output=True, text=True, check=True)
    found = torch.tensor([[float(v) for v in line.split()] for line in done.stdout.splitlines()])
    with torch.no_grad():
        torch.testing.assert_close(found, net(x)[0][:, 0], rtol=0, atol=0.03)


@needs_compiler
def test_any_parts_are_in_integers_what_their_golden_model_is(tmp_path: Path) -> None:
    several = [layer_of(k, **parts) for k, parts in enumerate(MIXED) if not isinstance(parts["cell"], Softmax)]
    sparse = layer_of(0, cell=GRU(), rule=Hebb(), structure=Gated(density=0.3, plastic=0.2))
    several.append(replace(sparse, units=12, plastic=Pathway.RECURRENT))  # whose own inputs alone are plastic
    net = network([replace(layer, bound=Bound.SOFT) for layer in several], Integer(4, 4, 4, Rounding.STOCHASTIC))
    assert c.write(net, tmp_path / "network.c", 60, arithmetic=c.Arithmetic.INTEGER).checked == 60


@needs_compiler
@pytest.mark.parametrize(
    ("bits", "units", "by"), [(2, 9, "pack2"), (2, 11, "keep2"), (4, 10, "pack4"), (4, 11, "keep4")]
)
def test_codes_of_few_bits_are_packed(bits: int, units: int, by: str, tmp_path: Path) -> None:
    values = np.array([1, -1, 0, 1, -1, 1, 1])
    assert packed(values, 2).tolist() == [0b01001101, 0b00010111]
    assert packed(values * 7, 4).tolist() == [0x97, 0x70, 0x79, 0x07]
    assert packed(values[values != 0], 1).tolist() == [0b00110101]
    precision = Integer(bits, bits, bits, Rounding.STOCHASTIC)
    net = network([Layer(units, rule=Delta(), plastic=Pathway.BOTH, alpha=AlphaShape.NETWORK)], precision)
    same = Network(replace(net.spec, precision=Integer()), 4)
    same.load_state_dict(net.state_dict())
    code, wide = (source(each, "n", c.Arithmetic.INTEGER) for each in (net, same))
    held, before = (next(m for m in each.members if m.path == "layers.1.trace") for each in (code, wide))
    assert len(held.start) == math.ceil(len(before.start) * bits / 8)
    assert code.parameters < wide.parameters
    assert f"{by}(state->" in code.code
    assert c.write(net, tmp_path / "network.c", 60, arithmetic=c.Arithmetic.INTEGER).checked == 60


def test_what_integers_cannot_is_refused_by_name(tmp_path: Path) -> None:
    for layer, precision, reason in (
        (
            Layer(3, plastic=Pathway.BOTH),
            Integer(8, 8, None),
            r"layers\.1 has no form in integers: its trace ",
        ),
        (Layer(3, Softmax()), Integer(), r"layers\.1, of Softmax, has no form in integers: it uses exp"),
    ):
        with pytest.raises(PlasticSearchError, match=reason):
            c.write(network([layer], precision), tmp_path / "network.c", arithmetic=c.Arithmetic.INTEGER)
    net = network([Layer(3, plastic=Pathway.BOTH)], Integer())
    with torch.no_grad():
        net.parts()[1].modulation.weight.fill_(3e4)  # three of them, times an output of 1
    with pytest.raises(PlasticSearchError, match=r"layers\.1.* a sum in it may reach 9e\+04, and integers here hold"):
        c.write(net, tmp_path / "network.c", arithmetic=c.Arithmetic.INTEGER)


def test_connections_that_do_not_exist_are_not_stored(tmp_path: Path) -> None:
    dense, sparse = (
        source(network([Layer(20, plastic=Pathway.BOTH, structure=s)]), "n") for s in (Gated(), Gated(0.2, 0.1))
    )
    held = next(m for m in sparse.members if m.path == "layers.1.trace")
    net = network([Layer(20, plastic=Pathway.BOTH, structure=Gated(0.2, 0.1))])
    alpha = net.resolve()[1].alpha
    assert alpha is not None
    assert len(held.start) == int((alpha != 0).sum())
    assert sparse.state < 0.3 * dense.state
    assert sparse.parameters < 0.5 * dense.parameters


def test_what_has_no_form_in_c_is_refused_by_name(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Centred(Rule):
        """dH = -mean(H)"""

        def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
            return Change(dense=-seen.trace.mean((1, 2), keepdim=True).expand_as(seen.trace)), state

    with pytest.raises(
        PlasticSearchError, match=r"layers\.1, of RNN, Centred and Simple, has no form in C: .*sum over"
    ):
        c.write(network([Layer(3, rule=Centred(), plastic=Pathway.BOTH)]), tmp_path / "network.c")
    with pytest.raises(PlasticSearchError, match=r"names functions in C"):
        c.write(network([]), tmp_path / "main.c")
    assert not list(tmp_path.iterdir())


def test_without_a_compiler_nothing_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "compiler", lambda: None)
    (tmp_path / "main.c").write_text("mine")
    written = c.write(network([]), tmp_path / "network.c")
    assert (written.parity, written.kept) == (None, ("main.c",))
    assert (tmp_path / "main.c").read_text() == "mine"
