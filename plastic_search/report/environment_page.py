"""What a page adds where networks act in an environment: reward in training and by trial, plasticity around it."""

from __future__ import annotations

from typing import Any

from plastic_search.records.episodes import Episode
from plastic_search.records.run import Record
from plastic_search.report import groups
from plastic_search.report.figures import _around, _episode, _learning, _trials, ablation
from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.groups import Group

__all__ = ["contents", "drawings"]

Page = dict[str, Any]  # as `comparison_page.contents` makes it


def contents(record: Record, cases: list[dict[str, Any]], best: str | None) -> dict[str, Any] | None:
    """What is measured in an environment, as plain data; None where the cases are trained for a task.

    Args:
        cases: of the page, in its order.
        best: the case whose episode is shown; None takes the first that has one.
    """
    if not groups.rewarded(record.runs):
        return None
    episodes = list(record.episodes.values())
    shown = _shown(episodes, [best, *(case["name"] for case in cases)])
    counted = [bool(each.trials) for each in episodes]
    parts = ["trial"] * (True in counted or not counted) + ["part of the episode"] * (not all(counted) or not counted)
    return {
        "score_name": groups.score_name(record),
        "part": " or ".join(parts),
        "learning": _learning.data(record, cases),
        "trials": _trials.data(record, cases),
        "ablation": _ablation(record, cases),
        "around": _around.data(episodes, cases),
        "episode": None
        if shown is None
        else {"name": shown.name, "seed": shown.seed, "score": shown.score, "steps": len(shown.rewards)},
    }


def _shown(episodes: list[Episode], names: list[str | None]) -> Episode | None:
    """The episode of the first case that has one, of its first seed."""
    known = sorted(episodes, key=lambda each: each.seed)
    return next((each for name in names for each in known if each.name == name), None)


def _ablation(record: Record, cases: list[dict[str, Any]]) -> ablation.Ablation | None:
    found = [Group(case["name"], case["label"], "", _learning.runs_of(record, case["name"])) for case in cases]
    looks = {case["name"]: i for i, case in enumerate(cases)}
    return ablation.of_networks(found, groups.score_name(record), None, looks)


def drawings(record: Record, page: Page) -> dict[str, dict[str, str]]:
    """Figure -> its SVG, its title and its caption; none where the page is about a task."""
    found = page["environment"]
    if found is None:
        return {}
    looks = {case["name"]: canvas.look(i) for i, case in enumerate(page["cases"])}
    measured, result = found["score_name"], {}
    if found["learning"]:
        svg = _learning.draw(found["learning"], looks, f"{measured} in training")
        result["learning"] = _figure("Learning curves", svg, _MEANS)
    if found["trials"]:
        svg = _trials.draw(found["trials"], looks, found["part"])
        result["trials"] = _figure("Reward within an episode", svg, f"{_MEANS} The trained networks, tested.")
    if found["ablation"]:
        svg, words = ablation.draw(found["ablation"]), f"{_ABLATED} {ablation.intervals(found['ablation'])}"
        result["ablation"] = _figure("Taking the trace or its modulation away", svg, words)
    if found["around"]:
        events = ", ".join(f"{each.label} {each.events}" for each in found["around"])
        result["around"] = _figure(
            "Around a reward", _around.draw(found["around"], looks), f"{_AROUND} Rewards: {events}."
        )
    shown = _shown(list(record.episodes.values()), [found["episode"] and found["episode"]["name"]])
    if shown is not None:
        label = next(case["label"] for case in page["cases"] if case["name"] == shown.name)
        title = f"One episode: {label}, seed {shown.seed}, {_episode.scored(shown)}"
        result["episode"] = _figure(title, canvas.variable(_episode.draw(shown)), _episode.caption(shown))
    return result


_MEANS = "Line: the mean over seeds. Band: its 95 % interval."
_ABLATED = (
    "The same trained networks, tested as they are; with every trace frozen at zero, so that the fixed weights act "
    "alone; with the entries of the trace exchanged among the synapses of a layer before every step; and, where the "
    "plasticity rate is modulated, with the rate held at its mean, so that the trace changes but nothing modulates it."
)
_AROUND = (
    "0 is the first step in which the network can receive the reward. Averaged over the rewards of an episode, then "
    "over seeds, an episode each; bands: 95 % intervals. A reward counts if it is above the middle of the episode's "
    "smallest and largest. Modulator: the plasticity rate with its sign, mean over units."
)


def _figure(title: str, svg: str, caption: str) -> dict[str, str]:
    return {"title": title, "svg": svg, "caption": caption}
