"""What docs/cluster.md tells the reader to type."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cluster.md").read_text("utf-8")


def commands() -> list[list[str]]:
    """Its commands, as words, in order."""
    blocks = re.findall(r"^```\n(.*?)^```$", PAGE, re.M | re.S)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]
