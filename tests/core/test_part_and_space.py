"""Parts are strict values that JSON carries; a space is a part with holes, each with one address."""

from __future__ import annotations

import re
import sys
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import optuna
import pytest

from plastic_search.cells.lif import LIF
from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.cells.rnn import RNN
from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.part import Part, SearchParameter, discover, equation, open_set
from plastic_search.core.space import choice, each, fill, integer, override, real, search_parameters
from plastic_search.experiments.comparison import Change
from plastic_search.modulations import FanOut
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.precisions import Rounding
from plastic_search.precisions.floating import Floating
from plastic_search.precisions.integer import Integer
from plastic_search.rules import Rule
from plastic_search.rules.bcm import BCM
from plastic_search.rules.delta import Delta
from plastic_search.rules.hebb import Hebb
from plastic_search.rules.oja import Oja
from plastic_search.structures.dense import Dense
from plastic_search.structures.gated import Gated
from plastic_search.structures.self_recurrent import SelfRecurrent

SPACE = NetworkSpec(
    layers=(
        Layer(units=integer(8, 64, log=True), cell=choice(RNN(), LSTM())),
        Layer(
            units=5,
            skip=choice((), (1,)),
            cell=choice(RNN(), Linear()),
            plastic=Pathway.INPUT,
            rule=choice(Hebb(decay=real(0.0, 1.0)), Oja()),
            bound=choice("hard", Bound.SOFT),
            limit=choice(0.5, 1, 2.0),
            structure=Gated(density=real(0.1, 1.0), support=choice(Dense(), SelfRecurrent())),
        ),
    ),
    precision=choice(Floating(), Integer(weight=integer(2, 8), alpha=None)),
)
ADDRESSES = {
    "layers.0.units", "layers.0.cell", "layers.1.skip", "layers.1.cell", "layers.1.rule", "layers.1.rule.Hebb.decay",
    "layers.1.bound", "layers.1.limit", "layers.1.structure.density", "layers.1.structure.support", "precision",
    "precision.Integer.weight",
}  # fmt: skip


class Last:
    """A trial that always suggests the last choice and the upper end, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.asked[name] = tuple(choices)
        return choices[-1]

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        self.asked[name] = (low, high, log)
        return high

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.asked[name] = (low, high, log)
        return high


class TestPart:
    def test_it_is_frozen_and_compares_by_value(self) -> None:
        assert Hebb(decay=1) == Hebb(decay=1.0)
        assert hash(Layer(skip=[1])) == hash(Layer(skip=(1,)))  # type: ignore[arg-type]
        assert Hebb() != Oja()
        with pytest.raises(FrozenInstanceError):
            Hebb().decay = 0.5  # type: ignore[misc]

    def test_json_is_plain_data_with_kinds(self) -> None:
        assert Layer(rule=Hebb(decay=0.5), skip=(1, 2)).to_json() == {
            "kind": "Layer",
            "units": 64,
            "cell": {"kind": "RNN"},
            "rule": {"kind": "Hebb", "decay": 0.5},
            "modulation": {"kind": "Simple", "fan_out": "neuron", "rate": 0.1, "reads": "output"},
            "structure": {"kind": "Dense"},
            "plastic": "none",
            "bound": "hard",
            "limit": 1.0,
            "alpha": "synapse",
            "skip": [1, 2],
        }

    def test_equation_is_the_first_line(self) -> None:
        assert equation(Oja) == "dH = post (x) pre - post^2 * H"

    def test_discover_finds_a_part_of_the_users_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        discover(Rule)
        monkeypatch.setattr(Part, "kinds", dict(Part.kinds))

        @dataclass(frozen=True)
        class Mine(Hebb):
            """dH = mine"""

        assert discover(Rule)["Mine"] is Mine
        assert Layer.from_json({"kind": "Layer", "rule": {"kind": "Mine"}}).rule == Mine()
        with pytest.raises(PlasticSearchError, match=r"two parts are called 'Oja': one in plastic_search\.rules\.oja"):
            type("Oja", (Rule,), {"__module__": "mine"})

    def test_a_field_of_any_kind_takes_parts_whose_module_nobody_has_imported(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As the change of a comparison's case does, when its run folder is opened in another process."""
        monkeypatch.setattr(Part, "kinds", {name: kind for name, kind in Part.kinds.items() if name != "Integer"})
        monkeypatch.delitem(sys.modules, "plastic_search.precisions.integer")
        found = Change.from_json(Change("precision", Integer(None, None, 3, Rounding.FEEDBACK)).to_json())
        assert (type(found.value).__name__, found.value.trace) == ("Integer", 3)
        assert found.value.rounding is Rounding.FEEDBACK

    def test_a_base_cannot_be_made(self) -> None:
        assert "Rule" not in discover(Rule)
        with pytest.raises(TypeError, match="abstract"):
            Rule()  # type: ignore[abstract]


