"""Environments of trials: what can be known when, and what is marked right."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.environments import Moment, Weighted
from plastic_search.environments._trials import distinct
from plastic_search.environments.bandit import Bandit
from plastic_search.environments.cue_reward import CueReward, Cues
from plastic_search.environments.transitive_inference import TransitiveInference
from plastic_search.testing.environments import moments, played_by, uniform

FEW_BITS = 4  # so that a policy can keep a list of all patterns


class Elimination:
    """Keeps the patterns that may be the target, and answers by how many of those it saw were shown in this trial."""

    def __init__(self, batch: int) -> None:
        self.possible = torch.ones(batch, 2**FEW_BITS, dtype=torch.bool)
        self.seen, self.shown = torch.zeros_like(self.possible), torch.zeros_like(self.possible)
        self.answer: Tensor | None = None

    def __call__(self, moment: Moment, rng: Generator) -> Tensor:
        bits, go = moment.observation[:, :FEW_BITS], moment.observation[:, FEW_BITS] > 0
        if self.answer is not None:
            answered = (moment.reward != 0).unsqueeze(1)
            present = ((moment.reward > 0) == (self.answer == 1)).unsqueeze(1)
            self.possible = torch.where(answered, self.possible & (self.shown == present), self.possible)
            self.shown = self.shown & ~answered
        cue = (bits != 0).any(1)
        code = ((bits > 0).long() << torch.arange(FEW_BITS)).sum(1)
        self.shown[cue, code[cue]] = True
        self.seen |= self.shown
        inside = (self.possible & self.shown).sum(1)
        outside = (self.possible & self.seen & ~self.shown).sum(1)
        self.answer = (inside > outside).long()
        return torch.where(go, self.answer, torch.randint(2, go.shape, generator=rng))


@pytest.fixture(scope="module")
def solved() -> dict[str, Tensor]:
    environment = CueReward(bits=FEW_BITS, steps=200)
    episodes = played_by(Elimination(2000), environment, 2000, seed=0)
    trials, right = episodes.trials, episodes.marks["right"]
    assert trials is not None
    by_trial = {f"trial {k}": (right & (trials == k)).sum().float() / (trials == k).sum() for k in range(20)}
    return environment.metrics(episodes) | by_trial


def test_the_target_is_known_by_elimination_but_not_from_one_trial(solved: dict[str, Tensor]) -> None:
    assert solved["last trial"].mean() > 0.99
    assert solved["first trial"].mean() == pytest.approx(0.5, abs=0.05)
    assert 0.55 < solved["trial 1"] < 0.8, "the first trial leaves two of four cues, or more"
    assert solved["trial 12"] > 0.97


@pytest.mark.parametrize("patterns", Cues)
def test_no_policy_is_better_than_chance_in_the_first_trial(patterns: Cues) -> None:
    environment = CueReward(bits=6, patterns=patterns)
    read = torch.randn(environment.inputs, generator=torch.Generator().manual_seed(3))
    for policy in (uniform(environment), lambda moment, rng: (moment.observation @ read > 0).long()):
        found = environment.metrics(played_by(policy, environment, 3000, seed=1, steps=20))
        assert found["first trial"].mean() == pytest.approx(0.5, abs=0.04)


def test_trials_are_laid_out_as_published() -> None:
    environment = CueReward()
    assert environment.inputs == 27, "as the released code, so that networks have the published number of parameters"
    episodes = played_by(uniform(environment), environment, 300, seed=0)
    trials, observations = episodes.trials, episodes.observations
    assert trials is not None
    go = observations[..., 20] > 0
    assert torch.equal(go, trials >= 0), "the action of the Go step is the one that is rewarded"
    assert torch.equal(episodes.rewards != 0, go)
    counts = go.sum(0)
    assert counts.float().mean() == pytest.approx(18, abs=1)
    assert len(counts.unique()) > 3, "episodes differ in how many trials they complete"
    cue = (observations[..., :20] != 0).any(2)
    gaps = [torch.diff(torch.nonzero(go[:, b])[:, 0]) for b in range(300)]
    assert torch.cat(gaps).unique().tolist() == [5, 6, 7, 8]
    for b in range(20):
        for end, number in zip(torch.nonzero(go[:, b])[:, 0], range(99), strict=False):
            begin = 0 if number == 0 else int(torch.nonzero(go[:, b])[number - 1, 0]) + 1
            shown = observations[begin:end, b, :20][cue[begin:end, b]]
            assert len(shown) == 2
            assert not torch.equal(shown[0], shown[1])
    own = observations[:, 0, :20][cue[:, 0]]
    assert len(own.unique(dim=0)) == 4
    assert set(own.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(observations[1:, :, 23], episodes.rewards[:-1]), "a reward is seen in the step after its action"
    assert torch.equal(observations[1:, :, 26], episodes.actions[:-1].float())


def test_of_the_sizes_of_the_paper_fifteen_trials_fill_an_episode() -> None:
    environment = CueReward(steps=200, blanks=17)
    trials = played_by(uniform(environment), environment, 200, seed=0).trials
    assert trials is not None
    assert (trials.amax(0) + 1).float().mean() == pytest.approx(15, abs=0.7)


def test_in_lock_step_only_the_answers_count() -> None:
    environment = CueReward(steps=48, lead=0, blanks=0, weighted=Weighted.ANSWERS)
    episodes = played_by(uniform(environment), environment, 4, seed=0)
    go = torch.arange(48) % 4 == 2
    assert torch.equal(episodes.weights, go.float().unsqueeze(1).expand(48, 4))
    assert episodes.trials is not None
    assert episodes.trials[go][:, 0].tolist() == list(range(12))


def test_numbers_without_repetition_are_drawn_evenly() -> None:
    drawn = distinct(3, torch.tensor([3, 5]), (4000, 2), torch.Generator().manual_seed(0))
    assert torch.equal(drawn[..., 0].sort(0).values, torch.arange(3).unsqueeze(1).expand(3, 4000))
    for place in drawn:
        assert (place[:, 1].bincount() / 4000 - 0.2).abs().max() < 0.03
    same = (drawn[0] == drawn[1]) | (drawn[0] == drawn[2]) | (drawn[1] == drawn[2])
    assert not same.any()


def test_the_best_arm_pays_best() -> None:
    environment = Bandit(arms=4, steps=40)
    tried = torch.zeros(500, 4), torch.zeros(500, 4)

    def greedy(moment: Moment, rng: Generator) -> Tensor:
        last, reward = moment.observation[:, :4].abs(), moment.reward
        tried[0].add_(last * reward.unsqueeze(1))
        tried[1].add_(last)
        return ((tried[0] + 1) / (tried[1] + 1)).argmax(1)  # an arm that was not tried seems to pay always

    found = environment.metrics(played_by(greedy, environment, 500, seed=0))
    chance = environment.metrics(played_by(uniform(environment), environment, 500, seed=0))
    assert chance["reward per pull"].mean() == pytest.approx(0.5, abs=0.03)
    assert chance["best arm, last quarter"].mean() == pytest.approx(0.25, abs=0.03)
    assert found["reward per pull"].mean() > 0.6
    assert found["best arm, last quarter"].mean() > found["best arm, first quarter"].mean() + 0.2


@pytest.mark.parametrize("joining", [0, 4])
def test_neighbours_are_taught_and_any_two_are_tested(joining: int) -> None:
    environment = TransitiveInference(joining=joining, cues=(6, 6), lists=2)
    assert environment.inputs == 37
    assert environment.steps == 2 * (2 + 4 * (30 + joining))
    before, actions, after = moments(uniform(environment), environment, 200, 0)
    per = environment.steps // 2
    for t, (moment, next_) in enumerate(zip(before, after, strict=True)):
        at = t % per
        assert moment.clear is not None
        assert bool(moment.clear.all()) == bool(moment.clear.any()) == (at == 0 or (at >= 2 and (at - 2) % 4 == 0))
        go = at >= 2 and (at - 2) % 4 == 1
        assert bool((next_.reward != 0).all()) == bool((next_.reward != 0).any()) == go
        shown = torch.nn.functional.one_hot(actions[t], 2) if go else torch.zeros(200, 2)
        assert torch.equal(next_.observation[:, -2:], shown.float()), "the answer is seen after it was given"
        test = go and (at - 2) // 4 >= 20 + joining
        assert bool((next_.marks["distance"] > 0).all()) == bool((next_.marks["distance"] > 0).any()) == test
        assert moment.weight is not None
        assert moment.weight.unique().tolist() == [3.0 if at >= 2 and (at - 2) // 4 >= 20 + joining else 1.0]
    distances = torch.stack([moment.marks["distance"] for moment in after])
    assert distances.unique().tolist() == [0, 1, 2, 3, 4, 5]
    across = torch.stack([moment.marks["across"] for moment in after])
    assert bool(across.any()) == bool(joining)


def test_who_knows_the_order_answers_right_and_cues_of_a_list_differ() -> None:
    environment, batch = TransitiveInference(cues=(5, 7), training=60), 50
    learned: list[dict[bytes, set[bytes]]] = [{} for _ in range(batch)]
    asked: list[tuple[bytes, bytes]] = [(b"", b"")] * batch

    def precedes(table: dict[bytes, set[bytes]], first: bytes, second: bytes) -> bool:
        """By the neighbours that were taught: is there a chain from first to second?"""
        reached, new = set(), {first}
        while new:
            reached |= new
            new = set().union(*(table.get(one, set()) for one in new)) - reached
        return second in reached

    def policy(moment: Moment, rng: Generator) -> Tensor:
        answers = torch.zeros(batch, dtype=torch.long)
        for b, row in enumerate(moment.observation):
            first, second = (row[k * 15 : (k + 1) * 15].numpy().tobytes() for k in range(2))
            if row[:15].any():
                asked[b] = first, second
            elif row[30]:
                answers[b] = int(precedes(learned[b], *asked[b]))
            elif row[33]:
                answer_was_one, right = bool(row[36]), row[33] > 0
                earlier, later = asked[b] if answer_was_one == bool(right) else asked[b][::-1]
                learned[b].setdefault(earlier, set()).add(later)
        return answers

    episodes = played_by(policy, environment, batch, seed=0)
    found = environment.metrics(episodes)
    assert found["tests"].mean() > 0.999
    assert found["training trials"].mean() < 0.99, "what was not taught yet cannot be known"
    cues = episodes.observations[..., :15][2::4, 0].unique(dim=0)
    assert 5 <= len(cues) <= 7
    agree = (15 + cues @ cues.T) / 2 / 15
    assert (agree - torch.eye(len(cues))).max() <= 0.66


def test_an_episode_without_a_trial_of_a_kind_measures_nan_there() -> None:
    environment = TransitiveInference(tests=1)
    found = environment.metrics(played_by(uniform(environment), environment, 30, seed=0))
    assert torch.equal(found["adjacent"].isnan(), ~found["not adjacent"].isnan())
    assert not found["tests"].isnan().any()


@pytest.mark.parametrize(("make", "message"), [
    (lambda: CueReward(cues=3), "cues must be even and at least 2, but is 3"),
    (lambda: CueReward(bits=1), "4 different random cues need more than 1 bits"),
    (lambda: CueReward(bits=3, patterns=Cues.ONE_HOT), "4 different one-hot cues need more than 3 bits"),
    (lambda: CueReward(steps=7), "steps must hold a trial, 8 steps, but is 7"),
    (lambda: CueReward(blanks=-1), "blanks must be at least 0"),
    (lambda: Bandit(arms=1), "arms must be at least 2"),
    (lambda: TransitiveInference(cues=(3, 8), joining=1), "from 2, or 4 where two halves are joined, but is"),
    (lambda: TransitiveInference(bits=2).reset(3, torch.Generator()), "choose more bits"),
])  # fmt: skip
def test_what_cannot_be_is_refused(make: object, message: str) -> None:
    with pytest.raises(PlasticSearchError, match=message):
        make()  # type: ignore[operator]
