"""YAML as settings are written: bounded in size, depth and aliases, so that a small file cannot become a large one."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from .errors import UserError

MOST_ALIASES, MOST_NODES, MOST_DEPTH = 100, 100_000, 50


class _Loader(yaml.SafeLoader):
    """Counts what it composes. PyYAML shares aliased nodes, but whoever walks the result walks them as often as they are named."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.aliases = self.nodes = self.depth = 0
        self.open: list[str | None] = []

    def compose_node(self, parent: Any, index: Any) -> Any:
        anchor = self.peek_event().anchor  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
            if anchor in self.open:
                raise yaml.YAMLError(f"*{anchor} is a part of itself")
        self.nodes += 1
        self.depth += 1
        self.open.append(anchor)
        if self.aliases > MOST_ALIASES or self.nodes > MOST_NODES or self.depth > MOST_DEPTH:
            raise yaml.YAMLError("more aliases, values or levels than settings have")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1
            self.open.pop()

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1 and key != "<<"), None)
        if twice is not None:
            raise yaml.YAMLError(f"{twice!r} is stated twice")
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """The value that YAML text stands for: plain Python values, nothing else.

    Raises:
        UserError: not YAML, a key stated twice, or more aliases, values or levels than settings have.
    """
    loader = _Loader(text) if _printable(text) else None
    if loader is None:
        raise UserError("it holds characters that no text file has")
    try:
        return loader.get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(" ".join(str(error).split()) or "it is not YAML") from None
    finally:
        loader.dispose()


def _printable(text: str) -> bool:
    return yaml.reader.Reader.NON_PRINTABLE.search(text) is None
