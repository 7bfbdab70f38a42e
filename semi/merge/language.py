"""A merge as a language model: `NAME.mmer#vision` names it, and its modalities share what is in memory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast, get_args

import torch
from torch import Tensor

from semi.artifacts import config_hash, read_json, sha256_of
from semi.errors import ArtifactError, InputError
from semi.merge.artifact import FILES, MERGE, Artifact
from semi.merge.origin import base_folder
from semi.merge.runtime import DecoupledModel
from semi.merge.steps import TextPolicy
from semi.weights import BESIDE, compute_dtype

SUFFIX = ".mmer"
PRECISIONS = ("nf4", "bf16", "fp32")
_TEXT = "text="
_OF_MODEL = ("masks", "scales", "exact", "residual")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")
_GENERATION = "generation_config.json"


@dataclass(frozen=True)
class MergeName:
    """`FOLDER#MODALITY`, or `FOLDER#text=POLICY` for what tokens of no modality get; `FOLDER` alone is `text=merged`.

    Attributes:
        folder: of the merge, absolute.
        modality: one of its models, or None for text.
        text: the policy.
    """

    folder: Path
    modality: str | None = None
    text: TextPolicy = "merged"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """What a name says, or None where it is that of no merge.

        Raises:
            InputError: an unknown policy.
        """
        written, mark, part = name.rpartition("#")
        if not mark or Path(name).is_dir():
            written, mark, part = name, "", ""
        folder = Path(written).expanduser().absolute()
        if not (mark or folder.suffix == SUFFIX or (folder / MERGE).is_file()):
            return None
        if not part.startswith(_TEXT):
            return cls(folder, part or None)
        policy = part.removeprefix(_TEXT)
        if policy not in get_args(TextPolicy):
            raise InputError(f"{name} names no policy for text", got=policy, expected=" or ".join(get_args(TextPolicy)))
        return cls(folder, None, cast(TextPolicy, policy))

    def __str__(self) -> str:
        return f"{self.folder}#{self.modality or _TEXT + self.text}"


class LoadedMerge:
    """A merge and its base in memory, once for all its modalities. Not for several threads at once.

    Attributes:
        precision: as `semi.weights.load` has it.
    """

    def __init__(self, name: MergeName, precision: str | None, device: torch.device, base: str | Path | None) -> None:
        """Load it.

        Args:
            name: the folder, and the policy for text.
            precision: `bf16` and `fp32` are what is computed in; `nf4` holds the base's linear layers in 4 bits and
                adds in full what a modality gets; None: bf16 or fp32, as the base is stored.
            device: where to compute.
            base: the base's folder; None: where the merge found it.

        Raises:
            InputError: the merge has no such model, or cannot be held so.
            ArtifactError: the merge or its base is missing, damaged, or another one.
        """
        if precision not in (None, *PRECISIONS):
            raise InputError(
                f"{name.folder} cannot be held in {precision}", got=precision, expected=" or ".join(PRECISIONS)
            )
        if not name.folder.is_dir():
            raise ArtifactError(
                f"there is no merge {name.folder}",
                do="check the path; for what was made with it, say where it is now: "
                f"--language-model NEW{str(name).removeprefix(str(name.folder))}",
            )
        with Artifact.open(name.folder) as artifact:
            if name.modality is not None and name.modality not in artifact.models:
                raise InputError(
                    f"{name.folder} has no model of that name",
                    got=name.modality,
                    expected=f"{', '.join(artifact.models)}, or {_TEXT}{'|'.join(get_args(TextPolicy))}",
                )
            stored = {entry.dtype for entry in artifact.entries.values()}
            folder = base_folder(artifact, base)
            self._base = dict(artifact.base.files)  # of its weights; `DecoupledModel.load` compares all of them
            self._files = {name: artifact.manifest["files"][name]["sha256"] for name in artifact.computed_files()}
            self._of_text = tuple(artifact.models)[: artifact.merged or None]
        self._base |= {file.name: sha256_of(file) for pattern in BESIDE for file in folder.glob(pattern)}
        self._named, self._base_folder = name, folder
        self._described: dict[str, Any] = read_json(name.folder / MERGE)
        self.precision = precision or ("bf16" if stored == {"BF16"} else "fp32")
        self._merged = DecoupledModel.load(
            name.folder,
            base=folder,
            device=device,
            dtype=compute_dtype(self.precision, device),
            precision="nf4" if self.precision == "nf4" else "dense",
            text_policy=name.text,
        )
        self.model = cast(Any, self._merged.model)
        """The transformers model; it computes what was switched to last."""
        self.model.set_attn_implementation("eager")  # as all language models of `semi.weights`
        self._generation = self.model.generation_config

    @property
    def modalities(self) -> tuple[str, ...]:
        """Their names."""
        return self._merged.modalities

    def view(self, modality: str | None) -> View:
        """One of its modalities, or its text (None).

        Raises:
            InputError: there is no such modality.
            ArtifactError: its tokenizer cannot be loaded.
        """
        from transformers import AutoTokenizer, GenerationConfig

        self._merged.id_of(modality)  # refuses what is none
        own = None if modality is None else self._named.folder / FILES / modality
        holds = own is not None and any((own / name).is_file() for name in _TOKENIZER)
        generation = self._generation
        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(own if holds else self._base_folder)
            if own is not None and (own / _GENERATION).is_file():
                generation = GenerationConfig.from_pretrained(own)
        except Exception as error:  # transformers and tokenizers raise whatever a damaged file leads them into
            raise ArtifactError(
                f"the tokenizer of {own if holds else self._base_folder} cannot be loaded",
                got=(str(error) or type(error).__name__).splitlines()[0],
                do="merge models that come with their tokenizer",
            ) from error
        return View(self, replace(self._named, modality=modality), tokenizer, generation, self.sha256(modality))

    def switch(self, view: View) -> None:
        """Compute what a view is from now on."""
        self._merged.use(view.name.modality)
        self.model.generation_config = view.generation

    def embeddings(self, view: View) -> Tensor:
        """Input embeddings (V, d_lm) of a view's tokens."""
        self.switch(view)
        table = self.model.get_input_embeddings().weight
        name = next(name for name, parameter in self.model.named_parameters() if parameter is table)
        return self._merged.parameter(name)

    def sha256(self, modality: str | None) -> str:
        """Over all that a modality is computed from, its tokenizer included, and nothing of the merge's other models.

        So it stays the same when models are added to the merge or removed from it. Text is of the models that the
        shared vector was made of (see `TextPolicy`), and as the policy `base` has it of none.
        """
        models = self._of_text if modality is None else (modality,)
        text = self._named.text if modality is None else None
        if text == "base":
            return config_hash({"base": self._base, "text": text})
        stems = ["shared", *(f"{part}-{model}" for model in models for part in _OF_MODEL)]
        weights = re.compile(rf"({'|'.join(map(re.escape, stems))})(-\d{{5}})?\.safetensors")
        folder = f"{FILES}/{modality}/"  # text has the base's tokenizer
        files = {f: sha256 for f, sha256 in self._files.items() if weights.fullmatch(f) or f.startswith(folder)}
        entries = {key: _of(entry, models) for key, entry in self._described["entries"].items()}
        settings = {name: self._described[name] for name in ("format", "method", "rule", "scale", "block")}
        return config_hash(settings | {"files": files, "entries": entries, "base": self._base, "text": text})


@dataclass(frozen=True)
class View:
    """One modality of a merge in memory, or its text; the views of a merge share its weights.

    Attributes:
        merge: the merge.
        name: says which.
        tokenizer: the modality's own, or the base's.
        generation: what its model says of writing text, or what the base says.
        sha256: of all that it is computed from.
    """

    merge: LoadedMerge
    name: MergeName
    tokenizer: Any
    generation: Any
    sha256: str


def _of(entry: Mapping[str, Any], models: Sequence[str]) -> dict[str, Any]:
    """What a tensor's entry in merge.json says of some models and of none in particular."""
    own = {
        name: {model: said[model] for model in models if model in said} if isinstance(said, Mapping) else said
        for name, said in entry.items()
    }
    return {name: said for name, said in own.items() if said != {}}  # what only others have is not there before them
