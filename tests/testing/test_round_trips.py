"""Whatever can be written down comes back from JSON, can be filled and overridden; whatever cannot is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.cells.rnn import RNN
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.space import choice, fill, integer, override, real, search_parameters
from plastic_search.modulations import FanOut
from plastic_search.modulations.constant import Constant
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.simple import Simple
from plastic_search.network.spec import AlphaShape, Bound, Layer, NetworkSpec, Pathway
from plastic_search.rules.bcm import BCM
from plastic_search.rules.delta import Delta
from plastic_search.rules.hebb import Hebb
from plastic_search.rules.oja import Oja
from plastic_search.structures.dense import Dense
from plastic_search.structures.gated import Gated
from plastic_search.structures.graph import Graph


class First:
    """A trial that always suggests the first choice and the lower end, and remembers where it was asked."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.asked.add(name)
        return choices[0]

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        self.asked.add(name)
        return low

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.asked.add(name)
        return low


reals = st.floats(0.001, 1000.0)
rules = st.one_of(st.builds(Hebb, reals), st.just(Oja()), st.just(Delta()), st.builds(BCM, st.floats(0.001, 1.0)))
modulations = st.one_of(
    st.builds(Constant, reals), st.builds(Simple, st.sampled_from(FanOut), reals), st.just(Retroactive())
)
graphs = st.builds(Graph, st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=4, unique=True).map(tuple))
structures = st.one_of(st.just(Dense()), graphs, st.builds(Gated, st.floats(0.01, 1.0), st.floats(0.0, 1.0)))
ranges = st.tuples(reals, reals).map(sorted).map(lambda ends: real(ends[0], ends[1], log=True))
layers = st.builds(
    Layer,
    units=st.one_of(st.integers(1, 10**6), st.integers(1, 9).map(lambda low: integer(low, low + 3))),
    cell=st.sampled_from([RNN(), LSTM(), Linear(), choice(RNN(), LSTM())]),
    rule=st.one_of(rules, ranges.map(lambda hole: choice(Hebb(decay=hole), Oja()))),
    modulation=modulations,
    structure=structures,
    plastic=st.sampled_from(Pathway),
    bound=st.sampled_from([*Bound, choice(*Bound)]),
    limit=st.one_of(reals, ranges),
    alpha=st.sampled_from(AlphaShape),
)
specs = st.builds(NetworkSpec, st.lists(layers, min_size=1, max_size=3).map(tuple))


@given(specs)
def test_json_carries_every_space_there_and_back(spec: NetworkSpec) -> None:
    again = NetworkSpec.from_json(json.loads(json.dumps(spec.to_json(), allow_nan=False)))
    assert again == spec
    assert hash(again) == hash(spec)
    assert [address for address, _ in search_parameters(again)] == [address for address, _ in search_parameters(spec)]


@given(specs)
def test_a_filled_space_has_no_hole_and_fills_to_itself(spec: NetworkSpec) -> None:
    trial = First()
    filled = fill(spec, trial)
    assert not list(search_parameters(filled))
    assert fill(filled, First()) == filled
    assert trial.asked <= {address for address, _ in search_parameters(spec)}
    assert NetworkSpec.from_json(filled.to_json()) == filled


@given(specs, st.integers(1, 99))
def test_an_override_changes_what_it_names_and_nothing_else(spec: NetworkSpec, units: int) -> None:
    first, *others = override(spec, "layers.0.units", str(units)).layers
    assert first == replace(spec.layers[0], units=units)
    assert tuple(others) == spec.layers[1:]


names = st.sampled_from(["kind", "layers", "units", "rule", "low", "Hebb", "Choice", "options"])
leaves = st.none() | st.booleans() | st.integers() | st.floats() | names
trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))


def places(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value within JSON data."""
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inside:
        yield (*at, key)
        yield from places(value, (*at, key))


@given(specs, trees, st.randoms(use_true_random=False))
def test_json_with_anything_anywhere_is_a_spec_or_our_own_error(spec: NetworkSpec, odd: Any, luck: Random) -> None:
    data = spec.to_json()
    *way, last = luck.choice(list(places(data)))
    reached = data
    for key in way:
        reached = reached[key]
    reached[last] = odd
    with suppress(PlasticSearchError):
        assert isinstance(NetworkSpec.from_json(data), NetworkSpec)
