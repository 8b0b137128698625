"""What the tasks put before a network, and how they mark its answer."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.tasks import Split
from plastic_search.tasks._one_shot import Classes, one_shot
from plastic_search.tasks.digit_recall import DigitRecall, _digits
from plastic_search.tasks.omniglot_recall import OmniglotRecall
from plastic_search.tasks.pattern_completion import PatternCompletion


def rng(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def rows(split: Split) -> set[bytes]:
    images, counts = _digits(split)
    return {image.numpy().tobytes() for c, n in zip(images, counts, strict=True) for image in c[:n]}


def test_no_digit_is_in_two_splits() -> None:
    train, validation, test = (rows(split) for split in Split)
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert len(train) + len(validation) + len(test) == 1797, "nor is one left out"


def test_one_shot_episodes_of_numbered_images() -> None:
    """Image k of class c is the number 100 c + k + 1, so that each can be told by its one pixel; padding is 0."""
    counts = torch.tensor([2, 5, 3, 4])
    images = 100.0 * torch.arange(4).view(4, 1, 1) + torch.arange(1.0, 6.0).view(1, 5, 1)
    images = images.masked_fill(torch.arange(5).view(1, 5, 1) >= counts.view(4, 1, 1), 0.0)
    inputs, targets = one_shot(Classes(images, counts), 2000, 3, rng())
    pixels, labels = inputs[..., 0], inputs[..., 1:]
    assert (pixels > 0).all(), "padding is never shown"
    classes = (pixels / 100).floor()
    assert torch.equal(labels[:3].sum(0), torch.ones(2000, 3))
    assert not labels[3].any(), "the image to be named carries no label"
    assert (classes[:3].sort(0).values.diff(dim=0) > 0).all(), "three different classes"
    shown = labels[:3].argmax(2).eq(targets).float().argmax(0)
    row = torch.arange(2000)
    assert torch.equal(classes[shown, row], classes[3]), "it is of the class whose label is asked"
    assert (pixels[shown, row] != pixels[3]).all(), "but never the image that was shown"
    for things in (targets, shown, classes[0]):
        shares = things.long().bincount() / 2000
        assert (shares - 1 / len(shares)).abs().max() < 0.05, "labels, places and classes are drawn evenly"
    assert len(pixels[3].unique()) == counts.sum(), "and every image is asked for"


def test_a_network_without_memory_stays_at_chance() -> None:
    """The last step alone says nothing about the label: where it does, something leaks."""
    task = DigitRecall(ways=5)
    episodes = task.episodes(2000, Split.TRAIN, rng())
    net = Network(NetworkSpec((Layer(5),)), task.inputs)
    outputs, _ = net(episodes.inputs[-1:])
    assert task.scores(outputs, episodes).mean().item() == pytest.approx(task.chance, abs=0.04)


def test_a_digit_is_marked_by_its_largest_output_at_the_end() -> None:
    task = DigitRecall(ways=3)
    episodes = task.episodes(2, Split.TEST, rng())._replace(targets=torch.tensor([2, 0]))
    outputs = torch.zeros(4, 2, 3)
    outputs[-1] = torch.tensor([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]])
    assert task.scores(outputs, episodes).tolist() == [1.0, 0.0]


def completion() -> tuple[PatternCompletion, Tensor, Tensor]:
    task = PatternCompletion(bits=6, patterns=2, present=2, delay=1)
    episodes = task.episodes(50, Split.TRAIN, rng())
    return task, episodes.inputs, episodes.targets


def test_a_pattern_is_shown_and_comes_back_half_erased() -> None:
    task, inputs, targets = completion()
    assert inputs.shape == (2 * (2 + 1) + 2, 50, task.inputs)
    first, second, cue = inputs[0], inputs[3], inputs[-1]
    assert torch.equal(inputs[1], first)
    assert torch.equal(inputs[4], second)
    assert not inputs[[2, 5]].any(), "blank"
    assert torch.equal(inputs[-2], cue)
    assert ((cue == 0).sum(1) == 3).all(), "exactly half is erased"
    assert torch.equal(torch.where(cue == 0, targets, cue), targets)
    either = (targets == first).all(1) | (targets == second).all(1)
    assert either.all()


def test_only_the_erased_bits_are_marked() -> None:
    task, inputs, targets = completion()
    result = task.episodes(50, Split.TRAIN, rng())
    erased = inputs[-1] == 0
    for answer, score in ((targets, 1.0), (-targets, 0.0), (torch.where(erased, targets, -targets), 1.0)):
        assert task.scores(answer.expand(9, -1, -1), result).eq(score).all()
    assert task.loss(targets.expand(9, -1, -1), result).item() == 0.0


@pytest.mark.parametrize(("fields", "message"), [
    ({"side": 20}, r"side must divide 105 \(3, 5, 7, 15, 21, 35, 105\), but is 20"),
    ({"side": 0}, "side must divide 105"),
    ({"ways": 1}, "ways must be 2 to 100, but is 1"),
])  # fmt: skip
def test_an_omniglot_that_cannot_be_is_refused_without_its_data(fields: dict[str, int], message: str) -> None:
    with pytest.raises(PlasticSearchError, match=message):
        OmniglotRecall(**fields)
