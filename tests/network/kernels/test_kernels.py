"""Every kernel equals the reference, forward and backward, for any parts and sizes."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from parity import CELLS, MODULATIONS, PATHWAYS, RULES, STACK, bounds_of, gaps, network, poison, results, started
from quick_code import compile_quickly
from torch import Tensor

from plastic_search.cells import Cell
from plastic_search.cells.leaky import Leaky
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part
from plastic_search.modulations import Modulation
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.simple import Simple
from plastic_search.network.kernels.cpu import threads
from plastic_search.network.kernels.dispatch import SlowerPath
from plastic_search.network.module import Network
from plastic_search.network.spec import AlphaShape, Bound, Layer, NetworkSpec, Pathway
from plastic_search.network.state import State, load_named, named
from plastic_search.precisions import Rounding
from plastic_search.precisions.integer import Integer
from plastic_search.rules import Activity, Change, Outer, Rule
from plastic_search.rules.oja import Oja

SIZES, BATCHES, TIMES = (1, 7, 33, 100), (1, 5), (1, 2, 63)


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch)


def apart(net: Network, x: Tensor, state: State | None = None) -> float:
    """The largest difference between kernel and reference."""
    reference, fast = (results(net, kernel, x, state) for kernel in ("reference", "cpu"))
    return max(gaps(reference, fast).values(), key=lambda gap: torch.inf if gap != gap else gap)


def settings() -> Iterator[tuple[AlphaShape, Pathway, int, int, int]]:
    """Combinations of all else, every pair of values soon among them."""
    every = list(itertools.product(AlphaShape, PATHWAYS, SIZES, BATCHES, TIMES))
    order = torch.randperm(len(every), generator=torch.Generator().manual_seed(0)).tolist()
    return itertools.cycle(every[i] for i in order)


COMBINATIONS = list(itertools.product(CELLS.values(), RULES.values(), MODULATIONS.values()))


@pytest.mark.parametrize(("cell", "rule", "modulation"), COMBINATIONS, ids=lambda kind: kind.__name__)
def test_any_parts_equal_the_reference(
    cell: type[Cell], rule: type[Rule], modulation: type[Modulation], every: bool
) -> None:
    """Some, which hold every pair of parts; of these every fifth by code that is optimized, half of them in single
    precision. With --every, all of these so, and under all bounds, and all others under one."""
    rng = torch.Generator().manual_seed(0)
    others = settings()
    for _ in range(3 * COMBINATIONS.index((cell, rule, modulation))):
        next(others)
    (single, thorough), in_single = bounds_of(cell, rule, modulation), len(cell.__name__ + modulation.__name__) % 2
    if not (thorough or every):
        pytest.skip("every pair of parts is tested; --every tests all combinations")
    optimized = thorough and (every or COMBINATIONS.index((cell, rule, modulation)) % 5 == 0)
    for bound in Bound if thorough and every else (single,):
        if bound is Bound.READ and bound is not single:
            continue
        alpha, pathway, size, batch, time = next(others)
        layer = Layer(size, cell(), rule(), modulation(), plastic=pathway, bound=bound, limit=0.3, alpha=alpha)
        net = network(NetworkSpec((layer,)), 3, torch.float64)
        x = 0.5 * torch.randn(time, batch, 3, generator=rng, dtype=torch.float64)
        state = started(net, x[:2])
        case = f"{layer}, batch {batch}, time {time}"
        exact = results(net, "reference", x, state)
        with pytest.MonkeyPatch.context() as patch:
            if bound is not single or not optimized or in_single:
                compile_quickly(patch)
            assert max(gaps(exact, results(net, "cpu", x, state)).values()) <= 1e-10, case
        if bound is single and optimized and in_single:  # the other type is other code, which takes as long to compile
            begun = load_named({n: t.float() for n, t in named(state).items()}, state)
            rounded, fast = (gaps(exact, results(net.float(), k, x.float(), begun)) for k in ("reference", "cpu"))
            for name, gap in fast.items():  # where terms cancel, the reference itself loses digits
                at = f"{case}: {gap:.1e} at {name}, the reference {rounded[name]:.1e}"
                assert gap <= max(1e-5, 4 * rounded[name]), at


def test_a_stack_with_skips_and_gates_equals_the_reference() -> None:
    net = network(STACK, 4, torch.float64)
    x = torch.randn(12, 3, 4, dtype=torch.float64)
    assert apart(net, x, started(net, x[:3])) <= 1e-10


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("bits", [8, 3])
@pytest.mark.parametrize("modulation", [Simple(), Retroactive()])
def test_a_rounded_trace_equals_the_reference(rounding: Rounding, bits: int, modulation: Modulation) -> None:
    layers = tuple(Layer(11, modulation=modulation, plastic=Pathway.BOTH, bound=b) for b in (Bound.HARD, Bound.SOFT))
    net = network(NetworkSpec(layers, Integer(4, 4, bits, rounding)), 3, torch.float64)
    x = torch.randn(20, 4, 3, dtype=torch.float64)
    assert apart(net, x, started(net, x[:5])) <= 1e-10


@pytest.mark.parametrize("cell", CELLS.values())
def test_derivatives_are_those_of_finite_differences(cell: type[Cell]) -> None:
    layer = Layer(3, cell(), Oja(), Retroactive(), plastic=Pathway.BOTH, bound=Bound.SOFT)
    net = network(NetworkSpec((layer,)), 2, torch.float64)
    net.kernel = "cpu"
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: net(x)[0], (x, *net.parameters()))


@pytest.mark.parametrize("batch", [45, 30])  # of an odd number of pairs the last may be divided
@pytest.mark.parametrize("plain", [False, True], ids=["torch's threads", "plain threads"])
def test_the_number_of_threads_changes_nothing(plain: bool, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if plain:
        monkeypatch.setattr(threads, "_openmp", lambda: None)
    net = network(NetworkSpec((Layer(40, Leaky(), plastic=Pathway.RECURRENT),)), 3, torch.float32)
    x, before = torch.randn(30, batch, 3), torch.get_num_threads()
    try:
        runs = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            runs.append(results(net, "cpu", x, None))
    finally:
        torch.set_num_threads(before)
    reference = results(net, "reference", x, None)
    for name, value in runs[0].items():
        assert (value - reference[name]).norm() <= 1e-5 * (1.0 + reference[name].norm()), name
    for other in runs[1:]:
        for name, value in runs[0].items():
            if name == "d.layers.0.weight":  # a matrix product of torch's, whose library may share it out as it likes
                assert (value - other[name]).norm() <= 1e-6 * value.norm()
            else:
                assert torch.equal(value, other[name]), name


def test_a_sequence_in_pieces_is_the_same_sequence() -> None:
    net = network(STACK, 4, torch.float64)
    net.kernel = "cpu"
    x = torch.randn(10, 2, 4, dtype=torch.float64)
    whole, last = net(x)
    first, state = net(x[:4])
    second, end = net(x[4:], state)
    assert torch.allclose(torch.cat([first, second]), whole, rtol=0, atol=1e-12)
    assert all(
        torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(named(last).values(), named(end).values(), strict=True)
    )


@pytest.fixture
def rules() -> Iterator[dict[str, type[Rule]]]:
    """User-defined rules, which are forgotten afterwards."""
    known = dict(Part.kinds)

    @dataclass(frozen=True)
    class Saturating(Rule):
        """dH = tanh(post) (x) sigmoid(pre) - H / (1 + pre^2), with operations that no rule of ours has"""

        floor: float = 0.05

        def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
            gain = torch.where(seen.post > self.floor, seen.post.exp(), seen.post.clamp(-0.5, 0.2))
            size = (1.0 + seen.pre.square().sum(-1, keepdim=True)).rsqrt()
            terms = (
                Outer(gain.tanh() * size, seen.pre.sigmoid()),
                Outer((seen.recall.abs() + 0.1).sqrt(), seen.pre, 0.3),
            )
            return Change(terms, 1.0 / (1.0 + seen.pre.square()).unsqueeze(1)), state

    @dataclass(frozen=True)
    class Crowded(Rule):
        """dH = post (x) pre, less the mean over the batch, which no rule may depend on"""

        def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
            return Change((Outer(seen.post - seen.post.mean(0), seen.pre),)), state

    @dataclass(frozen=True)
    class Sorting(Rule):
        """dH = sort(post) (x) pre, with an operation that no kernel knows"""

        def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
            return Change((Outer(seen.post.sort(-1).values, seen.pre),)), state

    @dataclass(frozen=True)
    class Counting(Rule):
        """dH = (n + 1) post (x) pre, with a number that depends on the size of the layer"""

        def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
            return Change((Outer(seen.post * (seen.post.shape[-1] + 1), seen.pre),)), state

    @dataclass(frozen=True)
    class Centred(Rule):
        """dH = (post - mean(post)) (x) (pre - mean(pre)) / n - var(post) H"""

        def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
            post = seen.post - seen.post.mean(-1, keepdim=True)
            pre = seen.pre - seen.pre.mean(-1, keepdim=True)
            spread = (post * post).sum(-1, keepdim=True) / seen.post.shape[-1]
            return Change((Outer(post / post.shape[-1], pre),), spread.unsqueeze(-1)), state

    @dataclass(frozen=True)
    class Choosy(Rule):
        """dH = post [post is finite and |pre| > 0.1] (x) pre, with truth values that are multiplied"""

        def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
            loud = (seen.post.abs() < 1e6) & (seen.post != 0.0)
            strong = ~(seen.pre.abs() <= 0.1)
            kept = torch.where(loud, seen.post > 0.0, loud) & (seen.post + 0.3).relu().bool()
            terms = (Outer(seen.post * loud, seen.pre * strong), Outer(kept.to(seen.post.dtype), -seen.pre, 0.1))
            return Change(terms, 0.1 * (seen.post > 0.2).to(seen.post.dtype).unsqueeze(-1)), state

    @dataclass(frozen=True)
    class Listed(Rule):
        """dH = gain post (x) pre, with a setting that cannot be hashed"""

        gain: list = field(default_factory=lambda: [0.5])  # type: ignore[type-arg]

        def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
            return Change((Outer(self.gain[0] * seen.post, seen.pre),)), state

    @dataclass(frozen=True)
    class Coarse(Rule):
        """dH = bfloat16(post) (x) pre"""

        def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
            return Change((Outer(seen.post.bfloat16().to(seen.post.dtype), seen.pre),)), state

    @dataclass(frozen=True)
    class Tenths(Rule):
        """dH = round(post, 1 decimal) (x) pre"""

        def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
            return Change((Outer(seen.post.round(decimals=1), seen.pre),)), state

    @dataclass(frozen=True)
    class Sized(Rule):
        """dH = post (x) pre, and half of it in layers of fewer than 64 units"""

        def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
            small = seen.post.shape[1] < 64
            return Change((Outer(seen.post * (0.5 if small else 1.0), seen.pre),)), state

    @dataclass(frozen=True)
    class Sole(Rule):
        """dH = post (x) pre, and half of it where more than one episode is run"""

        def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
            return Change((Outer(seen.post / min(len(seen.post), 2), seen.pre),)), state

    defined = (Sized, Sole, Saturating, Centred, Choosy, Crowded, Sorting, Counting, Listed, Coarse, Tenths)
    yield {kind.__name__: kind for kind in defined}
    Part.kinds.clear()
    Part.kinds.update(known)


@pytest.mark.parametrize("name", ["Saturating", "Centred", "Choosy"])
def test_a_user_defined_rule_is_compiled_too(rules: dict[str, type[Rule]], name: str) -> None:
    for pathway in PATHWAYS:
        net = network(NetworkSpec((Layer(13, rule=rules[name](), plastic=pathway),)), 5, torch.float64)
        assert apart(net, torch.randn(9, 3, 5, dtype=torch.float64)) <= 1e-10


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Crowded", "episodes of a batch"),
        ("Sorting", "sort"),
        ("Counting", "number of units"),
        ("Listed", "cannot be compared"),
        ("Coarse", "bfloat16"),
        ("Tenths", "round"),
        ("Sized", "looks at 4 units"),
        ("Sole", "looks at|episodes of a batch"),
    ],
)
def test_a_rule_that_no_kernel_supports_runs_by_the_reference_and_warns_once(
    rules: dict[str, type[Rule]], name: str, why: str
) -> None:
    rule = rules[name]
    spec, x = NetworkSpec((Layer(4, rule=rule(), plastic=Pathway.RECURRENT),)), torch.randn(3, 2, 3)
    with pytest.warns(SlowerPath, match=why):
        y, _ = Network(spec, 3)(x)
    assert torch.equal(y, Network(spec, 3, kernel="reference")(x)[0])
    Network(spec, 3)(x)  # a second warning would be an error
    with pytest.raises(PlasticSearchError, match=rf"cpu kernel does not take a layer of RNN, {name}.*{why}"):
        Network(spec, 3, kernel="cpu")(x)


def test_an_unknown_kernel_is_refused() -> None:
    with pytest.raises(PlasticSearchError, match="no kernel is called 'cuda'; known: cpu, gpu, reference"):
        Network(STACK, 4, kernel="cuda")


def test_forked_processes_and_threads_do_not_wait_for_one_another() -> None:
    net = network(NetworkSpec((Layer(40, plastic=Pathway.RECURRENT),)), 3, torch.float32)
    x, before = torch.randn(30, 8, 3), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        wanted = results(net, "cpu", x, None)["y"]
        child = os.fork()
        if not child:
            torch.set_num_threads(1)  # as every worker of a DataLoader does, since torch's own threads are not forked
            os._exit(0 if torch.equal(net(x)[0], wanted) else 1)
        outputs: list[Tensor] = []
        started = [threading.Thread(target=lambda: outputs.append(net(x)[0].detach())) for _ in range(4)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join(60)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        torch.set_num_threads(before)
    assert len(outputs) == 4
    assert all(torch.equal(y, wanted) for y in outputs)
