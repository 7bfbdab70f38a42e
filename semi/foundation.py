"""A foundation: language model, shared projector, hypernetwork and the text encoder that conditions it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from semi.artifacts import (
    load_module,
    open_output,
    read_json,
    read_manifest,
    rebuilding,
    require_same,
    save_tensors,
    sha256_of,
    write_json,
)
from semi.errors import InputError
from semi.hub import OnHub, find_foundation
from semi.hypernetwork import HyperNetwork, build
from semi.language_model import LanguageModel
from semi.lineage import require_near
from semi.modality import Encoder, Modality
from semi.plugins import load_modality
from semi.projector import Projector
from semi.text_space import TextSpace

if TYPE_CHECKING:
    from semi.integration import Integration
    from semi.pairs import Pair
    from semi.settings import Settings


@dataclass(frozen=True)
class FoundationConfig:
    """What foundation.json holds beside sizes: where the parts that are not weights of ours come from."""

    language_model: dict[str, str]
    """id, precision, sha256."""
    text_encoder: dict[str, str]
    """modality, id."""
    words: bool = False
    """Whether captions are predicted with the language model's words beside their meaning, see `semi.text_space`."""


class Foundation(OnHub):
    """Everything that is the same for all modalities; `adapt` makes an integration of one of them."""

    KIND: ClassVar[str] = "foundation"
    FILES: ClassVar[tuple[str, ...]] = ("foundation.json", "projector.safetensors", "hypernetwork.safetensors")
    """The last holds the default hypernetwork; others are in files named by their kind, see `weight_files`."""

    def __init__(
        self,
        config: FoundationConfig,
        language_model: LanguageModel,
        text_encoder: Encoder,
        projector: Projector,
        *hypernetworks: HyperNetwork,
        sha256: str = "",
    ) -> None:
        self.config, self.language_model = config, language_model
        self.texts = TextSpace(text_encoder, language_model if config.words else None)
        self.projector = projector.to(language_model.device).requires_grad_(False)
        moved = [each.to(language_model.device).requires_grad_(False) for each in hypernetworks]
        self.hypernetworks = {each.kind: each for each in moved}
        """By kind, the default first."""
        self.sha256 = sha256
        """Of the projector's and hypernetworks' weight files; empty for one that was never saved."""

    @classmethod
    def load(
        cls,
        name: str | Path = "smollm2-135m",
        *,
        precision: str | None = None,
        device: torch.device | str | None = None,
        language_model: LanguageModel | str | None = None,
        base: str | Path | None = None,
    ) -> Foundation:
        """A foundation by the name a plugin registered, from a folder, or from the hub by OWNER/NAME.

        Args:
            precision: of the language model; None: the one it was trained with, or what is usual for `language_model`.
            language_model: in place of the one it was trained on, that one where it lies now, or a fine-tune of it:
                "NAME.mmer#vision" of a merge, a folder, one that is in memory. Texts are in its own words then.
            base: the folder of a merge's base, where it is not where the merge found it.

        Raises:
            PluginError: no plugin registers that name, and it is neither a folder nor OWNER/NAME.
            ArtifactError: the folder is incomplete or damaged, the hub has none of that name, the language model is not
                the one it was trained on, or the one given has other input embeddings, among which soft tokens would
                mean nothing.
            AssetError: the language model or the text encoder has to be fetched first; says how.
        """
        folder = find_foundation(name)
        read_manifest(folder, cls.KIND)
        described = read_json(folder / cls.FILES[0])
        with rebuilding(folder / cls.FILES[0], "foundation"):
            source, written = described["language_model"], [described["hypernetwork"], *described.get("others", [])]
            model_id, trained_in, model_sha256 = source["id"], source["precision"], source["sha256"]
            config = FoundationConfig(source, described["text_encoder"], described.get("words", False))
            modality, encoder_id = config.text_encoder["modality"], config.text_encoder["id"]
            projector = Projector(**described["projector"])
        text_encoder = load_modality(modality).encoder()
        require_same(folder, "text encoder", text_encoder.id, encoder_id)
        d_text = text_encoder.width + (projector.d_lm if config.words else 0)
        require_same(folder, "width of text embeddings", d_text, projector.sizes["d_in"])
        load_module(projector, folder / cls.FILES[1])
        with rebuilding(folder / cls.FILES[0], "foundation"):
            # They start from the projector's weights.
            hypernetworks = [build(each["kind"], each["settings"], projector) for each in written]
        files = cls.weight_files([each.kind for each in hypernetworks])
        for hypernetwork, file in zip(hypernetworks, files[1:], strict=True):
            load_module(hypernetwork, folder / file)
        chosen = language_model
        if chosen is None:
            chosen = LanguageModel.load(model_id, precision=precision or trained_in, device=device, base=base)
            require_same(folder, "language model: its files differ", chosen.sha256, model_sha256)
        elif isinstance(chosen, str):
            chosen = LanguageModel.load(chosen, precision=precision, device=device, base=base)
        require_same(folder, "language model: its width differs", chosen.d_lm, projector.d_lm)
        if chosen.sha256 != model_sha256:
            require_near(folder, chosen, model_id)
        sha256 = "+".join(sha256_of(folder / file) for file in files)
        return cls(config, chosen, text_encoder, projector, *hypernetworks, sha256=sha256)

    def save(self, folder: str | Path, *, force: bool = False) -> None:
        """Write the foundation to a new folder, weights in bf16.

        Raises:
            OutputError: the folder is taken or cannot be written to.
        """
        with open_output(folder, kind=self.KIND, config={"foundation": self.sha256}, force=force) as output:
            output.finish(self.write(output.path), {})

    def write(self, folder: Path) -> list[str]:
        """Write the files (without a manifest) and return their names; weights are rounded to bf16."""
        first, *others = [{"kind": kind, "settings": each.settings} for kind, each in self.hypernetworks.items()]
        described = asdict(self.config) | {"projector": self.projector.sizes, "hypernetwork": first, "others": others}
        write_json(folder / self.FILES[0], described)
        files = self.weight_files(list(self.hypernetworks))
        for module, file in zip((self.projector, *self.hypernetworks.values()), files, strict=True):
            save_tensors(folder / file, {name: t.to(torch.bfloat16) for name, t in module.state_dict().items()})
        return [self.FILES[0], *files]

    @classmethod
    def weight_files(cls, kinds: Sequence[str]) -> list[str]:
        """The files of the projector and of hypernetworks of these kinds, the default first."""
        return [*cls.FILES[1:], *(f"hypernetwork-{kind}.safetensors" for kind in kinds[1:])]

    def hypernetwork(self, kind: str | None = None) -> HyperNetwork:
        """One of its hypernetworks; None: the default.

        Raises:
            InputError: it has none of that kind.
        """
        chosen = next(iter(self.hypernetworks)) if kind is None else kind
        if chosen not in self.hypernetworks:
            raise InputError(
                "the foundation has no such hypernetwork", got=chosen, expected=" or ".join(self.hypernetworks)
            )
        return self.hypernetworks[chosen]

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Text embeddings (n, d_text) float32, on the language model's device."""
        return torch.from_numpy(self.texts.encode(texts)).float().to(self.language_model.device)

    @property
    def text_encoder(self) -> Encoder:
        """What embeds the meaning of texts."""
        return self.texts.encoder

    def adapt(
        self,
        modality: str | Modality,
        pairs: str | Path | Sequence[Pair],
        *,
        settings: Settings | None = None,
        **options: Any,
    ) -> Integration:
        """Teach the language model a modality from a few pairs; see `semi.adaptation.adapt` for options and errors."""
        from semi.adaptation import adapt

        return adapt(self, modality, pairs, settings=settings, **options)
