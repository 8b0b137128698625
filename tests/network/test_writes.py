"""What becomes of changes of a rounded trace: one synapse, by hand, and what advice rests on."""

from __future__ import annotations

import pytest
import torch

from plastic_search.cells.linear import Linear
from plastic_search.core.errors import PlasticSearchError
from plastic_search.modulations.constant import Constant
from plastic_search.network.module import Network
from plastic_search.network.recording import record
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.network.writes import Writes, count_writes
from plastic_search.precisions import Rounding
from plastic_search.precisions.floating import Floating
from plastic_search.precisions.integer import Integer
from plastic_search.rules.hebb import Hebb
from plastic_search.structures.feed_forward import FeedForward


def one_synapse(precision: Integer | Floating, rate: float) -> Network:
    """A synapse whose output is 1 where its input is: W = 1, alpha = 0, dH = rate."""
    layer = Layer(1, cell=Linear(), rule=Hebb(), modulation=Constant(rate=rate), structure=FeedForward(),
                  plastic=Pathway.INPUT)  # fmt: skip
    net = Network(NetworkSpec((layer,), precision), inputs=1)
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.fill_(1.0 if "weight" in name else 0.0 if "alpha" in name or "bias" in name else float(p.flatten()[0]))
    return net


def counted(precision: Integer | Floating, rate: float, steps: int = 5) -> Writes:
    (found,) = count_writes(one_synapse(precision, rate), torch.ones(steps, 1, 1))
    return found


def test_nearest_stores_nothing_of_changes_below_half_a_step() -> None:
    lost = counted(Integer(None, None, 2, Rounding.NEAREST), rate=0.125)
    assert (lost.layer, lost.step, lost.stored, lost.stalled, lost.saturated) == (0, 1.0, 0.0, 1.0, 0.0)
    assert lost.size == pytest.approx(0.125)
    fine = counted(Integer(None, None, 8, Rounding.NEAREST), rate=0.125)
    assert (fine.stored, fine.stalled) == (1.0, 0.0)
    assert fine.size == pytest.approx(0.125 * 127)


def test_error_feedback_stores_them_in_the_finer_steps_that_it_keeps() -> None:
    kept = counted(Integer(None, None, 2, Rounding.FEEDBACK), rate=0.125)
    assert (kept.step, kept.stored, kept.stalled) == (1 / 16, 1.0, 0.0)
    assert kept.size == pytest.approx(2.0)


def test_stochastic_rounding_stores_some() -> None:
    """Noise of 0, 0.62, 0.24 and 0.85: the fourth quarter of a step is written as a whole, up to the limit."""
    some = counted(Integer(None, None, 2, Rounding.STOCHASTIC), rate=0.25, steps=8)
    assert (some.stored, some.stalled, some.saturated) == (0.25, 0.0, 1.0)


def test_a_trace_that_grows_without_a_reset_ends_at_its_limit() -> None:
    grown = counted(Integer(None, None, 8, Rounding.NEAREST), rate=0.125)
    assert grown.saturated == 0.0  # 5 x 0.125
    assert grown.saturated_late == 1.0  # 20 x 0.125, beyond 1


def test_what_is_stored_is_what_a_recorded_trace_changes_by() -> None:
    torch.manual_seed(0)
    layer = Layer(5, plastic=Pathway.BOTH, modulation=Constant(rate=0.1))
    net, x = Network(NetworkSpec((layer,), Integer(None, None, 4, Rounding.NEAREST)), inputs=3), torch.randn(7, 4, 3)
    trace = record(net, x, "layers.0.trace")[0]["layers.0.trace"]
    changed = (trace.diff(dim=0, prepend=torch.zeros_like(trace[:1])) != 0).sum()
    (found,) = count_writes(net, x)
    wanted = float(changed) / found.stored
    assert wanted == pytest.approx(round(wanted), abs=1e-3)
    assert 0 < changed < wanted <= trace.numel()


def test_a_float_trace_has_no_writes_that_could_be_lost_and_no_episodes_are_refused() -> None:
    assert count_writes(one_synapse(Floating(), 0.1), torch.ones(5, 1, 1)) == []
    with pytest.raises(PlasticSearchError, match="x has none"):
        count_writes(one_synapse(Integer(), 0.1), torch.ones(5, 0, 1))
