"""An integration: what adapting a foundation to one modality gives. It describes samples; on disk it is a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from semi.adapters import ProjectorAdapter
from semi.alignment import KINDS as ALIGNMENTS
from semi.alignment import Alignment, restore_alignment
from semi.artifacts import (
    OutputFolder,
    config_hash,
    load_tensors,
    open_output,
    read_json,
    read_manifest,
    rebuilding,
    require_same,
    save_tensors,
    write_json,
)
from semi.candidates import CANDIDATES
from semi.encoding import embed
from semi.examples import Examples
from semi.hub import OnHub
from semi.language_model import LanguageModel
from semi.memory import Memory, Neighbour
from semi.modality import Encoder, Modality
from semi.plugins import load_modality
from semi.prefill import Prefill
from semi.projector import Projector
from semi.prompts import Turn
from semi.recall import Recall, Recollection

BATCH = 32
"""Samples that the language model reads at once."""


@dataclass(frozen=True)
class Record:
    """How an integration came about; integration.json holds it."""

    modality: str
    encoder: dict[str, str]
    """name (None: default) and id."""
    instruction: str
    language_model: dict[str, str]
    foundation: str
    """sha256 of the foundation's weight files."""
    settings: dict[str, Any]
    """Method, shots, seed, steps, ..."""
    support_sha256: str
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """What an integration says of one sample."""

    text: str
    nearest: list[Neighbour]
    """Labels of the nearest samples of the support set, with distances; 1.0 is their usual spacing."""
    unlike_anything_seen: bool


