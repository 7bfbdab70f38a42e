"""What semi finds through the entry point. Imports neither torch nor transformers."""

from __future__ import annotations

from pathlib import Path

from semi.assets.catalog import SMOLLM2_135M
from semi.plugins import FoundationSource, hookimpl
from semi_plugin_text.assets import MINILM

NAME = "smollm2-135m"
FOLDER = Path(__file__).with_name("foundation")


@hookimpl
def semi_foundation(name: str) -> FoundationSource | None:
    """The foundation "smollm2-135m": SmolLM2-135M-Instruct, conditioned through all-MiniLM-L6-v2."""
    return FoundationSource(NAME, FOLDER, assets=(SMOLLM2_135M, MINILM)) if name == NAME else None
