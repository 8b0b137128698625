"""Damaged graphs: whatever is changed in a file, the outcome is a graph, or one line of ours that refuses it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import networkx as nx
import pytest
from saved_graphs import PROGRAMS

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.topology import conversion, files

TOKENS = (
    b"", b"-1", b"9" * 400, b"null", b"{}", b"[", b"1e999", b"NaN", b"\xff", b"\x00", b"&a;", b"&#xD800;", b"]]>", b"'",
    b'<node id="x"/>', b'<edge source="x" target="x"/>', b"<graph>", b"</graph>", b"<node>", b"</node>", b"<data/>",
    b"<hyperedge/>", b"<port/>", b' directed="false"', b' edgedefault="undirected"', b"<default>true</default>",
    b"plastics", b"plastic", b"exists", b"layer", b'"links":', b"<!DOCTYPE a>", b"\xef\xbb\xbf", b"true", b"false",
    b"0.5", b"\\ud800",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**400, float("nan"), "", "x", "input.0", "layers.0.0", "\ud800", [], {}, [[[]]],
)  # fmt: skip
SPEC = NetworkSpec((Layer(units=3, plastic=Pathway.RECURRENT), Layer(units=2)))


def damaged(raw: bytes, draw: Random) -> bytes:
    """A file with some of its bytes left out, doubled, moved, changed, or replaced by a token of its format."""
    content = bytearray(raw)
    for _ in range(draw.choice((1, 1, 2, 4))):
        at, length = draw.randrange(len(content) + 1), draw.choice((0, 1, 3, 10, 40, 200))
        piece = bytes(content[at : at + length])
        match draw.randrange(6):
            case 0:
                del content[at : at + length]
            case 1:
                content[at:at] = piece
            case 2:
                content[at : at + length] = draw.choice(TOKENS)
            case 3:
                there = draw.randrange(len(content) + 1)
                content[there:there] = piece
            case 4:
                old = draw.choice([each for each in TOKENS if each.isalnum() and each in content] or [b" "])
                content = bytearray(bytes(content).replace(old, draw.choice(TOKENS), draw.choice((1, -1))))
            case _:
                content[at : at + length] = bytes(draw.randrange(256) for _ in piece)
    return bytes(content)


def changed(value: Any, draw: Random) -> Any:
    """JSON with one value, at any depth, replaced or left out, or a key renamed."""
    if draw.random() < 0.15 or not isinstance(value, dict | list) or not value:
        return draw.choice(VALUES)
    if isinstance(value, list):
        at = draw.randrange(len(value))
        return value[:at] + [changed(value[at], draw)] * draw.choice((0, 1, 1, 1, 2)) + value[at + 1 :]
    key = draw.choice(sorted(value))
    rest = {name: each for name, each in value.items() if name != key}
    return rest | {draw.choice((key, key, key, "links", "Weight", "plastics")): changed(value[key], draw)}


def originals() -> dict[str, bytes]:
    """A network and a connectome in every form, by the name of a file."""
    net = conversion.to_graph(Network(SPEC, 2))
    worm = nx.DiGraph([("a", "b", {"plastic": True, "n": 2}), ("b", "c", {"plastic": False, "n": 0.5}), ("c", "c", {})])
    texts = {"net.json": json.dumps(files.to_json(net))}
    for i, (write, _) in enumerate(PROGRAMS.values()):
        texts |= {f"{i}.graphml": write(net), f"worm{i}.graphml": write(worm)}
    return {name: text.encode() for name, text in texts.items()}


def outcome(path: Path) -> str:
    """What came of a file that is read in every way; anything but a graph and a line of ours fails."""
    read = []
    for load in (files.read, files.connectome) if path.suffix == ".graphml" else (files.read,):
        message = ""
        try:
            conversion.recurrent(load(path), inputs=2)
            read.append(load.__name__)
        except PlasticSearchError as error:
            message = str(error)
        assert message.isprintable()
        assert len(message) < 1000
    return " and ".join(read) or "refused"


def test_damaged_graphs_are_read_or_refused_in_one_line(tmp_path: Path, mutations: int) -> None:
    draw, found, outcomes = Random(0), originals(), Counter[str]()
    for _ in range(mutations):
        name = draw.choice([*found, *["net.json"] * 7])
        content = found[name]
        if name == "net.json" and draw.random() < 0.7:
            content = json.dumps(changed(json.loads(content), draw)).encode()
        else:
            content = damaged(content, draw)
        path = tmp_path / name
        path.write_bytes(content)
        outcomes[outcome(path)] += 1
    assert outcomes.total() == mutations
    if mutations >= 100:
        assert set(outcomes) == {"read", "connectome", "read and connectome", "refused"}


@pytest.mark.parametrize("name", originals())
def test_graphs_that_are_not_damaged_are_read(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(originals()[name])
    assert outcome(tmp_path / name) == {"w": "connectome", "n": "read"}.get(name[0], "read and connectome")
