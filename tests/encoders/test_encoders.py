"""Encoders against numbers worked by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor
from torch.testing import assert_close

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part
from plastic_search.encoders import Encoder
from plastic_search.encoders.analogue import Analogue
from plastic_search.encoders.bsa import BSA
from plastic_search.encoders.latency import Latency
from plastic_search.encoders.poisson import Poisson
from plastic_search.encoders.send_on_delta import SendOnDelta


def rng() -> Generator:
    return torch.Generator().manual_seed(0)


def encoded(encoder: Encoder, *currents: float) -> list[list[float]]:
    """The inputs [channel][step] that stand for one current, step after step."""
    return encoder.encode(torch.tensor(currents).view(-1, 1, 1), rng())[:, 0].T.tolist()


def test_delta_sends_up_and_down_once_a_step() -> None:
    up, down = encoded(SendOnDelta(threshold=0.25), 0.0, 0.6, 0.6, 0.6, 0.1, 0.1, 0.3)
    assert up == [0, 1, 1, 0, 0, 0, 0]  # the level goes to 0.25, 0.5, and stays
    assert down == [0, 0, 0, 0, 1, 0, 0]  # 0.5 - 0.1 is at least 0.25, 0.25 - 0.1 is not


def test_latency_is_earlier_for_more_and_counts_from_each_window() -> None:
    assert encoded(Latency(), *[1.0] * 5) == [[1, 0, 0, 0, 0]]
    assert encoded(Latency(), *[0.5] * 5) == [[0, 0, 1, 0, 0]]
    assert encoded(Latency(), *[0.01] * 5) == [[0, 0, 0, 0, 1]]
    assert encoded(Latency(threshold=0.2), *[0.2] * 5) == [[0, 0, 0, 0, 0]]
    assert encoded(Latency(window=2), 1.0, 1.0, 0.2, 0.2, 0.0, 0.0, 0.9) == [[1, 0, 0, 1, 0, 0, 1]]


def test_poisson_has_the_rate_it_states() -> None:
    spikes = Poisson(rate=0.5).encode(torch.tensor([0.0, 0.2, 1.0]).expand(200, 100, 3), rng())
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    assert_close(spikes.mean((0, 1)), torch.tensor([0.0, 0.1, 0.5]), atol=0.01, rtol=0)


def test_analogue_is_the_current_itself() -> None:
    assert encoded(Analogue(gain=2.0), 0.0, 0.25, 1.0) == [[0.0, 0.5, 2.0]]


def test_the_kernel_of_bsa_is_that_of_the_speech_code_at_24_steps() -> None:
    bell = torch.exp(-((torch.arange(24.0) - 12) ** 2) / 25)
    assert_close(BSA(taps=24).kernel, bell / bell.sum())


def by_indices(currents: Tensor, kernel: Tensor, threshold: float) -> Tensor:
    """BSA of one current [steps], as its authors write it."""
    rest, spikes = [*currents.tolist(), *[0.0] * len(kernel)], []
    for t in range(len(currents)):
        with_spike = sum(abs(rest[t + i] - float(h)) for i, h in enumerate(kernel))
        without = sum(abs(rest[t + i]) for i in range(len(kernel)))
        spikes.append(float(with_spike < without - threshold))
        for i, h in enumerate(kernel):
            rest[t + i] -= float(h) * spikes[-1]
    return torch.tensor(spikes)


def test_bsa_equals_its_index_notation_and_its_spikes_give_the_current_back() -> None:
    time = torch.arange(120.0)
    currents = torch.stack([0.5 + 0.4 * torch.sin(time / 9), (time / 120) ** 2], 1).unsqueeze(1)
    encoder = BSA(taps=8)
    spikes = encoder.encode(currents, rng())
    for k in range(2):
        assert_close(spikes[:, 0, k], by_indices(currents[:, 0, k], encoder.kernel, encoder.threshold))
    again = torch.nn.functional.conv1d(spikes.permute(2, 1, 0), encoder.kernel.flip(0).view(1, 1, -1), padding=7)
    error = (again[:, 0, :120] - currents[:, 0].T)[:, 10:110].abs().mean()
    assert error < 0.1, error


@pytest.mark.parametrize(("wrong", "message"), [
    (lambda: Poisson(rate=1.5), r"Poisson\.rate must be above 0 and at most 1, but is 1\.5"),
    (lambda: SendOnDelta(threshold=0.0), r"SendOnDelta\.threshold must be above 0"),
    (lambda: Latency(window=0), r"Latency\.window must be at least 1, or None, but is 0"),
    (lambda: BSA(threshold=1.0), r"BSA\.threshold must be above 0 and below 1, but is 1\.0"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(wrong: object, message: str) -> None:
    with pytest.raises(PlasticSearchError, match=message):
        wrong()  # type: ignore[operator]


def test_a_task_with_an_encoder_comes_back_from_json() -> None:
    from plastic_search.tasks.spoken_digits import SpokenDigits

    task = SpokenDigits(encoder=SendOnDelta(threshold=0.2))
    assert task.inputs == 128
    assert Part.from_json(task.to_json()) == task