def layer(**fields: Any) -> dict[str, Any]:
    return {"kind": "NetworkSpec", "layers": [{"kind": "Layer", **fields}]}


REFUSED = [
    (layer(rule={"kind": "Ojja"}), "no rule is called 'Ojja'; known: ABCD, BCM, Delta, "),
    (layer(rule={"kind": "Ojja"}), "Did you mean 'Oja'?"),
    (layer(rule={"kind": "RNN"}), "no rule is called 'RNN'"),
    (layer(rule={"kind": "Rule"}), "no rule is called 'Rule'"),
    (layer(rule={"kind": "Hole"}), "no rule is called 'Hole'"),
    (
        layer(rule={"kind": "Hebb", "decoy": 1}),
        "no field of Hebb is called 'decoy'; known: decay. Did you mean 'decay'?",
    ),
    (layer(unit=3), "no field of Layer is called 'unit'; known: alpha, bound, cell"),
    (layer(rule={"decay": 1}), 'NetworkSpec.layers.0.rule: a part in JSON needs a "kind"'),
    (layer(rule={"kind": 3}), 'NetworkSpec.layers.0.rule: a part in JSON needs a "kind"'),
    (layer(rule={"kind": ["Hebb"]}), 'a part in JSON needs a "kind", and its value must be a name'),
    (layer(rule="Hebb"), "Layer.rule wants a Rule, such as Hebb(), but got 'Hebb'; known: ABCD, BCM, Delta, "),
    (layer(structure="graff"), "Did you mean Graph()?"),
    (layer(rule=None), "Layer.rule wants a Rule, but got None (NoneType)"),
    (layer(units="3"), "Layer.units wants an int, but got '3' (str)"),
    (layer(units=3.0), "Layer.units wants an int, but got 3.0 (float)"),
    (layer(units=True), "Layer.units wants an int, but got True (bool)"),
    (layer(units=[3]), "Layer.units wants an int, but got (3,) (tuple)"),
    (layer(limit=float("nan")), "Layer.limit wants a float, but got nan (float)"),
    (layer(limit=False), "Layer.limit wants a float, but got False (bool)"),
    (
        layer(bound="hrad"),
        "no Bound for Layer.bound is called 'hrad'; known: hard, none, soft, when_read. Did you mean 'hard'?",
    ),
    (layer(bound=1), "no Bound for Layer.bound is called '1'; known: hard, none, soft, when_read."),
    (layer(skip=1), "Layer.skip wants a tuple, but got 1 (int)"),
    (layer(skip=[1.5]), "Layer.skip.0 wants an int, but got 1.5 (float)"),
    (layer(units={"kind": "IntegerRange", "low": 1}), "NetworkSpec.layers.0.units: IntegerRange lacks high"),
    (layer(units={"kind": "RealRange", "low": 1, "high": 2}), "Layer.units wants an int, but got 1.0 (float)"),
    (layer(units={"kind": "Choice", "options": [1, "a"]}), "Layer.units, option 1 wants an int, but got 'a' (str)"),
    (layer(structure={"kind": "Graph", "fixed": [[1, 2, 3]]}), "Graph.fixed.0 wants 2 values, but got 3: (1, 2, 3)"),
    ({"kind": "NetworkSpec", "layers": "ab"}, "NetworkSpec.layers wants a tuple, but got 'ab' (str)"),
    ({"kind": "NetworkSpec", "layers": [3]}, "NetworkSpec.layers.0 wants a Layer, but got 3 (int)"),
    ({"kind": "Layer"}, "NetworkSpec: a NetworkSpec is wanted here, not a part of the kind 'Layer'"),
    ({}, 'NetworkSpec: a part in JSON needs a "kind"'),
    ([], "expected a NetworkSpec, but got []"),
    (None, "expected a NetworkSpec, but got None"),
]


