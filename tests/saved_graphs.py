"""GraphML in the forms in which other programs save it, written from their documentation and files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import networkx as nx

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns"{more}>\n'
_SHAPE = '<y:ShapeNode><y:Geometry height="30.0"/><y:NodeLabel>n<y:LabelModel/></y:NodeLabel></y:ShapeNode>'
_LINE = '<y:PolyLineEdge><y:Arrows source="none" target="standard"/></y:PolyLineEdge>'
_KINDS = {"graph": "g", "node": "v", "edge": "e"}
_YED = ' xmlns:y="http://www.yworks.com/xml/graphml" xmlns:yed="http://www.yworks.com/xml/yed/3"'


def networkx(graph: nx.DiGraph) -> str:
    return "\n".join(nx.generate_graphml(graph))


def networkx_named(graph: nx.DiGraph) -> str:
    return "\n".join(nx.generate_graphml(graph, named_key_ids=True, prettyprint=False))


def igraph(graph: nx.DiGraph) -> str:
    """Vertices are renamed and keep their name in `id`; every number is a double."""
    copy = _renamed(graph, "n{}", "id")
    return _write(copy, _HEAD.format(more=""), ' id="G" edgedefault="directed"', "{kind}_{name}", _igraph_types)


def graph_tool(graph: nx.DiGraph) -> str:
    """Keys are numbered, booleans are 1 and 0, doubles hexadecimal; vectors have types of their own."""
    copy = _renamed(graph, "n{}", "_graphml_vertex_id")
    for node in copy:
        copy.nodes[node]["_pos"] = _Typed("vector_float", "0.25, 1.5")
    for *_, edge in copy.edges(data=True):
        edge["kind"] = _Typed("short", "3")
    where = ' id="G" edgedefault="directed" parse.nodeids="canonical" parse.order="nodesfirst"'
    return _write(copy, _HEAD.format(more=""), where, "key{number}", _graph_tool_types)


def gephi(graph: nx.DiGraph) -> str:
    """Labels, colours and sizes; ids of keys are those of columns, once for nodes and once for edges."""
    copy = nx.DiGraph(graph)
    copy.graph.clear()  # Gephi keeps no attributes of graphs
    for node, data in copy.nodes(data=True):
        data |= {"label": node, "size": 10.0, "r": 192, "g": 192, "b": 192, "x": -12.5, "y": 99.0}
    for i, (*_, edge) in enumerate(copy.edges(data=True)):
        edge |= {"Edge Label": f"e{i}", "Edge Id": str(i)}
        edge.setdefault("weight", 1.0)
    return _write(copy, _HEAD.format(more=""), ' edgedefault="directed"', "{name}", _gephi_types)


def cytoscape(graph: nx.DiGraph) -> str:
    """Nodes are called by their SUID, and keep their name in `name` and `shared name`."""
    copy = _renamed(graph, "{}", "name", first=62)
    copy.graph.clear()
    for node, data in copy.nodes(data=True):
        data |= {"shared name": data["name"], "SUID": int(node), "selected": False}
    for i, (pre, post, edge) in enumerate(copy.edges(data=True)):
        name = f"{pre} (interacts with) {post}"
        edge |= {"SUID": 900 + i, "shared name": name, "name": name, "shared interaction": "interacts with"}
        edge |= {"interaction": "interacts with", "selected": True}
    return _write(copy, _HEAD.format(more=""), ' id="worm" edgedefault="directed"', "{name}", _gephi_types)


def yed(graph: nx.DiGraph) -> str:
    """Drawings as foreign XML, keys without names, and all nodes in a group."""
    copy = _renamed(graph, "n0::n{}", "neuron")
    text = _write(copy, _HEAD.format(more=_YED), ' edgedefault="directed" id="G"', "d{number}", _gephi_types)
    keys = """<key for="port" id="p0" yfiles.type="portgraphics"/><key for="graphml" id="r0" yfiles.type="resources"/>
