"""Keys of GraphML: the declared name, type and default of an attribute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.topology.attributes import parse_flag, parse_number, parse_whole
from plastic_search.topology.raw import label

__all__ = ["Key", "Keys"]

DOMAINS = ("graph", "node", "edge")  # elements whose data are attributes of a graph
_FOREIGN = ("graphml", "port", "hyperedge", "endpoint")  # other elements that a key may be for
_PARSERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("boolean", "bool"), parse_flag),
    **dict.fromkeys(("float", "double"), parse_number),
    **dict.fromkeys(("int", "integer", "long", "short", "byte"), parse_whole),
}


class Key(NamedTuple):
    """A key; its name is "" where its data are no attributes, as those of yEd's drawings."""

    name: str
    type: str
    default: list[str]  # pieces of its text

    def value(self, text: str) -> Any:
        """The value of the key's type that `text` spells; the stripped text where it spells none, as in other types."""
        text = text.strip()
        parser = _PARSERS.get(self.type)
        value = parser(text) if parser else None
        if value is None and parser is parse_whole:
            value = parse_number(text)
        return text if value is None else value


class Keys:
    """The keys of a document."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._keys: dict[tuple[str, str], Key] = {}  # by element and id: some programs use an id for both kinds
        self._all: list[tuple[str, Key]] = []

    def declare(self, attributes: dict[str, str]) -> Key:
        """Add the key of an element's attributes.

        Raises:
            PlasticSearchError: it has no id, is for an unknown element, or has two names.
        """
        identity, domain = attributes.get("id", "").strip(), attributes.get("for", "all").strip()
        if not identity:
            raise PlasticSearchError(f"{self._where} has a key without an id; give it one")
        if domain not in ("all", *DOMAINS, *_FOREIGN):
            raise unknown(
                "element that a key is for", domain, ("all", *DOMAINS), f"Key {label(identity)} is in {self._where}."
            )
        name = attributes.get("attr.name", "" if "yfiles.type" in attributes else identity)
        key = Key(name.strip(), attributes.get("attr.type", "").strip().lower(), [])
        for each in DOMAINS if domain == "all" else (domain,):
            first = self._keys.setdefault((each, identity), key)
            if first.name != key.name:  # networkx repeats a key for each type of its values
                raise PlasticSearchError(
                    f"{self._where} declares the key {label(identity)} of {each} as {label(first.name)} and as "
                    f"{label(key.name)}; rename one"
                )
            self._all.append((each, key))
        return key

    def find(self, domain: str, identity: str) -> Key | None:
        return self._keys.get((domain, identity))

    def defaults(self, domain: str) -> dict[str, Any]:
        """The default of each attribute of `domain` that has one, by name; an empty <default/> is none.

        Raises:
            PlasticSearchError: two keys of a name have different defaults.
        """
        found: dict[str, Any] = {}
        for of, key in self._all:
            text = "".join(key.default).strip()
            if of != domain or not text or not key.name:
                continue
            if found.setdefault(key.name, key.value(text)) != key.value(text):
                raise PlasticSearchError(f"{self._where} has two defaults of {label(key.name)} of {domain}; keep one")
        return found