@pytest.mark.parametrize(
    ("data", "message"), REFUSED, ids=[f"{n}: {message}" for n, (_, message) in enumerate(REFUSED)]
)
def test_json_is_strict(data: Any, message: str) -> None:
    with pytest.raises(PlasticSearchError, match=re.escape(message)):
        NetworkSpec.from_json(data)


IMPOSSIBLE = [
    (lambda: Layer(units=0), "a layer needs at least 1 unit, but got units=0"),
    (lambda: Layer(limit=0), "limit must be above 0, but got limit=0.0"),
    (lambda: Layer(skip=(1, 1)), "skip wants different whole numbers from 1, but got (1, 1)"),
    (lambda: Layer(skip=(0,)), "skip wants different whole numbers from 1, but got (0,)"),
    (lambda: NetworkSpec(()), "a network needs at least one layer"),
    (lambda: NetworkSpec((Layer(skip=(1,)),)), "layers.0.skip=(1,) reaches back beyond the network's input"),
    (lambda: BCM(rate=0.0), "BCM.rate is a share of the step"),
    (lambda: Gated(density=0.0), "Gated wants a density above 0"),
    (lambda: Gated(support=Gated()), "Gated.support wants a structure that learns nothing"),
    (lambda: integer(3, 2), "a range needs low <= high"),
    (lambda: real(0.0, 1.0, log=True), "low > 0 where log is on"),
    (lambda: choice(), "a choice needs distinct options"),
    (
        lambda: open_set("bogus"),
        "no open set is called 'bogus'; known: cells",
    ),
    (lambda: each(Layer), "is not the base class of an open set; known: cells, surrogates, rules"),
    (lambda: choice(1, 1), "a choice needs distinct options"),
    (lambda: Layer(rule=choice(Hebb(), RNN())), "Layer.rule, option 1 wants a Rule, but got RNN() (RNN)"),
    (
        lambda: LIF(surrogate="Triangel"),  # type: ignore[arg-type]
        "LIF.surrogate wants a Surrogate, such as Triangle(), but got 'Triangel'; known: Arctan, Box, ",
    ),
    (lambda: LIF(surrogate="?"), "wants a Surrogate, such as Arctan(), but got '?'; known"),  # type: ignore[arg-type]
    (lambda: Layer(bound=real(0.0, 1.0)), "no Bound for Layer.bound is called '0.0'"),
]


@pytest.mark.parametrize(("make", "message"), IMPOSSIBLE, ids=[message for _, message in IMPOSSIBLE])
def test_what_cannot_be_is_refused_when_it_is_made(make: Any, message: str) -> None:
    with pytest.raises(PlasticSearchError, match=re.escape(message)):
        make()


@pytest.mark.parametrize("structure", ["feed_forward", "gated"])
def test_a_plastic_recurrent_pathway_needs_a_recurrent_block(structure: str) -> None:
    from plastic_search.structures.feed_forward import FeedForward

    result = FeedForward() if structure == "feed_forward" else Gated(support=FeedForward())
    with pytest.raises(PlasticSearchError, match="needs a recurrent block"):
        Layer(structure=result, plastic=Pathway.RECURRENT)


def test_unknown_guesses_and_hints() -> None:
    assert str(unknown("rule", "heb", ["Hebb", "Oja"], "Look.")) == (
        "no rule is called 'heb'; known: Hebb, Oja. Did you mean 'Hebb'? Look."
    )
    assert str(unknown("rule", "x", [])) == "no rule is called 'x'; known: none."