class Integration(OnHub):
    """A modality that the language model understands."""

    KIND: ClassVar[str] = "integration"
    FILES: ClassVar[tuple[str, ...]] = ("integration.json", "integration.safetensors")

    def __init__(
        self,
        record: Record,
        language_model: LanguageModel,
        modality: Modality,
        encoder: Encoder,
        alignment: Alignment,
        projector: Projector,
        memory: Memory,
        *,
        adapter: ProjectorAdapter | None = None,
        examples: Examples | None = None,
        recall: Recall | None = None,
    ) -> None:
        self.record, self.language_model = record, language_model
        self.modality, self.encoder = modality, encoder
        self.alignment, self.memory, self.adapter, self.examples = alignment, memory, adapter, examples
        self.projector = projector.to(language_model.device).requires_grad_(False)
        self.recall = recall.to(language_model.device) if recall else None

    def describe(
        self, samples: Any, *, ask: str | None = None, max_new_tokens: int = 48, candidates: int = CANDIDATES
    ) -> str | list[str]:
        """Text for one sample, or a list of texts for a list of samples (see `is_many`).

        Args:
            ask: a question or instruction in place of the modality's own.
            candidates: texts to choose from where captions are recalled (`semi.candidates`); 1 takes the likeliest
                token every time, and a fraction of the time.

        Raises:
            PairsError: a sample is not one of this modality.
        """
        many = is_many(samples)
        every = samples if many else [samples]
        readings = self.read(every, ask=ask, max_new_tokens=max_new_tokens, candidates=candidates)
        texts = [reading.text for reading in readings]
        return texts if many else texts[0]

    def read(
        self,
        samples: Sequence[Any],
        *,
        ask: str | None = None,
        max_new_tokens: int = 48,
        candidates: int = CANDIDATES,
    ) -> list[Reading]:
        """Text, nearest labels and the "unlike anything seen" flag for each sample; see `describe`."""
        embeddings = self.embed([self.modality.parse(sample) for sample in samples])
        asked = [ask or self.record.instruction] * len(embeddings)
        texts = self.texts(embeddings, asked, max_new_tokens=max_new_tokens, candidates=candidates)
        pooled = pool(embeddings)
        return [
            Reading(text, self.memory.nearest(row), self.memory.unlike(row))
            for text, row in zip(texts, pooled, strict=True)
        ]

    def embed(self, samples: Sequence[Any]) -> Tensor:
        """Embeddings (n, d_enc) or (n, t, d_enc) float32 of parsed samples; refuses NaN and infinity by sample."""
        return torch.from_numpy(embed(self.encoder, samples))

    @torch.no_grad()
    def soft(self, embeddings: Tensor) -> Tensor:
        """Soft tokens (n, t, d_lm) of embeddings."""
        return self.projector.soft(self.alignment(embeddings.to(self.language_model.device)))

    def shown(self, embeddings: Tensor) -> list[list[Turn]] | None:
        """The turns that stand before each sample: pairs of the support set; None where none are shown."""
        return self.examples.before(self.alignment(pool(embeddings))) if self.examples else None

    def texts(
        self,
        embeddings: Tensor,
        instructions: Sequence[str],
        *,
        max_new_tokens: int = 48,
        candidates: int = CANDIDATES,
        stop: Callable[[], bool] | None = None,
    ) -> list[str]:
        """Generated text for each embedding, in batches; see `semi.prefill.Prefill.write`."""
        result: list[str] = []
        for start in range(0, len(embeddings), BATCH):
            at = slice(start, start + BATCH)
            read = self.prefill(embeddings[at], instructions[at])
            result += read.write(max_new_tokens=max_new_tokens, candidates=candidates, stop=stop)
        return result

    def prefill(self, embeddings: Tensor, instructions: Sequence[str]) -> Prefill:
        """The language model once it has read samples and instructions, and is about to answer."""
        soft, shown = self.soft(embeddings), self.shown(embeddings) or [[]] * len(embeddings)
        turns = [[*before, Turn(row, asked, "")] for before, row, asked in zip(shown, soft, instructions, strict=True)]
        return self.language_model.prefill(turns, list(map(self.recalled, embeddings, instructions)))

    def recalled(self, embedding: Tensor, instruction: str) -> Recollection | None:
        """What has a say in what is said of one sample (d_enc,) or (t, d_enc): captions of which the same was asked."""
        if self.recall is None:
            return None
        return self.recall.of(self.alignment(pool(embedding[None]))[0], instruction)

    def save(self, folder: str | Path, *, force: bool = False) -> None:
        """Write the integration to a new folder.

        Raises:
            OutputError: the folder is taken or cannot be written to.
        """
        with open_output(folder, kind=self.KIND, config=asdict(self.record), force=force) as output:
            self.write(output)

    def write(self, output: OutputFolder, *extra: str) -> None:
        """Write into an output folder that is open already, and finish it; `extra` names files already there."""
        described = asdict(self.record) | {
            "alignment": self.alignment.settings(),
            "projector": self.projector.sizes,
            "memory": self.memory.labels,
            "adapter": self.adapter.base if self.adapter else None,
            "examples": self.examples.settings() if self.examples else None,
            "recall": self.recall.settings() if self.recall else None,
        }
        write_json(output.path / self.FILES[0], described)
        tensors = {f"alignment.{name}": t for name, t in self.alignment.tensors().items()}
        tensors |= {f"projector.{name}": t for name, t in self.projector.state_dict().items()}
        tensors |= {f"adapter.{name}": t for name, t in (self.adapter.tensors() if self.adapter else {}).items()}
        tensors |= {f"examples.{name}": t for name, t in (self.examples.tensors() if self.examples else {}).items()}
        tensors |= {f"recall.{name}": t for name, t in (self.recall.tensors() if self.recall else {}).items()}
        tensors["memory.embeddings"] = self.memory.embeddings
        save_tensors(output.path / self.FILES[1], tensors)
        info = {"record_sha256": config_hash(described), "metrics": self.record.metrics}
        output.finish([*self.FILES, *extra], info)

    @classmethod
    def modality_of(cls, folder: str | Path) -> str:
        """The name of the modality of a saved integration, without loading anything else."""
        read_manifest(folder, cls.KIND)
        path = Path(folder) / cls.FILES[0]
        with rebuilding(path, "integration"):
            return str(read_json(path)["modality"])

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        language_model: LanguageModel | str | None = None,
        precision: str | None = None,
        device: torch.device | str | None = None,
        base: str | Path | None = None,
    ) -> Integration:
        """The integration in a folder.

        Args:
            language_model: one that is in memory already, or another modality of the same merge, or where it lies now
                ("NAME.mmer#vision" of a merge); by default it is loaded as the integration records it.
            base: the folder of a merge's base, where it is not where the merge found it.

        Raises:
            ArtifactError: the folder is incomplete or damaged, or its language model or encoder is another one now.
            PluginError: the modality's plugin is missing.
        """
        folder = Path(folder)
        parts = read_parts(folder)
        with rebuilding(folder / cls.FILES[0], "integration"):
            source = parts.record.language_model
            model_id, made_in, model_sha256 = source["id"], source["precision"], source["sha256"]
        if isinstance(language_model, LanguageModel):
            language_model = language_model.matching(model_sha256)
        else:
            name = model_id if language_model is None else language_model
            language_model = LanguageModel.load(name, precision=precision or made_in, device=device, base=base)
        require_same(folder, "language model: its files differ", language_model.sha256, model_sha256)
        require_same(folder, "language model: its width differs", language_model.d_lm, parts.projector.d_lm)
        return cls(
            parts.record,
            language_model,
            parts.modality,
            parts.encoder,
            parts.alignment,
            parts.projector,
            parts.memory,
            adapter=parts.adapter,
            examples=parts.examples,
            recall=parts.recall,
        )


