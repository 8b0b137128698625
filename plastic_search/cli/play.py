"""The command that shows an episode of a trained network in its environment."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plastic_search.cli.options import Folder, Json, Parts, print_json

if TYPE_CHECKING:
    from plastic_search.records.episodes import Episode

__all__ = ["play"]

_ROWS = 20  # of the summary; more trials are counted together
_DELAY, _LONGEST = 0.1, 60.0  # seconds between frames, and of an episode in the terminal
_STYLES = {"@": "bold cyan", r"\*": "bold yellow", "#": "dim"}


def play(
    folder: Folder,
    case: Annotated[str | None, typer.Option(help="Which network. Default: the one of the highest mean score.")] = None,
    seed: Annotated[int | None, typer.Option(help="With which it was trained. Default: the question's first.")] = None,
    episode: Annotated[int, typer.Option(min=0, help="Which episode: each number is another one.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the episode as a moving picture, *.svg.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Show the summary alone.")] = False,
    parts: Parts = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Play an episode of a trained network in its environment: frames in a terminal, then rewards and plasticity.

    Example: plastic-search play runs/bandit --case modulated --seed 1 --out episode.svg
    """
    from plastic_search.cli.console import print_line
    from plastic_search.core import loading
    from plastic_search.core.errors import PlasticSearchError
    from plastic_search.experiments.play import play as played
    from plastic_search.records.files import destination, write_text
    from plastic_search.report.figures import _episode

    if out is not None:
        if out.suffix != ".svg":
            raise PlasticSearchError(
                f"a moving picture is called *.svg, but {str(out)!r} is not; choose one with --out"
            )
        destination(out)
    loading.load_parts(parts)
    found = played(folder, case, seed, episode)
    if out is not None:
        write_text(out, _episode.draw(found) + "\n")
    if as_json:
        print_json(found.to_json())
        return
    if not fast:
        _show(found)
    _summary(found)
    if out is not None:
        print_line(out)


def _show(episode: Episode) -> None:
    """The frames one after another, in a terminal; nothing elsewhere, or where there are none."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from plastic_search.core.printable import printable

    console = Console(highlight=False)
    if not console.is_terminal or not episode.frames:
        return
    delay, total = min(_DELAY, _LONGEST / len(episode.frames)), 0.0
    with Live(console=console, auto_refresh=False) as live:
        for t, frame in enumerate(episode.frames):
            total += episode.rewards[t - 1] if t else 0.0
            text = Text(f"{printable(frame).rstrip()}\n\nstep {t} of {len(episode.rewards)}, reward {total:.4g}")
            for pattern, style in _STYLES.items():
                text.highlight_regex(pattern, style)
            live.update(text, refresh=True)
            time.sleep(delay)


def _summary(episode: Episode) -> None:
    """Reward and plasticity by trial, or by tenth of the episode where there are no trials."""
    from plastic_search.cli.console import print_table
    from plastic_search.report.figures import _episode

    several = len(episode.layers) > 1
    columns = ["trial" if episode.trials else "steps", "reward"]
    for each in episode.layers:
        columns += [f"{name}{f', layer {each.layer}' if several else ''}" for name in ("modulator", "rate", "mean |H|")]
    rows = []
    for label, steps in _parts(episode):
        values = [sum(episode.rewards[t] for t in steps)]
        for each in episode.layers:
            values += [_mean(each.signal, steps), _mean(each.rate, steps), each.trace[steps[-1]]]
        rows.append([label, *(f"{value:.4g}" for value in values)])
    title = f"{episode.name}, seed {episode.seed}, episode {episode.draw}: {_episode.scored(episode)}"
    print_table(title, columns, rows)


def _parts(episode: Episode) -> list[tuple[str, list[int]]]:
    """What a row of the summary is about: its name, and its steps."""
    numbers = episode.trials or list(range(len(episode.rewards)))
    known = sorted({number for number in numbers if number >= 0})
    size = max(1, -(-len(known) // (_ROWS if episode.trials else _ROWS // 2)))
    groups = [known[i : i + size] for i in range(0, len(known), size)]
    return [
        (f"{each[0]}" + (f" to {each[-1]}" if len(each) > 1 else ""), [t for t, n in enumerate(numbers) if n in each])
        for each in groups
    ]


def _mean(values: list[float], steps: list[int]) -> float:
    return sum(values[t] for t in steps) / len(steps)
