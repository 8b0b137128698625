"""The kernel against the reference over random networks with extreme settings: equal, or refused with the reason.

`pytest --mutations 20000` tries a thousand of them. Inputs and parameters stay where the reference itself does not
overflow: beyond, where products are no longer numbers, the order of multiplications decides what is infinite.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
import torch
from parity import CELLS, MODULATIONS, RULES, gaps, network, results
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part
from plastic_search.modulations import FanOut
from plastic_search.network.module import Network
from plastic_search.network.spec import AlphaShape, Bound, Layer, NetworkSpec, Pathway
from plastic_search.network.state import State, load_named, named
from plastic_search.precisions import Precision, Role, Rounding
from plastic_search.precisions.floating import Floating
from plastic_search.precisions.integer import Integer
from plastic_search.rules import Activity, Change, Outer, Rule
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.structures.self_recurrent import SelfRecurrent

pytestmark = pytest.mark.usefixtures("quick_code")

EXTREME = (0.0, -0.0, 1e-45, 1e-38, 1e-30, 1e-8, 0.1, 0.5, 1.0, 1.5, 10.0, 1e4, 1e18, 1e30, 1e38, 3e38, 1e39, 1e300)
MILD = (0.0, 0.1, 0.3, 0.5, 1.0, 1.5)
STRUCTURES = (Dense(), FeedForward(), SelfRecurrent(), Gated(0.4), Gated(0.5, 0.7), Gated(0.6, support=FeedForward()))
FUNCTIONS = (
    lambda x, c: x.abs().sqrt() * c,
    lambda x, c: (x * c).exp(),
    lambda x, c: (x.abs() + c).log(),
    lambda x, c: torch.maximum(x, c - x),
    lambda x, c: x.clamp(-c, c),
    lambda x, c: x.sign() * c,
    lambda x, c: x / (x.square() + c),
    lambda x, c: torch.where(x > c, x, c * x),
    lambda x, c: (x + c).reciprocal(),
    lambda x, c: torch.minimum(x.round(), x * c).sin(),
    lambda x, c: (x - x.mean(-1, keepdim=True)) * c + x**3,
)


@pytest.fixture(scope="module", autouse=True)
def drawn() -> Any:
    """A user's rules, which are forgotten afterwards."""
    known = dict(Part.kinds)

    @dataclass(frozen=True)
    class Scaled(Rule):
        """dH = gain post (x) pre - decay H"""

        gain: float = 1.0
        decay: float = 0.0

        def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
            return Change((Outer(seen.post * self.gain, seen.pre),), self.decay), state

    @dataclass(frozen=True)
    class Shaped(Rule):
        """dH = f(post) (x) f(pre)"""

        number: int = 0
        constant: float = 1.0

        def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
            function = FUNCTIONS[self.number]
            return Change((Outer(function(seen.post, self.constant), function(seen.pre, self.constant), 0.1),)), state

    yield (*RULES.values(), Scaled, Scaled, Shaped, Shaped, Shaped)
    Part.kinds.clear()
    Part.kinds.update(known)


def part(rng: random.Random, kinds: Any, pool: tuple[float, ...]) -> Any:
    """A part with settings from a pool; the parts' own checks may refuse some."""
    kind, values = rng.choice(list(kinds)), {}
    for each in fields(kind):
        if each.name == "fan_out":
            values[each.name] = rng.choice(list(FanOut))
        elif each.name == "number":
            values[each.name] = rng.randrange(len(FUNCTIONS))
        elif rng.random() < 0.6:
            values[each.name] = rng.choice(pool)
    try:
        return kind(**values)
    except PlasticSearchError:
        return kind()


def layer(rng: random.Random, i: int, rules: Any) -> Layer:
    pool, structure = rng.choice((EXTREME, MILD)), rng.choice(STRUCTURES)
    pathways = list(Pathway) if structure.recurrent else [Pathway.NONE, Pathway.INPUT]
    return Layer(
        units=rng.choice((1, 2, 3, 7, 16, 17, 33)),
        cell=part(rng, CELLS.values(), pool),
        rule=part(rng, rules, pool),
        modulation=part(rng, MODULATIONS.values(), pool),
        structure=structure,
        plastic=rng.choice(pathways),
        bound=rng.choice(list(Bound)),
        limit=rng.choice((1.0, 0.3, *(value for value in pool if value > 0.0))),
        alpha=rng.choice(list(AlphaShape)),
        skip=tuple(sorted(rng.sample(range(1, i + 1), rng.randint(0, i)))),
    )


