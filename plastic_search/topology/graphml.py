"""GraphML (http://graphml.graphdrawing.org), read in one pass, without a tree of the document.

Written for what other programs save: defaults of keys apply; a node that holds a graph of its own (a group of yEd's)
is a box, which is removed while its nodes stay; every edge has its own direction; values are read by their type where
it is known, and as text otherwise; ports are ignored. What would change the graph is refused.

Files are not trusted: a document type, and so every entity, is refused, and the size is limited.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.topology.attributes import parse_flag
from plastic_search.topology.graphml_keys import DOMAINS, Key, Keys
from plastic_search.topology.raw import Edge, Raw, label, quoted, refuse_size

__all__ = ["parse"]

_MAX_ELEMENTS = 2_400_000  # and values of defaults
_NAMESPACE = re.compile(r"https?://graphml\.graphdrawing\.org[^}]*\}")
_LONG_TAG = re.compile(rb"<[^<>]{1048576}")  # whose attributes would take many times its size
_CHILDREN = {
    "": ("graphml",),
    "graphml": ("desc", "key", "data", "graph"),
    "key": ("desc", "default"),
    "graph": ("desc", "data", "node", "edge"),
    "node": ("desc", "data", "port", "graph"),
    "edge": ("desc", "data"),
}
_DIRECTIONS = {"directed": True, "undirected": False}
_REMEDIES = {
    "hyperedge": "a synapse has two ends: write it as edges",
    "locator": "its content is in another file: put it into this one",
    "graph": "only nodes may hold graphs",
}


class _Open(NamedTuple):
    """An element that is not ended yet."""

    name: str
    ids: tuple[str, ...] = ()  # of a graph or a node; of an edge, those of its ends
    data: dict[Any, Any] | None = None  # its attributes; None where they are of no use
    directed: bool | None = None  # of a graph: its `edgedefault`

    def __str__(self) -> str:
        return " ".join((self.name, " -> ".join(map(label, self.ids)))).strip() or "the document"


_PLAIN = {name: _Open(name) for name in ("graphml", "desc", "key", "default", "data", "port", "graph")}


def parse(content: bytes, where: str, name: str = "") -> Raw:
    """The graph in a GraphML document.

    Args:
        where: names the document in messages.
        name: the id of the graph, in a document of several; "" for the only one.

    Raises:
        PlasticSearchError: it is no GraphML, too large, has several graphs, or holds what a network cannot have or what
            has no one meaning; the message names the node or the edge.
    """
    if content.startswith((b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ")):
        raise PlasticSearchError(f"{where} is compressed; unpack it first")
    if _LONG_TAG.search(content):
        raise PlasticSearchError(
            f"{where} has a tag or comment of more than 1,048,576 bytes, the most that one may have"
        )
    document = _Document(where, name)
    try:
        parser = DefusedXMLParser(target=document, forbid_dtd=True)
        expat = parser.parser  # calls the document itself, without the parser's functions in between
        expat.StartElementHandler, expat.EndElementHandler, expat.ordered_attributes = (
            document.start,
            document.end,
            False,
        )
        parser.feed(content)
        parser.close()
    except DefusedXmlException:
        raise PlasticSearchError(
            f"{where} declares a document type or entities, which GraphML does not need; remove them"
        ) from None
    except PlasticSearchError:
        raise
    except (ParseError, LookupError, ValueError) as error:  # the last two are of an encoding
        raise PlasticSearchError(f"{where} is damaged, it is not GraphML ({error}); save or export it again") from None
    return document.graph()


class _Document:
    """The target of an XML parser, which collects nodes and edges."""

    def __init__(self, where: str, name: str) -> None:
        self._where, self._name = where, name
        self._elements = 0
        self._open = [_Open("")]
        self._namespace = ""
        self._tags: dict[str, str] = {}  # the name of an element by its tag
        self._starts: dict[str, Callable[[dict[str, str]], _Open]] = {
            name: getattr(self, f"_start_{name}") for names in _CHILDREN.values() for name in names
        }
        self._ignored = 0  # open elements from the outermost one whose content is not GraphML
        self._text: list[str] = []  # of that one
        self._keys = Keys(where)
        self._key = Key("", "", [])  # of the open <key> or <data>
        self._defaults: dict[str, dict[str, Any]] = {}  # by element
        self._graphs: list[str] = []  # ids of the graphs that are not nested
        self._nodes: dict[str, dict[Any, Any]] = {}
        self._edges: list[Edge] = []
        self._attributes: dict[Any, Any] = {}
        self._ids: dict[str, str] = {}  # one object for all equal ids
        self._boxes: dict[str, bool] = {}  # nodes that hold a graph, and whether they must be boxes

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > _MAX_ELEMENTS:
            raise self._too_many()
        if self._ignored:
            self._ignored += 1
            return
        name = self._tags.get(tag)
        if name is None:
            name = self._tags[tag] = self._name_of(tag)
        if name not in _CHILDREN.get(self._open[-1].name, ()):
            raise self._misplaced(name)
        self._open.append(self._starts[name](attributes))

    def _name_of(self, tag: str) -> str:
        """The name of an element: without its namespace where that is GraphML's, or the document's."""
        if len(self._open) == 1 and tag.endswith("}graphml"):
            self._namespace = tag.removesuffix("graphml")
        return _NAMESPACE.sub("", tag.removeprefix(self._namespace))

    def data(self, text: str) -> None:
        if self._ignored == 1:
            self._text.append(text)

    def end(self, tag: str) -> None:
        if self._ignored:
            self._ignored -= 1
            if self._ignored:
                return
        ended = self._open.pop()
        if ended.name == "data" and self._open[-1].data is not None:
            self._add(self._open[-1], self._key, "".join(self._text))
        elif ended.data is not None and self._defaults[ended.name]:
            self._elements += len(self._defaults[ended.name])
            for name, value in self._defaults[ended.name].items():
                ended.data.setdefault(name, value)

    def graph(self) -> Raw:
        """The graph of the whole document.

        Raises:
            PlasticSearchError: it has none, or several and none was chosen; or an edge ends where no node is.
        """
        if not self._graphs:
            raise PlasticSearchError(f"{self._where} is damaged, it has no element 'graph'; save or export it again")
        if self._name:
            if self._name not in self._graphs:
                raise unknown("graph", self._name, filter(None, self._graphs), f"They are in {self._where}.")
            if self._graphs.count(self._name) > 1:
                raise PlasticSearchError(f"{self._where} has two graphs with the id {label(self._name)}; rename one")
        elif len(self._graphs) > 1:
            ids = " and ".join(label(each) if each else "one without an id" for each in self._graphs[:9])
            raise PlasticSearchError(
                f"{self._where} has {len(self._graphs)} graphs: {ids}; choose one by `name`, or put each into a file"
            )
        for edge in self._edges:
            self._require_ends(edge)
        for box, certain in self._boxes.items():
            if not certain:
                raise PlasticSearchError(
                    f"{self._where}: node {label(box)} holds a graph without nodes, and may be a neuron or a box; "
                    "remove that graph, or the node"
                )
            del self._nodes[box]
        return Raw(self._nodes, self._edges, self._attributes)

    def _too_many(self) -> PlasticSearchError:
        return PlasticSearchError(f"{self._where} has more than {_MAX_ELEMENTS:,} elements, the most that it may have")

    def _misplaced(self, name: str) -> PlasticSearchError:
        inside = self._open[-1]
        if not inside.name:
            return PlasticSearchError(f"{self._where} is damaged, it is not GraphML: it begins with {quoted(name)}")
        if name in _REMEDIES:
            return PlasticSearchError(f"{self._where}: {inside} holds an element {name!r}; {_REMEDIES[name]}")
        known = _CHILDREN.get(inside.name, ())
        return unknown(f"element of {inside} in GraphML", name, known, f"It is in {self._where}.")

    def _start_graphml(self, attributes: dict[str, str]) -> _Open:
        return _PLAIN["graphml"]

    def _start_desc(self, attributes: dict[str, str]) -> _Open:
        return self._ignore("desc", [])

    def _start_port(self, attributes: dict[str, str]) -> _Open:
        return self._ignore("port", [])

    def _ignore(self, name: str, text: list[str]) -> _Open:
        """An element of which nothing but its own text is read, into `text`."""
        self._ignored, self._text = 1, text
        return _PLAIN[name]

    def _start_key(self, attributes: dict[str, str]) -> _Open:
        self._key = self._keys.declare(attributes)
        if self._graphs:
            raise PlasticSearchError(f"{self._where}: key {label(self._key.name)} follows a graph; keys come first")
        return _PLAIN["key"]

    def _start_default(self, attributes: dict[str, str]) -> _Open:
        if self._key.default:
            raise PlasticSearchError(f"{self._where}: key {label(self._key.name)} has two defaults; keep one")
        return self._ignore("default", self._key.default)

    def _start_data(self, attributes: dict[str, str]) -> _Open:
        inside, identity = self._open[-1], attributes.get("key", "").strip()
        if inside.data is not None:
            key = self._keys.find(inside.name, identity)
            if key is None:
                raise PlasticSearchError(
                    f"{self._where}: {inside} has data with the key {quoted(identity)}, which is not declared; "
                    f'add <key id="..." for="{inside.name}" attr.name="..." attr.type="..."/>'
                )
            self._key = key
        return self._ignore("data", [])

    def _add(self, element: _Open, key: Key, text: str) -> None:
        data, value = element.data, key.value(text)
        if data is None or not key.name:
            return
        if data.setdefault(key.name, value) != value:
            raise PlasticSearchError(
                f"{self._where}: {element} has two values of {label(key.name)}, {quoted(data[key.name])} and "
                f"{quoted(value)}; keep one"
            )

    def _start_graph(self, attributes: dict[str, str]) -> _Open:
        identity, inside = attributes.get("id", "").strip(), self._open[-1]
        default = attributes.get("edgedefault", "").strip()
        name = f"Graph {label(identity)}" if identity else "A graph"
        if default and default not in _DIRECTIONS:
            raise unknown("edgedefault", default, _DIRECTIONS, f"{name} of {self._where} has it.")
        directed = _DIRECTIONS.get(default)
        if inside.name == "node":
            self._boxes.setdefault(inside.ids[0], False)
            directed = inside.directed if directed is None else directed
            return _Open("graph", (identity,), {}, directed)
        is_first = identity not in self._graphs if self._name else not self._graphs
        self._graphs.append(identity)
        if not is_first or self._name not in ("", identity):
            return self._ignore("graph", [])  # it is not the one that is read
        self._defaults = {domain: self._keys.defaults(domain) for domain in DOMAINS}
        return _Open("graph", (identity,), self._attributes, directed)

    def _start_node(self, attributes: dict[str, str]) -> _Open:
        identity = self._id(attributes, "id", "a node")
        if identity in self._nodes:
            raise PlasticSearchError(f"{self._where} declares node {label(identity)} more than once; keep one of them")
        self._nodes[identity] = data = {}
        refuse_size(len(self._nodes), 0, self._where)
        inside = self._open[-1]
        if len(self._open) > 3:
            self._boxes[self._open[-2].ids[0]] = True
        if "yfiles.foldertype" in attributes:
            self._boxes[identity] = True
        return _Open("node", (identity,), data, inside.directed)

    def _start_edge(self, attributes: dict[str, str]) -> _Open:
        title = "an edge" if attributes.keys() >= {"source", "target"} else f"edge {quoted(attributes)}"
        pre, post = (self._id(attributes, end, title) for end in ("source", "target"))
        data: dict[Any, Any] = {}
        opened = _Open("edge", (pre, post), data)
        directed, word = self._open[-1].directed, attributes.get("directed")
        if word is not None and (directed := parse_flag(word)) is None:
            raise PlasticSearchError(
                f"{self._where}: {opened} has directed={quoted(word)}, which must be true or false"
            )
        self._edges.append(Edge(pre, post, data, directed))
        refuse_size(0, len(self._edges), self._where)
        return opened

    def _id(self, attributes: dict[str, str], name: str, element: str) -> str:
        identity = attributes.get(name, "").strip()
        if not identity:
            raise PlasticSearchError(f"{self._where}: {element} has no {name}; give it one")
        return self._ids.setdefault(identity, identity)

    def _require_ends(self, edge: Edge) -> None:
        for end in (edge.pre, edge.post):
            if end not in self._nodes:
                raise PlasticSearchError(
                    f"{self._where}: {edge} ends at {label(end)}, which is not "
                    "declared as a node; add the node, or remove the edge"
                )
            if end in self._boxes:
                raise PlasticSearchError(
                    f"{self._where}: {edge} ends at {label(end)}, a node that "
                    "holds a graph of its own; connect nodes in that graph, or take them out of it"
                )