<key attr.name="Description" attr.type="string" for="graph" id="t0"/>
<key attr.name="description" attr.type="string" for="node" id="t1"/>
<key for="node" id="g0" yfiles.type="nodegraphics"/><key for="edge" id="g1" yfiles.type="edgegraphics"/>
"""
    text = text.replace("<graph ", keys + "<graph ", 1)
    text = text.replace("</node>", f'<data key="g0">{_SHAPE}</data><port name="a"/></node>')
    text = text.replace("</edge>", f'<data key="g1">{_LINE}</data></edge>')
    group = (
        f'<node id="n0" yfiles.foldertype="group"><data key="t1" xml:space="preserve"/><data key="g0">{_SHAPE}</data>'
    )
    first = text.index("<node ")
    text = f'{text[:first]}{group}<graph edgedefault="directed" id="n0:">{text[first:]}'
    text = text.replace("<edge ", "</graph></node><edge ", 1)
    return text.replace("</graphml>", '<data key="r0"><y:Resources/></data></graphml>')


class _Typed(str):
    """A value in the words of a program, and the type that it declares."""

    def __new__(cls, kind: str, text: str) -> _Typed:
        self = super().__new__(cls, text)
        self.kind = kind
        return self

    kind: str


def _igraph_types(value: Any) -> tuple[str, str]:
    if isinstance(value, bool):
        return "boolean", str(value).lower()
    return ("string", value) if isinstance(value, str) else ("double", f"{value:.15g}")


def _graph_tool_types(value: Any) -> tuple[str, str]:
    match value:
        case _Typed():
            return value.kind, value
        case bool():
            return "boolean", str(int(value))
        case float():
            return "double", value.hex()
        case int():
            return "long", str(value)
    return "string", value


def _gephi_types(value: Any) -> tuple[str, str]:
    kinds = {bool: "boolean", int: "int", float: "double"}
    return kinds.get(type(value), "string"), str(value).lower() if isinstance(value, bool) else str(value)


def _renamed(graph: nx.DiGraph, pattern: str, keep: str, first: int = 0) -> nx.DiGraph:
    """The graph with numbered nodes, their old names in the attribute `keep`."""
    copy = nx.relabel_nodes(graph, {node: pattern.format(first + i) for i, node in enumerate(graph)})
    for old, new in zip(graph, copy, strict=True):
        copy.nodes[new][keep] = old
    return copy


def _write(graph: nx.DiGraph, head: str, where: str, key: str, types: Callable[[Any], tuple[str, str]]) -> str:
    """GraphML with every attribute declared; `key` makes the id of each key."""
    ids: dict[tuple[str, str], str] = {}
    declared: list[str] = []

    def data(kind: str, attributes: dict[str, Any]) -> str:
        lines = []
        for name, value in attributes.items():
            of, text = types(value)
            if (kind, name) not in ids:
                ids[kind, name] = key.format(kind=_KINDS[kind], name=name, number=len(ids))
                about = f'id={quoteattr(ids[kind, name])} for="{kind}" attr.name={quoteattr(name)} attr.type="{of}"'
                declared.append(f"<key {about}/>\n")
            lines.append(f"      <data key={quoteattr(ids[kind, name])}>{escape(text)}</data>\n")
        return "".join(lines)

    body = data("graph", graph.graph)
    for node, attributes in graph.nodes(data=True):
        body += f"    <node id={quoteattr(node)}>\n{data('node', attributes)}    </node>\n"
    for i, (pre, post, attributes) in enumerate(graph.edges(data=True)):
        ends = f"source={quoteattr(pre)} target={quoteattr(post)}"
        body += f'    <edge id="e{i}" {ends}>\n{data("edge", attributes)}    </edge>\n'
    return f"{head}{''.join(declared)}<graph{where}>\n{body}</graph>\n</graphml>\n"


PROGRAMS: dict[str, tuple[Callable[[nx.DiGraph], str], str]] = {  # and the attribute that keeps the names of nodes
    "networkx": (networkx, ""),
    "networkx, named keys": (networkx_named, ""),
    "igraph": (igraph, "id"),
    "graph-tool": (graph_tool, "_graphml_vertex_id"),
    "Gephi": (gephi, ""),
    "Cytoscape": (cytoscape, "name"),
    "yEd": (yed, "neuron"),
}
