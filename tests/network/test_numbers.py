"""Settings that tensors cannot hold are refused with their path; those that a kernel cannot, run by the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from plastic_search.core.errors import PlasticSearchError
from plastic_search.modulations import Modulation, Rate
from plastic_search.modulations.constant import Constant
from plastic_search.modulations.learned import Learned
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.network.kernels.dispatch import SlowerPath
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.rollout import Rollout
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.precisions.integer import Integer
from plastic_search.rules import Activity, Change, Outer, Rule
from plastic_search.rules.abcd import ABCD
from plastic_search.rules.hebb import Hebb

pytestmark = pytest.mark.usefixtures("quick_code")
X = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))


def spec(**settings: Any) -> NetworkSpec:
    return NetworkSpec((Layer(3), Layer(4, plastic=Pathway.BOTH, **settings)))


@dataclass(frozen=True)
class Times(Rule):
    """dH = number post (x) pre"""

    number: Any = 1

    def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
        return Change((Outer(seen.post * self.number, seen.pre),)), state


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"limit": 1e39},
            r"layers\.1\.limit=1e\+39 is no limit for a trace of torch.float32, whose numbers lie between",
        ),
        ({"limit": 1e-45, "bound": Bound.SOFT}, r"layers\.1\.limit=1e-45 is no limit .* between 1.2e-38 and 3.4e\+38"),
        ({"rule": Hebb(1e39)}, r"layers\.1\.rule\.Hebb\.decay=1e\+39 is beyond torch.float32, whose largest number is"),
        ({"modulation": Constant(-1e39)}, r"layers\.1\.modulation\.Constant\.rate=-1e\+39 is beyond torch.float32"),
        ({"modulation": Learned(1e39)}, r"layers\.1\.modulation\.Learned\.rate=1e\+39 is beyond"),
        ({"modulation": Retroactive(eligibility=1e300)}, r"layers\.1\.modulation\.Retroactive\.eligibility=1e\+300"),
        ({"rule": ABCD(1e200)}, r"layers\.1\.rule\.ABCD\.scale=1e\+200 is beyond"),
        ({"rule": Times(2**63)}, r"layers\.1\.rule\.Times\.number is a whole number of 64 bits"),
        ({"rule": Times((1, (-(10**400),)))}, r"layers\.1\.rule\.Times\.number\.1\.0 is .* of 1329 bits"),
    ],
)
def test_a_number_beyond_the_type_of_the_tensors_is_refused(settings: dict[str, Any], message: str) -> None:
    for kernel in (None, "reference", "cpu"):
        for use in (lambda net: net(X), lambda net: Rollout(net, 2), lambda net: Population([net])(X)):
            with pytest.raises(PlasticSearchError, match=f"^{message}"):
                use(Network(spec(**settings), 3, kernel=kernel))


def test_the_type_that_counts_is_the_one_that_the_network_has() -> None:
    net = Network(spec(limit=1e39, rule=Hebb(1e39)), 3, kernel="reference")
    net.double()(X.double())
    with pytest.raises(PlasticSearchError, match=r"is beyond torch\.float32"):
        net.float()(X)
    with pytest.raises(PlasticSearchError, match=r"limit=70000 is no limit for a trace of torch.float16"):
        Network(spec(limit=70000.0), 3).half()(X.half())
    Network(spec(limit=1e39, bound=Bound.NONE), 3, kernel="cpu")(X)  # which nothing reads
    Network(NetworkSpec((Layer(3, rule=Hebb(1e39), limit=1e39),)), 3, kernel="cpu")(X)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"limit": 1e38}, r"a limit of 1e\+38 is too close to the smallest or largest number of torch.float32"),
        ({"rule": Hebb(1e-39)}, "its step uses the number 1e-39, with which a kernel of torch.float32 is not exact"),
        ({"modulation": Constant(3e38)}, r"products with Constant.rate=3e\+38 could overflow in torch.float32"),
        ({"rule": Times(float("nan"))}, "a constant that is NaN"),
    ],
)
def test_a_number_with_which_a_kernel_is_not_exact_runs_by_the_reference(settings: dict[str, Any], why: str) -> None:
    with pytest.warns(SlowerPath, match=why):
        y, _ = Network(spec(**settings), 3)(X)
    torch.testing.assert_close(y, Network(spec(**settings), 3, kernel="reference")(X)[0], equal_nan=True)
    with pytest.raises(PlasticSearchError, match=f"the cpu kernel does not take .*{why}"):
        Network(spec(**settings), 3, kernel="cpu")(X)


def test_the_levels_of_a_tiny_trace_are_no_denormal_numbers() -> None:
    tiny = NetworkSpec(spec(limit=1e-37).layers, Integer(None, None, 8))
    with pytest.raises(PlasticSearchError, match=r"the cpu kernel does not take .*a limit of 1e-37 is too close"):
        Network(tiny, 3, kernel="cpu")(X)
    net = Network(spec(limit=1e-37, bound=Bound.SOFT), 3, kernel="cpu")
    assert net(X)[0].isfinite().all()


def test_zeros_of_both_signs_stay_what_they_are() -> None:
    @dataclass(frozen=True)
    class Signed(Modulation):
        """rate = tanh(1 / zero) / 2"""

        zero: float = 0.0

        def step(self, params: Any, state: Any, seen: Any) -> Any:
            return Rate(0.5 * (1.0 / seen.output.new_full((1, 1), self.zero)).tanh()), state

    results = []
    for zero in (0.0, -0.0):
        fast, reference = (Network(spec(modulation=Signed(zero)), 3, kernel=k)(X)[0] for k in ("cpu", "reference"))
        torch.testing.assert_close(fast, reference)
        results.append(fast)
    assert not torch.allclose(*results)
