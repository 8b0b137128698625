"""Cue association: bursts where the protocol has them, the label of most cues, and noise that the test may raise."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.tasks import Episodes, Split
from plastic_search.tasks.cue_association import CueAssociation


def drawn(task: CueAssociation, size: int = 400, split: Split = Split.TRAIN) -> Episodes:
    return task.episodes(size, split, Generator().manual_seed(0))


def groups(inputs: Tensor) -> Tensor:
    """Spikes by group [time, batch, 4, neurons]."""
    return inputs.unflatten(2, (4, 10))


def test_the_protocol_without_chance() -> None:
    task = CueAssociation(active=1.0, background=0.0, noise=0.0)
    inputs, targets, query_step = drawn(task)
    assert inputs.shape == (5 * 10 + 30 + 10, 400, 40)
    assert query_step == 80
    left, right, recall, background = groups(inputs).unbind(2)
    assert (left == left[..., :1]).all(), "a group spikes as one where its probability is 1"
    one, other = left[..., 0], right[..., 0]
    bursts = torch.zeros(90, 1)
    for end in (10, 20, 30, 40, 50):
        bursts[end - 6 : end] = 1
    assert torch.equal(one + other, bursts.expand(-1, 400)), "at each time at most one side is active"
    assert torch.equal(recall[:, 0, 0], (torch.arange(90) >= 80).float())
    assert not background.any()
    assert torch.equal(targets, (other.sum(0) > one.sum(0)).long())
    assert 0.4 < targets.float().mean() < 0.6


def test_rates_and_the_majority_are_those_that_are_stated() -> None:
    quiet = groups(drawn(CueAssociation(noise=0.0)).inputs)
    assert quiet[:, :, 3].mean().item() == pytest.approx(0.1, abs=0.01)
    assert quiet[80:, :, 2].mean().item() == pytest.approx(0.4, abs=0.01)
    halved = groups(drawn(CueAssociation(noise=0.0, deleted=0.5)).inputs)
    assert halved[80:, :, 2].mean().item() == pytest.approx(0.2, abs=0.01)
    inputs, targets, _ = drawn(CueAssociation(active=1.0, noise=0.0, majority=1.0))
    rights = inputs[:, :, 10].sum(0) / 6
    assert torch.equal(rights, 5.0 * targets), "all cues on one side"
    mixed = drawn(CueAssociation(group=1, active=1.0, noise=0.0), 4000)
    share = torch.where(mixed.targets == 1, mixed.inputs[:, :, 1].sum(0), mixed.inputs[:, :, 0].sum(0)) / 30
    expected = sum(k / 5 * binomial * (0.7**k * 0.3 ** (5 - k) + 0.3**k * 0.7 ** (5 - k)) for k, binomial in
                   ((3, 10), (4, 5), (5, 1)))  # fmt: skip
    assert share.mean().item() == pytest.approx(expected, abs=0.01)


def test_whoever_counts_spikes_is_nearly_always_right() -> None:
    inputs, targets, _ = drawn(CueAssociation(), 1000)
    left, right = groups(inputs)[:50, :, :2].sum((0, 3)).unbind(1)
    assert ((right > left) == targets.bool()).float().mean() > 0.97


def test_noise_may_be_another_in_the_test() -> None:
    task = CueAssociation(noise=0.05, test_noise=0.2)
    silent = [groups(drawn(task, 400, split).inputs)[50:80, :, :3].mean().item() for split in Split]
    assert silent == pytest.approx([0.05, 0.05, 0.2], abs=0.005)


@pytest.mark.parametrize(("fields", "message"), [
    ({"cues": 4}, "cues must be odd, so that one side has more of them, but is 4"),
    ({"period": 5}, "a period of at least its burst of 6 steps"),
    ({"majority": 0.4}, r"majority must be from 0\.5 to 1, but is 0\.4"),
    ({"test_noise": 1.5}, r"test_noise is a probability, 0 to 1, but is 1\.5"),
])  # fmt: skip
def test_a_protocol_that_cannot_be_is_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(PlasticSearchError, match=message):
        CueAssociation(**fields)  # type: ignore[arg-type]
