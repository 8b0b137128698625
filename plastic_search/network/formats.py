"""The number formats of what changes in a layer while it runs, and the rounding of what its units send."""

from __future__ import annotations

from typing import NamedTuple

from plastic_search.cells import Response
from plastic_search.network.quantization import round_activity
from plastic_search.network.spec import NetworkSpec
from plastic_search.precisions import Format, Role

__all__ = ["Formats", "formats", "sent"]


class Formats(NamedTuple):
    """The formats of one layer; None leaves a role a float."""

    trace: Format | None = None
    activity: Format | None = None


def formats(spec: NetworkSpec) -> tuple[Formats, ...]:
    """The formats of each layer. The output of the last one is the network's answer, and stays a float.

    Spikes, 0 or 1, stay as they are: they are levels of every format but that of one bit, in which both would be 1.
    """
    trace, activity = (spec.precision.format(role) for role in (Role.TRACE, Role.ACTIVITY))
    hidden = (Formats(trace, None if layer.cell.spiking else activity) for layer in spec.layers[:-1])
    return (*hidden, Formats(trace))


def sent(response: Response, form: Format | None) -> Response:
    """The response of a cell, whose output and postsynaptic activity are rounded if they have a format."""
    if form is None:
        return response
    output = round_activity(response.output, form)
    return Response(output, output if response.post is response.output else round_activity(response.post, form))