class TestFill:
    def test_every_hole_has_one_address(self) -> None:
        found = [address for address, _ in search_parameters(SPACE)]
        assert len(found) == len(set(found))
        assert set(found) == ADDRESSES

    def test_it_asks_each_hole_once_by_its_address(self) -> None:
        trial = Last()
        spec = fill(SPACE, trial)
        assert trial.asked == {
            "layers.0.units": (8, 64, True),
            "layers.0.cell": ("RNN", "LSTM"),
            "layers.1.skip": ("()", "(1,)"),
            "layers.1.cell": ("RNN", "Linear"),
            "layers.1.rule": ("Hebb", "Oja"),
            "layers.1.bound": ("hard", "soft"),
            "layers.1.limit": ("0.5", "1.0", "2.0"),
            "layers.1.structure.density": (0.1, 1.0, False),
            "layers.1.structure.support": ("Dense", "SelfRecurrent"),
            "precision": ("Floating", "Integer"),
            "precision.Integer.weight": (2, 8, False),
        }
        assert spec.layers[0] == Layer(units=64, cell=LSTM())
        assert spec.layers[1].bound is Bound.SOFT
        assert spec.layers[1].skip == (1,)
        assert spec.precision == Integer(weight=8, alpha=None)
        assert not list(search_parameters(spec))

    def test_a_fixed_trial_of_optuna_gives_back_what_it_fixes(self) -> None:
        params = {
            "layers.0.units": 20, "layers.0.cell": "RNN", "layers.1.skip": "()", "layers.1.cell": "Linear",
            "layers.1.rule": "Hebb", "layers.1.rule.Hebb.decay": 0.25, "layers.1.bound": "hard",
            "layers.1.limit": "2.0", "layers.1.structure.density": 0.5, "layers.1.structure.support": "Dense",
            "precision": "Floating",
        }  # fmt: skip
        trial = optuna.trial.FixedTrial(params)
        spec = fill(SPACE, trial)
        assert trial.params == params
        assert spec.layers[0].units == 20
        assert spec.layers[1].rule == Hebb(decay=0.25)
        assert spec.layers[1].limit == 2.0

    def test_options_of_one_class_are_told_apart(self) -> None:
        space = Layer(rule=choice(Hebb(), Hebb(decay=1.0), Oja()))
        trial = Last()
        fill(space, trial)
        assert trial.asked["rule"] == ("Hebb(decay=0.0)", "Hebb(decay=1.0)", "Oja")

    def test_a_choice_within_a_choice(self) -> None:
        space = Layer(rule=choice(Oja(), choice(Delta(), Hebb(decay=real(0.5, 1.0)))))
        assert fill(space, Last()).rule == Hebb(decay=1.0)

    def test_each_is_a_choice_of_a_whole_folder(self) -> None:
        rules = each(Rule)
        assert set(rules.labels) == set(discover(Rule))
        assert "rule.Hebb.decay" in dict(search_parameters(Layer(rule=rules))), (
            "what a part's own space() leaves open is open"
        )
        assert isinstance(fill(Layer(rule=rules), Last()).rule, Rule)


