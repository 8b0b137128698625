"""The model card of a bundle: README.md in the form of Hugging Face's hub, whose front matter is YAML.

What such a card should say: Mitchell et al. 2019 (arXiv 1810.03993). Front matter is written as JSON values, which are
YAML too.
"""

from __future__ import annotations

import json
from typing import Any

from plastic_search.core import statistics
from plastic_search.export import runner
from plastic_search.network.module import Network
from plastic_search.network.spec import Pathway
from plastic_search.precisions import Role

__all__ = ["text"]

_RUN = """## Run it

```python
import numpy as np
from runner import Runner  # of this folder, by onnxruntime; needs numpy, onnxruntime and safetensors

net = Runner(".")
y = net(np.zeros((1, {inputs}), np.float32))  # [batch, inputs] -> [batch, {outputs}]; the next call is the next step
```

It goes on learning from call to call; `net.reset(batch)` begins a new episode. A sequence is [time, batch, inputs].
`python runner.py` runs the examples in this folder. Other languages run `step.onnx` and `sequence.onnx` with
onnxruntime, with `session.disable_quant_qdq` set to "1"; names and first values of the state are in `manifest.json`. A
`runner.py` from elsewhere is code: `python -P -m plastic_search.export.runner FOLDER` runs a bundle without it.
"""


def text(net: Network, manifest: dict[str, Any], sizes: dict[str, int], licence: str) -> str:
    """The card of a bundle.

    Args:
        manifest: of the bundle; under `about`, `scores` are those of all seeds that were trained, by seed.
        sizes: bytes of each file.
        licence: under which it is published, as the hub names it; "" states none.
    """
    run = _RUN.format(inputs=net.inputs, outputs=net.outputs)
    return "\n".join(
        (
            _front(manifest, licence),
            _what(net, manifest),
            _scores(manifest),
            _bits(net, manifest, sizes),
            run,
            _limits(licence),
        )
    )


def _front(manifest: dict[str, Any], licence: str) -> str:
    """The front matter."""
    rounded = any(manifest["precision"].values())
    tags = ["plastic-search", "onnx", "plasticity", *(["quantized"] if rounded else [])]
    front: dict[str, Any] = {"license": licence} if licence else {}
    front |= {"library_name": "onnx", "tags": tags}
    if about := manifest["examples"]:
        kind = about["task"]["kind"]
        metric = {"type": about["score_name"], "name": f"{about['score_name']}, unseen episodes"}
        result = {
            "task": {"type": "other", "name": kind},
            "dataset": {"type": kind, "name": kind, "split": about["split"]},
            "metrics": [metric | {"value": round(about["exported_score"], 6)}],
        }
        front["model-index"] = [{"name": _name(manifest), "results": [result]}]
    lines = "".join(f"{key}: {json.dumps(value)}\n" for key, value in front.items())
    return f"---\n{lines}---\n"


def _name(manifest: dict[str, Any]) -> str:
    """What the network is called, in one line."""
    about = manifest["about"]
    words = [str(about[key]) for key in ("study", "network") if key in about]
    return " ".join(" / ".join(words or ["a plastic network"]).split())


def _what(net: Network, manifest: dict[str, Any]) -> str:
    """Its layers."""
    rows = []
    for layer in net.spec.layers:
        learns = (layer.plastic.value, type(layer.rule).__name__, type(layer.modulation).__name__)
        kinds = type(layer.cell).__name__, type(layer.structure).__name__
        row = (str(layer.units), *kinds, *(learns if layer.plastic is not Pathway.NONE else ("none", "", "")))
        rows.append(f"| {' | '.join(row)} |")
    table = "\n".join(rows)
    return f"""# {_name(manifest)}

A network whose synapses change while it runs: it learns within an episode, by local plasticity, without gradients and
without torch. Exported by plastic_search {manifest["versions"]["plastic_search"]}; {net.connections():,} connections,
{net.plastic_connections():,} of them plastic.

| units | cell | structure | plastic pathway | rule | modulation |
| --- | --- | --- | --- | --- | --- |
{table}
"""


def _scores(manifest: dict[str, Any]) -> str:
    """What it was trained for, and how well it does it."""
    about, lines = manifest["examples"], ["## Scores", ""]
    if about:
        lines += [f"Task: `{json.dumps(about['task'])}`; by chance {about['chance']:.3f}.", ""]
        lines.append(
            f"* {about['score_name']} {about['exported_score']:.3f} through onnxruntime on {about['count']} unseen "
            f"episodes ({about['score']:.3f} by the reference)"
        )
    if scores := manifest["about"].get("scores"):
        values = list(scores.values())
        found = statistics.mean(values)
        found = statistics.bounded(found, values) if about else found  # a task's scores are from 0 to 1
        spread = f", 95 % interval {found.low:.3f} to {found.high:.3f} (Student)" if found.known else ""
        lines.append(f"* trained with {len(values)} seeds: mean {found.value:.3f}{spread}")
    if len(lines) == 2:
        lines.append("None were measured.")
    return "\n".join(lines) + "\n"


def _bits(net: Network, manifest: dict[str, Any], sizes: dict[str, int]) -> str:
    """Bits of each role, and bytes."""
    lines = ["## Bits and bytes", "", "| role | bits | rounding |", "| --- | --- | --- |"]
    for role in Role:
        form = net.spec.precision.format(role)
        kept = f", {form.remainder} more of what it leaves over" if form is not None and form.remainder else ""
        row = ("32, float", "") if form is None else (str(form.bits), form.rounding.value + kept)
        lines.append(f"| {role.value} | {row[0]} | {row[1]} |")
    lines += [
        "",
        "| file | bytes |",
        "| --- | --- |",
        *(f"| {name} | {size:,} |" for name, size in sorted(sizes.items())),
    ]
    lines += ["", f"What changes while it runs takes {runner.size(manifest):,} bytes for each episode."]
    return "\n".join(lines) + "\n"


def _limits(licence: str) -> str:
    """What the card cannot answer for."""
    under = f"Licence: {licence}." if licence else "No licence is stated; whoever publishes this network chooses one."
    return f"""## Limits

The scores are those of the task that is named, and of nothing else. What the network learns while it runs is in its
state alone, which lasts as long as whoever runs it keeps it.

{under}
"""
