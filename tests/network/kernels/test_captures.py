"""A kernel follows what its parts read: globals, closures, classes, functions; or the layer runs by the reference."""

from __future__ import annotations

import importlib.util
import random
import sys
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
import torch

from plastic_search.cells import Cell, Response
from plastic_search.cells.rnn import RNN
from plastic_search.core.errors import PlasticSearchError
from plastic_search.modulations import Rate
from plastic_search.modulations.constant import Constant
from plastic_search.network.kernels.dispatch import SlowerPath
from plastic_search.network.kernels.tracing import capture, packages
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules import Activity, Change, Outer, Rule
from plastic_search.rules.hebb import Hebb
from plastic_search.rules.oja import Oja

pytestmark = pytest.mark.usefixtures("quick_code")

X = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(0))


def outputs(kernel: str | None, rule: Rule | None = None, **parts: Any) -> torch.Tensor:
    """Of a small network; kernel "cpu" fails where it cannot run."""
    parts = {"modulation": Constant(0.5)} | parts
    layer = Layer(4, rule=rule or Hebb(), plastic=Pathway.RECURRENT, **parts)
    return Network(NetworkSpec((layer,)), 3, kernel=kernel)(X)[0].detach()


def assert_followed(rule: Rule | None = None, **parts: Any) -> torch.Tensor:
    """The kernel computes what the reference computes now."""
    fast = outputs("cpu", rule, **parts)
    torch.testing.assert_close(fast, outputs("reference", rule, **parts))
    return fast


