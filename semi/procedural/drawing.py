"""What drawing a made-up modality takes: whole numbers from a generator, and words."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import torch


def integer(below: int, generator: torch.Generator) -> int:
    """One of 0, ..., below - 1, all equally likely."""
    return int(torch.randint(below, (), generator=generator))


@cache
def words(file: str) -> dict[str, Any]:
    """The lists of words in a file of this package, by name."""
    found: dict[str, Any] = json.loads(files(__package__).joinpath(file).read_text())
    return found
