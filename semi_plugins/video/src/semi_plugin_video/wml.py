"""Wesnoth's markup language, as far as descriptions of units and their animations need it. Macros are passed over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

TAG = re.compile(r"\[(/?)\+?([a-z_]+)\]")
KEY = re.compile(r"([a-z_]+)\s*=\s*(.*)")
TRANSLATED = re.compile(r'_?\s*"(?:female\^|[a-z_]+\^)?([^"]*)"')


@dataclass
class Node:
    """A tag with its keys and the tags in it, in their order."""

    tag: str
    keys: dict[str, str] = field(default_factory=dict)
    inner: list[Node] = field(default_factory=list)

    def all(self, tag: str) -> list[Node]:
        """The tags of a name directly in it."""
        return [node for node in self.inner if node.tag == tag]

    def text(self, key: str) -> str:
        """A key's value without quotes and the sign of translation; empty where it is not there."""
        value = self.keys.get(key, "")
        found = TRANSLATED.match(value)
        return (found[1] if found else value).strip()


def parse(text: str) -> Node:
    """The whole of a file; what is defined for the preprocessor and not used in place is left out."""
    root = Node("")
    path = [root]
    for line in _lines(text):
        if found := TAG.fullmatch(line):
            if found[1]:
                if len(path) > 1:
                    path.pop()
            else:
                path[-1].inner.append(Node(found[2]))
                path.append(path[-1].inner[-1])
        elif found := KEY.fullmatch(line):
            path[-1].keys.setdefault(found[1], found[2].strip())
    return root


def _lines(text: str) -> Iterator[str]:
    defining = False
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("#define"):
            defining = True
        elif line.startswith("#enddef"):
            defining = False
        elif not defining and line and not line.startswith(("#", "{")):
            yield re.sub(r'\s+#[^"]*$', "", line)


def expanded(text: str) -> list[str]:
    """All that a progressive text stands for: "a-[1~3,1].png" -> a-1.png, a-2.png, a-3.png, a-1.png; "[75*2,50]".

    Commas outside brackets separate; several brackets in one part go together.
    """
    return [each for part in re.split(r",(?![^\[]*\])", text) for each in _expanded(part.strip())]


def _expanded(part: str) -> list[str]:
    pieces = re.split(r"\[([^\]]*)\]", part)
    lists = [_listed(inner) for inner in pieces[1::2]]
    if not lists:
        return [part]
    length = max(map(len, lists))
    whole = []
    for index in range(length):
        chosen = [values[min(index, len(values) - 1)] for values in lists]
        whole.append("".join(a + b for a, b in zip(pieces[::2], [*chosen, ""], strict=True)))
    return whole


def _listed(inner: str) -> list[str]:
    values: list[str] = []
    for item in inner.split(","):
        item, _, times = item.strip().partition("*")
        if found := re.fullmatch(r"(\d+)~(\d+)", item):
            first, last = int(found[1]), int(found[2])
            step = 1 if last >= first else -1
            items = [str(number).zfill(len(found[1])) for number in range(first, last + step, step)]
        else:
            items = [item]
        values += [each for each in items for _ in range(int(times) if times.isdecimal() else 1)]
    return values
