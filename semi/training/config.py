"""Configuration of the two foundation trainings."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, PositiveInt, model_validator

from semi.training.loop import Schedule
from semi.yaml_config import PositiveFloat, Share, Strict

Shots = Annotated[int, Field(ge=2)]
FEWEST_PAIRS = 4
"""Half of a source's pairs may be queries, and one supporting pair has no direction to learn from."""


class SourceConfig(Strict):
    """Where training pairs come from: encoded folders (`semi encode`), or a number of procedural modalities."""

    encoded: Path | list[Path] | None = None
    """One folder, or several of one kind, all equally likely."""
    procedural: Annotated[int, Field(ge=2)] | None = None
    """A tenth of them, at least one, is held out for validation."""
    framed: bool = False
    """Procedural modalities with sentences of their own, see `semi.procedural.frames`."""
    as_text: bool = False
    """Procedural captions as the samples of one source of text."""
    samples: Annotated[int, Field(ge=FEWEST_PAIRS)] = 128
    """Pairs drawn from each procedural modality."""
    first_seed: int = 0
    """Procedural modalities have seeds first_seed, first_seed + 1, ..."""
    weight: PositiveFloat
    """Share of the rows of every batch, relative to the other sources."""

    @model_validator(mode="after")
    def _one_of(self) -> SourceConfig:
        if (self.encoded is None) == (self.procedural is None):
            raise ValueError("give either `encoded` (folders) or `procedural` (how many modalities)")
        if self.procedural is None and (self.framed or self.as_text):
            raise ValueError("`framed` and `as_text` are of `procedural`")
        if self.encoded == []:
            raise ValueError("`encoded` names no folder")
        return self

    @property
    def folders(self) -> list[Path]:
        """The encoded folders; none for procedural modalities."""
        if self.encoded is None:
            return []
        return self.encoded if isinstance(self.encoded, list) else [self.encoded]


class ScheduleConfig(Strict):
    """See `semi.training.loop.Schedule`."""

    steps: Annotated[int, Field(ge=0)]
    """0: what there is at the start, validated."""
    lr: PositiveFloat
    warmup: Annotated[int, Field(ge=0)] = 0
    accumulate: PositiveInt = 1
    clip: PositiveFloat = 1.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    final_lr: Share = 0.1
    validate_every: PositiveInt = 100
    patience: PositiveInt | None = None
    save_every: PositiveInt = 50

    def build(self, seed: int) -> Schedule:
        """The schedule with the run's seed."""
        return Schedule(**self.model_dump(), seed=seed)


class ProjectorSizes(Strict):
    """Shape of the shared projector; its input is as wide as the text encoder's embeddings."""

    d_hidden: PositiveInt = 2048
    soft_tokens: PositiveInt = 1


class _Training(Strict):
    sources: Annotated[list[SourceConfig], Field(min_length=1)]
    batch: PositiveInt = 32
    queries: PositiveInt = 8
    """Rows of a batch that share one support set."""
    shots: tuple[Shots, Shots] = (8, 64)
    """Smallest and largest support set."""
    schedule: ScheduleConfig
    seed: int = 0
    mixed_precision: Literal["bf16"] | None = None
    """What projector and language model compute their training losses in; weights and all the rest are kept as they
    are. None: each in its own precision."""

    def mixed(self, device: torch.device) -> AbstractContextManager[object]:
        """Around what `mixed_precision` is for."""
        return torch.autocast(device.type, torch.bfloat16) if self.mixed_precision else nullcontext()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.shots[0] > self.shots[1]:
            raise ValueError(f"`shots` are the smallest and the largest support set, got {list(self.shots)}")
        if self.batch < len(self.sources):
            raise ValueError(f"`batch` ({self.batch}) must hold a row of each of the {len(self.sources)} sources")
        return self


class ProjectorConfig(_Training):
    """`semi train projector`."""

    language_model: str = "smollm2-135m"
    precision: Literal["nf4", "q4_1", "bf16", "fp32"] | None = None
    text_encoder: str = "text"
    """The modality whose default encoder embeds the meaning of captions and instructions."""
    words: bool = True
    """Whether the language model's words stand beside it, see `semi.text_space`."""
    projector: ProjectorSizes = ProjectorSizes()
    start: Path | None = None
    """Folder of a trained projector to go on from; None: fresh weights."""
    warm_start: Annotated[int, Field(ge=0)] = 400
    """Steps before the language model is called: projector(text) -> mean input embeddings of the caption's parts."""
    noise: Share = 0.5
    """Half of the text rows get noise of up to this share of their norm."""
    examples: Annotated[int, Field(ge=0)] = 0
    """The most pairs of the support set that stand before a row as turns of the conversation; drawn from 0 up to it."""


class HyperNetworkConfig(_Training):
    """`semi train hypernetwork`."""

    projector: Path | None = None
    """Folder that `semi train projector` wrote; None: that of the foundation `beside`."""
    beside: Path | None = None
    """A foundation on the same projector, by folder or name, whose hypernetworks are kept, the default one too; None:
    none are."""
    kind: Literal["ridge", "attention"] = "ridge"
    settings: dict[str, Any] = Field(default_factory=dict)
    """Constructor arguments of the architecture."""
    loss: Literal["caption", "distillation"] = "caption"
    """Cross-entropy of the queries' captions; or squared error to the soft tokens of their caption embeddings, relative
    to those of the support's mean caption, which takes no language model."""
    isometry: Literal["none", "haar", "householder", "signed_permutation", "hadamard"] = "haar"
    """Applied to the embeddings of support and queries alike, a fresh one a support set."""

    @model_validator(mode="after")
    def _has_a_projector(self) -> Self:
        if self.projector is None and self.beside is None:
            raise ValueError("`projector` names the projector to train on, or `beside` a foundation that has one")
        return self