class TestOverride:
    @pytest.mark.parametrize(
        ("address", "text", "value"),
        [
            ("layers.0.units", "9", 9),
            ("layers.0.limit", "2", 2.0),
            ("layers.0.rule", "Oja", Oja()),
            ("layers.0.rule", '{"kind": "Hebb", "decay": 0.5}', Hebb(decay=0.5)),
            ("layers.0.modulation.fan_out", "network", FanOut.NETWORK),
            ("layers.0.bound", "soft", Bound.SOFT),
            ("layers.1.skip", "[1]", (1,)),
            ("layers.0.plastic", '"both"', Pathway.BOTH),
        ],
    )
    def test_a_value_by_its_address(self, address: str, text: str, value: Any) -> None:
        spec = override(NetworkSpec((Layer(), Layer())), address, text)
        found: Any = spec
        for name in address.split("."):
            found = found[int(name)] if name.isdigit() else getattr(found, name)
        assert found == value
        assert type(found) is type(value)

    def test_inside_a_choice_only_that_option_changes(self) -> None:
        space = override(SPACE, "layers.1.rule.Hebb.decay", "0.5")
        assert space.layers[1].rule == choice(Hebb(decay=0.5), Oja())
        assert override(SPACE, "layers.1.rule", "Oja").layers[1].rule == Oja()
        assert override(SPACE, "layers.0.units", "12").layers[0].units == 12
        assert override(SPACE, "layers.0.units.high", "12").layers[0].units == integer(8, 12, log=True)
        for text in ("[1, 2]", "(1, 2)", "1, 2", "(1,2,)"):
            assert override(NetworkSpec((Layer(), Layer(), Layer())), "layers.2.skip", text).layers[2].skip == (1, 2)
        with pytest.raises(PlasticSearchError, match=r"skip wants a tuple, but got '\(1, two\)'"):
            override(NetworkSpec((Layer(), Layer(), Layer())), "layers.2.skip", "(1, two)")
        assert override(SPACE, "precision.Integer.weight", "null").precision.options[1].weight is None
        labelled = Layer(rule=choice(Hebb(), Hebb(decay=1.0)))
        assert override(labelled, "rule.Hebb(decay=1.0).decay", "0.9").rule == choice(Hebb(), Hebb(decay=0.9))

    def test_what_cannot_be_is_refused_as_soon_as_no_hole_is_left(self) -> None:
        with pytest.raises(PlasticSearchError, match="a layer needs at least 1 unit, but got units=0"):
            override(NetworkSpec(), "layers.0.units", "0")
        with pytest.raises(PlasticSearchError, match="a layer needs at least 1 unit, but got units=0"):
            fill(override(SPACE, "layers.1.units", "0"), Last())

    def test_a_hole_within_a_tuple(self) -> None:
        assert override(Layer(skip=(integer(1, 3), 4)), "skip.0", "2").skip == (2, 4)

    @pytest.mark.parametrize(
        ("address", "text", "message"),
        [
            ("layers.0.unit", "3", "no field of Layer is called 'unit'"),
            (
                "layers.7.units",
                "3",
                "no index is called '7'; known: 0, 1. Did you mean 'layers.1.units'? The path was 'layers.7.units'.",
            ),
            (
                "layer.1.rule",
                "Oja",
                "known: held, initial, layers, precision. Did you mean 'layers.1.rule'?",
            ),
            ("laiers.1.rule.Hebb.decai", "1", "Did you mean 'layers.1.rule.Hebb.decay'?"),
            ("layers.1.zzzzzzzzzzzzzzzzzzzzzzz", "1", "skip, structure, units. The path was 'layers.1.zzz"),
            ("layers.-1.units", "3", "no index is called '-1'"),
            ("layers.0.units.deep", "3", "no field of IntegerRange is called 'deep'"),
            ("layers.1.units.deep", "3", "path 'layers.1.units.deep' goes on after a plain value"),
            ("layers.1.rule.Ojja.x", "3", "no option of layers.1.rule.Ojja.x is called 'Ojja'; known: Hebb, Oja."),
            ("layers.1.units", "x", "layers.1.units wants an int, but got 'x' (str)"),
            ("layers.1.units", "3.5", "layers.1.units wants an int, but got 3.5 (float)"),
            ("layers.1.limit", "NaN", "layers.1.limit wants a float, but got nan"),
            ("layers.1.limit", "1e999", "layers.1.limit wants a float, but got inf"),
            ("layers.1.rule", "Ojja", "no rule is called 'Ojja'"),
            (
                "layers.1.rule",
                '{"kind":"Oja"',
                'layers.1.rule was given broken JSON, \'{"kind":"Oja"\': ',
            ),
            ("layers.1.rule", "3", "layers.1.rule wants a Rule, but got 3 (int)"),
            ("layers.1.bound", "sfot", "called 'sfot'; known: hard, none, soft, when_read."),
            ("", "3", "no field of NetworkSpec is called ''"),
        ],
    )
    def test_what_leads_nowhere_is_refused(self, address: str, text: str, message: str) -> None:
        with pytest.raises(PlasticSearchError, match=re.escape(message)):
            override(SPACE, address, text)


def test_a_hole_is_a_part_that_stands_for_itself() -> None:
    assert isinstance(integer(1, 2), SearchParameter)
    assert Layer.from_json(Layer(units=integer(1, 2)).to_json()).units == integer(1, 2)


def test_a_field_of_an_earlier_version_is_read_and_named_where_it_is_typed() -> None:
    assert Gated.from_json({"kind": "Gated", "within": {"kind": "SelfRecurrent"}}) == Gated(support=SelfRecurrent())
    with pytest.raises(PlasticSearchError, match=r"Gated\.narrowing is now called Gated\.annealing_fraction"):
        Gated(narrowing=0.5)  # type: ignore[call-arg]
    with pytest.raises(PlasticSearchError, match=r"layers\.1\.structure\.within: .* is now called Gated\.support"):
        override(SPACE, "layers.1.structure.within", "SelfRecurrent")