def precision(rng: random.Random) -> Precision:
    bits = (None, 3, 4, 8, 12)
    if rng.random() < 0.7:
        return Floating()
    return Integer(rng.choice(bits), rng.choice(bits), rng.choice(bits), rng.choice(list(Rounding)))


def specification(rng: random.Random, rules: Any) -> NetworkSpec:
    while True:
        layers = tuple(layer(rng, i, rules) for i in range(rng.choice((1, 1, 1, 2, 3))))
        try:
            chosen = precision(rng)
            if (
                isinstance(chosen, Integer) and chosen.weight is None and len(layers) > 1
            ):  # else sums may be at thresholds
                chosen = replace(chosen, activity=(None, 1, 2, 4, 8)[layers[0].units % 5])
            return NetworkSpec(layers, chosen)
        except PlasticSearchError:  # an integer trace without a bound
            continue


def doubled(state: State | None) -> State | None:
    return None if state is None else load_named({name: t.double() for name, t in named(state).items()}, state)


def compared(net: Network, x: Tensor, state: State | None) -> None:
    """Outputs, last state and derivatives are equal, or infinite in the same places."""
    reference, fast = (results(net, kernel, x, state) for kernel in ("reference", "cpu"))
    exact = results(net.double(), "reference", x.double(), doubled(state)) if x.dtype == torch.float32 else {}
    derivatives = [t[t.isfinite()].abs() for name, t in reference.items() if name.startswith("d.")]
    largest = max((float(t.amax()) for t in derivatives if t.numel()), default=0.0)
    rounding: dict[str, float] = {}  # what sums of the largest derivatives leave where they cancel
    for name in reference.keys() & fast.keys():
        finite = reference[name].isfinite()
        assert torch.equal(finite, fast[name].isfinite()), name
        size = float(reference[name][finite].abs().max().clamp_min(1.0)) if finite.any() else 1.0
        rounding[name] = torch.finfo(x.dtype).eps * largest / size if name.startswith("d.") else 0.0
        for each in (reference, fast, exact):
            if name in each:  # a norm of large numbers would overflow
                each[name] = torch.where(finite & each[name].isfinite(), each[name].double() / size, 0.0)
    lost = gaps(exact, reference) if exact else {}  # digits that the reference itself loses
    for name, gap in gaps(reference, fast).items():
        assert gap <= max(1e-5, 4 * lost.get(name, 0.0), rounding[name]), (
            f"{gap:.1e} at {name}, the reference {lost.get(name, 0.0):.1e}"
        )


def test_random_networks_equal_the_reference_or_are_refused(mutations: int, drawn: Any) -> None:
    outcomes, lines = Counter[str](), set[int]()
    for seed in range(mutations // 20):
        rng, draws = random.Random(seed), torch.Generator().manual_seed(seed)
        spec, dtype = specification(rng, drawn), rng.choice((torch.float32, torch.float64))
        if spec.precision.format(Role.TRACE) or spec.precision.format(
            Role.ACTIVITY
        ):  # in float32 a last bit would decide some levels
            dtype = torch.float64
        inputs, time, batch = rng.choice((1, 3, 5, 16)), rng.choice((1, 2, 5, 9)), rng.choice((1, 2, 3, 5))
        scales = (0.0, 1e-30, 1e-8, 1.0, 1.0, 1.0, *((1e3, 1e5) if dtype == torch.float64 else ()))
        try:
            net = network(spec, inputs, dtype, seed)
            x = torch.randn(time, batch, inputs, generator=draws, dtype=torch.float64).to(dtype)
            net.kernel = "reference"
            state = net(x.flip(0))[1] if rng.random() < 0.4 else None
            state = None if state is None else load_named({n: t.detach() for n, t in named(state).items()}, state)
            compared(net, x * rng.choice(scales), state)
        except PlasticSearchError as error:
            outcomes["refused"] += 1
            lines.add(str(error).count("\n"))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {spec}, {inputs} inputs, {time} steps, {batch} episodes") from error
        else:
            outcomes["equal"] += 1
    assert outcomes["equal"] > outcomes["refused"] > 0
    assert lines == {0}