@dataclass(frozen=True)
class Parts:
    """All of an integration but the language model: what a saved folder holds, and the encoder."""

    record: Record
    modality: Modality
    encoder: Encoder
    alignment: Alignment
    projector: Projector
    """Merged with the adapter."""
    memory: Memory
    adapter: ProjectorAdapter | None
    examples: Examples | None
    recall: Recall | None


def read_parts(folder: str | Path) -> Parts:
    """The parts of a saved integration, on the CPU; its language model is not loaded.

    Raises:
        ArtifactError: the folder is incomplete or damaged, or its encoder is another one now.
        PluginError: the modality's plugin is missing.
    """
    folder = Path(folder)
    read_manifest(folder, Integration.KIND)
    described_in, tensors_in = (folder / file for file in Integration.FILES)
    described = read_json(described_in)
    with rebuilding(described_in, "integration"):
        record = Record(**{key: described[key] for key in Record.__dataclass_fields__})
        encoder_name, encoder_id = record.encoder["name"], record.encoder["id"]
        projector = Projector(**described["projector"])
        shapes = _shapes(described, projector)
    modality = load_modality(record.modality)
    encoder = modality.encoder(encoder_name or None)
    require_same(folder, "encoder", encoder.id, encoder_id)
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in load_tensors(tensors_in, shapes).items():
        group, _, rest = name.partition(".")
        groups.setdefault(group, {})[rest] = tensor
    projector.load_state_dict(groups["projector"])
    projector.requires_grad_(False)
    alignment = restore_alignment(described["alignment"], groups.get("alignment", {}))
    if not encoder.width:
        encoder.width = alignment.d_in  # `vectors` leaves the width to the data, and this is the data
    require_same(folder, "width of embeddings", encoder.width, alignment.d_in)
    memory = Memory(groups["memory"]["embeddings"], described["memory"])
    adapter = _adapter(groups["adapter"], described["adapter"]) if "adapter" in groups else None
    examples = Examples.restore(described["examples"], groups["examples"]) if described.get("examples") else None
    recall = None
    if described.get("recall"):
        with rebuilding(described_in, "integration"):
            recall = Recall.restore(described["recall"], groups["recall"])
    return Parts(record, modality, encoder, alignment, projector, memory, adapter, examples, recall)


def is_many(samples: Any) -> bool:
    """Whether `samples` is a list of samples rather than one; a list of numbers is one vector."""
    return isinstance(samples, list | tuple) and not all(isinstance(s, Real) for s in samples)


def pool(embeddings: Tensor) -> Tensor:
    """One embedding a sample: (n, d) as it is, (n, t, d) averaged over t."""
    return embeddings.mean(1) if embeddings.ndim == 3 else embeddings


def _adapter(tensors: dict[str, Tensor], base: list[bool]) -> ProjectorAdapter:
    layers = range(len(base))
    A, B, bias = ([tensors[f"{name}{i}"] for i in layers] for name in ("A", "B", "bias"))
    return ProjectorAdapter(A, B, bias, base)


def _shapes(described: dict[str, Any], projector: Projector) -> dict[str, tuple[int | None, ...]]:
    """Every tensor of an integration that is described so; only ranks are free."""
    alignment = described["alignment"]
    shapes: dict[str, tuple[int | None, ...]] = {"memory.embeddings": (len(described["memory"]), alignment["d_in"])}
    shapes |= {f"alignment.{name}": shape for name, shape in ALIGNMENTS[alignment["kind"]].shapes(alignment).items()}
    shapes |= {f"projector.{name}": tuple(t.shape) for name, t in projector.state_dict().items()}
    weights = [shapes[name] for name in shapes if name.startswith("projector.") and name.endswith(".weight")]
    if examples := described.get("examples"):
        found = Examples.shapes(examples, alignment["d_out"], described["projector"]["d_lm"])
        shapes |= {f"examples.{name}": shape for name, shape in found.items()}
    if recall := described.get("recall"):
        found = Recall.shapes(recall, alignment["d_out"], described["projector"]["d_lm"])
        shapes |= {f"recall.{name}": shape for name, shape in found.items()}
    for i, (d_out, d_in) in enumerate(weights if described["adapter"] else []):
        shapes |= {f"adapter.A{i}": (d_in, None), f"adapter.B{i}": (None, d_out), f"adapter.bias{i}": (d_out,)}
    return shapes
