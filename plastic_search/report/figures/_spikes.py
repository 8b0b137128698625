"""One episode of a network with units that fire: its spikes, some membranes, and time constants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plastic_search.records.spikes import FiringLayer, MembraneTrace, SpikingEpisode
from plastic_search.report.figures import _canvas as canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["called", "constants", "membranes", "raster", "trained"]

_NAN = float("nan")
_ROW, _LEAST, _MOST = 4.0, 60.0, 200.0  # points of a unit, and of a layer
_PANEL = 92.0  # points of a membrane


def called(layer: FiringLayer) -> str:
    """What a layer is called: inputs, or layer 0."""
    return "inputs" if layer.layer < 0 else f"layer {layer.layer}"


def raster(episode: SpikingEpisode) -> str:
    """A mark for each spike, units by steps, a panel for each layer."""
    heights = [min(max(_ROW * len(layer.shown), _LEAST), _MOST) for layer in episode.layers]

    def paint(figure: Figure) -> None:
        every = figure.subplots(len(heights), sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
        for place, (axes, layer) in enumerate(zip(every, episode.layers, strict=True)):
            x, y = _strokes(layer.spikes)
            axes.plot(x, y, color=canvas.look(place).colour, linewidth=1.1, solid_capstyle="butt")
            axes.set_ylim(len(layer.shown) - 0.4, -0.6)
            axes.set_yticks([0, len(layer.shown) - 1], [str(layer.shown[0]), str(layer.shown[-1])])
            axes.set_title(called(layer))
            canvas.bare(axes, "x")
            _steps(axes, episode)
        every[-1].set_xlabel("step")

    title = f"Spikes of {', '.join(map(called, episode.layers))} in one episode of {episode.name}, unit by step"
    return canvas.render("spiking-raster", title, sum(heights) + 30 * len(heights) + 44, paint)


def membranes(episode: SpikingEpisode) -> str:
    """Potential and threshold of a few units, with their spikes above."""
    found = [(layer, trace) for layer in episode.layers for trace in layer.membranes]

    def paint(figure: Figure) -> None:
        every = figure.subplots(len(found), sharex=True, squeeze=False)[:, 0]
        for axes, (layer, trace) in zip(every, found, strict=True):
            axes.plot(trace.potential, color=canvas.BLUE, linewidth=1.2, label="potential")
            axes.plot(trace.threshold, color=canvas.ORANGE, linewidth=1.2, linestyle="--", label="threshold")
            axes.plot(*_above(layer, trace), color=canvas.INK, linewidth=1.2, solid_capstyle="butt", label="spike")
            axes.set_title(f"{called(layer)}, unit {trace.unit}")
            canvas.bare(axes)
            _steps(axes, episode)
        every[-1].set_xlabel("step")
        canvas.legend(figure)

    title = f"Membrane potential and threshold of {len(found)} units in one episode of {episode.name}"
    return canvas.render("spiking-membranes", title, _PANEL * len(found) + 70, paint)


def trained(layer: FiringLayer) -> bool:
    """Whether training changed the time constants of a layer's membranes."""
    return layer.before != layer.after


def constants(episode: SpikingEpisode) -> str:
    """Histograms of the time constants before and after training, of the layers in which it changed them."""
    layers = [layer for layer in episode.layers if trained(layer)]

    def paint(figure: Figure) -> None:
        for axes, layer in zip(figure.subplots(len(layers), squeeze=False)[:, 0], layers, strict=True):
            values = [*layer.before, *layer.after]
            low, high = min(values), max(values)
            edges = [low * (high / low) ** (k / 24) for k in range(25)]
            edges[-1] = high * 1.0001
            axes.hist(layer.after, edges, color=canvas.BLUE, alpha=0.75, label="after training")
            axes.hist(layer.before, edges, histtype="step", color=canvas.ORANGE, linewidth=1.8, label="before")
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.4g}")
            axes.xaxis.set_minor_formatter(lambda x, _: f"{x:,.4g}")
            axes.set_title(called(layer))
            axes.set(xlabel="time constant of the membrane, steps", ylabel="units")
            canvas.bare(axes)
        canvas.legend(figure)

    title = f"Time constants of the membranes of {episode.name}, before and after training"
    return canvas.render("spiking-constants", title, 190 * len(layers) + 30, paint)


def _strokes(spikes: list[list[int]]) -> tuple[list[float], list[float]]:
    """One line with gaps: a stroke for each spike, in the row of its unit."""
    x, y = [_NAN], [_NAN]
    for row, steps in enumerate(spikes):
        for step in steps:
            x += [step, step, _NAN]
            y += [row - 0.42, row + 0.42, _NAN]
    return x, y


def _above(layer: FiringLayer, trace: MembraneTrace) -> tuple[list[float], list[float]]:
    """The spikes of a unit as strokes above its potential and threshold."""
    steps = layer.spikes[layer.shown.index(trace.unit)]
    values = [*trace.potential, *trace.threshold]
    low, high = min(values), max(values)
    height = (high - low or 1.0) * 0.2
    x, y = _strokes([steps])
    return x, [high + height * (1.0 + each) for each in y]


def _steps(axes: Axes, episode: SpikingEpisode) -> None:
    """The steps of the episode along x, and a dotted line where the score begins to count."""
    axes.set_xlim(-0.5, episode.steps - 0.5)
    canvas.whole_ticks(axes)
    if 0 < episode.query_step < episode.steps:
        axes.axvline(episode.query_step - 0.5, color=canvas.MUTED, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
