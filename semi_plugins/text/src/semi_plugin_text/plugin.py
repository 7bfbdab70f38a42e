"""What semi finds through the entry points. Imports neither torch nor transformers."""

from __future__ import annotations

from semi.modality import Dataset, Modality
from semi.plugins import hookimpl

from semi_plugin_text.modality import TextModality
from semi_plugin_text.phrases import WordNetPhrases


@hookimpl
def semi_modality(name: str) -> Modality | None:
    """The modality "text"."""
    return TextModality() if name == TextModality.name else None


@hookimpl
def semi_dataset(name: str) -> Dataset | None:
    """The data set "wordnet"."""
    return WordNetPhrases() if name == WordNetPhrases.name else None
