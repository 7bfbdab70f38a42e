"""One alignment after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Self

from torch import Tensor

from semi.alignment.base import Alignment
from semi.errors import ArtifactError, InputError


class Chain(Alignment):
    """x -> parts[-1](... parts[0](x)).

    Raises:
        InputError: no part, or a part that does not read what the one before it writes.
    """

    kind: ClassVar[str] = "chain"

    def __init__(self, parts: Sequence[Alignment]) -> None:
        widths = [(part.d_in, part.d_out) for part in parts]
        if not parts or any(a[1] != b[0] for a, b in pairwise(widths)):
            raise InputError(
                "alignments that do not follow one another",
                got=", ".join(f"{i} -> {o}" for i, o in widths) or "none",
                expected="each as wide as what the one before it writes",
            )
        self.parts = tuple(parts)
        self.d_in, self.d_out = widths[0][0], widths[-1][1]

    def _map(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"parts": [part.settings() for part in self.parts]}

    def tensors(self) -> dict[str, Tensor]:
        return {f"{i}.{name}": t for i, part in enumerate(self.parts) for name, t in part.tensors().items()}

    @classmethod
    def shapes(cls, settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        return {
            f"{i}.{name}": shape
            for i, (kind, part) in enumerate(_parts(settings))
            for name, shape in kind.shapes(part).items()
        }

    @classmethod
    def _restored(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        parts = []
        for i, (kind, part) in enumerate(_parts(settings)):
            head = f"{i}."
            parts.append(
                kind.restore(part, {n.removeprefix(head): t for n, t in tensors.items() if n.startswith(head)})
            )
        try:
            chain = cls(parts)
        except InputError as refused:
            raise ArtifactError("parts of the chain alignment", got=refused.got, expected=refused.expected) from refused
        if (chain.d_in, chain.d_out) != (settings.get("d_in"), settings.get("d_out")):
            raise ArtifactError("widths of the chain alignment", expected=f"{chain.d_in} -> {chain.d_out}")
        return chain


def _parts(settings: Mapping[str, Any]) -> list[tuple[type[Alignment], Mapping[str, Any]]]:
    """Kind and settings of every part; none of them is a chain, so that a file cannot nest them without end."""
    from semi.alignment import KINDS

    parts = settings.get("parts")
    if not isinstance(parts, list) or not parts or not all(isinstance(part, dict) for part in parts):
        raise ArtifactError("parts of the chain alignment", got=parts, expected="settings of alignments")
    kinds = [KINDS.get(str(part.get("kind"))) for part in parts]
    wrong = [part.get("kind") for part, kind in zip(parts, kinds, strict=True) if kind is None or kind is Chain]
    if wrong:
        raise ArtifactError(
            "parts of the chain alignment", got=wrong[0], expected=", ".join(sorted(set(KINDS) - {Chain.kind}))
        )
    return [(kind, part) for kind, part in zip(kinds, parts, strict=True) if kind is not None]