USER = '''"""A user's rules."""

from argparse import Namespace
from collections import deque
from dataclasses import dataclass
from functools import lru_cache, partial, wraps
from types import SimpleNamespace
from typing import ClassVar, NamedTuple

import numpy as np
import torch
import config
from torch import Tensor

from plastic_search.rules import Change, Outer, Rule

GAIN = 0.5
TABLE = {"gain": [0.5]}
QUEUE = deque([0.5], maxlen=3)
ARGUMENTS = Namespace(gain=0.5)
SPACE = SimpleNamespace(inner=SimpleNamespace(gain=0.5))
ARRAY = np.array([0.5, 1.0])


class Settings:
    gain = 0.5

    def __init__(self):
        self.factor = 1.0

    @property
    def product(self):
        return self.gain * self.factor


class Slotted:
    __slots__ = ("gain",)

    def __init__(self):
        self.gain = 0.5


class Pair(NamedTuple):
    value: float

    def doubled(self):
        return 2.0 * self.value


SETTINGS, SLOTTED = Settings(), Slotted()


def inner(x):
    return x * GAIN


def outer(x):
    return inner(x)


def decorated(function):
    @wraps(function)
    def wrapper(x):
        return function(x)
    return wrapper


@decorated
def wrapped(x):
    return inner(x)


def with_default(x, gains=[0.5], *, power={"of": 1.0}):
    return x * gains[0] * power["of"]


def made(gain):
    def scaled(x):
        return x * gain[0]
    return scaled


def imports(x):
    from config import GAIN as gain
    return x * gain


@lru_cache
def cached(n):
    return n * 1.0


CELL = [0.5]
SCALED = made(CELL)
PART = partial(outer)


@dataclass(frozen=True)
class Named(Rule):
    """dH = f(post) (x) pre"""

    how: str = "constant"
    shared: ClassVar[float] = 0.5

    def factor(self, post):
        return post * self.shared

    def step(self, params, state, seen):
        return Change((Outer(FUNCTIONS[self.how](self, seen.post), seen.pre),)), state


FUNCTIONS = {
    "global": lambda self, x: x * GAIN,
    "function": lambda self, x: outer(x),
    "decorated": lambda self, x: wrapped(x),
    "partial": lambda self, x: PART(x),
    "table": lambda self, x: x * TABLE["gain"][0],
    "queue": lambda self, x: x * QUEUE[0],
    "space": lambda self, x: x * SPACE.inner.gain,
    "array": lambda self, x: x * float(ARRAY[0]),
    "settings": lambda self, x: x * SETTINGS.product,
    "slots": lambda self, x: x * SLOTTED.gain,
    "default": lambda self, x: with_default(x),
    "closure": lambda self, x: SCALED(x),
    "class": lambda self, x: self.factor(x),
    "method": lambda self, x: x * Pair(0.25).doubled(),
    "module": lambda self, x: x * config.GAIN,
    "by name": lambda self, x: x * getattr(config, "GAIN"),
    "import": lambda self, x: imports(x),
    "cached": lambda self, x: x * cached(1) * GAIN,
    "arguments": lambda self, x: x * ARGUMENTS.gain,
    "torch": lambda self, x: torch.tanh(x) * GAIN,
}
'''


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module of a user's, and one that it imports."""
    (tmp_path / "config.py").write_text("GAIN = 0.5\n")
    (tmp_path / "user_rules.py").write_text(USER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("user_rules")
    for name in ("user_rules", "config"):
        sys.modules.pop(name, None)


def changes(user: Any) -> dict[str, Any]:
    """For each kind of what is read, what changes it."""

    def code(x: Any) -> Any:
        return x * -2.0

    def inplace(array: Any) -> Any:
        array[0] = 2.0

    return {
        "global": lambda: setattr(user, "GAIN", 2.0),
        "function": lambda: setattr(user, "inner", code),
        "decorated": lambda: setattr(user.inner, "__code__", code.__code__),
        "partial": lambda: setattr(user, "GAIN", 2.0),
        "table": lambda: user.TABLE.__setitem__("gain", [2.0]),
        "queue": lambda: user.QUEUE.appendleft(2.0),
        "space": lambda: setattr(user.SPACE.inner, "gain", 2.0),
        "array": lambda: inplace(user.ARRAY),
        "settings": lambda: setattr(user.SETTINGS, "factor", 4.0),
        "slots": lambda: setattr(user.SLOTTED, "gain", 2.0),
        "default": lambda: inplace(user.with_default.__defaults__[0]),
        "closure": lambda: inplace(user.CELL),
        "class": lambda: setattr(user.Named, "shared", 2.0),
        "method": lambda: setattr(user.Pair, "doubled", lambda self: 8.0 * self.value),
        "module": lambda: setattr(user.config, "GAIN", 2.0),
        "by name": lambda: setattr(user.config, "GAIN", 2.0),
        "import": lambda: setattr(user.config, "GAIN", 2.0),
        "cached": lambda: setattr(user, "GAIN", 2.0),
        "arguments": lambda: setattr(user.ARGUMENTS, "gain", 2.0),
        "torch": lambda: setattr(user, "torch", types.SimpleNamespace(tanh=torch.neg)),
    }


KINDS = tuple(changes(types.SimpleNamespace()))


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_rule_reads_may_change(user: Any, kind: str) -> None:
    rule = user.Named(kind)
    before = assert_followed(rule)
    program = capture.capture(Layer(4, rule=rule, plastic=Pathway.RECURRENT), True, torch.float32)
    assert capture.capture(Layer(4, rule=rule, plastic=Pathway.RECURRENT), True, torch.float32) is program
    changes(user)[kind]()
    assert (assert_followed(rule) - before).abs().max() > 1e-3


def test_a_step_may_be_replaced_and_a_class_defined_anew(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = assert_followed(Oja())

    def step(self: Any, params: Any, state: Any, seen: Activity) -> Any:
        return Change((Outer(-2.0 * seen.post, seen.pre),)), state

    with monkeypatch.context() as patch:
        patch.setattr(Oja, "step", step)
        assert not torch.allclose(assert_followed(Oja()), first)
        patch.setattr(
            RNN, "step", lambda self, params, state, drive: (state, Response(drive[:, 0], drive[:, 0].tanh()))
        )
        second = assert_followed(Oja())
        patch.setattr(RNN, "step", lambda self, params, state, drive: (state, Response(drive[:, 0].sin(), drive[:, 0])))
        assert not torch.allclose(assert_followed(Oja()), second)
    torch.testing.assert_close(assert_followed(Oja()), first, rtol=0, atol=0)
    rule = Hebb()
    before = assert_followed(rule)
    object.__setattr__(rule, "decay", 1.5)
    assert not torch.allclose(assert_followed(rule), before)
    object.__setattr__(rule, "step", types.MethodType(step, rule))
    assert not torch.allclose(assert_followed(rule), before)
    importlib.reload(user)  # as a notebook does
    assert_followed(user.Named("global"))
    user.GAIN = -1.0
    assert_followed(user.Named("global"))


def test_bases_modulations_and_cells_are_followed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Stronger(Hebb):
        """dH = 2 post (x) pre"""

        def step(self, params: Any, state: Any, seen: Activity) -> Any:
            change, state = super().step(params, state, seen)
            return change._replace(terms=(*change.terms, *change.terms)), state

    @dataclass(frozen=True)
    class Pushed(Cell):
        """y = tanh(drive + push)"""

        push: ClassVar[dict[str, float]] = {"by": 0.1}

        def step(self, params: Any, state: Any, drive: Any) -> Any:
            y = (drive[:, 0] + self.push["by"]).tanh()
            return state, Response(y, y)

    first = assert_followed(Stronger(), cell=Pushed())
    Pushed.push["by"] = 0.5
    second = assert_followed(Stronger(), cell=Pushed())
    monkeypatch.setattr(Hebb, "step", lambda self, params, state, seen: (Change((Outer(seen.post, -seen.pre),)), state))
    third = assert_followed(Stronger(), cell=Pushed())
    rated = lambda self, params, state, seen: (Rate(seen.output.new_full((1, 1), 0.9)), state)  # noqa: E731
    monkeypatch.setattr(Constant, "step", rated)
    fourth = assert_followed(Stronger(), cell=Pushed())
    for one, other in ((first, second), (second, third), (third, fourth)):
        assert not torch.allclose(one, other)


def test_settings_that_compare_equal_are_not_the_same() -> None:
    @dataclass(frozen=True)
    class Signed(Rule):
        """dH = post (x) pre / (1 + |1 / zero|) and more of it where `kind` is a truth value"""

        zero: float = 0.0
        kind: Any = field(default=1, compare=False)

        def step(self, params: Any, state: Any, seen: Activity) -> Any:
            sign = 1.0 if str(self.zero) == "0.0" else -1.0
            return Change((Outer(seen.post * (sign if self.kind is True else 0.5 * sign), seen.pre),)), state

    results = [assert_followed(Signed(zero, kind)) for zero in (0.0, -0.0) for kind in (1, True, 1.0)]
    assert len({tuple(y.flatten().tolist()) for y in results}) == 4


COUNTER, LOG = [0.0], []  # type: ignore[var-annotated]
STEPS = 0
CLOCK, DRAW, NUMBERS = time.perf_counter, random.random, iter(range(10**6))
GENERATOR, WEIGHT = np.random.default_rng(0), torch.nn.Parameter(torch.ones(()))
LAYER = torch.nn.Linear(2, 2)
LARGE, MANY = np.ones(1000), [1.0] * 9999


def count() -> float:
    COUNTER[0] += 1.0
    return COUNTER[0]


def log(x: Any) -> float:
    LOG.append(x)
    return 1.0


def steps() -> int:
    global STEPS
    STEPS += 1
    return STEPS


REFUSED = {
    "counts": (lambda x: x * count(), "changes .*COUNTER, which it reads"),
    "logs": (lambda x: x * log(1.0), "changes .*LOG, which it reads"),
    "assigns": (lambda x: x * steps(), "changes the global STEPS"),
    "clock": (lambda x: x * CLOCK(), "CLOCK, whose results could change"),
    "module": (lambda x: x * time.time(), r"time.time, whose results could change"),
    "draws": (lambda x: x * DRAW(), "DRAW, whose results could change"),
    "numpy draws": (lambda x: x * np.random.rand(), "a RandomState that could change"),
    "generator": (lambda x: x * GENERATOR.random(), "GENERATOR, a Generator that could change"),
    "iterator": (lambda x: x * next(NUMBERS), "NUMBERS, a range_iterator that could change"),
    "tensor": (lambda x: x * WEIGHT, "WEIGHT, a tensor; make it a parameter"),
    "layer": (lambda x: LAYER(x), r"LAYER\.\w+, a tensor; make it a parameter"),
    "large": (lambda x: x * LARGE[0], "8,000 bytes that could change"),
    "many": (lambda x: x * MANY[0], "MANY, 9,999 items that could change; make it a tuple"),
    "device": (lambda x: x * (2.0 if x.device.type == "cuda" else 1.0), "looks at `device`"),
    "globals": (lambda x: x * globals()["COUNTER"][0], "calls `globals`"),
    "gradient": (lambda x: x * (0.5 if x.requires_grad else 1.0), "looks at `requires_grad`"),
    "random": (lambda x: x * torch.rand_like(x), "something else when it is called again, as random numbers do"),
    "mode": (lambda x: x * (0.5 if torch.is_grad_enabled() else 1.0), "looks at `is_grad_enabled`"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_followed_is_refused_with_the_reason(kind: str) -> None:
    function, why = REFUSED[kind]

    @dataclass(frozen=True)
    class Alone(Rule):
        """dH = f(post) (x) pre"""

        def step(self, params: Any, state: Any, seen: Activity) -> Any:
            return Change((Outer(function(seen.post), seen.pre),)), state

    with pytest.raises(PlasticSearchError, match=f"cpu kernel does not take .*Alone.*{why}"):
        outputs("cpu", Alone())


def test_a_rule_that_reads_what_changes_all_the_time_runs_by_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    module, gain = sys.modules[__name__], [0.0]
    monkeypatch.setattr(capture, "_PATIENCE", 3)
    monkeypatch.setattr(module, "STEPS", 0.5)

    @dataclass(frozen=True)
    class Annealed(Rule):
        """dH = gain post (x) pre"""

        def step(self, params: Any, state: Any, seen: Activity) -> Any:
            return Change((Outer(seen.post * STEPS, seen.pre),)), state

    for gain[0] in (1.5, 1.5, 2.5, 2.5):  # equal numbers count once
        module.STEPS = float(str(gain[0]))  # type: ignore[attr-defined]
        assert_followed(Annealed())
    module.STEPS = 3.5  # type: ignore[attr-defined]
    assert_followed(Annealed())
    module.STEPS = 4.5  # type: ignore[attr-defined]
    with pytest.warns(SlowerPath, match="STEPS, which keeps changing; make it a setting, a parameter or a state"):
        assert torch.equal(outputs(None, Annealed()), outputs("reference", Annealed()))


class Held(NamedTuple):
    value: torch.Tensor  # [post], or [batch, post]


WRITES = {
    "seen.post": lambda params, state, seen: seen.post.mul_(0.5),
    "seen.pre": lambda params, state, seen: seen.pre.data.add_(1.0),
    "its state": lambda params, state, seen: state[0].add_(seen.post),
    "its parameters": lambda params, state, seen: params[0].data.mul_(0.9),
}


@pytest.mark.parametrize("what", WRITES)
def test_a_rule_that_writes_into_its_arguments_is_refused(what: str) -> None:
    @dataclass(frozen=True)
    class Writing(Rule):
        """dH = post (x) pre, and a change of what belongs to others"""

        def params(self, post: int, pre: int, rng: Any) -> Any:
            return Held(torch.ones(post))

        def state(self, batch: int, post: int, pre: int, like: torch.Tensor) -> Any:
            return Held(like.new_zeros(batch, post))

        def step(self, params: Any, state: Any, seen: Activity) -> Any:
            change = Change((Outer(seen.post * params.value, seen.pre),))
            WRITES[what](params, state, seen)
            return change, state

    with pytest.raises(PlasticSearchError, match=f"its step writes into {what}; let it return new tensors"):
        outputs("cpu", Writing())
    with pytest.warns(SlowerPath, match="writes into"), torch.no_grad():
        outputs(None, Writing())


@pytest.mark.parametrize(
    ("file", "fixed"),
    [("/usr/lib/python3/dist-packages/numbers_of/__init__.py", True), ("/home/me/numbers_of.py", False)],
)
def test_what_is_installed_anywhere_is_taken_as_fixed(file: str, fixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the system's folder too, where an environment with --system-site-packages finds torch."""
    monkeypatch.setitem(sys.modules, "numbers_of", types.SimpleNamespace(__file__=file))
    assert packages.is_fixed.__wrapped__("numbers_of") == fixed
